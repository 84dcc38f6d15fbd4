"""Scores a checkpoint on any catalog, or predicts a catalog that has no labels."""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from galaxy.data.datamodule import GalaxyDataModule
from galaxy.data.splits import SPLITS, read_splits
from galaxy.labels.labels import Labels
from galaxy.reports.tables import metrics_tables, write_confusion
from galaxy.runs import build
from galaxy.runs.checkpoint import load_model
from galaxy.runs.folder import SPLIT_SETTINGS, RunFolder
from galaxy.runs.predict import predict, score, values, write_predictions
from galaxy.surveys.kaggle import LABELS as KAGGLE_LABELS
from galaxy.surveys.submission import write_submission
from galaxy.system.errors import UserError
from galaxy.system.files import explained, write_json, write_text
from galaxy.system.machine import keep_freed_memory

OUTPUTS = (
    "evaluation.json",
    "metrics.json",
    "predictions.csv",
    "predictions.parquet",
    "confusion.csv",
    "confusion.png",
    "skipped.txt",
    "submission.csv",
)


def score_checkpoint(
    file: Path, data: dict[str, Any], choice: str, split: str, tta: int, out: Path | None, accelerator: str
) -> dict[str, float]:
    """Predicts a split with a checkpoint; see `galaxy.runs.evaluation.evaluate`."""
    keep_freed_memory()
    device = _device(accelerator)
    model, labels, config = load_model(file)
    module = build.datamodule({**config, "data": data})
    module.device = device
    module.read()
    labelled = module.catalog.targets is not None
    if labelled:
        _same_labels(labels, module)
        if split != "all":
            _same_splits(data, file, config["data"])
    else:
        split = "all"
    own = _subject(config["data"])
    folder = out or _default_folder(file, choice, data, own, split if labelled else "unlabelled", tta)
    _make_folder(folder)
    module.setup()
    rows = module.labelled_rows(split) if labelled and split != "all" else module.rows[split]
    fractions = predict(model, module, split, device, tta)
    for name in OUTPUTS:  # of an earlier evaluation, which may have had labels where this one has none
        (folder / name).unlink(missing_ok=True)
    asked = {"checkpoint": str(file), "split": split, "tta": tta, "data": choice, **_subject(data)}
    write_json(folder / "evaluation.json", asked)
    _write_predictions(folder, module, labels, rows, fractions)
    title = f"data: {choice}, split={split}, tta={tta}: {len(rows):,} galaxies"
    metrics = _write_metrics(folder, module, labels, rows, fractions, title) if labelled else {}
    console = Console()
    if labelled and split == "all":
        _say_trained_on(console, file, module)
    for name in OUTPUTS:
        if (folder / name).exists():
            console.print(str(folder / name), markup=False, highlight=False, soft_wrap=True)
    return metrics


def _make_folder(folder: Path) -> None:
    """Makes the folder of an evaluation, in which nothing but another one may have been before.

    Raises:
        UserError: It is something else, or cannot be made.
    """
    if RunFolder(folder).overrides_file.exists():
        raise UserError(f"out={folder} is a run folder, whose files have the same names: give another folder")
    others = [name for name in OUTPUTS if (folder / name).exists()]
    if others and OUTPUTS[0] not in others:
        raise UserError(f"out={folder} has a {others[0]}, which is of no evaluation: give another folder")
    with explained(folder / OUTPUTS[0]):
        folder.mkdir(parents=True, exist_ok=True)


def _write_predictions(
    folder: Path,
    data: GalaxyDataModule,
    labels: Labels,
    rows: NDArray[np.int64],
    fractions: NDArray[np.float32],
) -> None:
    catalog = data.catalog
    for suffix in (".parquet", ".csv"):
        write_predictions(folder / f"predictions{suffix}", labels, catalog, rows, fractions)
    if catalog.skipped:
        write_text(folder / "skipped.txt", "\n".join(catalog.skipped) + "\n")
    if catalog.targets is None and catalog.name == "kaggle" and labels.compatible(KAGGLE_LABELS):
        write_submission(folder / "submission.csv", data.root, catalog.ids[rows], fractions)


def _write_metrics(
    folder: Path,
    data: GalaxyDataModule,
    labels: Labels,
    rows: NDArray[np.int64],
    fractions: NDArray[np.float32],
    title: str,
) -> dict[str, float]:
    """Writes and prints how good the predictions are; returns it."""
    weights = None if data.catalog.weights is None else data.catalog.weights[rows]
    scored = score(labels, fractions, data.targets[rows], weights)
    metrics = values(scored)
    facts = {"galaxies": len(rows), "labels": data.labels.meaning, "root": str(data.root)}
    write_json(folder / "metrics.json", {**facts, "metrics": metrics})
    write_confusion(folder, data.labels, scored)
    trained = "" if labels.meaning == data.labels.meaning else f", predicted as {labels.meaning}"
    console = Console()
    console.print(Text(f"{title}; labels: {data.labels.meaning}{trained}\n", style="bold"))
    for table in metrics_tables(labels, scored, metrics):
        console.print(table)
        console.print()
    return metrics


def _say_trained_on(console: Console, file: Path, data: GalaxyDataModule) -> None:
    """Warns that some of all galaxies are not unseen."""
    recorded = RunFolder.of(file).splits_file
    if not recorded.exists():
        return
    names = [str(name) for name in data.catalog.identifiers.tolist()]
    count = int((read_splits(recorded, names) == SPLITS.index("train")).sum())
    if count:
        warning = (
            f"The run was trained on galaxies with the ids of {count:,} of these {len(names):,} "
            f"({recorded}): if they are the same, the figures are better than those of unseen galaxies."
        )
        console.print(Text(f"{warning}\n", style="yellow"), soft_wrap=True)


def _shown(labels: Labels) -> str:
    return ", ".join(labels.texts[:10]) + (", ..." if len(labels.texts) > 10 else "")


def _same_labels(labels: Labels, data: GalaxyDataModule) -> None:
    """Refuses labels that answer other questions than those the model was asked."""
    if not labels.compatible(data.labels):
        raise UserError(
            f"the model predicts {len(labels.columns)} {labels.kind} (labels: {labels.meaning}), but "
            f"data={data.catalog.name} has {len(data.labels.columns)} {data.labels.kind} (labels: "
            f"{data.labels.meaning}). These are not the same answers, in the same order of the same tree: "
            f"they do not compare.\nThe model's: {_shown(labels)}\nThe data's: {_shown(data.labels)}\n"
            "data=folder predicts the images without scoring them"
        )


def _same_splits(data: dict[str, Any], file: Path, trained: dict[str, Any]) -> None:
    """Refuses splits under which a galaxy that was trained on would count as unseen."""
    run = RunFolder.of(file)
    in_run = run.overrides_file.exists()
    recorded = in_run and run.splits_file.exists()
    remedy = "evaluate split=all of galaxies that the run has not seen"
    if trained["stratify"] and not recorded:
        # They depend on every galaxy of the catalog, whatever the settings say.
        raise UserError(
            f"{file} was trained on stratified splits, but the splits.parquet of its run folder, which "
            f"records them, is not there: evaluate it in its run folder, or {remedy}"
        )
    settings = run.split_settings() if in_run else trained
    for key in SPLIT_SETTINGS:
        if data[key] == settings[key]:
            continue
        held = (
            f"an evaluation holds to the splits recorded in {run.splits_file}"
            if recorded and key == "split_file"
            else f"the run was trained with {settings[key]}, so its splits are others"
        )
        raise UserError(f"data.{key} is {data[key]}, but {held}: leave it out, or {remedy}")


def _subject(data: dict[str, Any]) -> dict[str, Any]:
    """The settings that decide what is evaluated."""
    catalog = {key: value for key, value in data["catalog"].items() if key != "workers"}
    root = str(Path(data["root"]).expanduser().resolve())
    return {"root": root, "limit": data["limit"], "on_bad": data["on_bad"], "catalog": catalog}


def _default_folder(
    file: Path, choice: str, data: dict[str, Any], own: dict[str, Any], galaxies: str, tta: int
) -> Path:
    """A folder beside the checkpoint's run, named by all that tells its evaluations apart."""
    run = RunFolder.of(file)
    home = run.path if run.overrides_file.exists() else file.parent
    subject = _subject(data)
    elsewhere = [Path(subject["root"]).name] if subject["root"] != own["root"] else []
    other = [file.stem] if file.name != run.best.name else []
    # Folders of one name, and other settings of the catalog.
    digest = blake2b(json.dumps(subject, sort_keys=True).encode(), digest_size=4).hexdigest()
    parts = [choice, *elsewhere, galaxies, *other, f"tta{tta}", *([digest] if subject != own else [])]
    return home / "evaluation" / "-".join(parts)


def _device(accelerator: str) -> torch.device:
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("accelerator=gpu, but torch finds no GPU; use accelerator=auto")
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")
