"""Rehearses the first step of a training, and does the sums that need no step.

A mistake that Lightning or torch finds only while it trains is found here within a tenth of a second.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import io
import logging
import math
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import LambdaCallback, ModelCheckpoint, OnExceptionCheckpoint, ProgressBar
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import CheckpointIO
from lightning.pytorch.utilities.seed import isolate_rng
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from galaxy.config.objective import direction
from galaxy.data.datamodule import GalaxyDataModule
from galaxy.data.loader import Batch, Order
from galaxy.learning.lean_trainer import Trainer
from galaxy.learning.optim import Schedule, build_optimizer
from galaxy.learning.resuming import LastCheckpoint
from galaxy.learning.task import DivergedError, GalaxyTask
from galaxy.runs.checks import naming_schedule, planned_epochs
from galaxy.runs.trainer import build_callbacks, build_trainer, one_line, without_one
from galaxy.system.errors import UserError

Config = dict[str, Any]

# One batch trains and one validates, whatever the run does. The profiler would write files.
_SHORT = {
    "max_steps": 1,
    "limit_train_batches": 1,
    "limit_val_batches": 1,
    "val_check_interval": 1.0,
    "check_val_every_n_epoch": 1,
    "num_sanity_val_steps": 0,
    "log_every_n_steps": 1,
    "enable_progress_bar": False,
    "compile": False,
    "profiler": None,
    "min_epochs": None,
    "min_steps": None,
    "max_time": None,
}


def batches_of_an_epoch(trainer: Trainer, data: GalaxyDataModule) -> dict[str, int]:
    """Counts the batches that an epoch trains on, and those of its validation.

    Raises:
        UserError: A limit leaves none. The message has the key, and the number of batches.
    """
    batches = {}
    for split in ("train", "val"):
        whole = len(Order(data.rows[split], data.batch_size, False, 0, 0, trainer.world_size))
        name = f"limit_{split}_batches"
        limit = getattr(trainer, name)
        batches[split] = int(whole * limit) if isinstance(limit, float) else min(whole, limit)
        if not batches[split]:
            raise UserError(
                f"trainer.{name} is {limit}, which is less than one of the {whole} batches of an epoch: use "
                f"{math.ceil(1000 / whole) / 1000} or more, or a whole number of batches"
            )
    return batches


def check_lengths(trainer: Trainer, data: GalaxyDataModule) -> None:
    """Refuses limits and intervals that fit no batch of these splits.

    Raises:
        UserError: The message has the key, and the number of batches.
    """
    batches = batches_of_an_epoch(trainer, data)
    interval = trainer.val_check_interval
    every_epoch = trainer.check_val_every_n_epoch is not None
    epochs = 1 if every_epoch else trainer.max_epochs or 1
    if isinstance(interval, int) and interval > batches["train"] * epochs:
        where = "an epoch" if every_epoch else "the training"
        raise UserError(
            f"trainer.val_check_interval is {interval}, but {where} has {batches['train'] * epochs} batches: "
            "use fewer, or trainer.check_val_every_n_epoch for a validation after some epochs"
        )


def check_schedule(task: GalaxyTask, epochs: int, steps: int) -> None:
    """Moves the schedule to its end at once, because torch refuses some moves only when they come.

    Raises:
        UserError: The schedule is shorter than the training, or refuses its length.
    """
    with warnings.catch_warnings(), naming_schedule():
        warnings.simplefilter("ignore")  # the optimizer makes no step
        sgd = partial(SGD, lr=0.1, momentum=0.9)
        optimizer = build_optimizer(sgd, task.encoder, [nn.Parameter()], task.transfer)
        made = task.schedule.configure(optimizer, epochs, steps)
        scheduler = made["lr_scheduler"]["scheduler"] if "lr_scheduler" in made else None
        if not isinstance(scheduler, LRScheduler) or isinstance(scheduler, ReduceLROnPlateau):
            return
        total = epochs * (steps if task.schedule.interval == "step" else 1)
        scheduler.last_epoch = max(1, total // task.schedule.frequency) - 1
        try:
            scheduler.step()
        except ValueError as error:
            raise UserError(f"scheduler.scheduler ends before the training does: {error}") from error


def rehearse(task: GalaxyTask, config: Config, data: GalaxyDataModule) -> None:
    """Trains a copy of a network for one step and validates it, on made-up pixels and without a trace.

    The trainer and the callbacks are built from the same settings as those of the run. A user's own callbacks
    are left out, because nobody knows what they do beside. Random states, files and the network itself are
    left as they were.

    Args:
        task: The network with its loss and optimizer.
        config: The configuration of the run.
        data: The data, which have been read without their images.

    Raises:
        UserError: The step fails. The message has the key of the setting without which it does not.
    """
    smallest = min(2, data.batch_size)
    with quiet():
        error = _failure(task, config, data, smallest)
        if error is None or isinstance(error, DivergedError):
            return  # Pixels that are noise prove nothing about the loss.
        if isinstance(error, UserError):
            raise error
        for key, other, changed in _alternatives(task, config):
            if _failure(other, changed, data, smallest) is None:
                raise UserError(f"{key} makes the first step fail: {one_line(error)}") from error
        if smallest == 1 and _failure(task, config, data, 2) is None:
            raise UserError(
                f"data.batch_size is 1, and this network cannot learn from a single image: {one_line(error)}"
            ) from error
    raise UserError(
        f"the first step would fail, as a rehearsal on made-up pixels shows: {type(error).__name__}: "
        f"{one_line(error)}; train.log has the traceback"
    ) from error


def _alternatives(task: GalaxyTask, config: Config) -> Iterator[tuple[str, GalaxyTask, Config]]:
    """Yields the network and the configuration each time without one of their settings, and its key."""
    for key, node, callbacks in without_one(config["trainer"], config["callbacks"]):
        if key.rpartition(".")[2] not in _SHORT:
            yield key, task, {**config, "trainer": node, "callbacks": callbacks}
    for key, change in (("scheduler", {"schedule": Schedule()}), ("optimizer", {"optimizer": _plain_sgd})):
        other = copy.copy(task)
        vars(other).update(change)
        yield key, other, config


def _plain_sgd(groups: Any) -> SGD:
    return SGD(groups, lr=1e-3, momentum=0.9)


def _failure(task: GalaxyTask, config: Config, data: GalaxyDataModule, size: int) -> Exception | None:
    """Rehearses once, and returns the exception that ended it."""
    # The whole state of a training is saved in the end, which some schedulers cannot do.
    save = LambdaCallback(on_train_end=lambda trainer, _: trainer.save_checkpoint("last.ckpt"))
    short = {**_SHORT, "max_epochs": planned_epochs(config["trainer"])}
    try:
        fit_copy(config, task, data, short, {"save": save}, _Batches(_batch(data, size)))
    except Exception as error:
        return error
    return None


def fit_copy(
    config: Config,
    task: GalaxyTask,
    data: GalaxyDataModule,
    changes: Config,
    callbacks: dict[str, pl.Callback],
    batches: Iterable[Batch] | None = None,
) -> None:
    """Trains a copy of a network without a trace: random states, files and the network stay as they were.

    Args:
        config: The configuration of the run.
        task: The network with its loss and optimizer.
        data: The data of the run.
        changes: Arguments of the trainer in place of those of the configuration.
        callbacks: Callbacks beside those of the configuration that take part.
        batches: What the copy trains on and is validated by; None for the images of the data.
    """
    cuda = torch.cuda.is_available()
    with isolate_rng(include_cuda=cuda), tempfile.TemporaryDirectory() as folder:
        callbacks = {**_rehearsed(config["callbacks"], Path(folder)), **callbacks}
        loggers = [CSVLogger(folder, name="", version="")]
        files = None if batches is None else _WritesNothing()  # those of a trial are part of its time
        trainer = build_trainer({**config["trainer"], **changes}, callbacks, loggers, files)
        learner = copy.deepcopy(task)
        if _is_own(learner.schedule):
            learner.schedule = Schedule()
        learner.loss.prepare(data.training_targets(), data.labels)
        if batches is not None:
            trainer.fit(learner, batches, batches)
            return
        try:
            trainer.fit(learner, datamodule=data)
        finally:  # the trainer holds the copy and the workers of its loaders
            data.trainer = None
            del trainer, learner
            gc.collect()


def _rehearsed(nodes: dict[str, Any], folder: Path) -> dict[str, pl.Callback]:
    """Builds the callbacks that take part. Those that write to a folder of their own are given another."""
    callbacks = {}
    for name, callback in build_callbacks(nodes, folder).items():
        ours = type(callback).__module__.startswith(("lightning.", "galaxy."))
        if ours and not _is_own(callback) and not isinstance(callback, LastCheckpoint | ProgressBar):
            if isinstance(callback, ModelCheckpoint | OnExceptionCheckpoint):
                callback.dirpath = str(folder)
            callbacks[name] = callback
    return callbacks


def _is_own(watcher: pl.Callback | Schedule) -> bool:
    """Whether something watches a metric of a user's own, which a user's callback may log."""
    monitor = getattr(watcher, "monitor", None)
    return monitor is not None and direction(monitor) is None


def _batch(data: GalaxyDataModule, size: int) -> Batch:
    """Makes a batch with the targets of some training galaxies and random pixels."""
    rows = data.nonempty_rows("train")[:size]
    batch = {name: values[rows] for name, values in data.columns().items()}
    side = data.crop.size
    return {
        **batch,
        "row": torch.from_numpy(rows),
        "image": torch.rand(len(rows), data.crop.channels, side, side),
    }


class _Batches:
    """A loader of one batch."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Batch]:
        yield dict(self.batch)


class _WritesNothing(CheckpointIO):
    """Takes checkpoints and writes none."""

    def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
        """Writes nothing."""

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """Has nothing to read.

        Raises:
            FileNotFoundError: Always.
        """
        raise FileNotFoundError(path)

    def remove_checkpoint(self, path: Any) -> None:
        """Removes nothing."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what a rehearsal or a trial says from the terminal and from train.log."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
