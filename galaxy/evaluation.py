"""Scores a checkpoint on any catalog, or predicts a catalog that has no labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console

from galaxy import build
from galaxy.checkpoint import load_task
from galaxy.errors import UserError
from galaxy.files import write_json
from galaxy.prediction import VIEWS, predict, score, write_predictions
from galaxy.report import question_table
from galaxy.runs import RunFolder
from galaxy.submission import write_submission


def evaluate(
    data: dict[str, Any],
    choice: str,
    run: str | None = None,
    checkpoint: str | None = None,
    split: Literal["train", "val", "test", "all"] = "test",
    tta: int = 1,
    out: str | None = None,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
) -> dict[str, float]:
    """Predicts a split and writes the predictions, and the metrics where there are labels.

    Args:
        data: Configuration of the data.
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
    if tta not in VIEWS:
        raise UserError(f"tta is {tta}; it must be one of {VIEWS}")
    file = RunFolder(Path(run)).best if run is not None else Path(checkpoint or "")
    task, config = load_task(file)
    module = build.datamodule({**config, "data": data})
    module.setup()
    catalog = module.catalog
    if catalog.targets is None:
        split = "all"
    rows = module.rows[split] if catalog.targets is None else module.labelled_rows(split)
    fractions = predict(task, module, split, _device(accelerator), tta)

    folder = Path(out) if out else file.parent.parent / "evaluation" / f"{choice}-{split}-tta{tta}"
    for suffix in (".parquet", ".csv"):
        write_predictions(folder / f"predictions{suffix}", module, rows, fractions)
    console = Console()
    metrics: dict[str, float] = {}
    if catalog.targets is not None:
        metrics = score(catalog.questions, fractions, catalog.targets[rows])
        title = f"{split} split of {choice}: {len(rows):,} galaxies, {catalog.meaning} fractions, tta={tta}"
        console.print(question_table(catalog.questions, metrics, title))
        write_json(
            folder / "metrics.json",
            {"galaxies": len(rows), "labels": catalog.meaning, "checkpoint": str(file), "metrics": metrics},
        )
    elif catalog.name == "kaggle":
        write_submission(folder / "submission.csv", module.root, catalog.ids[rows], fractions)
    console.print(f"{len(rows):,} galaxies predicted: {folder}", markup=False, soft_wrap=True)
    return metrics


def _device(accelerator: str) -> torch.device:
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("accelerator=gpu, but torch finds no GPU; use accelerator=auto")
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")
