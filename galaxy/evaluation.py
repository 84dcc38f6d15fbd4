"""Scores a checkpoint on any catalog, or predicts a catalog that has no labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from galaxy import build
from galaxy.catalogs.kaggle import LABELS as KAGGLE_LABELS
from galaxy.checkpoint import load_model
from galaxy.datamodule import GalaxyDataModule
from galaxy.errors import UserError
from galaxy.files import write_json, write_text
from galaxy.labels import Labels
from galaxy.prediction import predict, score, values, write_predictions
from galaxy.report import metrics_table, write_confusion
from galaxy.runs import SPLIT_SETTINGS, RunFolder
from galaxy.submission import write_submission

OUTPUTS = (
    "metrics.json",
    "predictions.csv",
    "predictions.parquet",
    "confusion.csv",
    "confusion.png",
    "skipped.txt",
    "submission.csv",
)


def evaluate(
    data: dict[str, Any] | None = None,
    choice: str | None = None,
    run: str | None = None,
    checkpoint: str | None = None,
    split: Literal["train", "val", "test", "all"] = "test",
    tta: Literal[1, 4, 8] = 1,
    out: str | None = None,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
) -> dict[str, float]:
    """Predicts a split and writes the predictions, and the metrics where there are labels.

    Args:
        data: Configuration of the data; None only where the command line names neither them nor a run folder.
        choice: Its name, as in `data=`.
        run: Folder of a run, whose best checkpoint is taken.
        checkpoint: Or a checkpoint.
        split: Which galaxies; those without labels are always all predicted.
        tta: Number of views whose predictions are averaged.
        out: Folder of the results.
        accelerator: Where to compute.

    Returns:
        The metrics; empty without labels.
    """
    if (run is None) == (checkpoint is None):
        raise UserError("give one of run=DIR, the folder of a run, and checkpoint=FILE")
    if run is not None:
        RunFolder(Path(run)).config()  # which says so if this is not a run folder
    file = RunFolder(Path(run)).best if run is not None else Path(checkpoint or "")
    model, labels, config = load_model(file)
    if data is None:
        raise UserError(f"{file} is not in a run folder, so give the data as well: data=... data.root=...")
    device = _device(accelerator)
    module = build.datamodule({**config, "data": data})
    module.setup()
    catalog = module.catalog
    if catalog.targets is None:
        split = "all"
    else:
        _same_labels(labels, module)
        if split != "all":
            _same_splits(data, file, config["data"])
    rows = module.rows["all"] if split == "all" else module.labelled_rows(split)
    fractions = predict(model, module, split, device, tta)

    galaxies = "unlabelled" if catalog.targets is None else split
    folder = Path(out) if out else _default_folder(file, choice, data, config["data"], galaxies, tta)
    metrics = _write(folder, module, labels, rows, fractions)
    console = Console()
    if metrics:
        meaning = labels.meaning
        if module.labels.meaning != meaning:
            meaning = f"{meaning} predictions of {module.labels.meaning}"
        title = f"{split} split of {choice}: {len(rows):,} galaxies, {meaning} labels, tta={tta}"
        console.print(metrics_table(labels, metrics, title))
    for name in OUTPUTS:
        if (folder / name).exists():
            console.print(str(folder / name), markup=False, highlight=False, soft_wrap=True)
    return metrics


def _write(
    folder: Path,
    data: GalaxyDataModule,
    labels: Labels,
    rows: NDArray[np.int64],
    fractions: NDArray[np.float32],
) -> dict[str, float]:
    """Writes the predictions and what can be said of them; returns the metrics."""
    catalog = data.catalog
    for name in OUTPUTS:  # of an earlier evaluation, which may have had labels where this one has none
        (folder / name).unlink(missing_ok=True)
    for suffix in (".parquet", ".csv"):
        write_predictions(folder / f"predictions{suffix}", labels, catalog, rows, fractions)
    if catalog.skipped:
        write_text(folder / "skipped.txt", "\n".join(catalog.skipped) + "\n")
    metrics: dict[str, float] = {}
    if catalog.targets is not None:
        weights = None if catalog.weights is None else catalog.weights[rows]
        scored = score(labels, fractions, catalog.targets[rows], weights)
        metrics = values(scored)
        facts = {"galaxies": len(rows), "labels": data.labels.meaning, "root": str(data.root)}
        write_json(folder / "metrics.json", {**facts, "metrics": metrics})
        write_confusion(folder, labels, scored)
    elif catalog.name == "kaggle" and labels.compatible(KAGGLE_LABELS):
        write_submission(folder / "submission.csv", data.root, catalog.ids[rows], fractions)
    return metrics


def _same_labels(labels: Labels, data: GalaxyDataModule) -> None:
    """Refuses labels that answer other questions than those the model was asked."""
    if not labels.compatible(data.labels):
        raise UserError(
            f"the model predicts {len(labels.columns)} {labels.meaning} {labels.kind}, but "
            f"data={data.catalog.name} has {len(data.labels.columns)} {data.labels.meaning} "
            f"{data.labels.kind}: they do not compare. data=folder predicts the images without scoring them"
        )


def _same_splits(data: dict[str, Any], file: Path, trained: dict[str, Any]) -> None:
    """Refuses splits under which a galaxy that was trained on would count as unseen."""
    run = RunFolder(file.parent.parent)
    settings = run.split_settings() if run.config_file.exists() else trained
    for key in SPLIT_SETTINGS:
        if data[key] != settings[key]:
            raise UserError(
                f"data.{key} is {data[key]}, but the run was trained with {settings[key]}, so its splits are "
                "others: leave it out, or evaluate split=all of galaxies that the run has not seen"
            )


def _default_folder(
    file: Path, choice: str | None, data: dict[str, Any], trained: dict[str, Any], galaxies: str, tta: int
) -> Path:
    """A folder beside the checkpoint's run, named by all that tells its evaluations apart."""
    run = RunFolder(file.parent.parent)
    home = run.path if run.config_file.exists() else file.parent
    elsewhere = [Path(data["root"]).name] if data["root"] != trained["root"] else []
    other = [file.stem] if file.name != run.best.name else []
    parts = [str(choice), *elsewhere, galaxies, *other, f"tta{tta}"]
    return home / "evaluation" / "-".join(parts)


def _device(accelerator: str) -> torch.device:
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("accelerator=gpu, but torch finds no GPU; use accelerator=auto")
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")
