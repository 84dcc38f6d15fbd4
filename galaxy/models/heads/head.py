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
    """A linear layer followed by `fractions`, which a new head must write. It may also write `logits`.

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

    def logits(self, fractions: Tensor) -> Tensor | None:
        """Returns logits (K,) that `fractions` turns into given fractions (K,), all in (0, 1).

        None, as here, if the head does not tell them.
        """
        return None

    @torch.no_grad()
    def start_at(self, mean: Tensor) -> None:
        """Makes an untrained head predict the mean for every galaxy, whatever the features are.

        So the first steps do not disturb the encoder by errors of a head that knows nothing yet. A head that
        does not tell its logits keeps its random weights.

        Args:
            mean: (K,) mean targets of the training galaxies; NaN where none is known.
        """
        logits = self.logits(mean.nan_to_num(0.5).clamp(1e-4, 1 - 1e-4))
        if logits is not None:
            self.linear.weight.zero_()
            self.linear.bias.copy_(logits)
