"""The mean squared error."""

from __future__ import annotations

from torch import Tensor

from galaxy.data.loader import Batch
from galaxy.learning.losses.loss import Loss, weighted_mean
from galaxy.models.heads.head import Output


class MSE(Loss):
    """The mean squared error over B x K. Its root is Kaggle's metric."""

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """Computes the loss of a batch; see `Loss.forward`."""
        return weighted_mean((output.fractions - batch["target"]).square(), batch)
