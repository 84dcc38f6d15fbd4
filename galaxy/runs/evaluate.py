"""Scores trained models on a catalog that has labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galaxy.learning.metrics import FractionMetrics
from galaxy.runs.ensembles import Together
from galaxy.runs.evaluation_files import OUTPUTS, make_folder, write_files, write_metrics
from galaxy.runs.galaxies import Galaxies
from galaxy.runs.predict import Predictions, values
from galaxy.runs.request import Request
from galaxy.system.errors import UserError
from galaxy.system.machine import keep_freed_memory


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        folder: Where the files are.
        title: The data, the split and the number of galaxies, in words.
        notes: What there is to know about the choice of the galaxies, in sentences.
        predictions: The predictions.
        counted: Those that are scored; None where there are none.
        scored: The metrics of the predictions; None where no galaxy is unseen.
        unaveraged: The metrics of one view where several were averaged; else None.
        members: The RMSE of each of several runs by its name.
        along_tree: Whether each of these runs answers one question of a tree.
        catalogue: The table of predictions that was asked for; None if none was.
    """

    folder: Path
    title: str
    notes: tuple[str, ...]
    predictions: Predictions
    counted: Predictions | None
    scored: FractionMetrics | None
    unaveraged: FractionMetrics | None
    members: dict[str, float]
    along_tree: bool
    catalogue: Path | None

    def files(self) -> list[Path]:
        """Returns the files that were written."""
        files = [self.folder / name for name in OUTPUTS if (self.folder / name).exists()]
        return files if self.catalogue is None else [*files, self.catalogue]


def evaluate(request: Request) -> Evaluation:
    """Predicts labelled galaxies, and writes the predictions and the metrics.

    Args:
        request: The models, the galaxies and the place of the results. A table of the predictions may be
            asked for beside the folder.

    Raises:
        UserError: The data or the folder cannot be used, or the splits would leak.
    """
    keep_freed_memory()
    ensemble, galaxies, catalogue = request.ensemble, request.galaxies, request.catalogue
    folder = request.folder
    make_folder(folder)
    found = ensemble.predict(galaxies, request.data, request.tta, request.device)
    write_files(folder, request.asked(), found.predictions)
    if catalogue is not None:
        found.predictions.write(catalogue, {**request.facts(), "split": galaxies.split})
    members = ensemble.members
    errors = {member.name: error for member, error in zip(members, found.members, strict=False)}
    counted, scored, unaveraged = _score(found, galaxies, folder, {"root": str(request.data["root"])}, errors)
    return Evaluation(
        folder,
        f"{request.title}: {len(found.predictions.rows):,} galaxies",
        galaxies.notes(len(members)),
        found.predictions,
        counted,
        scored,
        unaveraged,
        errors,
        ensemble.along_tree,
        catalogue,
    )


def check_scored(galaxies: Galaxies) -> None:
    """Refuses galaxies of which none can be scored."""
    if galaxies.scored.any():
        return
    lack = "was seen in training" if galaxies.labelled else "has no labels"
    raise UserError(
        f"report=true compares predictions with labels, and each of these galaxies {lack}: evaluate others, "
        "or leave report=true out"
    )


def _score(
    found: Together, galaxies: Galaxies, folder: Path, facts: dict[str, Any], errors: dict[str, float]
) -> tuple[Predictions | None, FractionMetrics | None, FractionMetrics | None]:
    """Scores the galaxies that count, and writes the figures.

    Returns:
        The predictions of these galaxies, their metrics, and those of one of several views.
    """
    if not galaxies.scored.any():
        return None, None, None
    counted = found.predictions.within(galaxies.scored)
    scored, unaveraged = counted.metrics(), None
    if errors:
        facts = {**facts, "runs": errors}
    if found.one_view is not None:
        unaveraged = found.one_view.within(galaxies.scored).metrics()
        facts = {**facts, "metrics_without_tta": values(unaveraged)}
    write_metrics(folder, facts, counted, scored)
    return counted, scored, unaveraged
