"""What models answer with, and losses judge."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Output(NamedTuple):
    """What a model says of a batch.

    Attributes:
        logits: (B, K) float32, before the head's activation.
        fractions: (B, K) float32, the prediction.
    """

    logits: Tensor
    fractions: Tensor
