"""The base of models that learn in one go, without a trainer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from torch import Tensor

from galaxy.models.heads.head import Output
from galaxy.models.late_buffers import LateBuffers


class Fitted(LateBuffers, ABC):
    """A model from images to answers that has neither a head nor a loss: call `fit` once, then predict.

    A new model writes `fit` and `forward`, and its constructor takes the labels. It keeps what it has learned
    in buffers. These are plain numbers, so a checkpoint carries them and reading it runs no code.
    """

    @abstractmethod
    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Learns from the training split, which is read once.

        Args:
            batches: Images (B, C, H, W) float32 in [0, 1] and targets (B, K) float32, at least one batch. An
                unknown target is NaN.

        Raises:
            ValueError: A parameter of the model does not suit the images.
            UserError: Nothing can be learned from these galaxies.
        """

    def check(self, images: int, size: int) -> None:
        """Refuses a training split that `fit` cannot learn from, before its images are read.

        Args:
            images: The number of images.
            size: Their side in pixels.

        Raises:
            ValueError: A parameter of the model does not suit them.
        """

    @abstractmethod
    def forward(self, images: Tensor) -> Output:
        """Predicts from images (B, C, H, W) float32 in [0, 1]; the output is (B, K) float32."""
