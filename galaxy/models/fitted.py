"""The contract of a model that learns in one go, without a trainer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from torch import Tensor

from galaxy.models.late_buffers import LateBuffers
from galaxy.models.output import Output


class Fitted(LateBuffers, ABC):
    """Images to answers, with neither a head nor a loss: `fit` once, then predict.

    A new model writes `fit` and `forward`, and is told the labels when it is made. What it has learned are
    buffers, plain numbers, so that a checkpoint carries them and reading it runs no code; see `LateBuffers`
    for the shapes of those that depend on the fit.
    """

    @abstractmethod
    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Learns from the training split, read once.

        Args:
            batches: Images (B, C, H, W) float32 in [0, 1] and targets (B, K) float32, at least one batch.
        """

    @abstractmethod
    def forward(self, images: Tensor) -> Output:
        """(B, C, H, W) float32 in [0, 1] to an output of (B, K) float32."""
