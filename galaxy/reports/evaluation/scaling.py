"""Whether predicted fractions mean what they say, how they obey the tree, and how each question is scaled."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from galaxy.labels.labels import Labels
from galaxy.labels.tree import Questions
from galaxy.reports.evaluation.sample import Array

BINS = 10
# Logarithms of temperatures lie between these: beyond them, answers are certain or all alike.
_COLDEST, _HOTTEST = -1.5, 1.5
# A fraction of 0 has no logarithm.
_LEAST = 1e-6


@dataclass(frozen=True)
class Reliability:
    """The true fractions where so much was predicted.

    Attributes:
        predicted: (B,) the mean prediction of each bin that has entries.
        true: (B,) the mean of the true fractions there.
        error: (B,) the standard error of that mean over samples of galaxies.
        count: (B,) the number of entries.
    """

    predicted: Array
    true: Array
    error: Array
    count: Array

    @property
    def gap(self) -> float:
        """The mean distance of predictions from the truth, over bins, weighted by their entries."""
        return float(np.average(np.abs(self.predicted - self.true), weights=self.count))


def reliability(predicted: Array, true: Array) -> Reliability | None:
    """Bins predictions by tenths; those beyond 0 and 1 fall into the outer bins.

    Args:
        predicted: (N, K) predictions.
        true: (N, K) fractions, NaN where they are unknown.

    Returns:
        The bins that have entries; None if nothing is known.
    """
    known = np.isfinite(true)
    bins = np.clip((predicted * BINS).astype(int), 0, BINS - 1)
    rows = []
    for number in range(BINS):
        here = known & (bins == number)
        if count := here.sum():
            said, mean = predicted[here].mean(), true[here].mean()
            # The answers about one galaxy err together, so galaxies are what is drawn.
            each = np.where(here, np.nan_to_num(true) - mean, 0).sum(axis=1)
            rows.append((said, mean, np.sqrt(np.square(each).sum()) / count, float(count)))
    return Reliability(*np.array(rows).T) if rows else None


@dataclass(frozen=True)
class Disobedience:
    """How far predictions are from obeying the tree.

    Attributes:
        sums: The root mean square of the sum of each question minus its parent's value, over galaxies and
            questions.
        worst: The largest such difference.
        outside: The share of fractions below 0 or above 1.
    """

    sums: float
    worst: float
    outside: float


def disobedience(labels: Labels, predicted: Array) -> Disobedience:
    """Measures how far (N, K) predictions are from the tree.

    The only answer of a question may have any fraction up to its parent's, so only what lies above counts.
    """
    single = np.array(labels.questions.sizes) == 1
    residuals = labels.questions.residuals(predicted)
    residuals = np.where(single, np.maximum(residuals, 0), residuals)
    outside = (predicted < -1e-6) | (predicted > 1 + 1e-6)
    return Disobedience(
        float(np.sqrt(np.mean(residuals**2))), float(np.abs(residuals).max()), float(outside.mean())
    )


def on_tree(questions: Questions, predicted: Array, temperatures: Array | None = None) -> Array:
    """Puts predictions onto the tree: each question's answers are scaled to sum to their parent's fraction.

    Args:
        questions: The tree.
        predicted: (N, K) fractions; those below 0 become 0, or next to it.
        temperatures: (Q,), by which the logarithms of each question's fractions are divided; None leaves
            their ratios as they are. A temperature above 1 makes answers more alike, one below 1 less.

    Returns:
        (N, K) fractions in [0, 1].
    """
    out = np.empty_like(predicted)
    for index in questions.order:
        columns, parent = questions.slices[index], questions.parents[index]
        whole = np.ones(len(predicted)) if parent is None else out[:, parent]
        predicted_whole = None if parent is None else predicted[:, parent]
        temperature = 1.0 if temperatures is None else float(temperatures[index])
        out[:, columns] = whole[:, None] * tempered(predicted[:, columns], temperature, predicted_whole)
    return out


def scaled(questions: Questions, predicted: Array, temperatures: Array, obeying: bool) -> Array:
    """Applies the temperatures (Q,) of `fit_temperatures` to (N, K) predictions.

    Args:
        questions: The tree.
        predicted: The predictions.
        temperatures: One for each question.
        obeying: Whether the targets obey the tree. If they do not, the sum of a question's answers stays.
    """
    if obeying:
        return on_tree(questions, predicted, temperatures)
    out = np.empty_like(predicted)
    for index, columns in enumerate(questions.slices):
        part = predicted[:, columns]
        out[:, columns] = _whole_of(part)[:, None] * tempered(part, float(temperatures[index]))
    return out


def fit_temperatures(labels: Labels, predicted: Array, true: Array, obeying: bool) -> Array:
    """Finds the temperature of each question that leaves the smallest squared error.

    Args:
        labels: The meaning of the columns.
        predicted: (N, K) predictions of galaxies that the model was not trained on.
        true: (N, K) targets, NaN where they are unknown.
        obeying: Whether the targets obey the tree; see `scaled`.

    Returns:
        (Q,); 1 for a question of which nothing is known.
    """
    questions, temperatures = labels.questions, []
    for columns, parent in zip(questions.slices, questions.parents, strict=True):
        rows = np.isfinite(true[:, columns]).all(axis=1)
        above = None
        if obeying and parent is not None:
            rows &= np.isfinite(true[:, parent])
            above = predicted[rows, parent]
        part, target = predicted[rows, columns], true[rows, columns]
        whole = _whole_of(part)
        if obeying:
            whole = np.ones(len(part)) if parent is None else true[rows, parent]
        temperatures.append(_best_temperature(part, target, whole, above) if rows.any() else 1.0)
    return np.array(temperatures)


def _best_temperature(part: Array, target: Array, whole: Array, above: Array | None) -> float:
    def error(log: float) -> float:
        return float(np.square(whole[:, None] * tempered(part, math.exp(log), above) - target).sum())

    found = float(minimize_scalar(error, bounds=(_COLDEST, _HOTTEST), method="bounded").x)
    # A model that ignores the images, for one, has the same error at many temperatures.
    return math.exp(found) if error(found) < error(0.0) * (1 - 1e-6) else 1.0


def tempered(part: Array, temperature: float, above: Array | None = None) -> Array:
    """The shares of a question's answers at a temperature: they sum to 1, or to less for an only answer.

    Args:
        part: (N, A) fractions.
        temperature: What their logarithms are divided by.
        above: (N,) the parent's fraction, to which an only answer is compared; None for 1.
    """
    if part.shape[1] == 1:
        whole = 1.0 if above is None else np.clip(above, _LEAST, None)[:, None]
        yes = np.clip(part / whole, _LEAST, 1 - _LEAST)
        return 1 / (1 + (1 / yes - 1) ** (1 / temperature))
    logs = np.log(np.clip(part, _LEAST, None)) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _whole_of(part: Array) -> Array:
    """The sum of a question's answers (N,), or 1 for an only answer."""
    return np.clip(part, 0, None).sum(axis=1) if part.shape[1] > 1 else np.ones(len(part))
