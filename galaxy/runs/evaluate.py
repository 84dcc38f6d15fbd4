"""Scores a checkpoint on any catalog, or predicts a catalog that has no labels."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import torch

from galaxy.data.datamodule import GalaxyDataModule
from galaxy.data.split_files import read_splits
from galaxy.data.splits import SPLITS
from galaxy.labels.labels import Labels
from galaxy.learning.metrics import FractionMetrics
from galaxy.runs.catalogue_files import check_catalogue, is_catalogue
from galaxy.runs.confusion import write_confusion
from galaxy.runs.experiment import Config, build_data, load
from galaxy.runs.folder import SPLIT_SETTINGS, RunFolder
from galaxy.runs.model import TrainedModel
from galaxy.runs.predict import Predictions, predict, values, write_columns
from galaxy.runs.twins import warn_of_twins
from galaxy.system.errors import UserError
from galaxy.system.files import check_writable, write_json, write_text
from galaxy.system.machine import keep_freed_memory

log = logging.getLogger(__name__)

OUTPUTS = (
    "evaluation.json",
    "metrics.json",
    "predictions.csv",
    "predictions.parquet",
    "columns.csv",
    "confusion.csv",
    "confusion.png",
    "skipped.txt",
    "submission.csv",
    # `galaxy.reports.evaluation` writes these.
    "report.html",
    "trust.npz",
    "trust.parquet",
)


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        folder: Where the files are.
        title: The data, the split and the number of galaxies, in words.
        predictions: The predictions.
        scored: The metrics of the predictions; None where there are no labels.
        unaveraged: The metrics of one view where several were averaged; else None.
        seen: The number of galaxies that have ids of the run's training galaxies.
        catalogue: The table of predictions that was asked for; None if none was.
    """

    folder: Path
    title: str
    predictions: Predictions
    scored: FractionMetrics | None
    unaveraged: FractionMetrics | None
    seen: int
    catalogue: Path | None

    def files(self) -> list[Path]:
        """Returns the files that were written."""
        files = [self.folder / name for name in OUTPUTS if (self.folder / name).exists()]
        return files if self.catalogue is None else [*files, self.catalogue]


def evaluate(
    file: Path,
    data: Config,
    choice: str,
    split: Literal["train", "val", "test", "all"] = "test",
    tta: Literal[1, 4, 8] = 1,
    out: Path | None = None,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
) -> Evaluation:
    """Predicts a split and writes the predictions, and the metrics where there are labels.

    Args:
        file: The checkpoint.
        data: The node `data` of a configuration.
        choice: The name of the data, as in `data=`.
        split: Which galaxies. All galaxies are predicted where there are no labels.
        tta: The number of views whose predictions are averaged.
        out: The folder of the results; None for one beside the checkpoint's run. Or a file for a table of
            the predictions beside these, which then hold all columns of the user's table; see
            `is_catalogue`.
        accelerator: Where to compute.

    Raises:
        UserError: The checkpoint, the data or the folder cannot be used, or the splits would leak.
    """
    keep_freed_memory()
    device = _device(accelerator)
    trained = load(file)
    catalogue = out if out is not None and is_catalogue(out) else None
    if catalogue is not None:
        check_catalogue(catalogue)
    module = build_data({**trained.config, "data": data if catalogue is None else _with_all_columns(data)})
    module.device = device
    module.read()
    _check_names(module, trained.labels, data["catalog"].get("extra_columns"))
    labelled = module.catalog.targets is not None
    if labelled:
        _check_same_labels(trained.labels, module)
        if split != "all":
            _check_same_splits(data, file, trained.config["data"])
            _check_recognised(module)
        warn_of_twins(module.catalog.name, trained.config["data"])
    galaxies = split if labelled else "unlabelled"
    beside = _default_folder(file, choice, data, trained.config["data"], galaxies, tta)
    folder = out if out is not None and catalogue is None else beside
    _make_folder(folder)
    module.setup()
    _warn_of_frames(trained, module)
    split = split if labelled else "all"
    if split != "all":
        if split == "test" and module.split_settings.test_fraction == 0 and not len(module.rows["test"]):
            raise UserError("the run has no test split (data.test_fraction=0): use split=val or split=all")
        module.nonempty_rows(split)
    predictions = predict(trained.model, trained.labels, module, split, device, tta)
    asked = {"checkpoint": str(file), "split": split, "tta": tta, "data": choice, **_subject(data)}
    unaveraged = None
    if labelled and tta > 1:
        unaveraged = predict(trained.model, trained.labels, module, split, device).metrics()
    scored = _write(folder, asked, predictions, module, labelled, unaveraged)
    if catalogue is not None:
        predictions.write(catalogue, _facts(asked, trained.labels))
    title = f"data: {choice}, split={split}, tta={tta}: {len(predictions.rows):,} galaxies"
    seen = _count_seen(file, module) if labelled and split == "all" else 0
    return Evaluation(folder, title, predictions, scored, unaveraged, seen, catalogue)


def _warn_of_frames(trained: TrainedModel, data: GalaxyDataModule) -> None:
    """Warns of images that may show another part of the sky than those that the model was trained on."""
    if trained.frame is None or data.images.frame == trained.frame:
        return
    here = "of several sizes" if data.images.frame is None else "{1} x {0} pixels".format(*data.images.frame)
    log.warning(
        "the images are %s, and those that the model was trained on are %d x %d pixels: the crop is cut from "
        "the whole frame, so an image must show as much sky around its galaxy as those did",
        here,
        *reversed(trained.frame),
    )


def _with_all_columns(data: Config) -> Config:
    """The data, with all columns of the user's table unless he has chosen some."""
    catalog = data["catalog"]
    if "extra_columns" not in catalog or catalog["extra_columns"] is not None:
        return data
    return {**data, "catalog": {**catalog, "extra_columns": "all"}}


def _facts(asked: dict[str, Any], labels: Labels) -> dict[str, str]:
    """Where predictions come from, for the header of a FITS file."""
    names = {"CHECKPT": "checkpoint", "DATA": "data", "ROOT": "root", "SPLIT": "split", "VIEWS": "tta"}
    facts = {keyword: str(asked[name]) for keyword, name in names.items()}
    return {**facts, "LABELS": labels.meaning}


def _check_names(data: GalaxyDataModule, labels: Labels, chosen: Sequence[str] | None) -> None:
    """Refuses extra columns that would share a name with a column of the predictions.

    Columns that the user has not chosen are left out.
    """
    extra = data.catalog.extra_columns
    if extra is not None and chosen is None:
        others = extra.drop(columns=[name for name in labels.columns if name in extra])
        data.catalog = replace(data.catalog, extra_columns=others)
        return
    for name in () if extra is None else extra:
        if name in labels.columns:
            raise UserError(
                f"data.catalog.extra_columns holds {name}, but the predictions have a column of that name: "
                "leave it out, or rename it in the table"
            )


def _make_folder(folder: Path) -> None:
    """Makes the folder of an evaluation, unless something else than an evaluation is in it.

    Raises:
        UserError: The folder holds something else, or cannot be made.
    """
    if RunFolder(folder).begun:
        raise UserError(f"out={folder} is a run folder, whose files have the same names: give another folder")
    others = [name for name in OUTPUTS if (folder / name).exists()]
    if others and OUTPUTS[0] not in others:
        raise UserError(
            f"out={folder} has a {others[0]}, which no evaluation has written: give another folder"
        )
    check_writable(folder)


def _write(
    folder: Path,
    asked: dict[str, Any],
    predictions: Predictions,
    data: GalaxyDataModule,
    labelled: bool,
    unaveraged: FractionMetrics | None,
) -> FractionMetrics | None:
    """Writes the files of an evaluation in place of those of an earlier one, and returns the metrics."""
    for name in OUTPUTS:  # an earlier evaluation may have had labels where this one has none
        (folder / name).unlink(missing_ok=True)
    write_json(folder / "evaluation.json", asked)
    catalog = predictions.catalog
    for suffix in (".parquet", ".csv"):
        predictions.write(folder / f"predictions{suffix}")
    write_columns(folder / "columns.csv", predictions.labels)
    if catalog.skipped:
        write_text(folder / "skipped.txt", "\n".join(catalog.skipped) + "\n")
    if catalog.writer is not None:
        ids = catalog.ids[predictions.rows]
        catalog.writer(folder / "submission.csv", ids, predictions.labels, predictions.fractions)
    if not labelled:
        return None
    scored = predictions.metrics()
    facts = {"galaxies": len(predictions.rows), "labels": data.labels.meaning, "root": str(data.root)}
    without = {} if unaveraged is None else {"metrics_without_tta": values(unaveraged)}
    write_json(folder / "metrics.json", {**facts, "metrics": values(scored), **without})
    write_confusion(folder, data.labels, scored)
    return scored


def _count_seen(file: Path, data: GalaxyDataModule) -> int:
    """Counts the galaxies whose ids the run was trained on."""
    recorded = RunFolder.of(file).splits_file
    if not recorded.exists():
        return 0
    names = [str(name) for name in data.catalog.identifiers.tolist()]
    return int((read_splits(recorded, names) == SPLITS.index("train")).sum())


def _check_same_labels(labels: Labels, data: GalaxyDataModule) -> None:
    """Refuses labels that answer other questions than those the model was asked."""
    if not labels.compatible(data.labels):
        known = set(labels.columns) >= set(data.labels.columns)
        classes = ",".join(f'"{name}"' for name in labels.columns)
        advice = f"\nIf the data lack a class of the model: '+data.catalog.classes=[{classes}]'"
        raise UserError(
            f"the model predicts {len(labels.columns)} {labels.kind} (labels: {labels.meaning}), but "
            f"data={data.catalog.name} has {len(data.labels.columns)} {data.labels.kind} (labels: "
            f"{data.labels.meaning}). These are not the same answers, in the same order of the same tree: "
            f"they do not compare.\nThe model's: {_shown(labels)}\nThe data's: {_shown(data.labels)}\n"
            "data=folder predicts the images without scoring them"
            + advice
            * (labels.kind == data.labels.kind == "classes" and known)
        )


def _shown(labels: Labels) -> str:
    return ", ".join(labels.texts[:10]) + (", ..." if len(labels.texts) > 10 else "")


def _check_same_splits(data: Config, file: Path, trained: Config) -> None:
    """Refuses splits under which a galaxy that was trained on would count as unseen."""
    run = RunFolder.of(file)
    recorded = run.begun and run.splits_file.exists()
    remedy = "evaluate split=all of galaxies that the run has not seen"
    if trained["stratify"] and not recorded:
        # Stratified splits depend on every galaxy of the catalog, whatever the settings say.
        raise UserError(
            f"{file} was trained on stratified splits, but the splits.parquet of its run folder, which "
            f"records them, is not there: evaluate it in its run folder, or {remedy}"
        )
    settings = run.split_settings() if run.begun else trained
    for key in SPLIT_SETTINGS:
        if data[key] == settings[key]:
            continue
        held = (
            f"an evaluation holds to the splits recorded in {run.splits_file}"
            if recorded and key == "split_file"
            else f"the run was trained with {settings[key]}, so its splits are others"
        )
        raise UserError(f"data.{key} is {data[key]}, but {held}: leave it out, or {remedy}")


def _check_recognised(data: GalaxyDataModule) -> None:
    """Refuses galaxies of which some or all have other names than in the splits that the run recorded.

    Galaxies may be added to those of the run, or be a part of them. But where some are missing and others are
    new, the missing ones may have got new names, and a galaxy that was trained on would count as unseen.
    """
    listed = data.listed
    if listed is None or not listed.new or not listed.gone:
        return
    here, recorded = listed.found + len(listed.new), listed.found + len(listed.gone)
    raise UserError(
        f"{data.split_settings.split_file} records {recorded:,} galaxies of the run, and {listed.found:,} of "
        f"them are here ({here:,} galaxies): {listed.gone[0]} is missing and {listed.new[0]} is new, for "
        "example. If names have changed, galaxies that were trained on would count as unseen: give them "
        "their names back (data.catalog.id_column names a column). If these are other galaxies, evaluate "
        "split=all"
    )


def _subject(data: Config) -> dict[str, Any]:
    """Returns the settings that decide what is evaluated."""
    catalog = {key: value for key, value in data["catalog"].items() if key != "workers"}
    root = str(Path(data["root"]).expanduser().resolve())
    return {"root": root, "limit": data["limit"], "on_bad": data["on_bad"], "catalog": catalog}


def _default_folder(file: Path, choice: str, data: Config, own: Config, galaxies: str, tta: int) -> Path:
    """Returns a folder beside the checkpoint's run, named by all that tells its evaluations apart."""
    run = RunFolder.of(file)
    home = run.path if run.begun else file.parent
    subject, trained = _subject(data), _subject(own)
    elsewhere = [Path(subject["root"]).name] if subject["root"] != trained["root"] else []
    other = [file.stem] if file.name != run.best.name else []
    # The digest tells apart folders of one name, and other settings of the catalog.
    digest = blake2b(json.dumps(subject, sort_keys=True).encode(), digest_size=4).hexdigest()
    parts = [choice, *elsewhere, galaxies, *other, f"tta{tta}", *([digest] if subject != trained else [])]
    return home / "evaluation" / "-".join(parts)


def _device(accelerator: str) -> torch.device:
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("accelerator=gpu, but torch finds no GPU; use accelerator=auto")
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")
