"""The squared error with a weight for each answer."""

from __future__ import annotations

import torch
from torch import Tensor

from galaxy.data.loader import Batch
from galaxy.labels.labels import Labels
from galaxy.learning.losses.loss import Loss, weighted_mean
from galaxy.models.heads.head import Output
from galaxy.models.late_buffers import LateBuffers


class WeightedMSE(LateBuffers, Loss):
    """Squared errors weighted by how common an answer is (Speidell).

    The weight of an answer is the mean of its known training targets, divided by the sum of these means, so
    the weights sum to 1. The loss is the weighted sum over answers of the mean over the batch. Rare answers
    count for little.
    """

    weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weights", torch.empty(0))

    def prepare(self, targets: Tensor, labels: Labels) -> None:
        """Measures the weights of the answers, (K,)."""
        means = targets.double().nanmean(dim=0).nan_to_num(0.0)  # 0 for an answer that is never known
        self.weights = (means / means.sum()).float().to(self.weights.device)

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """Computes the loss of a batch; see `Loss.forward`."""
        squares = (output.fractions - batch["target"]).square() * self.weights
        return weighted_mean(squares, batch) * squares.shape[1]
