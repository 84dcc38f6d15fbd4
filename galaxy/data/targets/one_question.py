"""Predicts the answers to one question, as classes."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from galaxy.labels.labels import Labels
from galaxy.labels.tree import Questions
from galaxy.surveys import Catalog
from galaxy.system.errors import UserError, meant

log = logging.getLogger(__name__)


class OneQuestion:
    """Asks one question only; its answers are classes, such as smooth, disc or artefact in Galaxy Zoo 2.

    The targets are the fractions of the answers, scaled to sum to 1, or one-hot. Galaxies for which nobody
    answered the question are left out, so a question that was asked after a certain answer is trained and
    tested on the galaxies where somebody gave that answer. Where fractions are cumulative, such a galaxy
    weighs no more than the share of the volunteers who were asked. With the first question of Galaxy Zoo 2
    this is Sirressi's simplified task.

    Args:
        question: The key of the question, such as "q03"; None for the first question of the survey.
        hard: Whether the most frequent answer counts as the truth, so that targets are one-hot.
        confident: Galaxies whose most frequent answer has a smaller share than this are left out.
    """

    def __init__(self, question: str | None = None, hard: bool = False, confident: float = 0.0) -> None:
        if not 0 <= confident <= 1:
            raise ValueError(f"confident is {confident}; it must be 0 or more and at most 1")
        self.question = question
        self.hard = hard
        self.confident = confident

    def __call__(self, catalog: Catalog) -> Catalog:
        """Returns the galaxies that are sure enough, with the columns of the question.

        A catalog without targets keeps all galaxies.

        Raises:
            ValueError: The survey has no such question.
            UserError: The labels are classes, the question has a single answer, or no galaxy is sure enough.
        """
        if catalog.labels is None:
            return catalog
        number = self._number(catalog.labels, catalog.name)
        labels = self._labels(catalog.labels, number, catalog.name)
        if catalog.targets is None:
            return replace(catalog, labels=labels)
        columns = catalog.labels.questions.slices[number]
        weights = None if catalog.weights is None else catalog.weights[:, columns]
        if catalog.labels.questions.parents[number] is not None:
            share = _asked(catalog.targets[:, columns])
            # Weights may say already how many were asked, so the share must not count twice.
            weights = share if weights is None else np.minimum(share, weights)
        counts = None if catalog.counts is None else catalog.counts[:, columns]
        targets = _scaled(catalog.targets[:, columns])
        best, most = targets.argmax(axis=1), targets.max(axis=1)
        sure = (most > 0) & (most >= self.confident)  # every share is 0 if nobody answered
        for votes in (weights, counts):
            if votes is not None:
                sure &= votes.any(axis=1)
        if not sure.any():
            raise UserError(f"no galaxy has an answer of at least target.confident={self.confident}")
        if not sure.all():
            log.info("question %d: %d of %d galaxies are sure enough", number + 1, sure.sum(), len(catalog))
        if self.hard:
            targets = np.eye(targets.shape[1], dtype=np.float32)[best]
        # The probabilities that votes were drawn from are no best guess of which answer won, and a choice of
        # clear cases does not follow them either. Below a parent they sum to that of the parent.
        expected = None if self.hard or self.confident > 0 else catalog.expected
        return replace(
            catalog,
            labels=labels,
            targets=targets,
            weights=weights,
            counts=counts,
            expected=None if expected is None else _scaled(expected[:, columns]),
            strata=best.astype(np.int64),
        ).take(np.flatnonzero(sure))

    def _number(self, labels: Labels, survey: str) -> int:
        """Returns the place of the question in the survey's tree, from 0."""
        if labels.kind == "classes":
            raise UserError(f"{self._option}, but data={survey} has classes: use target=classes")
        keys = [question.key for question in labels.questions]
        if self.question is None:
            return 0
        if self.question not in keys:
            raise ValueError(
                f"question is {self.question}; data={survey} has the questions {', '.join(keys)}"
                f"{meant(self.question, keys)}"
            )
        return keys.index(self.question)

    def _labels(self, labels: Labels, number: int, survey: str) -> Labels:
        """Returns the labels of the question of this number alone, as classes."""
        question = labels.questions.questions[number]
        columns = labels.columns[labels.questions.slices[number]]
        if len(columns) < 2:
            which = "the first question" if self.question is None else f"question {self.question}"
            raise UserError(
                f"{self._option}, but {which} of data={survey} has the single answer {columns[0]}: "
                "use target=fractions, or give data.catalog.questions"
            )
        # Errors on other truths, or on other galaxies, do not compare.
        meaning = ", ".join(
            [f"question{number + 1} of {labels.meaning}"]
            + ["hard"] * self.hard
            + [f"at least {self.confident:g}"] * (self.confident > 0)
        )
        return Labels(Questions((replace(question, parent=None),)), columns, meaning, "classes", labels)

    @property
    def _option(self) -> str:
        return "target=question1" if self.question is None else "target=question"


def _asked(answers: NDArray[np.float32]) -> NDArray[np.float32]:
    """The share of the volunteers who met a question, for each of its cumulative answers (N, K)."""
    return np.broadcast_to(answers.sum(axis=1, keepdims=True).clip(0, 1), answers.shape).copy()


def _scaled(answers: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fractions (N, K) that sum to 1; debiased ones, and those below a parent, do not by themselves."""
    total = answers.sum(axis=1, keepdims=True)
    return np.divide(answers, total, out=np.zeros_like(answers), where=total > 0)
