"""What images look like, and how the error depends on that."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galaxy.reports.evaluation.errors import Estimate, bootstrap
from galaxy.reports.evaluation.sample import Array, Sample, agreement, asked, shares

BINS = 6


def brightness_and_size(crops: NDArray[np.uint8]) -> tuple[Array, Array]:
    """Measures galaxies in crops (N, S, S, C) uint8.

    The sky is the median of the border, pixel by pixel of the border in the mean over the channels.

    Returns:
        The mean light above the sky (N,), from 0 to 255, and the radius in pixels (N,) around the centre of
        the crop that holds half of this light.
    """
    grey = crops.mean(axis=-1)
    side = grey.shape[1]
    border = np.concatenate([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], axis=1)
    light = np.clip(grey - np.median(border, axis=1)[:, None, None], 0, None)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    order = np.argsort(np.hypot(x, y), axis=None)
    radii = np.hypot(x, y).ravel()[order]
    inside = light.reshape(len(light), -1)[:, order].cumsum(axis=1)
    half = (inside >= inside[:, -1:] / 2).argmax(axis=1)
    return light.mean(axis=(1, 2)), np.where(inside[:, -1] > 0, radii[half], 0.0)


def mean_agreement(sample: Sample) -> Array:
    """The agreement of the volunteers (N,): the mean over the questions they were asked; NaN for none."""
    questions, was_asked = sample.labels.questions, asked(sample)
    each = np.stack(
        [agreement(shares(np.nan_to_num(sample.true), questions, index)) for index in range(len(questions))],
        axis=1,
    )
    counts = was_asked.sum(axis=1)
    total = np.where(was_asked, each, 0).sum(axis=1)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)


@dataclass(frozen=True)
class Trend:
    """The error of galaxies of alike values.

    Attributes:
        name: What the values are.
        middles: The median value of each bin.
        errors: The RMSE of each bin.
        counts: The number of galaxies in each bin.
    """

    name: str
    middles: tuple[float, ...]
    errors: tuple[Estimate, ...]
    counts: tuple[int, ...]


def trend(name: str, values: Array, sample: Sample) -> Trend | None:
    """Measures the RMSE of galaxies binned by values (N,), with as many galaxies in each bin.

    Returns:
        None if there are too few known values, or all are alike.
    """
    known = sample.known
    squares = np.where(known, np.square(sample.predicted - np.nan_to_num(sample.true)), 0).sum(axis=1)
    parts = np.stack([squares, known.sum(axis=1)], axis=1).astype(float)
    usable = np.isfinite(values) & (parts[:, 1] > 0)
    values, parts = values[usable], parts[usable]
    if len(values) < 2 * BINS:
        return None
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
    place = np.searchsorted(edges, values, side="right")
    middles, errors, counts = [], [], []
    for index in np.unique(place).tolist():
        rows = place == index
        value, low, high = bootstrap(parts[rows], lambda sums: np.sqrt(sums[:1] / sums[1:]))
        middles.append(float(np.median(values[rows])))
        errors.append(Estimate(float(value[0]), float(low[0]), float(high[0])))
        counts.append(int(rows.sum()))
    return Trend(name, tuple(middles), tuple(errors), tuple(counts)) if len(middles) > 1 else None
