"""Which galaxies a report shows: typical ones, the best, the worst and the most surprising."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galaxy.data.splits import sample_rows
from galaxy.reports.evaluation.errors import galaxy_errors
from galaxy.reports.evaluation.sample import Array, Sample

# Galaxies of a gallery.
SHOWN = 8
# An error beyond an interval counts in units of its width, but no smaller than this.
_NARROWEST = 0.05


@dataclass(frozen=True)
class Gallery:
    """Galaxies that are shown together.

    Attributes:
        title: What they have in common.
        text: How they were chosen, in a sentence.
        places: Their places in the sample.
    """

    title: str
    text: str
    places: NDArray[np.int64]


def galleries(
    sample: Sample, ids: NDArray[np.int64], surprises: Array | None, distances: Array | None
) -> list[Gallery]:
    """Chooses the galaxies.

    Args:
        sample: The galaxies.
        ids: (N,) their ids, by which the typical ones are drawn.
        surprises: (N,) how far the truth lies outside of what was thought possible; None if nobody knows.
        distances: (N,) how unlike the training galaxies they are; None if nobody knows.
    """
    errors = galaxy_errors(sample)
    known = np.flatnonzero(np.isfinite(errors))
    order = known[np.argsort(errors[known], kind="stable")]
    drawn = known[sample_rows(ids[known], SHOWN)]
    found = [
        Gallery("A random sample", "What the model usually does.", drawn),
        Gallery("The worst", "The galaxies with the largest errors.", order[::-1][:SHOWN]),
    ]
    if surprises is not None:
        places = known[np.argsort(-surprises[known], kind="stable")][:SHOWN]
        text = "The model was sure, and wrong: the truth lies furthest outside of what it held possible."
        found.append(Gallery("The most surprising", text, places[surprises[places] > 0]))
    if distances is not None:
        places = known[np.argsort(-distances[known], kind="stable")][:SHOWN]
        text = "The galaxies that are least like those of the training."
        found.append(Gallery("The most unusual", text, places))
    found.append(Gallery("The best", "The galaxies with the smallest errors.", order[:SHOWN]))
    return [gallery for gallery in found if len(gallery.places)]


def surprise_of_intervals(low: Array, high: Array, true: Array) -> Array:
    """How far true fractions lie outside of their intervals, in widths of these: the mean of each galaxy."""
    beyond = np.maximum(np.maximum(low - true, true - high), 0) / np.maximum(high - low, _NARROWEST)
    known = np.isfinite(beyond)
    return np.where(known, beyond, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)


def surprise_of_classes(predicted: Array, true: Array) -> Array:
    """How much likelier the predicted class was thought than the true one, (N,)."""
    of_true = np.take_along_axis(predicted, np.nan_to_num(true, nan=-1).argmax(axis=1)[:, None], axis=1)
    return predicted.max(axis=1) - of_true[:, 0]
