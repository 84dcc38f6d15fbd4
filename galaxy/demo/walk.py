"""The questions that one galaxy is asked, one after the other, as a volunteer would be asked them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galaxy.labels.galaxy_zoo_2 import NEXT_QUESTION, is_galaxy_zoo_2
from galaxy.labels.tree import Questions
from galaxy.reports.evaluation.sample import Array, shares


@dataclass(frozen=True)
class Navigation:
    """Which questions come first, and which ones follow an answer.

    Questions that follow an answer come next; those that were waiting come after them.

    Attributes:
        first: The places of the first questions.
        following: For each column, the places of the questions that its answer leads to.
    """

    first: tuple[int, ...]
    following: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, questions: Questions) -> Navigation:
        """Reads it off the parents of a tree; that of Galaxy Zoo 2 is its own."""
        if is_galaxy_zoo_2(questions):
            place = {question.key: index for index, question in enumerate(questions)}
            return cls((0,), tuple(() if key is None else (place[key],) for key in NEXT_QUESTION))
        parents = questions.parents
        children: list[list[int]] = [[] for _ in range(questions.size)]
        for index, parent in enumerate(parents):
            if parent is not None:
                children[parent].append(index)
        first = tuple(index for index, parent in enumerate(parents) if parent is None)
        return cls(first, tuple(map(tuple, children)))

    def walk(self, questions: Questions, chosen: NDArray[np.int64]) -> list[int]:
        """Returns the places of the questions that are asked, in this order.

        Args:
            questions: The tree.
            chosen: (Q,) the answer to each question, of those that `shares` returns. The denial of a single
                answer leads to no further question.
        """
        waiting, asked = list(self.first), []
        while waiting:
            question = waiting.pop(0)
            asked.append(question)
            if chosen[question] < questions.sizes[question]:
                column = questions.slices[question].start + int(chosen[question])
                waiting = [*self.following[column], *waiting]
        return asked


def likeliest(questions: Questions, fractions: Array) -> NDArray[np.int64]:
    """Returns the likeliest answer (N, Q) to each question for fractions (N, K); of equal ones the first."""
    best = [shares(fractions, questions, index).argmax(axis=1) for index in range(len(questions))]
    return np.stack(best, axis=1)
