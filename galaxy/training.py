"""One training run, from a configuration to a finished run folder."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from galaxy import build
from galaxy.baselines import baseline_scores
from galaxy.callbacks import Throughput
from galaxy.checkpoint import load_weights
from galaxy.datamodule import GalaxyDataModule
from galaxy.errors import UserError
from galaxy.images.augment import Augment
from galaxy.prediction import predict, score, write_predictions
from galaxy.quiet import quieten_libraries
from galaxy.report import result_table
from galaxy.runs import Result, RunFolder, Status
from galaxy.task import ClosedFormTask, DivergedError

log = logging.getLogger(__name__)

# The groups that runs are compared by.
COMPARED_GROUPS = ("data", "crop", "augment", "model", "head", "loss", "optimizer", "scheduler")
# "best/..." are those of the best checkpoint, written when the run ends; "val/rmse" is live.
TABLE_METRICS = ("best/val_rmse", "best/test_rmse", "val/rmse")


def train(
    config: dict[str, Any], choices: dict[str, str], overrides: list[str], folder: Path, in_sweep: bool
) -> float:
    """Trains one model and leaves a run folder.

    Args:
        config: The composed configuration, resolved.
        choices: The option taken in each group.
        overrides: What the command line changed.
        folder: The run folder.
        in_sweep: Whether other jobs follow: then a failure is written down instead of raised.

    Returns:
        Validation RMSE of the best checkpoint, NaN if the run failed: what sweepers minimise.

    Raises:
        UserError: The data or the settings are wrong, or the loss diverged.
    """
    quieten_libraries()
    if rank_zero_only.rank > 0:  # type: ignore[attr-defined]  # the helpers of a distributed run leave the folder to its first process
        _fit(RunFolder(folder), config, Result(status="running"), build.loggers(config, folder))
        return math.nan
    started = time.perf_counter()
    run = RunFolder.create(folder, config, overrides, choices)
    result = Result(status="running")
    loggers = build.loggers(config, folder)
    _declare(loggers, config, choices, overrides)
    try:
        _fit(run, config, result, loggers)
        result.status = "done"
    except BaseException as error:
        result.status = _status(error)
        result.error = f"{type(error).__name__}: {error}"
        if not isinstance(error, Exception) or not in_sweep:
            raise
        if isinstance(error, UserError):
            log.error("%s", error)
        else:
            log.exception("the run failed")
    finally:
        result.seconds = round(time.perf_counter() - started, 3)
        run.write_result(result)
        for logger in loggers:
            logger.finalize("success" if result.status == "done" else "failed")
    if result.status == "done":
        console = Console()
        console.print(result_table(run, result))
        console.print(f"Run folder: {folder}", markup=False, highlight=False, soft_wrap=True)
    return result.metrics.get("val/rmse", math.nan)


def _fit(run: RunFolder, config: dict[str, Any], result: Result, loggers: list[Logger]) -> None:
    pl.seed_everything(config["seed"], workers=True, verbose=False)
    build.check_hardware(config)
    data = build.datamodule(config)
    data.setup()
    callbacks = build.callbacks(config, run.checkpoints)
    trainer = build.trainer(config, callbacks, loggers, data.steps_per_epoch(world_size=1))
    task = build.task_for(config, data, trainer.world_size)
    if isinstance(task, ClosedFormTask):
        data.augment = Augment()  # no change: the line through altered pixels would be another one
    trainer.fit(task, datamodule=data)
    if isinstance(task, ClosedFormTask):
        # ModelCheckpoint counts optimizer steps, and sees nothing new after none.
        trainer.save_checkpoint(run.best, weights_only=False)
    if not trainer.is_global_zero:
        return
    result.labels = data.catalog.meaning
    result.epochs = trainer.current_epoch
    for callback in callbacks:
        if isinstance(callback, Throughput) and callback.seconds:
            result.images_per_second = round(callback.images / callback.seconds, 1)
    run.add_meta(data=data.description())
    _score_best(run, task, data, result, trainer.strategy.root_device)
    final = {"best/val_rmse": result.metrics["val/rmse"], "best/test_rmse": result.metrics["test/rmse"]}
    for logger in loggers:
        logger.log_metrics(final, step=trainer.global_step)


def _score_best(
    run: RunFolder, task: build.Task, data: GalaxyDataModule, result: Result, device: torch.device
) -> None:
    """Scores the best checkpoint; the only time that a run looks at its test split."""
    load_weights(task, run.best)
    result.checkpoint = str(run.best.relative_to(run.path))
    for split in ("val", "test"):
        rows = data.labelled_rows(split)
        fractions = predict(task, data, split, device)
        values = score(data.catalog.questions, fractions, data.targets[rows])
        result.metrics.update({f"{split}/{name}": value for name, value in values.items()})
    write_predictions(run.predictions_file, data, rows, fractions)
    result.baselines = baseline_scores(data)


def _declare(
    loggers: list[Logger], config: dict[str, Any], choices: dict[str, str], overrides: list[str]
) -> None:
    """Registers the run in TensorBoard's table before anything can fail.

    Its columns come from one arbitrary run, so every run has the same keys; and a metric is a column only
    if it was declared with the hyperparameters, here as NaN until it is known.
    """
    hyperparameters = {
        **{group: choices[group] for group in COMPARED_GROUPS},
        "seed": config["seed"],
        "lr": config["optimizer"]["lr"],
        "batch_size": config["data"]["batch_size"],
        "limit": config["data"]["limit"] or "all",
        "max_epochs": config["trainer"]["max_epochs"],
        "overrides": " ".join(overrides),
    }
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(hyperparameters, dict.fromkeys(TABLE_METRICS, math.nan))
        else:
            logger.log_hyperparams(hyperparameters)


def _status(error: BaseException) -> Status:
    if isinstance(error, DivergedError):
        return "diverged"
    return "failed" if isinstance(error, Exception) else "interrupted"
