"""Heads: features to vote fractions."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from galaxy.labels.tree import Questions
from galaxy.models.output import Output


class Head(nn.Module, ABC):
    """One linear layer, then `fractions`, which a new head overrides.

    Both run in float32 under any autocast: bfloat16 has three digits, and the sums of a tree are held to six.

    Args:
        in_features: The width of the encoder's features.
        questions: The tree whose K answers are predicted.
    """

    def __init__(self, in_features: int, questions: Questions) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, questions.size)

    def forward(self, features: Tensor) -> Output:
        """(B, in_features) of any float type to an output of (B, K) float32."""
        with torch.autocast(features.device.type, enabled=False):
            logits = self.linear(features.to(self.linear.weight.dtype)).float()
            return Output(logits, self.fractions(logits))

    @abstractmethod
    def fractions(self, logits: Tensor) -> Tensor:
        """(B, K) float32 to (B, K) float32."""


class Linear(Head):
    """The logits as they are: fractions may leave [0, 1], as in Speidell's code."""

    def fractions(self, logits: Tensor) -> Tensor:
        """(B, K) to the same (B, K)."""
        return logits


class Sigmoid(Head):
    """Each answer on its own in (0, 1); a question's answers need not sum to anything."""

    def fractions(self, logits: Tensor) -> Tensor:
        """(B, K) to (B, K) in (0, 1)."""
        return logits.sigmoid()


class Tree(Head):
    """Fractions that obey the tree: a softmax per question, times the parent's probability where it has one.

    Each question's fractions sum to its parent's value, or to 1 where it has none (to 1e-6 in float32), as
    those of classes and of conditional labels do. A single answer's fraction lies between 0 and that value.
    """

    def __init__(self, in_features: int, questions: Questions) -> None:
        super().__init__(in_features, questions)
        self.sizes = questions.sizes
        self.order = questions.order
        # Each question's parent as (question, answer within it).
        starts = [columns.start for columns in questions.slices]
        self.parents = [
            None if parent is None else (q := int(questions.question_of[parent]), parent - starts[q])
            for parent in questions.parents
        ]

    def fractions(self, logits: Tensor) -> Tensor:
        """(B, K) to (B, K) in [0, 1]."""
        answers = [
            # The only answer of a question may be denied: a softmax would make it certain.
            question.sigmoid() if question.shape[1] == 1 else question.softmax(dim=1)
            for question in logits.split(self.sizes, dim=1)
        ]
        for i in self.order:
            if (parent := self.parents[i]) is not None:
                question, answer = parent
                answers[i] = answers[i] * answers[question][:, answer : answer + 1]
        return torch.cat(answers, dim=1)
