"""One training run, from a configuration to a finished run folder."""

from __future__ import annotations

import logging
import math
import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from galaxy.config.instantiation import instantiate
from galaxy.data.datamodule import GalaxyDataModule
from galaxy.data.splits import SPLITS, write_splits
from galaxy.learning.callbacks import LastCheckpoint, Throughput
from galaxy.learning.lean_trainer import Trainer, build_trainer
from galaxy.learning.losses import Loss
from galaxy.learning.task import DivergedError, GalaxyTask
from galaxy.models.encoder import Encoder
from galaxy.models.fitted import Fitted
from galaxy.reports.tables import result_table, write_confusion
from galaxy.runs import build, checkpoint
from galaxy.runs.folder import Result, RunFolder, Status
from galaxy.runs.predict import predict, score, values, write_predictions
from galaxy.runs.progress import Progress
from galaxy.runs.reference import baseline_scores, fit_at_once, mean_rmse
from galaxy.runs.trainer_checks import check_monitors, check_optimizer, check_trainer
from galaxy.system.errors import UserError
from galaxy.system.files import explained
from galaxy.system.interruption import Interrupted, Interruption, listening
from galaxy.system.machine import keep_freed_memory
from galaxy.system.terminal import quieten_libraries

log = logging.getLogger(__name__)

# The groups that runs are compared by.
COMPARED_GROUPS = ("data", "target", "crop", "augment", "model", "head", "loss", "optimizer", "scheduler")
# "best/..." are those of the best checkpoint, written when the run ends; "val/rmse" is live.
TABLE_METRICS = ("best/val_rmse", "best/test_rmse", "best/test_accuracy", "val/rmse")


def train(
    config: dict[str, Any], choices: dict[str, str], overrides: list[str], folder: Path, in_sweep: bool
) -> float:
    """Trains one model and leaves a run folder.

    Args:
        config: The composed configuration, resolved.
        choices: The option taken in each group.
        overrides: What the command line changed.
        folder: The run folder.
        in_sweep: Whether other jobs follow: then a failure is written down instead of raised, and a job that
            was begun before goes on, or is left alone if it is done.

    Returns:
        Validation RMSE of the best checkpoint, NaN if the run failed: what sweepers minimise.

    Raises:
        UserError: The data or the settings are wrong, or the loss diverged.
        Interrupted: The program was asked to stop; the run can be resumed.
    """
    quieten_libraries()
    keep_freed_memory()
    resume = config.pop("resume") == "auto" or in_sweep
    overrides = [override for override in overrides if not override.startswith("resume=")]
    run = RunFolder(folder)
    if rank_zero_only.rank > 0:  # type: ignore[attr-defined]
        # A further process of a distributed run: the first one keeps the folder.
        progress = Progress.of(run) if resume else Progress()
        loggers = build.loggers(config, folder, metrics="")
        _fit(run, config, Result(status="running"), loggers, progress, Interruption(), in_sweep)
        return math.nan
    with run.claimed(), listening() as interruption:
        run.begin(config, overrides, choices, resume)
        result = run.result()
        done_before = result.status == "done"
        if not done_before:
            result = _run(run, config, choices, overrides, in_sweep, interruption)
            interruption.answer()  # which a job that failed has left to be done
    if result.status == "done":
        console = Console()
        if not (done_before and in_sweep):  # the comparison at the end of the sweep has it as well
            console.print(result_table(run, result))
        note = " (done before)" if done_before else ""
        console.print(f"Run folder: {folder}{note}", markup=False, highlight=False, soft_wrap=True)
    return result.metrics.get("val/rmse", math.nan)


def _run(
    run: RunFolder,
    config: dict[str, Any],
    choices: dict[str, str],
    overrides: list[str],
    in_sweep: bool,
    interruption: Interruption,
) -> Result:
    """Trains and scores; whatever happens, the folder says so."""
    started = time.perf_counter()
    result = Result(status="running")
    progress = Progress()
    loggers: list[Logger] = []
    try:
        progress = Progress.of(run)
        loggers += build.loggers(config, run.path, progress.metrics)
        _declare(loggers, config, choices, overrides)
        _fit(run, config, result, loggers, progress, interruption, in_sweep)
        result.status = "done"
    except BaseException as error:
        ends_here = not isinstance(error, Exception) or not in_sweep
        _write_down(error, result, ends_here)
        if result.status == "interrupted" and not in_sweep:  # at whose end the same is said of the sweep
            how = "; go on with" if run.last.exists() else " before its first last.ckpt; begin again with"
            print(f"Interrupted{how}: python train.py resume={run.path}", file=sys.stderr)
        if ends_here:
            raise
    finally:
        result.seconds = round(progress.seconds + time.perf_counter() - started, 3)
        run.write_result(result)
        for logger in loggers:
            logger.finalize("success" if result.status == "done" else "failed")
        log.info("%s after %.0f s: %s", result.status, result.seconds, run.path)
    return result


def _write_down(error: BaseException, result: Result, ends_here: bool) -> None:
    """Says in the result and in train.log how a run failed; `ends_here` if the program ends with it."""
    result.status = _status(error)
    result.metrics.clear()  # of the validation split, where the test split was not reached
    result.error = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    # An error that ends the program is shown when it does; train.log needs it all the same.
    level = logging.INFO if ends_here else logging.ERROR
    expected = isinstance(error, UserError | Interrupted)
    extra = {"for_file": ends_here}
    log.log(level, "%s: %s", result.status, error, exc_info=not expected, extra=extra)
    if result.status == "interrupted":
        result.error = f"interrupted by {error}" if isinstance(error, Interrupted) else "interrupted"


def _fit(
    run: RunFolder,
    config: dict[str, Any],
    result: Result,
    loggers: list[Logger],
    progress: Progress,
    interruption: Interruption,
    in_sweep: bool,
) -> None:
    check_trainer(config)
    if not 0 <= config["seed"] < 2**32:
        raise UserError(f"seed is {config['seed']}; it must be 0 or more and less than 2**32")
    pl.seed_everything(config["seed"], workers=True, verbose=False)
    # Before the data: a size or weights that do not fit should not cost the decoding of a survey.
    model, loss = instantiate(config["model"], "model"), instantiate(config["loss"], "loss")
    trainer = None
    if isinstance(model, Encoder):
        check_optimizer(config, model)
        model.load_pretrained()
        trainer = _trainer(run, config, loggers, progress, interruption, in_sweep)
    data = build.datamodule(config)
    data.read()
    data.check_trainable()
    check_monitors(config, data.labels, data.catalog.weights is not None)
    _warn_of_unknown(config, data)
    if not isinstance(model, Encoder):
        model = model(labels=data.labels)
    data.setup()
    data.check_trainable()  # again, for bad images that were left out may have emptied a split
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        description = data.description()
        _same_data(run, description)
        run.add_meta(data=description)
        write_splits(run.splits_file, data.catalog.identifiers, data.splits)
    result.labels = data.labels.meaning
    sizes = ", ".join(f"{len(data.rows[split]):,} {split}" for split in SPLITS)
    log.info("data=%s at %s: %s; labels: %s", data.catalog.name, data.root, sizes, data.labels.meaning)
    if trainer is None:
        _fit_at_once(run, config, model, data, result, loggers)
        return
    task = _trained(run, config, model, loss, data, trainer, result, progress)
    if trainer.is_global_zero:
        device = trainer.strategy.root_device
        _score_best(run, task, data, result, loggers, device, trainer.global_step)


def _trainer(
    run: RunFolder,
    config: dict[str, Any],
    loggers: list[Logger],
    progress: Progress,
    interruption: Interruption,
    in_sweep: bool,
) -> Trainer:
    callbacks = build.callbacks(config, run.checkpoints)
    for callback in callbacks:
        if isinstance(callback, LastCheckpoint):
            callback.interruption, callback.elapsed = interruption, progress.seconds
    trainer = build_trainer(config, callbacks, loggers)
    if in_sweep and trainer.world_size > 1:
        raise UserError(
            f"trainer.devices is {config['trainer']['devices']}, but each further process of a distributed "
            "training would start the whole sweep: train the jobs one by one, or use trainer=auto"
        )
    return trainer


def _trained(
    run: RunFolder,
    config: dict[str, Any],
    encoder: Encoder,
    loss: Loss,
    data: GalaxyDataModule,
    trainer: Trainer,
    result: Result,
    progress: Progress,
) -> GalaxyTask:
    """The network after its training."""
    data.device, data.processes = trainer.strategy.root_device, trainer.num_devices
    _check_split_sizes(data, trainer.world_size)
    task = build.trainable_task(config, encoder, loss, data, trainer.world_size)
    # So that a short epoch is logged at least once.
    interval = min(trainer.log_every_n_steps, task.steps_per_epoch)  # type: ignore[attr-defined]
    trainer.log_every_n_steps = interval  # type: ignore[attr-defined]
    if trainer.compile_mode is not None:
        task.compile_network(trainer.compile_mode, data.whole_batch(trainer.world_size))
    parameters = sum(parameter.numel() for parameter in task.parameters())
    log.info(
        "%s parameters, precision %s, %s", f"{parameters:,}", trainer.precision, trainer.strategy.root_device
    )
    if trainer.is_global_zero:
        _same_precision(run, trainer.precision)
    if progress.finished:  # perhaps early: what is left is to be scored
        trainer.fit_loop.max_epochs = progress.epochs
    if progress.checkpoint is not None:
        log.info("resumed in epoch %d, from %s", progress.epochs, progress.checkpoint)
    elif "resumed" in run.meta():
        log.warning("the run has no checkpoint yet, and starts from the beginning: %s", run.path)
    try:
        # Loggers write files of their own, which a full disk cuts off as well.
        with explained(run.path / "metrics.csv"):
            trainer.fit(task, datamodule=data, ckpt_path=progress.checkpoint, weights_only=True)
    finally:  # also of an interrupted training
        result.epochs = trainer.current_epoch
        result.checkpoint = _relative_best(run)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Throughput) and callback.speed is not None:
            result.images_per_second = round(callback.speed, 1)
    return task


def _check_split_sizes(data: GalaxyDataModule, processes: int) -> None:
    """Refuses splits of which a process of a distributed training would get nothing."""
    for split in ("train", "val"):
        count = len(data.rows[split])
        if processes > 1 and count < 2 * processes:
            raise UserError(
                f"the {split} split has {count} galaxies, and each of {processes} processes needs two: use "
                "fewer (trainer.devices) or more galaxies"
            )


def _warn_of_unknown(config: dict[str, Any], data: GalaxyDataModule) -> None:
    """Warns where the checkpoint is chosen by answers that nobody gave."""
    weights, monitor = data.catalog.weights, config["callbacks"]["best"]["monitor"]
    unknown = 0.0 if weights is None else float((weights == 0).mean())
    if unknown > 0.05 and "weighted" not in monitor:  # of cumulative labels it is one question in 200
        log.warning(
            "%.0f %% of the targets are unknown (weight 0) and stored as 0, which %s takes for the truth: "
            "choose the checkpoint with callbacks.best.monitor=val/weighted_rmse, and early_stopping alike",
            100 * unknown,
            monitor,
        )


def _same_data(run: RunFolder, description: dict[str, Any]) -> None:
    """Refuses to resume a run on other galaxies, labels, splits or pixels."""
    before = run.meta().get("data", description)
    if before["fingerprint"] != description["fingerprint"]:
        raise UserError(
            f"the data have changed since {run.path} was begun: {before['galaxies']:,} galaxies then, "
            f"{description['galaxies']:,} now; a run cannot be resumed on other data"
        )


def _same_precision(run: RunFolder, precision: str) -> None:
    """Refuses to resume a run where `precision=auto` means another one."""
    before = run.meta().get("precision", precision)
    if before != precision:
        raise UserError(
            f"{run.path} was begun with precision {before}, and here it would go on with {precision}: "
            "resume it on a machine like the first one"
        )
    run.add_meta(precision=precision)


def _fit_at_once(
    run: RunFolder,
    config: dict[str, Any],
    model: Fitted,
    data: GalaxyDataModule,
    result: Result,
    loggers: list[Logger],
) -> None:
    fit_at_once(model, data)
    result.epochs = 1
    for name in ("best.ckpt", "last.ckpt"):
        checkpoint.write(run.checkpoints / name, model, config, data.labels)
    _score_best(run, model, data, result, loggers, torch.device("cpu"), step=1)


def _score_best(
    run: RunFolder,
    model: build.Model,
    data: GalaxyDataModule,
    result: Result,
    loggers: list[Logger],
    device: torch.device,
    step: int,
) -> None:
    """Scores the best checkpoint; the only time that a run looks at its test split."""
    checkpoint.load_weights(model, run.best)
    result.checkpoint = _relative_best(run)
    for split in ("val", "test"):
        rows = data.labelled_rows(split)
        fractions = predict(model, data, split, device)
        weights = None if data.catalog.weights is None else data.catalog.weights[rows]
        metrics = score(data.labels, fractions, data.targets[rows], weights)
        result.metrics.update({f"{split}/{name}": value for name, value in values(metrics).items()})
    write_predictions(run.predictions_file, data.labels, data.catalog, rows, fractions)
    write_confusion(run.path, data.labels, metrics)
    result.baselines = baseline_scores(data)
    if isinstance(model, GalaxyTask) and result.metrics["val/rmse"] >= mean_rmse(data, "val"):
        log.warning(
            "on the validation split (%d galaxies) the network is no better than the mean of the training "
            "labels, so it has learned nothing: try a smaller optimizer.lr or more epochs",
            len(data.rows["val"]),
        )
    final = {
        f"best/{name.replace('/', '_')}": result.metrics[name]
        for name in ("val/rmse", "test/rmse", "test/accuracy")
        if name in result.metrics
    }
    log.info("best checkpoint: %s", ", ".join(f"{name} {value:.5f}" for name, value in final.items()))
    for logger in loggers:
        logger.log_metrics(final, step=step)


def _relative_best(run: RunFolder) -> str | None:
    return str(run.best.relative_to(run.path)) if run.best.exists() else None


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
