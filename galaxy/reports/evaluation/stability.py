"""How far predictions move when the image is turned or mirrored, which says nothing new about a galaxy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from galaxy.labels.labels import Labels
from galaxy.reports.evaluation.sample import Array


@dataclass(frozen=True)
class Stability:
    """How far predictions of some galaxies move, as root mean squares over galaxies and answers.

    Attributes:
        galaxies: The number of galaxies.
        views: The change from the image as it is to each of the other views.
        spread: The spread over all views around their mean.
        questions: The spread on the answers of each question, by its key.
    """

    galaxies: int
    views: tuple[float, ...]
    spread: float
    questions: dict[str, float]


def stability(labels: Labels, views: Array) -> Stability:
    """Measures predictions (V, N, K) of the same galaxies under V views, of which the first is the image."""
    deviations = np.square(views - views.mean(axis=0)).mean(axis=(0, 1))
    return Stability(
        views.shape[1],
        tuple(np.sqrt(np.square(views[1:] - views[0]).mean(axis=(1, 2))).tolist()),
        float(np.sqrt(deviations.mean())),
        {
            question.key: float(np.sqrt(deviations[columns].mean()))
            for question, columns in zip(labels.questions, labels.questions.slices, strict=True)
        },
    )
