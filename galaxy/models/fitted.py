"""Modules that hold what was measured on the training data."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Fitted(nn.Module):
    """A module whose buffers are empty until the training data, or a checkpoint, fills them.

    Their shapes depend on the survey, which a constructor does not know; loading takes the checkpoint's.
    """

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        for name, buffer in self.named_buffers(recurse=False):
            if prefix + name in state_dict:
                setattr(self, name, buffer.new_empty(state_dict[prefix + name].shape))
        super()._load_from_state_dict(state_dict, prefix, *args)
