"""The head whose predictions obey the tree of questions."""

from __future__ import annotations

import torch
from torch import Tensor

from galaxy.labels.tree import Questions
from galaxy.models.answers import AnswerLayout
from galaxy.models.heads.head import Head


class TreeHead(Head):
    """A softmax for each question, times the probability of its parent answer where it has one.

    The fractions of a question sum to its parent's fraction, or to 1 where it has no parent (to 1e-6 in
    float32). Classes and conditional labels obey the same rule. The only answer of a question gets a fraction
    between 0 and that sum.
    """

    def __init__(self, in_features: int, questions: Questions) -> None:
        super().__init__(in_features, questions)
        self.layout = AnswerLayout(questions)

    def fractions(self, logits: Tensor) -> Tensor:
        """Turns logits (B, K) into fractions (B, K) in [0, 1]."""
        answers = [
            # Volunteers may deny the only answer of a question; a softmax would make it certain.
            question.sigmoid() if question.shape[1] == 1 else question.softmax(dim=1)
            for question in self.layout.by_question(logits)
        ]
        for i in self.layout.order:
            if (parent := self.layout.parent_answers[i]) is not None:
                question, answer = parent
                answers[i] = answers[i] * answers[question][:, answer : answer + 1]
        return torch.cat(answers, dim=1)

    def logits(self, fractions: Tensor) -> Tensor:
        """Turns fractions (K,) into the logarithms of their shares among the answers to a question."""
        answers = [question.squeeze(0) for question in self.layout.by_question(fractions[None])]
        found = []
        for own, parent in zip(answers, self.layout.parent_answers, strict=True):
            if len(own) > 1:
                found.append(own.log() - own.sum().log())
            else:  # its only answer may be denied
                whole = 1.0 if parent is None else answers[parent[0]][parent[1]]
                found.append((own / whole).clamp(max=1 - 1e-4).logit())
        return torch.cat(found)
