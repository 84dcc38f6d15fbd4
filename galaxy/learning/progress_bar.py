"""Progress bars over batches: of a training, and of one pass."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import TQDMProgressBar


class SlowProgressBar(TQDMProgressBar):
    """Lightning's bar, moved four times a second.

    Its own collects the metrics and draws itself after every batch, in 0.05 ms. Rich's takes 11 ms to draw,
    in a thread for which the training has to wait.
    """

    _RATE = 4  # a second

    def __init__(self) -> None:
        super().__init__(refresh_rate=1)
        self._next = 0.0

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """What stands beside the bar: not the number of a version, which a run does not have."""
        return {
            name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"
        }

    def on_train_start(self, trainer: pl.Trainer, *arguments: Any) -> None:
        """Shows the bar, also of an epoch that is resumed, which does not start again."""
        super().on_train_start(trainer, *arguments)
        self.on_train_epoch_start(trainer, *arguments)

    def on_exception(self, trainer: pl.Trainer, *arguments: Any) -> None:
        """Leaves the bars' lines to what is to be said."""
        for bar in (self._val_progress_bar, self._train_progress_bar):
            if bar is not None:
                bar.close()

    def on_train_epoch_start(self, trainer: pl.Trainer, *arguments: Any) -> None:
        """Also says how many epochs there are."""
        super().on_train_epoch_start(trainer, *arguments)
        assert trainer.max_epochs is not None
        self.train_progress_bar.set_description(f"Epoch {trainer.current_epoch}/{trainer.max_epochs - 1}")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves the bar if it is time, and at the end of an epoch."""
        if self._is_time() or trainer.is_last_batch:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_batch_end(self, *arguments: Any, **named: Any) -> None:
        """Moves the bar if it is time; it goes away at the end."""
        if self._is_time():
            super().on_validation_batch_end(*arguments, **named)

    def _is_time(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + 1 / self._RATE
        return True
