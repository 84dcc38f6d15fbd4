"""Scores trained models on any catalog, or predicts a catalog that has no labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from galaxy.labels.labels import Labels
from galaxy.learning.metrics import FractionMetrics
from galaxy.runs.catalogue_files import check_catalogue, is_catalogue
from galaxy.runs.ensembles import Ensemble, Together
from galaxy.runs.evaluation_files import (
    OUTPUTS,
    default_folder,
    make_folder,
    subject,
    write_files,
    write_metrics,
)
from galaxy.runs.experiment import Config
from galaxy.runs.galaxies import Galaxies, Split, choose_galaxies
from galaxy.runs.members import Member
from galaxy.runs.predict import Predictions, values
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
        scored: The metrics of the predictions; None where there are no labels, or no galaxy is unseen.
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


def evaluate(
    files: Sequence[Path],
    data: Config,
    choice: str,
    split: Split = "test",
    tta: int = 1,
    out: Path | None = None,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    needs_labels: bool = False,
) -> Evaluation:
    """Predicts a split and writes the predictions, and the metrics where there are labels.

    Args:
        files: The checkpoints; what several predict is put together, see `galaxy.runs.ensembles`.
        data: The node `data` of a configuration.
        choice: The name of the data, as in `data=`.
        split: Which galaxies. All galaxies are predicted where there are no labels.
        tta: The number of views whose predictions are averaged; see `galaxy.images.views`.
        out: The folder of the results; None for that of `default_folder`. Or a file for a table of the
            predictions beside these, which then hold all columns of the user's table; see `is_catalogue`.
        accelerator: Where to compute.
        needs_labels: Whether galaxies that cannot be scored are refused before anything is predicted.

    Raises:
        UserError: A checkpoint, the data or the folder cannot be used, or the splits would leak.
    """
    keep_freed_memory()
    device = device_for(accelerator)
    catalogue = out if out is not None and is_catalogue(out) else None
    if catalogue is not None:
        check_catalogue(catalogue)
    ensemble = Ensemble([Member(file) for file in files])
    members = ensemble.members
    read = data if catalogue is None else _with_all_columns(data)
    galaxies = choose_galaxies(members, ensemble.labels, ensemble.target, read, split)
    if needs_labels:
        _check_scored(galaxies)
    folder = out
    if folder is None or catalogue is not None:
        which = galaxies.split if galaxies.labelled else "unlabelled"
        folder = default_folder(members, choice, data, which, tta)
    make_folder(folder)
    found = ensemble.predict(galaxies, read, tta, device)

    checkpoints = [str(file) for file in files]
    asked = {"checkpoints": checkpoints, "split": galaxies.split, "tta": tta, "data": choice, **subject(data)}
    write_files(folder, asked, found.predictions)
    if catalogue is not None:
        found.predictions.write(catalogue, _facts(asked, ensemble.labels))
    errors = {member.name: error for member, error in zip(members, found.members, strict=False)}
    counted, scored, unaveraged = _score(found, galaxies, folder, {"root": str(data["root"])}, errors)
    runs = f"{len(files)} runs, " if len(files) > 1 else ""
    title = f"data: {choice}, split={galaxies.split}, tta={tta}: {len(found.predictions.rows):,} galaxies"
    return Evaluation(
        folder,
        runs + title,
        galaxies.notes(len(files)),
        found.predictions,
        counted,
        scored,
        unaveraged,
        errors,
        ensemble.along_tree,
        catalogue,
    )


def _check_scored(galaxies: Galaxies) -> None:
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


def _with_all_columns(data: Config) -> Config:
    """The data, with all columns of the user's table unless he has chosen some."""
    catalog = data["catalog"]
    if "extra_columns" not in catalog or catalog["extra_columns"] is not None:
        return data
    return {**data, "catalog": {**catalog, "extra_columns": "all"}}


def _facts(asked: dict[str, Any], labels: Labels) -> dict[str, str]:
    """Where predictions come from, for the header of a FITS file."""
    names = {"DATA": "data", "ROOT": "root", "SPLIT": "split", "VIEWS": "tta"}
    facts = {keyword: str(asked[name]) for keyword, name in names.items()}
    return {"CHECKPT": ", ".join(asked["checkpoints"]), **facts, "LABELS": labels.meaning}


def device_for(accelerator: Literal["auto", "cpu", "gpu"]) -> torch.device:
    """Returns where to compute.

    Raises:
        UserError: There is no GPU.
    """
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("accelerator=gpu, but torch finds no GPU; use accelerator=auto")
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")
