"""A tree of questions that volunteers answer about a galaxy.

This module knows no survey. The tree of Galaxy Zoo 2 is in `galaxy.labels.galaxy_zoo_2`. Arrays of answers
have the answers on their last axis, in the order of the questions and of the answers of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Answer:
    """One answer to a question.

    Attributes:
        text: The words of the answer.
    """

    text: str


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        key: A short name, which no other question of the tree has.
        text: The words of the question.
        answers: The possible answers, in column order.
        parent: The answer, as (question key, index), to whose cumulative fraction the answers of this
            question sum. None if the answers sum to 1.
    """

    key: str
    text: str
    answers: tuple[Answer, ...]
    parent: tuple[str, int] | None = None

    @property
    def title(self) -> str:
        """The key and the words, once if they are the same."""
        return self.text if self.text == self.key else f"{self.key} {self.text}"


@dataclass(frozen=True)
class Questions:
    """A tree of questions.

    A question with a single answer is a fraction of its own, between 0 and 1 (or its parent's value).

    Attributes:
        questions: The questions in column order. A child may come before its parent; `order` sorts them.
    """

    questions: tuple[Question, ...]

    def __len__(self) -> int:
        return len(self.questions)

    def __iter__(self) -> Iterator[Question]:
        return iter(self.questions)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """How many answers each question has."""
        return tuple(len(question.answers) for question in self.questions)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """The columns of each question."""
        stops = np.cumsum(self.sizes).tolist()
        return tuple(slice(a, b) for a, b in zip([0, *stops[:-1]], stops, strict=True))

    @cached_property
    def size(self) -> int:
        """The number of answers, which is the number of columns."""
        return self.slices[-1].stop

    @cached_property
    def parents(self) -> tuple[int | None, ...]:
        """The column of each question's parent, or None where the answers sum to 1."""
        index = {q.key: i for i, q in enumerate(self.questions)}
        return tuple(
            None if q.parent is None else self.slices[index[q.parent[0]]].start + q.parent[1]
            for q in self.questions
        )

    @property
    def structure(self) -> tuple[tuple[int, int | None], ...]:
        """The number of answers and the parent of each question, which are equal in trees that compare."""
        return tuple(zip(self.sizes, self.parents, strict=True))

    @cached_property
    def unrelated(self) -> Questions:
        """The same questions without parents, which conditional fractions need."""
        return Questions(tuple(replace(question, parent=None) for question in self.questions))

    @cached_property
    def question_of(self) -> NDArray[np.int64]:
        """The index of the question that each column belongs to, (size,)."""
        return np.repeat(np.arange(len(self)), self.sizes)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The indices of the questions, with every parent before its children.

        Raises:
            ValueError: The parents form a cycle.
        """
        done: list[int] = []
        waiting = list(range(len(self)))
        while waiting:
            ready = [
                i
                for i in waiting
                if (parent := self.parents[i]) is None or int(self.question_of[parent]) in done
            ]
            if not ready:
                raise ValueError(f"questions {[self.questions[i].key for i in waiting]} form a cycle")
            done += ready
            waiting = [i for i in waiting if i not in ready]
        return tuple(done)

    def cumulative(self, conditional: NDArray[np.floating]) -> NDArray[np.float64]:
        """Multiplies the answers of each question by the probability of meeting the question.

        Args:
            conditional: (..., size). The answers of each question sum to 1, or to 0 where nobody met it.

        Returns:
            (..., size) float64. The answers of each question sum to the value of its parent.
        """
        out = np.array(conditional, dtype=np.float64)
        for i in self.order:
            parent = self.parents[i]
            if parent is not None:
                out[..., self.slices[i]] *= out[..., parent, None]
        return out

    def reach(self, conditional: NDArray[np.floating]) -> NDArray[np.float64]:
        """The probability that a volunteer meets each question.

        Args:
            conditional: (..., size). The answers of each question sum to 1, or to 0 where nobody met it.

        Returns:
            (..., questions) float64. It is the cumulative value of the parent, and 1 where there is no
            parent.
        """
        return self.asked(self.cumulative(conditional))

    def asked(self, cumulative: NDArray[np.floating]) -> NDArray[np.float64]:
        """The probability that a volunteer is asked each question.

        Args:
            cumulative: (..., size) cumulative fractions.

        Returns:
            (..., questions) float64. It is the value of the parent, and 1 where there is no parent.
        """
        values = np.asarray(cumulative, dtype=np.float64)
        ones = np.ones(values.shape[:-1])
        return np.stack([ones if p is None else values[..., p] for p in self.parents], axis=-1)

    def conditional(self, cumulative: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Divides the answers of each question by their sum: the inverse of `cumulative` where there is one.

        Args:
            cumulative: (..., size) fractions.

        Returns:
            The conditional fractions (..., size) float64, and a mask (..., questions) bool. The mask is False
            where nobody met the question; its answers, which would be 0/0, are then 0.
        """
        out = np.array(cumulative, dtype=np.float64)
        met = np.zeros((*out.shape[:-1], len(self)), dtype=bool)
        for i, columns in enumerate(self.slices):
            total = out[..., columns].sum(-1)
            met[..., i] = total > 0
            out[..., columns] /= np.where(met[..., i], total, 1.0)[..., None]
        return out, met

    def known(self, conditional: NDArray[np.floating], met: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The questions whose cumulative fractions are known.

        The fractions of a question that nobody was asked are known: they are 0. But shares of an unknown
        fraction are unknown.

        Args:
            conditional: (..., size), and
            met: (..., questions) bool, as `conditional` returns them.

        Returns:
            (..., questions) bool.
        """
        known = met | (self.reach(conditional) == 0)
        for question in self.order:
            parent = self.parents[question]
            if parent is not None:
                known[..., question] &= known[..., self.question_of[parent]]
        return known

    def residuals(self, cumulative: NDArray[np.floating]) -> NDArray[np.float64]:
        """The difference between the sum of each question's answers and its parent's value.

        Args:
            cumulative: (..., size) cumulative fractions.

        Returns:
            (..., questions) float64: the sum of the answers minus the parent's value (or 1).
        """
        values = np.asarray(cumulative, dtype=np.float64)
        return np.stack(
            [
                values[..., columns].sum(-1) - (1.0 if parent is None else values[..., parent])
                for columns, parent in zip(self.slices, self.parents, strict=True)
            ],
            axis=-1,
        )
