"""`python evaluate.py`, as far as can be without torch, whose import takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from galaxy.runs.folder import RunFolder
from galaxy.system.errors import UserError


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
        choice: Its name, as in `data=`; None for the one of the run.
        run: Folder of a run, whose best checkpoint is taken.
        checkpoint: Or a checkpoint.
        split: Which galaxies; those without labels are always all predicted.
        tta: Number of views whose predictions are averaged.
        out: Folder of the results.
        accelerator: Where to compute.

    Returns:
        The metrics; empty without labels.
    """
    file = _checkpoint(run, checkpoint)
    if data is None:
        raise UserError(f"{file} is not in a run folder, so give the data as well: data=... data.root=...")
    if choice is None:
        choice = RunFolder.of(file).choices()["data"]

    from galaxy.runs.evaluate import score_checkpoint  # noqa: PLC0415  torch

    return score_checkpoint(file, data, choice, split, tta, None if out is None else Path(out), accelerator)


def _checkpoint(run: str | None, checkpoint: str | None) -> Path:
    if (run is None) == (checkpoint is None):
        raise UserError("give one of run=DIR, the folder of a run, and checkpoint=FILE")
    if run is None:
        return Path(str(checkpoint))
    folder = RunFolder(Path(run))
    folder.config()  # which says so if this is not a run folder
    if not folder.best.exists():
        raise UserError(f"{run} has no checkpoint {folder.best.name} (the run: {folder.result().status})")
    return folder.best
