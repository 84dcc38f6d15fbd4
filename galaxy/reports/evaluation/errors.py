"""Errors with their intervals, beside baselines, the noise floor and the volunteers' own scatter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from galaxy.labels.tree import Questions
from galaxy.reports.evaluation.sample import Array, Sample

LEVEL = 0.95
DRAWS = 400
# Fractions in tables are rounded, to two digits at least.
_ROUNDED = 0.01


@dataclass(frozen=True)
class Estimate:
    """A figure with the interval that other galaxies would give it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Errors:
    """The errors on some columns.

    Attributes:
        key: The key of the question; empty for all columns.
        text: The words of the question.
        rmse: The root of the mean squared error over all known entries.
        mae: The mean absolute error over the same entries.
        weighted: The root of the mean squared error weighted by how far each entry can be trusted; None
            where all entries are trusted alike.
        r2: The coefficient of determination, the mean over the columns that vary.
        baselines: The RMSE of simple models, by their names.
        floor: The RMSE of a perfect model; None if nobody knows it.
        scatter: The RMSE between these volunteers and infinitely many; None without counts of votes, or where
            the targets are no shares of them.
    """

    key: str
    text: str
    rmse: Estimate
    mae: Estimate
    weighted: float | None
    r2: float
    baselines: dict[str, float]
    floor: float | None
    scatter: float | None


def measure_errors(sample: Sample) -> list[Errors]:
    """Measures the errors on all columns together, and then on those of each question."""
    uneven = sample.weights
    if uneven is not None and np.isin(uneven, (0, 1)).all():
        uneven = None
    questions = sample.labels.questions
    groups = [slice(0, questions.size)]
    names = [("", "all questions" if len(questions) > 1 else next(iter(questions)).text)]
    if len(questions) > 1:
        groups += questions.slices
        names += [(question.key, question.text) for question in questions]
    counts, variances = sample.counts, None
    if counts is not None and _are_shares(sample.true, counts, questions):
        variances = scatter(sample.true, counts, questions)
    found = []
    for (key, text), columns in zip(names, groups, strict=True):
        floor = None if sample.expected is None else root_mean_square(sample.expected, sample.true, columns)
        rmse, mae = _of_columns(sample, columns)
        found.append(
            Errors(
                key,
                text,
                rmse,
                mae,
                None if uneven is None else _weighted(sample, uneven, columns),
                determination(sample.predicted[:, columns], sample.true[:, columns]),
                {name: root_mean_square(one, sample.true, columns) for name, one in sample.baselines.items()},
                floor,
                None if variances is None else _root_of_mean(variances[:, columns]),
            )
        )
    return found


def _are_shares(true: Array, counts: Array, questions: Questions) -> bool:
    """Whether targets (N, K) are the shares of votes (N, K), and not debiased, or the answer that won."""
    conditional, met = questions.conditional(counts)
    several = np.array(questions.sizes) > 1
    comparable = np.isfinite(true) & (met & several)[:, questions.question_of]
    difference = np.abs(questions.cumulative(conditional) - true)[comparable]
    return not difference.size or bool(difference.max() < _ROUNDED)


def _of_columns(sample: Sample, columns: slice) -> list[Estimate]:
    """Returns the RMSE and the MAE of some columns."""
    known = sample.known[:, columns]
    difference = np.where(known, sample.predicted[:, columns] - np.nan_to_num(sample.true[:, columns]), 0)
    each = [part.sum(axis=1) for part in (np.square(difference), np.abs(difference), known)]
    if not known.any():
        return [Estimate(np.nan, np.nan, np.nan)] * 2

    def figures(sums: Array) -> Array:
        return np.array([np.sqrt(sums[0] / sums[2]), sums[1] / sums[2]]) if sums[2] else np.full(2, np.nan)

    value, low, high = bootstrap(np.stack(each, axis=1).astype(np.float64), figures)
    return [Estimate(*map(float, ends)) for ends in zip(value, low, high, strict=True)]


def determination(predicted: Array, true: Array) -> float:
    """R2, the mean over the columns (N, K) whose known targets vary; NaN if none does.

    It is the definition of `galaxy.learning.metrics.FractionMetrics`.
    """
    found = []
    for column in range(true.shape[1]):
        known = np.isfinite(true[:, column])
        target = true[known, column]
        around = np.square(target - target.mean()).sum() if known.any() else 0.0
        if around > 1e-12 * np.square(target).sum():
            found.append(1 - np.square(predicted[known, column] - target).sum() / around)
    return float(np.mean(found)) if found else float("nan")


def root_mean_square(predicted: Array, true: Array, columns: slice = slice(None)) -> float:
    """The RMSE of some columns over the known entries; NaN if nothing is known."""
    return _root_of_mean(np.square(predicted - true)[:, columns])


def _weighted(sample: Sample, weights: Array, columns: slice) -> float:
    """The root of the weighted mean squared error of some columns; NaN if nothing is known."""
    squares = np.square(sample.predicted - np.nan_to_num(sample.true))[:, columns]
    weights = weights[:, columns]
    return float(np.sqrt(np.average(squares, weights=weights))) if weights.any() else float("nan")


def galaxy_errors(sample: Sample) -> Array:
    """The RMSE of each galaxy over its known answers, (N,); NaN if none is known."""
    known = sample.known
    squares = np.where(known, np.square(sample.predicted - sample.true), 0).sum(axis=1)
    counts = known.sum(axis=1)
    return np.sqrt(np.where(counts > 0, squares / np.maximum(counts, 1), np.nan))


def scatter(true: Array, counts: Array, questions: Questions) -> Array:
    """The variance of each fraction because only some volunteers were asked, (N, K).

    A fraction p of n votes has the variance p (1 - p) / n. The p of these votes is not that of a larger
    crowd, and n - 1 in place of n makes up for it. A cumulative fraction is one of all who began, so n is the
    number of votes on the question at the top of its branch.

    Returns:
        NaN where the fraction is unknown or fewer than two volunteers voted.
    """
    variances = np.full(true.shape, np.nan)
    for index, columns in enumerate(questions.slices):
        top = index
        while (parent := questions.parents[top]) is not None:
            top = int(questions.question_of[parent])
        votes = counts[:, questions.slices[top]].sum(axis=1, keepdims=True)
        part = np.clip(true[:, columns], 0, 1)
        variances[:, columns] = np.where(votes > 1, part * (1 - part) / np.maximum(votes - 1, 1), np.nan)
    return variances


def bootstrap(
    parts: Array, function: Callable[[Array], Array], draws: int = DRAWS, seed: int = 0
) -> tuple[Array, Array, Array]:
    """Measures a function of sums over galaxies, and how it varies over samples of galaxies.

    Args:
        parts: (N, P) what each galaxy adds to the sums.
        function: The figures that follow from the sums (P,).
        draws: The number of samples, drawn with replacement.
        seed: The seed of the samples.

    Returns:
        The figures, and the lower and upper ends of the intervals that hold `LEVEL` of the samples.
    """
    rng = np.random.default_rng(seed)
    value = function(parts.sum(axis=0))
    drawn = []
    for _ in range(draws):
        times = np.bincount(rng.integers(0, len(parts), len(parts)), minlength=len(parts))
        drawn.append(function(times @ parts))
    outside = (1 - LEVEL) / 2
    low, high = np.nanquantile(np.stack(drawn), [outside, 1 - outside], axis=0)
    return value, low, high


def _root_of_mean(squares: Array) -> float:
    known = squares[np.isfinite(squares)]
    return float(np.sqrt(known.mean())) if known.size else float("nan")
