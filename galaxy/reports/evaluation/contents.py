"""What the page of an evaluation shows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from galaxy.reports.evaluation.calibration import Calibration
from galaxy.reports.evaluation.confusion import Confusion
from galaxy.reports.evaluation.errors import Errors
from galaxy.reports.evaluation.gallery import Gallery
from galaxy.reports.evaluation.properties import Trend
from galaxy.reports.evaluation.sample import Array, Sample
from galaxy.reports.evaluation.stability import Stability


@dataclass(frozen=True)
class Report:
    """What the page shows.

    Attributes:
        title: The data, the split and the number of galaxies, in words.
        facts: What was evaluated, by names.
        sample: The galaxies.
        errors: The errors on all columns, and on those of each question.
        confusions: The likeliest answers to each question.
        calibration: What was fitted on validation galaxies; None if there are none.
        distances: (N,) how unlike the training galaxies they are; None if the model has no features.
        galleries: The galaxies that are shown.
        crops: Their crops (S, S, C) uint8, by their places in the sample.
        maps: Where the model looks (S, S), by the places of some of them.
        stability: The change under rotations and mirroring.
        trends: The error against properties of galaxies.
        notes: What is left out, and why.
    """

    title: str
    facts: dict[str, str]
    sample: Sample
    errors: list[Errors]
    confusions: list[Confusion]
    calibration: Calibration | None
    distances: Array | None
    galleries: list[Gallery]
    crops: dict[int, NDArray[np.uint8]]
    maps: dict[int, Array]
    stability: Stability
    trends: list[Trend]
    notes: list[str] = field(default_factory=list)
