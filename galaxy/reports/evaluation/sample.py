"""The galaxies of an evaluation, and what their fractions say about one question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from galaxy.labels.galaxy_zoo_2 import probability_asked
from galaxy.labels.labels import Labels
from galaxy.labels.tree import Questions
from galaxy.runs.predict import Predictions

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# A question counts as asked where this share of the volunteers met it, as in the catalogues of Zoobot.
ASKED = 0.5
# Sums of targets that are further from their parent than this do not follow the tree.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Sample:
    """What was predicted for N galaxies, and what is true.

    Attributes:
        labels: The meaning of the K columns.
        names: (N,) the names of the galaxies.
        predicted: (N, K) float64.
        true: (N, K) float64, NaN where the target is unknown.
        counts: (N, K) the number of votes for each answer; None if nobody knows.
        expected: (N, K) the probabilities that the votes were drawn from; None but for simulated galaxies.
        weights: (N, K) how far each target can be trusted; None if all are alike.
        baselines: What simple models predict, (N, K) each, by their names.
    """

    labels: Labels
    names: NDArray[np.generic]
    predicted: Array
    true: Array
    counts: Array | None = None
    expected: Array | None = None
    weights: Array | None = None
    baselines: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def known(self) -> Mask:
        """Which targets are known, (N, K)."""
        return np.isfinite(self.true)

    @property
    def has_true_classes(self) -> bool:
        """Whether the targets are true classes, and not the shares of the votes for each class."""
        return self.labels.kind == "classes" and bool(np.isin(self.true[self.known], (0, 1)).all())

    @classmethod
    def of(cls, predictions: Predictions) -> Sample:
        """Takes the predictions of a catalog that has targets."""
        catalog = predictions.catalog.take(predictions.rows)
        assert catalog.known_targets is not None
        counts, expected, weights = (
            None if one is None else one.astype(np.float64)
            for one in (catalog.counts, catalog.expected, catalog.weights)
        )
        return cls(
            predictions.labels,
            catalog.identifiers,
            predictions.fractions.astype(np.float64),
            catalog.known_targets.astype(np.float64),
            counts,
            expected,
            weights,
        )


def follows_tree(labels: Labels, true: Array) -> bool:
    """Whether targets (N, K) sum to their parents, as cumulative fractions and classes do.

    Debiased fractions of Galaxy Zoo 2 do not. Questions with one answer are no test of it.
    """
    several = np.array(labels.questions.sizes) > 1
    residuals = labels.questions.residuals(true)[:, several]
    known = residuals[np.isfinite(residuals)]
    return bool(known.size == 0 or np.abs(known).max() < _TOLERANCE)


def asked(sample: Sample) -> Mask:
    """Which questions the volunteers were asked about each galaxy, (N, Q).

    A question counts as asked where its answers are known and at least half of the volunteers met it. The
    tree tells this; without a tree the votes do, compared with those of the question that has the most.
    Without votes, every question with known answers counts.
    """
    questions = sample.labels.questions
    met = np.stack([sample.known[:, columns].all(axis=1) for columns in questions.slices], axis=1)
    share = probability_asked(questions, sample.true)
    if share is None and sample.counts is not None:
        votes = np.stack([sample.counts[:, columns].sum(axis=1) for columns in questions.slices], axis=1)
        share = votes / np.maximum(votes.max(axis=1, keepdims=True), 1)
    return met if share is None else met & (share >= ASKED)


def asked_where(sample: Sample) -> str:
    """Says in words where a question counts as asked; see `asked`."""
    if sample.counts is None and probability_asked(sample.labels.questions, sample.true) is None:
        return "whose answer is known. These labels do not say how many volunteers were asked"
    return f"for which at least {ASKED:.0%} of the volunteers were asked the question"


def shares(values: Array, questions: Questions, index: int) -> Array:
    """The fractions of a question's answers among those who were asked.

    Args:
        values: (N, K) fractions; those below 0 count as 0.
        questions: The tree.
        index: The place of the question.

    Returns:
        (N, A), which sum to 1; all alike where all fractions are 0. The only answer of a question has its
        denial as a second one.
    """
    columns, parent = questions.slices[index], questions.parents[index]
    part = np.clip(values[:, columns], 0, None)
    if part.shape[1] == 1:
        whole = np.ones(len(values)) if parent is None else np.clip(values[:, parent], 1e-12, None)
        yes = np.clip(part[:, 0] / whole, 0, 1)
        return np.stack([yes, 1 - yes], axis=1)
    total = part.sum(axis=1, keepdims=True)
    alike = np.full_like(part, 1 / part.shape[1])
    return np.divide(part, total, out=alike, where=total > 0)


def answer_texts(questions: Questions, index: int) -> list[str]:
    """The words of the columns that `shares` returns."""
    texts = [answer.text for answer in questions.questions[index].answers]
    return texts if len(texts) > 1 else [texts[0], f"not {texts[0]}"]


def agreement(fractions: Array) -> Array:
    """How far volunteers agree: 1 minus the entropy over its largest value (Dieleman et al. 2015).

    Args:
        fractions: (..., A), which sum to 1.

    Returns:
        (...,): 1 if all gave the same answer, 0 if all answers got as many votes.
    """
    some = np.where(fractions > 0, fractions, 1.0)
    entropy = -(some * np.log(some)).sum(axis=-1)
    return 1 - entropy / np.log(fractions.shape[-1])
