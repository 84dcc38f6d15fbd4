"""The base of modules whose buffers have no known size until the training galaxies are known."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


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
