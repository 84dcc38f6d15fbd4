"""Metrics of saved predictions, and how much each galaxy decides of them.

Every metric here is a function of sums over galaxies, so the influence of a galaxy is the gradient of that
function times what the galaxy adds to the sums (the infinitesimal jackknife, Efron 1982). The definitions are
those of `galaxy.learning.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """A metric of some galaxies.

    Attributes:
        value: The metric.
        influence: (N,) the influence of each galaxy on it. Their sum is 0, and the sum of their squares is
            the variance of the metric over samples of galaxies.
    """

    value: float
    influence: Array


def score(metric: str, predicted: Array, true: Array, questions: Mapping[str, Sequence[int]]) -> Score | None:
    """Scores predictions.

    Args:
        metric: The name of a metric without its split, such as "rmse", "rmse/q01", "r2" or "accuracy".
        predicted: (N, K) predictions.
        true: (N, K) targets, NaN where they are unknown.
        questions: The columns of each question, by its key.

    Returns:
        The score; None if the predictions do not tell this metric, or nothing is known.
    """
    sums = _sums(metric, predicted, true, questions)
    if sums is None:
        return None
    parts, function = sums
    mean = parts.mean(axis=0)
    gradient = _gradient(function, mean)
    return Score(function(mean), (parts - mean) @ gradient / len(parts))


def value(metric: str, predicted: Array, true: Array, questions: Mapping[str, Sequence[int]]) -> float | None:
    """Returns the value of `score` alone, which takes less time."""
    sums = _sums(metric, predicted, true, questions)
    return None if sums is None else sums[1](sums[0].mean(axis=0))


def arrays(table: pd.DataFrame) -> tuple[Array, Array]:
    """Returns the predictions and the targets in a table of predictions, as a run folder holds it."""
    columns = [column for column in table if f"true/{column}" in table]
    true = table[[f"true/{column}" for column in columns]]
    return table[columns].to_numpy(np.float64), true.to_numpy(np.float64)


def _sums(
    metric: str, predicted: Array, true: Array, questions: Mapping[str, Sequence[int]]
) -> tuple[Array, Callable[[Array], float]] | None:
    """Returns what each galaxy adds to some sums, and the function of their means that is the metric."""
    name, _, key = metric.partition("/")
    if key:
        if key not in questions:
            return None
        columns = list(questions[key])
        predicted, true = predicted[:, columns], true[:, columns]
    if name not in _METRICS or (key and name != "rmse") or not np.isfinite(true).any():
        return None
    return _METRICS[name](predicted, true)


def _gradient(function: Callable[[Array], float], at: Array) -> Array:
    """Returns the gradient by central differences."""
    steps = np.maximum(np.abs(at), 1e-3) * 1e-5
    shifts = np.diag(steps)
    rises = [function(at + shift) - function(at - shift) for shift in shifts]
    return np.array(rises) / (2 * steps)


def _rmse(predicted: Array, true: Array) -> tuple[Array, Callable[[Array], float]]:
    known = np.isfinite(true)
    squares = np.where(known, np.square(predicted - np.where(known, true, 0)), 0)
    parts = np.stack([squares.sum(axis=1), known.sum(axis=1)], axis=1).astype(float)
    return parts, lambda sums: float(np.sqrt(max(sums[0], 0.0) / sums[1]))


def _r2(predicted: Array, true: Array) -> tuple[Array, Callable[[Array], float]]:
    known = np.isfinite(true)
    targets = np.where(known, true, 0.0)
    squares = np.where(known, np.square(predicted - targets), 0)
    parts = np.concatenate([squares, targets, np.square(targets), known], axis=1)

    def function(sums: Array) -> float:
        errors, first, second, count = np.split(sums, 4)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = second - np.square(first) / count
            columns = np.where(spread > 1e-12 * second, 1 - errors / spread, np.nan)
        return float(np.nanmean(columns))

    return parts, function


def _of_classes(
    read: Callable[[Array], float],
) -> Callable[[Array, Array], tuple[Array, Callable[[Array], float]]]:
    """Makes a metric from a function of the confusion matrix (K, K), whose rows are the true classes."""

    def metric(predicted: Array, true: Array) -> tuple[Array, Callable[[Array], float]]:
        known = np.isfinite(true).any(axis=1)
        classes = true.shape[1]
        cells = np.where(np.isfinite(true), true, -1).argmax(axis=1) * classes + predicted.argmax(axis=1)
        parts = np.zeros((len(true), classes**2))
        parts[np.arange(len(true)), cells] = known
        return parts, lambda sums: read(sums.reshape(classes, classes))

    return metric


def _accuracy(confusion: Array) -> float:
    return float(np.trace(confusion) / confusion.sum())


def _balanced_accuracy(confusion: Array) -> float:
    occurs = confusion.sum(axis=1) > 0
    return float((np.diag(confusion)[occurs] / confusion.sum(axis=1)[occurs]).mean())


def _f1(confusion: Array) -> float:
    total = confusion.sum(axis=1) + confusion.sum(axis=0)
    occurs = total > 0
    return float((2 * np.diag(confusion)[occurs] / total[occurs]).mean())


_METRICS: dict[str, Callable[[Array, Array], tuple[Array, Callable[[Array], float]]]] = {
    "rmse": _rmse,
    "r2": _r2,
    "accuracy": _of_classes(_accuracy),
    "balanced_accuracy": _of_classes(_balanced_accuracy),
    "f1": _of_classes(_f1),
}
