"""The base of models that learn in one go, without a trainer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from galaxy.models.heads.head import Output


class LateBuffers(nn.Module):
    """A module whose buffers get their shape from the training galaxies.

    A new module has the length 0 in every dimension that is not known yet. Loading a state dict gives such a
    dimension the length that was saved.
    """

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        for name, buffer in self.named_buffers(recurse=False):
            saved = state_dict.get(prefix + name)
            # Where any other dimension differs, PyTorch's own error names the buffer and both shapes.
            if isinstance(saved, Tensor) and saved.ndim == buffer.ndim:
                shape = [new if old == 0 else old for old, new in zip(buffer.shape, saved.shape, strict=True)]
                setattr(self, name, buffer.new_empty(shape))
        super()._load_from_state_dict(state_dict, prefix, *arguments)


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

    @abstractmethod
    def forward(self, images: Tensor) -> Output:
        """Predicts from images (B, C, H, W) float32 in [0, 1]; the output is (B, K) float32."""
