"""Which answers are taken for which, and how often the likeliest answer is right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galaxy.reports.evaluation.sample import Sample, agreement, answer_texts, asked, shares

# Volunteers are sure above this: of their agreement (Dieleman et al. 2015, arXiv:1503.07077), or of the
# fraction of the likeliest answer (Walmsley et al. 2022, arXiv:2102.08414).
CONFIDENT = 0.8


@dataclass(frozen=True)
class Accuracy:
    """How often the likeliest answer is the volunteers': right ones among so many galaxies."""

    right: int
    galaxies: int

    @property
    def share(self) -> float | None:
        """The share of right ones; None without galaxies."""
        return self.right / self.galaxies if self.galaxies else None


@dataclass(frozen=True)
class Confusion:
    """The likeliest answers to a question, where volunteers were asked it.

    Attributes:
        key: The key of the question.
        text: Its words.
        answers: The words of its A answers.
        counts: (A, A) the number of galaxies; rows are what volunteers say, columns what is predicted.
        every: The accuracy on all of these galaxies.
        clear: The accuracy where one answer got more than `CONFIDENT` of the votes.
        agreed: The accuracy where the agreement of the volunteers is above `CONFIDENT`.
    """

    key: str
    text: str
    answers: tuple[str, ...]
    counts: NDArray[np.int64]
    every: Accuracy
    clear: Accuracy
    agreed: Accuracy


def confusions(sample: Sample) -> list[Confusion]:
    """Counts the likeliest answers to each question, among the galaxies for which it was asked."""
    questions, was_asked = sample.labels.questions, asked(sample)
    found = []
    for index, question in enumerate(questions):
        rows = was_asked[:, index]
        true = shares(sample.true[rows], questions, index)
        predicted = shares(sample.predicted[rows], questions, index)
        counts = count_pairs(true.argmax(axis=1), predicted.argmax(axis=1), true.shape[1])
        right = true.argmax(axis=1) == predicted.argmax(axis=1)
        masks = (
            np.ones(len(right), bool),
            true.max(axis=1) > CONFIDENT,
            agreement(true) > CONFIDENT,
        )
        accuracies = [Accuracy(int(right[mask].sum()), int(mask.sum())) for mask in masks]
        answers = tuple(answer_texts(questions, index))
        found.append(Confusion(question.key, question.text, answers, counts, *accuracies))
    return found


def count_pairs(true: NDArray[np.int64], predicted: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Counts pairs of classes (N,) each, as a matrix (size, size) of true and predicted ones."""
    return np.bincount(true * size + predicted, minlength=size**2).reshape(size, size)
