"""How many epochs `trainer.max_time` has room for, so that a schedule can end with the time."""

from __future__ import annotations

import copy
import logging
import time
from dataclasses import replace
from statistics import median
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Timer

from galaxy.data.datamodule import GalaxyDataModule
from galaxy.learning.lean_trainer import Trainer
from galaxy.learning.task import GalaxyTask
from galaxy.runs.rehearsal import Config, batches_of_an_epoch, fit_copy, quiet
from galaxy.system.errors import UserError
from galaxy.system.interruption import Interruption

log = logging.getLogger(__name__)

# The epochs of the trial have so many batches. The first warms up, and the second is timed.
_BATCHES = 12
_TRIAL = {
    "max_epochs": 2,
    "max_time": None,
    "min_epochs": None,
    "limit_train_batches": _BATCHES,
    "limit_val_batches": _BATCHES,
    "val_check_interval": 1.0,
    "check_val_every_n_epoch": 1,
    "num_sanity_val_steps": 0,
    "enable_progress_bar": False,
    "profiler": None,
}
# The share of the time that the epochs may take. A training that is slower than its trial is cut off.
_SHARE = 0.95


def epochs_within(
    trainer: Trainer,
    task: GalaxyTask,
    config: Config,
    data: GalaxyDataModule,
    interruption: Interruption | None = None,
) -> int:
    """Counts the epochs that the time of a trainer has room for. A copy of the network trains for a moment.

    Args:
        trainer: The trainer, whose `max_time` is given.
        task: The network with its loss and optimizer.
        config: The configuration of the run.
        data: The data, whose images have been read.
        interruption: Stops the trial when the program is to stop.

    Raises:
        UserError: There is no room for an epoch with its validation.
    """
    timer = next(callback for callback in trainer.callbacks if isinstance(callback, Timer))  # type: ignore[attr-defined]
    seconds = timer.time_remaining()
    assert seconds is not None
    log.info("a trial of %d batches shows how many epochs trainer.max_time has room for", 2 * _BATCHES)
    clock = _Clock(interruption)
    trained = copy.copy(task)
    # Frozen epochs take less time than the others.
    vars(trained).update(transfer=replace(task.transfer, frozen_epochs=0))
    with quiet():
        fit_copy(trained, config, data, _TRIAL, {"clock": clock})
    epoch = clock.epoch(batches_of_an_epoch(trainer, data))
    epochs = int(_SHARE * seconds / epoch)
    least = config["trainer"].get("check_val_every_n_epoch", 1) or 1
    if epochs < least:
        first = "an epoch takes" if least == 1 else f"the {least} epochs up to the first validation take"
        raise UserError(
            f"trainer.max_time is {seconds:g} s, but {first} about {least * epoch:.1f} s on this machine: "
            "give more time, or fewer galaxies (data.limit)"
        )
    log.info(
        "trainer.max_time has room for %d epochs of about %.1f s; trainer.max_epochs=%d repeats the run",
        epochs,
        epoch,
        epochs,
    )
    return epochs


class _Clock(pl.Callback):
    """Times the second epoch of a trial, and each of its batches.

    Args:
        interruption: Receives signals while the trial trains; Lightning would put its own handlers in front.
    """

    def __init__(self, interruption: Interruption | None) -> None:
        self.interruption = interruption
        self.batches: dict[str, list[float]] = {}
        self.seconds = self._started = self._mark = 0.0

    def epoch(self, batches: dict[str, int]) -> float:
        """Returns the seconds of an epoch of so many batches of each split."""
        left_out = (
            (batches[split] - len(seconds)) * median(seconds) for split, seconds in self.batches.items()
        )
        return self.seconds + sum(left_out)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lets a signal stop the trial at once."""
        if self.interruption is not None:
            self.interruption.listen()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins anew, because the first epoch only warms up."""
        self.batches = {"train": [], "val": []}
        self._started = self._mark = time.perf_counter()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins with the validation."""
        self._mark = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, *arguments: Any) -> None:
        """Notes what a training batch took."""
        self._note("train", trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, *arguments: Any) -> None:
        """Notes what a validation batch took."""
        self._note("val", trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends the epoch, whose validation is over."""
        self.seconds = time.perf_counter() - self._started

    def _note(self, split: str, trainer: pl.Trainer) -> None:
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize()  # the GPU runs behind the program that feeds it
        now = time.perf_counter()
        self.batches[split].append(now - self._mark)
        self._mark = now
