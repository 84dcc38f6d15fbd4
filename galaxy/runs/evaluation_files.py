"""The folder of an evaluation: its name, and the files in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from galaxy.learning.metrics import FractionMetrics
from galaxy.runs.confusion import write_confusion
from galaxy.runs.experiment import Config
from galaxy.runs.finding import RUNS
from galaxy.runs.folder import RunFolder
from galaxy.runs.members import Member
from galaxy.runs.predict import Predictions, values, write_columns
from galaxy.system.errors import UserError
from galaxy.system.files import check_writable, write_json, write_text

# What `galaxy.reports.evaluation` writes: the page, what was fitted, and what that says about each galaxy.
PAGE, CALIBRATION, CALIBRATED = "report.html", "calibration.npz", "calibration.parquet"
# The folder of the validation galaxies that it was fitted on.
VALIDATION = "validation"
OUTPUTS = (
    "evaluation.json",
    "metrics.json",
    "predictions.csv",
    "predictions.parquet",
    "columns.csv",
    "confusion.csv",
    "confusion.png",
    "skipped.txt",
    "failures.csv",
    "submission.csv",
    PAGE,
    CALIBRATION,
    CALIBRATED,
    # `galaxy.reports.similar` writes these.
    "similar.html",
    "oddities.csv",
    "embeddings.parquet",
)


def subject(data: Config) -> dict[str, Any]:
    """Returns the settings that decide what is evaluated."""
    catalog = {key: value for key, value in data["catalog"].items() if key != "workers"}
    root = str(Path(data["root"]).expanduser().resolve())
    return {"root": root, "limit": data["limit"], "on_bad": data["on_bad"], "catalog": catalog}


def default_folder(members: Sequence[Member], choice: str, data: Config, galaxies: str, tta: int) -> Path:
    """Returns a folder that is named by all that tells evaluations apart.

    It is in `evaluation/` of the run, or beside a checkpoint without one. That of several runs is in
    `runs/ensembles/`.

    Args:
        members: The models.
        choice: The name of the data, as in `data=`.
        data: The node `data` of a configuration.
        galaxies: The split, or "unlabelled".
        tta: The number of views.
    """
    first, about = members[0], subject(data)
    home = _home(members)
    trained = subject(first.config["data"])
    elsewhere = [Path(about["root"]).name] if about["root"] != trained["root"] else []
    if len(members) > 1:
        files = sorted(str(member.file.resolve()) for member in members)
        parts = [choice, *elsewhere, galaxies, f"{len(members)}runs", f"tta{tta}", _digest([about, files])]
        return home / "-".join(parts)
    other = [first.file.stem] if first.file.name != first.run.best.name else []
    # The digest tells apart folders of one name, and other settings of the catalog.
    digest = [_digest(about)] if about != trained else []
    return home / "-".join([choice, *elsewhere, galaxies, *other, f"tta{tta}", *digest])


def evaluations(members: Sequence[Member]) -> list[Path]:
    """Returns the folders of evaluations of a model, or of several, that `default_folder` has named."""
    return [path.parent for path in _home(members).glob(f"*/{OUTPUTS[0]}")]


def _home(members: Sequence[Member]) -> Path:
    """The folder of all evaluations of a model, or of several."""
    first = members[0]
    if len(members) > 1:
        return RUNS / "ensembles"
    return (first.run.path if first.run.begun else first.file.parent) / "evaluation"


def make_folder(folder: Path) -> None:
    """Makes the folder of an evaluation.

    Raises:
        UserError: The folder holds something else than an evaluation, or cannot be made.
    """
    check_folder(folder)
    check_writable(folder)


def check_folder(folder: Path) -> None:
    """Refuses a folder that holds something else than an evaluation.

    Raises:
        UserError: It does.
    """
    if RunFolder(folder).begun:
        raise UserError(f"out={folder} is a run folder, whose files have the same names: give another folder")
    held = sorted(path.name for path in folder.iterdir() if path.name[0] != ".") if folder.is_dir() else []
    if held and OUTPUTS[0] not in held:
        shown = ", ".join(held[:3]) + (", ..." if len(held) > 3 else "")
        raise UserError(f"out={folder} holds {shown}, which no evaluation has written: give a new folder")


def begin_folder(folder: Path, asked: dict[str, Any]) -> None:
    """Removes all files of an earlier evaluation, and writes what is evaluated now."""
    # An earlier evaluation may have had labels where this one has none. Its first file stays until it is
    # replaced, because it tells the folder from others.
    for name in OUTPUTS[1:]:
        (folder / name).unlink(missing_ok=True)
    if (folder / VALIDATION / OUTPUTS[0]).exists():
        shutil.rmtree(folder / VALIDATION)
    write_json(folder / OUTPUTS[0], asked)


def write_files(folder: Path, asked: dict[str, Any], predictions: Predictions) -> None:
    """Writes the predictions in place of all files of an earlier evaluation.

    Args:
        folder: The folder.
        asked: What was evaluated.
        predictions: The predictions.
    """
    begin_folder(folder, asked)
    for suffix in (".parquet", ".csv"):
        predictions.write(folder / f"predictions{suffix}")
    write_columns(folder / "columns.csv", predictions.labels)
    catalog = predictions.catalog
    if catalog.skipped:
        write_text(folder / "skipped.txt", "\n".join(catalog.skipped) + "\n")


def write_metrics(folder: Path, facts: dict[str, Any], scored: Predictions, metrics: FractionMetrics) -> None:
    """Writes the metrics, and the confusion matrix of classes.

    Args:
        folder: The folder.
        facts: What else there is to say about the figures.
        scored: The predictions that they are about.
        metrics: Their metrics.
    """
    labels = scored.catalog.labels
    assert labels is not None
    known = {"galaxies": len(scored.rows), "labels": labels.meaning}
    write_json(folder / "metrics.json", {**known, **facts, "metrics": values(metrics)})
    write_confusion(folder, labels, metrics)


def _digest(value: Any) -> str:
    return blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=4).hexdigest()
