"""The base of all heads, and the output of every model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from galaxy.labels.tree import Questions


class Output(NamedTuple):
    """The answer of a model to a batch of B images.

    Attributes:
        logits: (B, K) float32, before the head's activation.
        fractions: (B, K) float32, the prediction.
    """

    logits: Tensor
    fractions: Tensor


class Head(nn.Module, ABC):
    """A linear layer followed by `fractions`, which a new head must write.

    Both run in float32 under any autocast, because bfloat16 has three digits and the sums of a tree must hold
    to six.

    Args:
        in_features: The width of the encoder's features.
        questions: The questions whose K answers are predicted.
    """

    def __init__(self, in_features: int, questions: Questions) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, questions.size)

    def forward(self, features: Tensor) -> Output:
        """Predicts from features (B, in_features) of any float type; the output is (B, K) float32."""
        with torch.autocast(features.device.type, enabled=False):
            logits = self.linear(features.to(self.linear.weight.dtype)).float()
            return Output(logits, self.fractions(logits))

    @abstractmethod
    def fractions(self, logits: Tensor) -> Tensor:
        """Turns logits (B, K) float32 into fractions (B, K) float32."""
