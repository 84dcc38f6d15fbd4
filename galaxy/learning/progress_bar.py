"""The progress bar of a training at a terminal."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import TQDMProgressBar


class EpochBar(TQDMProgressBar):
    """Lightning's progress bar, drawn every 20 batches.

    Lightning draws its bar after every batch, which costs 0.1 ms. Its bar of `rich` takes 11 ms to draw, in a
    thread that the training has to wait for.
    """

    def __init__(self) -> None:
        super().__init__(refresh_rate=20)

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Returns the numbers beside the bar, without Lightning's number of a version: a run has none."""
        shown = super().get_metrics(trainer, pl_module)
        return {name: value for name, value in shown.items() if name != "v_num"}

    def on_train_start(self, trainer: pl.Trainer, *arguments: Any) -> None:
        """Starts the bar, also where a run is resumed within an epoch (Lightning issue 20603)."""
        super().on_train_start(trainer, *arguments)
        self.on_train_epoch_start(trainer, *arguments)

    def on_train_epoch_start(self, trainer: pl.Trainer, *arguments: Any) -> None:
        """Shows which epoch of how many this is; Lightning counts from 0 and does not say how many."""
        super().on_train_epoch_start(trainer, *arguments)
        self.train_progress_bar.set_description(f"Epoch {trainer.current_epoch + 1}/{trainer.max_epochs}")

    def on_exception(self, trainer: pl.Trainer, *arguments: Any) -> None:
        """Closes the bars, so that the message which follows gets a line of its own."""
        for bar in (self._val_progress_bar, self._train_progress_bar):
            if bar is not None:
                bar.close()
