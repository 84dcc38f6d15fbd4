"""The sigmoid head."""

from __future__ import annotations

from torch import Tensor

from galaxy.models.heads.head import Head


class SigmoidHead(Head):
    """Each answer lies in (0, 1) by itself. The answers to a question need not sum to anything."""

    def fractions(self, logits: Tensor) -> Tensor:
        """Turns logits (B, K) into fractions (B, K) in (0, 1)."""
        return logits.sigmoid()

    def logits(self, fractions: Tensor) -> Tensor:
        """Turns fractions (K,) into their log odds."""
        return fractions.logit()
