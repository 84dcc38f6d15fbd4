"""What the validation galaxies of a run say about its predictions for the galaxies of a catalogue."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galaxy.reports.evaluation.calibration import Calibration
from galaxy.reports.evaluation.intervals import LEVEL
from galaxy.runs.evaluation_files import CALIBRATION, OUTPUTS, evaluations
from galaxy.runs.request import Request


@dataclass(frozen=True)
class Appraisal:
    """Says how far the predictions of a catalogue can be trusted.

    Attributes:
        calibration: What was fitted on the validation galaxies.
        facts: Where it comes from.
    """

    calibration: Calibration
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def meanings(self) -> dict[str, str]:
        """What the columns of `table` mean."""
        words = {"distance": "distance from the training galaxies, in units of the threshold of unusual"}
        words |= {"unusual": "whether the galaxy is unlike those of the training"}
        sides = {
            "scaled": "calibrated on the validation galaxies",
            "low": f"lower end of the interval that holds {LEVEL:.0%} of such galaxies",
            "high": f"upper end of the interval that holds {LEVEL:.0%} of such galaxies",
            "possible": f"whether it is among the classes that hold the true one for {LEVEL:.0%}",
        }
        for name, text in zip(self.calibration.labels.columns, self.calibration.labels.texts, strict=True):
            words |= {f"{side}/{name}": f"{text} ({meaning})" for side, meaning in sides.items()}
        return words

    def table(self, predicted: NDArray[np.float64], features: NDArray[np.float32] | None) -> pd.DataFrame:
        """Returns the columns for predictions (N, K) with features (N, F); see `Calibration.table`."""
        familiar = self.calibration.familiar
        unlike = None if familiar is None or features is None else familiar.distances(features)
        return self.calibration.table(predicted, unlike)


def find_appraisal(request: Request) -> Appraisal | None:
    """Finds what an evaluation with `report=true` has fitted for the same checkpoints and views.

    Returns:
        The latest one among the evaluations of the run, or of several runs; None if there is none.
    """
    for folder in sorted(evaluations(request.ensemble.members), key=_age, reverse=True):
        if not (folder / CALIBRATION).exists():
            continue
        asked = json.loads((folder / OUTPUTS[0]).read_text(encoding="utf-8"))
        if (asked.get("models"), asked.get("tta")) == (request.models, request.tta):
            path = folder / CALIBRATION
            return Appraisal(Calibration.read(path, request.ensemble.labels), {"calibration": str(path)})
    return None


def _age(folder: Path) -> float:
    return folder.stat().st_mtime
