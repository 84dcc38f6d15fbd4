"""The number of epochs that `trainer.max_time` has room for, so that the schedule ends with the time."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, Timer
from torch.optim.lr_scheduler import LambdaLR

from galaxy.data.datamodule import GalaxyDataModule
from galaxy.learning.lean_trainer import Trainer
from galaxy.learning.optim import Schedule
from galaxy.learning.resuming import LastCheckpoint
from galaxy.learning.task import GalaxyTask
from galaxy.runs.rehearsal import batches_of_an_epoch, quiet
from galaxy.system.errors import UserError
from galaxy.system.interruption import Interruption

log = logging.getLogger(__name__)

# Trains a copy of a network: `galaxy.runs.rehearsal.fit_copy` without its first parameter.
Trial = Callable[[GalaxyTask, GalaxyDataModule, dict[str, Any], dict[str, pl.Callback]], None]

# Each of the two epochs of a trial trains on so many batches, and validates on as many.
_BATCHES = 12
_SHORT = {
    "max_epochs": 2,
    "max_time": None,
    "num_sanity_val_steps": 0,
    "enable_progress_bar": False,
    "profiler": None,
}
# The share of the time that is planned. Trainings are seldom as steady as their trial.
_SHARE = 0.95


def epochs_within(trainer: Trainer, task: GalaxyTask, data: GalaxyDataModule, trial: Trial) -> int:
    """Counts the epochs that a trainer has time for. A copy of the network trains for a moment to find out.

    Args:
        trainer: The trainer, whose `max_time` is given.
        task: The network with its loss and optimizer.
        data: The data, whose images have been read.
        trial: Trains a copy of the network with other arguments of the trainer and more callbacks.

    Raises:
        UserError: There is no time for an epoch with its validation.
    """
    # The pixels are put where the training wants them, which a trial would say to nobody.
    data.trainer = trainer
    data.setup()
    _ = data.pixels
    batches = batches_of_an_epoch(trainer, data)
    tried = {split: min(count, _BATCHES) for split, count in batches.items()}
    trial_batches = 2 * tried["train"]
    log.info("a trial of %d batches shows how many epochs trainer.max_time has room for", trial_batches)
    limits = {f"limit_{split}_batches": count for split, count in tried.items()}
    clock = _Clock(*(c.interruption for c in _callbacks(trainer, LastCheckpoint)))
    with quiet():
        trial(_unmoved(task), data, {**_SHORT, **limits}, {"clock": clock})
    first, second = clock.epochs
    epoch = second["rest"] + sum(second[split] * batches[split] / tried[split] for split in batches)
    # Workers start, and torch.compile translates, in the first epoch alone.
    once = max(0.0, sum(first.values()) - sum(second.values()))
    seconds = min(_remaining(trainer))
    epochs = int((_SHARE * seconds - once) / epoch)
    if epochs < 1:
        raise UserError(
            f"trainer.max_time is {seconds:g} s, but a single epoch needs {(once + epoch) / _SHARE:.2f} s on "
            "this machine: give more time, or fewer galaxies (data.limit)"
        )
    log.info(
        "trainer.max_time has room for %d epochs of about %.2f s; trainer.max_epochs=%d "
        "trainer.max_time=null plans the same training",
        epochs,
        epoch,
        epochs,
    )
    if _callbacks(trainer, EarlyStopping):
        log.info(
            "early stopping may end the training before its time, while the learning rate is high; "
            "callbacks.early_stopping=null uses all of the time"
        )
    return epochs


def warn_of_cut(trainer: Trainer, steps: int) -> None:
    """Warns if the time of a trainer was over before its epochs were.

    Args:
        trainer: The trainer, which has trained.
        steps: The number of the optimizer's steps that it was to make.
    """
    if min(_remaining(trainer), default=1.0) <= 0 and trainer.global_step < steps:
        log.warning(
            "trainer.max_time ended the training after %d of the %d steps that its schedule had",
            trainer.global_step,
            steps,
        )


def _remaining(trainer: Trainer) -> list[float]:
    """Returns the seconds that `max_time`, and timers of a user's own, leave for training."""
    times = [timer.time_remaining() for timer in _callbacks(trainer, Timer)]
    return [seconds for seconds in times if seconds is not None]


_C = TypeVar("_C", bound=pl.Callback)


def _callbacks(trainer: Trainer, kind: type[_C]) -> list[_C]:
    return [callback for callback in trainer.callbacks if isinstance(callback, kind)]  # type: ignore[attr-defined]


def _unmoved(task: GalaxyTask) -> GalaxyTask:
    """Returns the same network with steps of size 0: its own schedule is not meant for a trial."""
    other = copy.copy(task)
    at_rest = Schedule(partial(LambdaLR, lr_lambda=lambda step: 0.0), interval="step")
    # Frozen epochs take less time than the others.
    vars(other).update(schedule=at_rest, transfer=replace(task.transfer, frozen_epochs=0))
    return other


class _Clock(pl.Callback):
    """Times the epochs of a trial.

    Args:
        interruption: Receives signals while the trial trains; Lightning would put its own handlers in front.

    Attributes:
        epochs: What each epoch took in seconds, on the split "train", on "val", and for the "rest".
    """

    def __init__(self, interruption: Interruption | None = None) -> None:
        self.interruption = interruption
        self.epochs: list[dict[str, float]] = []
        self._mark = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lets a signal stop the trial at once."""
        if self.interruption is not None:
            self.interruption.listen()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins with an epoch."""
        self._mark = time.perf_counter()
        self.epochs.append({})

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends the training of the epoch."""
        self._note("train", trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends the validation of the epoch."""
        self._note("val", trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends the epoch with a checkpoint, which a run writes as long as it improves."""
        trainer.save_checkpoint(Path(str(trainer.log_dir)) / "trial.ckpt")
        self._note("rest", trainer)

    def _note(self, part: str, trainer: pl.Trainer) -> None:
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize()  # the GPU runs behind the program that feeds it
        now = time.perf_counter()
        self.epochs[-1][part] = now - self._mark
        self._mark = now
