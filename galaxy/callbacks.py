"""A callback that Lightning does not have."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl
import torch


class Throughput(pl.Callback):
    """Logs the training speed of each epoch as `images_per_second`, validation not counted."""

    def __init__(self) -> None:
        self.images = 0
        self.seconds = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self._started = time.perf_counter()
        self._epoch_images = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts; the clock stops with the last batch, before validation starts."""
        self._epoch_images += len(batch["row"])
        if trainer.is_last_batch:
            if trainer.strategy.root_device.type == "cuda":
                torch.cuda.synchronize()  # the GPU runs behind the program that feeds it
            seconds = time.perf_counter() - self._started
            self.images += self._epoch_images * trainer.world_size
            self.seconds += seconds
            rate = self._epoch_images * trainer.world_size / seconds
            pl_module.log("images_per_second", rate, on_step=False, on_epoch=True, batch_size=1)
