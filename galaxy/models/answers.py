"""How the K answers in the columns of a tensor belong to questions. Heads and losses read it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from galaxy.labels.tree import Questions


class AnswerLayout:
    """The columns of a (B, K) tensor, taken apart by question or padded to (B, questions, most answers).

    Args:
        questions: The questions that the K columns answer.

    Attributes:
        order: The indices of the questions, every parent before its children.
        parent_answers: For each question its parent as (question, answer within that question), or None.
    """

    def __init__(self, questions: Questions) -> None:
        self.order = questions.order
        starts = [columns.start for columns in questions.slices]
        self.parent_answers = [
            None if parent is None else (q := int(questions.question_of[parent]), parent - starts[q])
            for parent in questions.parents
        ]
        self._sizes = questions.sizes
        self._width = max(2, *self._sizes)
        # For each question with a single answer: its index, its column and its parent's column.
        self._single = [
            (question, starts[question], questions.parents[question])
            for question, size in enumerate(self._sizes)
            if size == 1
        ]
        # A single answer gets its denial as a second one.
        self._exists = torch.arange(self._width) < torch.tensor(self._sizes).clamp_min(2)[:, None]

    def by_question(self, values: Tensor) -> tuple[Tensor, ...]:
        """Splits (B, K) into a tensor (B, answers) for each question."""
        return values.split(self._sizes, dim=1)

    def exists_on(self, device: torch.device) -> Tensor:
        """Whether a question has an answer in each place: (questions, most answers) bool on a device."""
        self._exists = self._exists.to(device)  # once only, because the copy waits for the GPU
        return self._exists

    def padded(self, values: Tensor, filler: float) -> Tensor:
        """Pads (B, K) to (B, questions, most answers), with `filler` where a question has no such answer."""
        parts = self.by_question(values)
        return torch.stack([F.pad(p, (0, self._width - p.shape[1]), value=filler) for p in parts], dim=1)

    def padded_targets(self, targets: Tensor) -> Tensor:
        """Pads targets (B, K) with 0. Denying a single answer gets the rest of its parent's fraction."""
        padded = self.padded(targets, 0.0)
        for question, column, parent in self._single:
            whole = 1.0 if parent is None else targets[:, parent]
            padded[:, question, 1] = (whole - targets[:, column]).clamp_min(0)
        return padded

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """The log-softmax of each question from logits (B, K), padded with 0."""
        padded = self.padded(logits, -torch.inf)
        for question, _, _ in self._single:
            padded[:, question, 1] = 0.0  # the softmax of (x, 0) is the sigmoid of x
        return padded.log_softmax(dim=2).masked_fill(~self.exists_on(logits.device), 0.0)
