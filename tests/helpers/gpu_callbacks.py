"""Callbacks of the programs that test_gpu.py starts."""

import os
import signal
from typing import Any

import lightning.pytorch as pl
import torch


class Stopper(pl.Callback):
    """Sends SIGTERM after a step of the optimizer.

    Args:
        step: Its number, which last.ckpt is then of, so that a resumed run goes on behind it.
    """

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: pl.Trainer, task: pl.LightningModule, *_: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


class Impatient(pl.Callback):
    """Makes whatever waits for the GPU an error, from the start of a step to the end of a later one.

    Args:
        first: The first step of the second epoch, from 0.
        last: The last one.
    """

    def __init__(self, first: int, last: int) -> None:
        self.first = first
        self.last = last

    def on_train_batch_start(self, trainer: pl.Trainer, task: pl.LightningModule, batch: Any, i: int) -> None:
        if trainer.current_epoch == 1 and i == self.first:
            torch.cuda.set_sync_debug_mode("error")

    def on_train_batch_end(
        self, trainer: pl.Trainer, task: pl.LightningModule, outputs: Any, batch: Any, i: int
    ) -> None:
        if i == self.last:
            torch.cuda.set_sync_debug_mode("default")
