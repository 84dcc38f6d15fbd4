"""The linear head."""

from __future__ import annotations

from torch import Tensor

from galaxy.models.heads.head import Head


class LinearHead(Head):
    """The logits are the fractions, so these may leave [0, 1], as in Speidell's code."""

    def fractions(self, logits: Tensor) -> Tensor:
        """Returns the logits (B, K) unchanged."""
        return logits

    def logits(self, fractions: Tensor) -> Tensor:
        """Returns the fractions (K,) unchanged."""
        return fractions
