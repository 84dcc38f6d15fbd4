"""Intervals that hold the true fraction, and sets that hold the true class, as often as they say.

Both are split conformal predictions (Vovk et al. 2005; Lei et al. 2018, arXiv:1604.04173): the errors on
galaxies that the model was not trained on measure the errors on others. The only assumption is that both are
samples of the same population.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from galaxy.reports.evaluation.sample import Array, Mask

LEVEL = 0.9
# Fewer galaxies tell little about the tails, and more bins follow the prediction more closely.
_LEAST_IN_BIN, _MOST_BINS = 100, 10
_LEAST_SPREAD = 0.05
# Predictions so near to 0 or 1 err on one side.
_EDGE = 0.1


@dataclass(frozen=True)
class Intervals:
    """The errors that intervals hold, by answer and by bin of the prediction, in units of `spread`.

    Attributes:
        edges: (K, B - 1) the inner edges of the bins.
        lower: (K, B) the error at the lower end.
        upper: (K, B) the error at the upper end.
    """

    edges: Array
    lower: Array
    upper: Array

    def of(self, predicted: Array) -> tuple[Array, Array]:
        """Returns the lower and the upper ends (N, K) of predictions (N, K), within 0 and 1."""
        low, high = np.empty_like(predicted), np.empty_like(predicted)
        for column, (edges, lower, upper) in enumerate(zip(self.edges, self.lower, self.upper, strict=True)):
            values = predicted[:, column]
            place = np.searchsorted(edges, values, side="right")
            low[:, column] = values + lower[place] * spread(values)
            high[:, column] = values + upper[place] * spread(values)
        return np.clip(low, 0, 1), np.clip(high, 0, 1)


def spread(predicted: Array) -> Array:
    """How widely fractions scatter where so much is predicted: as votes do, and a little more."""
    share = np.clip(predicted, 0, 1)
    return np.sqrt(share * (1 - share)) + _LEAST_SPREAD


def fit_intervals(predicted: Array, true: Array, level: float = LEVEL) -> Intervals:
    """Measures intervals on galaxies that the model was not trained on.

    Each answer has bins of as many galaxies each, by its prediction. In a bin, the interval holds a little
    more than this share of the errors; see `ends_of`. Fractions near 0 and 1 err on one side, so only the
    errors on that side are left out. The predictions alone decide where that is: an interval that was chosen
    for being short on these galaxies would hold less of others.

    Args:
        predicted: (N, K) predictions.
        true: (N, K) fractions, NaN where they are unknown.
        level: The share of fractions that the intervals are to hold.

    Returns:
        The intervals; an answer with too few known fractions for this level gets all from 0 to 1.
    """
    count = len(predicted)
    bins = int(np.clip(count // _LEAST_IN_BIN, 1, _MOST_BINS))
    edges = np.quantile(predicted, np.linspace(0, 1, bins + 1)[1:-1], axis=0).T
    lower, upper = (np.full((predicted.shape[1], bins), end) for end in (-np.inf, np.inf))
    for column in range(predicted.shape[1]):
        known = np.isfinite(true[:, column])
        values = predicted[known, column]
        errors = (true[known, column] - values) / spread(values)
        place = np.searchsorted(edges[column], values, side="right")
        for index in range(bins):
            here = place == index
            middle = np.median(values[here]) if here.any() else 0.5
            ends = ends_of(errors[here], level, 1.0 if middle < _EDGE else 0.0 if middle > 1 - _EDGE else 0.5)
            if ends is not None:
                lower[column, index], upper[column, index] = ends
    return Intervals(edges, lower, upper)


def ends_of(values: Array, level: float, above: float = 0.5) -> tuple[float, float] | None:
    """The interval between two of n values that holds a further value with this chance; None if n is small.

    A further value is as likely to fall into each of the n + 1 gaps between and around the n values. So
    ceil(level (n + 1)) gaps must lie between the ends.

    Args:
        values: (n,).
        level: The share that is held.
        above: The share of the other values that lie above the interval.
    """
    ordered = np.sort(values)
    gaps = math.ceil(level * (len(ordered) + 1) - 1e-9)
    left_out = len(ordered) - gaps - 1
    if left_out < 0:
        return None
    start = math.floor(left_out * (1 - above))
    return float(ordered[start]), float(ordered[start + gaps])


def held(low: Array, high: Array, true: Array) -> Mask:
    """Which true fractions lie in their intervals, all of any one shape; unknown ones do not."""
    # A fraction of votes has rounding errors, and an interval may be that one fraction.
    return (true >= low - 1e-6) & (true <= high + 1e-6)


def fit_least(predicted: Array, true: Array, level: float = LEVEL) -> float:
    """Finds the probability from which on a class belongs to the set of the classes that are possible.

    Args:
        predicted: (N, K) probabilities of galaxies that the model was not trained on.
        true: (N, K) targets, whose largest is the true class; NaN where it is unknown.
        level: The share of sets that are to hold the true class (Sadinle et al. 2019, arXiv:1609.00451).

    Returns:
        The least probability; 0 if there are too few galaxies for this level.
    """
    known = np.isfinite(true).all(axis=1)
    of_true = predicted[known, true[known].argmax(axis=1)] if known.any() else np.empty(0)
    rank = math.floor((1 - level) * (len(of_true) + 1) + 1e-9)
    return float(np.sort(of_true)[rank - 1]) if rank > 0 else 0.0


def sets_of(predicted: Array, least: float) -> Mask:
    """The classes (N, K) that are possible; the likeliest always is."""
    best = predicted >= predicted.max(axis=1, keepdims=True)
    return best | (predicted >= least)


@dataclass(frozen=True)
class Coverage:
    """How often intervals or sets held the truth.

    Attributes:
        share: The share of known fractions in their intervals, or of galaxies with their class in its set.
        size: The mean width of the intervals, or the mean number of classes in a set.
        count: The number of fractions or galaxies.
    """

    share: float
    size: float
    count: int


def coverage_of_intervals(
    low: Array, high: Array, true: Array, chosen: Mask | None = None
) -> Coverage | None:
    """Measures the coverage of intervals of any shape, of some entries or all; None of no known entry."""
    known = np.isfinite(true) if chosen is None else np.isfinite(true) & chosen
    if not known.any():
        return None
    inside = held(low, high, true)[known]
    return Coverage(float(inside.mean()), float((high - low)[known].mean()), int(known.sum()))


def coverage_of_sets(sets: Mask, true: Array, chosen: Mask | None = None) -> Coverage | None:
    """Measures the coverage of sets (N, K), of some galaxies (N,) or all; None of no known class."""
    known = np.isfinite(true).all(axis=1)
    known = known if chosen is None else known & chosen
    if not known.any():
        return None
    right = np.take_along_axis(sets[known], true[known].argmax(axis=1)[:, None], axis=1)
    return Coverage(float(right.mean()), float(sets[known].sum(axis=1).mean()), int(known.sum()))
