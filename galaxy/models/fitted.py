"""The contract of a model that learns in one go, without a trainer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from galaxy.output import Output


class Fitted(nn.Module, ABC):
    """Images to answers, with neither a head nor a loss: `fit` once, then predict.

    A new model writes `fit` and `forward`, and is told the labels when it is made. What it has learned are
    buffers, plain numbers, so that a checkpoint carries them and reading it runs no code. A dimension that
    is only known after the fit is 0 in a new model; a state dict fills it to any length.
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

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        for name, buffer in self.named_buffers(recurse=False):
            saved = state_dict.get(prefix + name)
            # Where any other dimension differs, PyTorch's own error names the buffer and both shapes.
            if isinstance(saved, Tensor) and saved.ndim == buffer.ndim:
                shape = [new if old == 0 else old for old, new in zip(buffer.shape, saved.shape, strict=True)]
                setattr(self, name, buffer.new_empty(shape))
        super()._load_from_state_dict(state_dict, prefix, *arguments)
