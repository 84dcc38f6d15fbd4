"""A callback that notes which galaxies each process of a run was given, for the tests to count."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl


class Recorder(pl.Callback):
    """Writes a line for each batch: the split, the epoch and the rows.

    Args:
        folder: Of the files, one a process.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_batch_start(self, trainer: pl.Trainer, task: pl.LightningModule, batch: Any, i: int) -> None:
        self._note("train", trainer, batch)

    def on_validation_batch_start(
        self, trainer: pl.Trainer, task: pl.LightningModule, batch: Any, i: int, loader: int = 0
    ) -> None:
        self._note("val", trainer, batch)

    def _note(self, split: str, trainer: pl.Trainer, batch: Any) -> None:
        rows = " ".join(map(str, batch["row"].tolist()))
        with (self.folder / f"{trainer.global_rank}.txt").open("a") as file:
            file.write(f"{split} {trainer.current_epoch} {rows}\n")
