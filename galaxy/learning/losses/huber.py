"""The Huber loss."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from galaxy.data.loader import Batch
from galaxy.learning.losses.loss import Loss, weighted_mean
from galaxy.models.heads.head import Output


class Huber(Loss):
    """A loss that is quadratic up to an error of `delta` and linear beyond, averaged over B x K.

    No error of fractions in [0, 1] exceeds 1, so a delta of 1, Keras' and torch's default, is half the MSE.
    With Sirressi's linear head, fractions may leave [0, 1] for a while; such errors are then pulled back
    less.

    Args:
        delta: The error at which the loss turns linear, above 0.
    """

    def __init__(self, delta: float = 0.1) -> None:
        super().__init__()
        if not 0 < delta < math.inf:
            raise ValueError(f"delta is {delta}; it must be a number above 0")
        self.delta = delta

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """Computes the loss of a batch; see `Loss.forward`."""
        # trainer.precision=64-true makes the targets double, and huber_loss accepts one type only.
        target = batch["target"].to(output.fractions.dtype)
        errors = F.huber_loss(output.fractions, target, reduction="none", delta=self.delta)
        return weighted_mean(errors, batch)
