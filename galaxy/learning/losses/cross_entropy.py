"""The cross-entropy of each question."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from galaxy.data.loader import Batch
from galaxy.labels.labels import Labels
from galaxy.learning.losses.loss import Loss
from galaxy.models.answers import AnswerLayout
from galaxy.models.heads.head import Output
from galaxy.models.late_buffers import LateBuffers


class CrossEntropy(LateBuffers, Loss):
    """The cross-entropy between the targets and the softmax of the logits, question by question.

    Over one question this is the usual cross-entropy with soft targets. Cumulative targets of several
    questions weigh each question by the probability of being asked, so the sum is the cross-entropy of whole
    paths through the tree. A question with one answer counts as "yes" against "no". The loss is summed over
    questions and averaged over galaxies.

    Args:
        class_weights: "balanced" counts each answer to a question as much as the others, however rare it is
            among the training galaxies; "none" counts each galaxy the same.
        label_smoothing: The share of a question's target that is spread evenly over its answers, in [0, 1).
    """

    answer_weights: Tensor

    def __init__(
        self, class_weights: Literal["none", "balanced"] = "none", label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing is {label_smoothing}; it must be 0 or more and less than 1")
        self.balanced = class_weights == "balanced"
        self.label_smoothing = label_smoothing
        self.register_buffer("answer_weights", torch.empty(0, 0))

    def prepare(self, targets: Tensor, labels: Labels) -> None:
        """Takes the tree of the labels and measures the weights of its answers, (questions, most answers)."""
        self.layout = AnswerLayout(labels.questions)
        answers = self.layout.padded_targets(targets.double())
        # A galaxy whose answers to a question are unknown says nothing about them, neither yes nor no.
        totals = answers.masked_fill(answers.isnan().any(dim=2, keepdim=True), 0.0).sum(dim=0)
        weights = torch.ones_like(totals)
        if self.balanced:
            # As in scikit-learn, only answers that occur are balanced. The others keep the weight 1.
            occurring = (totals > 0).sum(dim=1, keepdim=True)
            shares = totals.sum(dim=1, keepdim=True) / (occurring * totals)
            weights = torch.where(totals > 0, shares, weights)
        self.answer_weights = weights.float().to(self.answer_weights.device)

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """Computes the loss of a batch; see `Loss.forward`."""
        answers = self.layout.padded_targets(batch["target"])
        if self.label_smoothing:
            exists = self.layout.exists_on(answers.device)
            even = exists.to(answers.dtype) / exists.sum(dim=1, keepdim=True)
            spread = answers.sum(dim=2, keepdim=True) * even
            answers = answers + self.label_smoothing * (spread - answers)
        if "weight" in batch:
            # The same volunteers gave all answers to a question, so one weight holds for all of them.
            answers = answers * self.layout.padded(batch["weight"], 0.0).amax(dim=2, keepdim=True)
        surprise = -self.layout.log_probabilities(output.logits)
        return (answers * self.answer_weights * surprise).sum(dim=(1, 2)).mean()
