"""What is fitted on the validation galaxies, and says how sure the predictions for others are."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from galaxy.labels.labels import Labels
from galaxy.reports.evaluation.intervals import LEVEL, Intervals, fit_intervals, fit_least, sets_of
from galaxy.reports.evaluation.sample import Array, Sample, follows_tree
from galaxy.reports.evaluation.scaling import fit_temperatures, scaled
from galaxy.reports.evaluation.unusual import Familiar, Features, fit_familiar
from galaxy.system.errors import UserError
from galaxy.system.files import replacing

_FAMILIAR = ("mean", "std", "components", "known", "threshold")


@dataclass(frozen=True)
class Calibration:
    """What the validation galaxies tell about predictions for other galaxies.

    Attributes:
        labels: What is predicted.
        galaxies: The number of validation galaxies.
        temperatures: (Q,) the scaling of each question; see `galaxy.reports.evaluation.scaling`.
        obeying: Whether the targets obey the tree, so that scaled predictions are put onto it.
        intervals: The intervals of fractions; None for classes.
        least: The probability from which on a class is possible; None for fractions.
        familiar: The training galaxies; None where the model has no features.
    """

    labels: Labels
    galaxies: int
    temperatures: Array
    obeying: bool
    intervals: Intervals | None
    least: float | None
    familiar: Familiar | None

    def scaled(self, predicted: Array) -> Array:
        """Scales predictions (N, K)."""
        return scaled(self.labels.questions, predicted, self.temperatures, self.obeying)

    def table(self, predicted: Array, distances: Array | None = None) -> pd.DataFrame:
        """Says how sure predictions are, a row for each galaxy.

        Args:
            predicted: (N, K) predictions.
            distances: (N,) what `Familiar.distances` says of the same galaxies; None if nobody knows.

        Returns:
            `scaled/<column>`; then `low/<column>` and `high/<column>`, or for classes `possible/<column>`;
            and with distances `distance`, in units of the threshold, and `unusual`.
        """
        columns = self.labels.columns
        parts = {f"scaled/{name}": v for name, v in zip(columns, self.scaled(predicted).T, strict=True)}
        if self.intervals is not None:
            for side, ends in zip(("low", "high"), self.intervals.of(predicted), strict=True):
                parts |= {f"{side}/{name}": values for name, values in zip(columns, ends.T, strict=True)}
        if self.least is not None:
            possible = sets_of(predicted, self.least)
            parts |= {f"possible/{name}": values for name, values in zip(columns, possible.T, strict=True)}
        if distances is not None:
            parts |= {"distance": distances, "unusual": distances > 1}
        table = pd.DataFrame(parts)
        return table.astype({name: np.float32 for name in table if table[name].dtype == np.float64})

    def write(self, path: Path) -> None:
        """Writes a file that `read` reads, whole or not at all."""
        arrays: dict[str, object] = {
            "columns": np.array(self.labels.columns),
            "level": LEVEL,
            "galaxies": self.galaxies,
            "temperatures": self.temperatures,
            "obeying": self.obeying,
        }
        if self.intervals is not None:
            arrays |= {name: getattr(self.intervals, name) for name in ("edges", "lower", "upper")}
        if self.least is not None:
            arrays["least"] = self.least
        if self.familiar is not None:
            arrays |= {name: getattr(self.familiar, name) for name in _FAMILIAR}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        with replacing(path) as temporary:
            temporary.write_bytes(buffer.getvalue())

    @classmethod
    def read(cls, path: Path, labels: Labels) -> Calibration:
        """Reads what `write` has written, for predictions of these labels.

        Raises:
            UserError: The file is missing or damaged, or belongs to other labels.
        """
        try:
            with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            if tuple(arrays["columns"].tolist()) != labels.columns:
                raise UserError(f"{path} was fitted for other labels than these")
            intervals = familiar = None
            if "edges" in arrays:
                intervals = Intervals(arrays["edges"], arrays["lower"], arrays["upper"])
            if "known" in arrays:
                remembered = {name: arrays[name] for name in _FAMILIAR}
                familiar = Familiar(**{**remembered, "threshold": float(arrays["threshold"])})
            return cls(
                labels,
                int(arrays["galaxies"]),
                arrays["temperatures"],
                bool(arrays["obeying"]),
                intervals,
                float(arrays["least"]) if "least" in arrays else None,
                familiar,
            )
        except (OSError, EOFError, ValueError, LookupError, BadZipFile, zlib.error) as error:
            raise UserError(f"{path} cannot be read: {error}") from None


def fit_calibration(validation: Sample, features: tuple[Features, Features] | None = None) -> Calibration:
    """Fits everything on validation galaxies.

    Args:
        validation: Their predictions, made as those that are to be judged.
        features: The features of training galaxies and of validation galaxies; None where the model has none.
    """
    labels, predicted, true = validation.labels, validation.predicted, validation.true
    obeying = follows_tree(labels, true)
    classes = labels.kind == "classes"
    return Calibration(
        labels,
        len(validation),
        fit_temperatures(labels, predicted, true, obeying),
        obeying,
        None if classes else fit_intervals(predicted, true),
        fit_least(predicted, true) if classes else None,
        None if features is None else fit_familiar(*features),
    )
