"""What a model is asked to predict: everything a survey has, or the first question only, or classes."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from galaxy.labels.labels import Kind, Labels
from galaxy.labels.tree import Questions
from galaxy.surveys import Catalog
from galaxy.system.errors import UserError

log = logging.getLogger(__name__)


class AsLabelled:
    """The labels as the survey has them.

    Args:
        kind: "fractions" or "classes", which the labels must then be; None for whatever they are.
    """

    def __init__(self, kind: Literal["fractions", "classes"] | None = None) -> None:
        self.kind: Kind | None = kind

    def __call__(self, catalog: Catalog) -> Catalog:
        """The same catalog.

        Raises:
            UserError: The labels are of the other kind.
        """
        labels = catalog.labels
        if labels is not None and self.kind not in (None, labels.kind):
            has = labels.kind
            other = " or target=question1" if self.kind == "classes" else ""
            raise UserError(f"target={self.kind}, but data={catalog.name} has {has}: use target={has}{other}")
        return catalog


class Question1:
    """The answers to the first question as classes: smooth, disc or artefact in Galaxy Zoo 2.

    Sirressi's simplified task. The targets are the fractions, scaled to sum to 1, or one-hot.

    Args:
        hard: Whether the most frequent answer is taken for the truth.
        confident: Leaves out galaxies whose most frequent answer has a smaller fraction than this.
    """

    def __init__(self, hard: bool = False, confident: float = 0.0) -> None:
        if not 0 <= confident <= 1:
            raise UserError(f"target.confident is {confident}; it must be 0 or more and at most 1")
        self.hard = hard
        self.confident = confident

    def __call__(self, catalog: Catalog) -> Catalog:
        """The galaxies that are sure enough, with the first question's columns; all of them if unlabelled.

        Raises:
            UserError: The labels are classes, or no galaxy is sure enough.
        """
        if catalog.labels is None:
            return catalog
        # Errors on other truths, or on other galaxies, do not compare.
        meaning = ", ".join(
            [f"question1 of {catalog.labels.meaning}"]
            + ["hard"] * self.hard
            + [f"at least {self.confident:g}"] * (self.confident > 0)
        )
        labels = _first_question(catalog.labels, catalog.name, meaning)
        if catalog.targets is None:
            return replace(catalog, labels=labels)
        columns = catalog.labels.questions.slices[0]
        catalog = replace(
            catalog,
            labels=labels,
            targets=_scaled(catalog.targets[:, columns]),
            weights=None if catalog.weights is None else catalog.weights[:, columns],
            counts=None if catalog.counts is None else catalog.counts[:, columns],
            # What the votes were drawn from is no best guess of which answer won, nor of clear cases only.
            expected=None
            if catalog.expected is None or self.hard or self.confident > 0
            else catalog.expected[:, columns],
        )
        answers = catalog.targets
        assert answers is not None
        best = answers.argmax(axis=1)
        most = answers.max(axis=1)
        if self.hard:
            answers = np.eye(answers.shape[1], dtype=np.float32)[best]
        # Nobody answered where no fraction is above 0.
        sure = np.flatnonzero((most >= self.confident) & (most > 0))
        if not len(sure):
            raise UserError(f"no galaxy has an answer of at least target.confident={self.confident}")
        if len(sure) < len(catalog):
            log.info("target=question1: %d of %d galaxies are sure enough", len(sure), len(catalog))
        return replace(catalog, targets=answers, strata=best.astype(np.int64)).take(sure)


def _first_question(labels: Labels, name: str, meaning: str) -> Labels:
    """The labels of the first question of the survey `name`, as classes."""
    if labels.kind == "classes":
        raise UserError(f"target=question1, but data={name} has classes: use target=classes")
    question, columns = labels.questions.questions[0], labels.columns[labels.questions.slices[0]]
    if len(columns) < 2:
        raise UserError(
            f"target=question1, but the first question of data={name} has the single answer {columns[0]}: "
            "use target=fractions, or give data.catalog.questions"
        )
    return Labels(Questions((replace(question, parent=None),)), columns, meaning, "classes")


def _scaled(answers: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fractions (N, K) that sum to 1; debiased ones do not by themselves."""
    total = answers.sum(axis=1, keepdims=True)
    return np.divide(answers, total, out=np.zeros_like(answers), where=total > 0)
