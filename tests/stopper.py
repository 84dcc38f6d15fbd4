"""A callback that asks its own run to stop."""

import os
import signal
from typing import Any

import lightning.pytorch as pl


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
