"""One training run: build the experiment, fit it, score it, write it down."""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from galaxy.data.splits import SPLITS, write_splits
from galaxy.learning.resuming import ResumePoint
from galaxy.learning.task import DivergedError, GalaxyTask
from galaxy.runs.baseline_scores import baseline_metrics
from galaxy.runs.confusion import write_confusion
from galaxy.runs.experiment import Config, Experiment, load_weights, open_loggers, read_checkpoint
from galaxy.runs.folder import Result, RunFolder, Status
from galaxy.runs.learners import Model
from galaxy.runs.predict import predict, values
from galaxy.system.errors import UserError
from galaxy.system.files import explained
from galaxy.system.interruption import Interrupted, Interruption, listening
from galaxy.system.machine import keep_freed_memory
from galaxy.system.terminal import quieten_libraries

log = logging.getLogger(__name__)


def train(
    config: Config, choices: dict[str, str], overrides: list[str], folder: Path, in_sweep: bool
) -> tuple[Result, bool]:
    """Trains one model and leaves a run folder.

    Args:
        config: The composed configuration, resolved, as plain dicts and lists.
        choices: The option taken in each group.
        overrides: What the command line changed.
        folder: The run folder.
        in_sweep: Whether other jobs follow. Then a failure is written down instead of raised, and a job that
            was begun before goes on, or is left alone if it is done.

    Returns:
        The result, and whether the run was done before, so that nothing was trained.

    Raises:
        UserError: The data or the settings are wrong, or the loss diverged.
        Interrupted: The program was asked to stop; the run can be resumed.
    """
    quieten_libraries()
    keep_freed_memory()
    settings = {key: value for key, value in config.items() if key != "resume"}
    resume = config["resume"] == "auto" or in_sweep
    overrides = [override for override in overrides if not override.startswith("resume=")]
    attempt = _Attempt(RunFolder(folder), settings, choices, overrides, in_sweep)
    if rank_zero_only.rank > 0:  # type: ignore[attr-defined]
        attempt.help_to_train(resume)
        return Result(status="running"), False
    with attempt.run.claimed(), listening() as interruption:
        attempt.run.begin(settings, overrides, choices, resume)
        result = attempt.run.result()
        if result.status == "done":
            return result, True
        result = attempt.make(interruption)
        interruption.raise_if_asked()  # a failed job of a sweep returns without answering a signal
    return result, False


@dataclass(frozen=True)
class _Attempt:
    """One attempt to bring a run to its end.

    Attributes:
        run: The run folder.
        config: The whole configuration.
        choices: The option taken in each group.
        overrides: What the command line changed.
        in_sweep: Whether the run is a job of a sweep.
    """

    run: RunFolder
    config: Config
    choices: dict[str, str]
    overrides: list[str]
    in_sweep: bool

    def make(self, interruption: Interruption) -> Result:
        """Trains and scores. Whatever happens, the folder says so."""
        started = time.perf_counter()
        result = Result(status="running")
        progress: ResumePoint | None = None
        loggers: list[Logger] = []
        try:
            progress = _progress(self.run)
            loggers += self._loggers("" if progress is None else progress.metrics)
            experiment = Experiment(
                self.config, self.run.path, loggers, progress, interruption, self.in_sweep
            )
            model = self._fit(experiment, result)
            self._score(experiment, model, result)
            self._log_final(loggers, result, experiment.learner.steps)
            result.status = "done"
        except BaseException as error:
            ends_program = not isinstance(error, Exception) or not self.in_sweep
            _write_down(error, result, ends_program)
            if result.status == "interrupted" and not self.in_sweep:  # a sweep prints one hint for all jobs
                self._say_how_to_go_on()
            if ends_program:
                raise
        finally:
            before = 0.0 if progress is None else progress.seconds
            result.seconds = round(before + time.perf_counter() - started, 3)
            self.run.write_result(result)
            for logger in loggers:
                logger.finalize("success" if result.status == "done" else "failed")
            log.info("%s after %.0f s: %s", result.status, result.seconds, self.run.path)
        return result

    def help_to_train(self, resume: bool) -> None:
        """Trains as a further process of a distributed run. The first process keeps the folder."""
        progress = _progress(self.run) if resume else None
        loggers = self._loggers()
        experiment = Experiment(self.config, self.run.path, loggers, progress)
        experiment.read_images()
        experiment.fit()

    def _loggers(self, metrics: str = "") -> list[Logger]:
        return open_loggers(self.config, self.choices, self.overrides, self.run.path, metrics)

    def _fit(self, experiment: Experiment, result: Result) -> Model:
        """Reads the images and trains; says in the folder on what, and in the result how far it came."""
        run, data, learner = self.run, experiment.data, experiment.learner
        experiment.read_images()
        run.record_data(data.description())
        write_splits(run.splits_file, data.catalog.identifiers, data.splits)
        if learner.precision is not None:
            run.record_precision(learner.precision)
        result.labels = data.labels.meaning
        sizes = ", ".join(f"{len(data.rows[split]):,} {split}" for split in SPLITS)
        log.info("data=%s at %s: %s; labels: %s", data.catalog.name, data.root, sizes, data.labels.meaning)
        if "resumed" in run.meta() and not run.last.exists():
            log.warning("the run has no checkpoint yet, and starts from the beginning: %s", run.path)
        try:
            # Loggers write files of their own, and a full disk cuts those off as well.
            with explained(run.path / "metrics.csv"):
                return experiment.fit()
        finally:  # an interrupted training says it too
            result.epochs = learner.epochs
            result.images_per_second = learner.images_per_second
            result.checkpoint = str(run.best.relative_to(run.path)) if run.best.exists() else None

    def _score(self, experiment: Experiment, model: Model, result: Result) -> None:
        """Scores the best checkpoint. No run looks at its test split at any other time."""
        data = experiment.data
        load_weights(model, self.run.best)
        for split, file in self.run.predictions_files.items():
            predictions = predict(model, data.labels, data, split, experiment.learner.device)
            predictions.write(file)
            metrics = predictions.metrics()
            result.metrics |= {f"{split}/{name}": value for name, value in values(metrics).items()}
            if split == "test":
                write_confusion(self.run.path, data.labels, metrics)
        result.baselines = baseline_metrics(data)
        learned = result.metrics["val/rmse"] < result.baselines["mean"]["val/rmse"]
        if isinstance(model, GalaxyTask) and not learned:
            log.warning(
                "on the validation split (%d galaxies) the network is no better than the mean of the "
                "training labels, so it has learned nothing: try a smaller optimizer.lr or more epochs",
                len(data.rows["val"]),
            )

    def _log_final(self, loggers: list[Logger], result: Result, step: int) -> None:
        final = {
            f"best/{name.replace('/', '_')}": result.metrics[name]
            for name in ("val/rmse", "test/rmse", "test/accuracy")
            if name in result.metrics
        }
        log.info("best checkpoint: %s", ", ".join(f"{name} {value:.5f}" for name, value in final.items()))
        for logger in loggers:
            logger.log_metrics(final, step=step)

    def _say_how_to_go_on(self) -> None:
        how = "; go on with" if self.run.last.exists() else " before its first last.ckpt; begin again with"
        print(f"Interrupted{how}: python train.py resume={self.run.path}", file=sys.stderr)


def _progress(run: RunFolder) -> ResumePoint | None:
    """Reads how far a run had come when it stopped; None if there is nothing to go on from.

    Raises:
        UserError: Its last.ckpt is damaged.
    """
    if not run.last.exists():
        return None
    try:
        content = read_checkpoint(run.last)
    except UserError as error:
        raise UserError(
            f"the run cannot be resumed: {error}\nDelete this file, and the run starts anew."
        ) from error
    recorded: dict[str, Any] | None = content.get("progress")  # a model that is fitted in one go has none
    return None if recorded is None else ResumePoint.from_plain(recorded)


def _write_down(error: BaseException, result: Result, ends_program: bool) -> None:
    """Says in the result and in train.log how a run failed."""
    result.status = _status(error)
    result.metrics.clear()  # the validation split may have been scored, and the test split not
    result.error = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    # An error that ends the program is shown at its end; train.log needs it all the same.
    level = logging.INFO if ends_program else logging.ERROR
    expected = isinstance(error, UserError | Interrupted)
    extra = {"for_file": ends_program}
    log.log(level, "%s: %s", result.status, error, exc_info=not expected, extra=extra)
    if result.status == "interrupted":
        result.error = f"interrupted by {error}" if isinstance(error, Interrupted) else "interrupted"


def _status(error: BaseException) -> Status:
    if isinstance(error, DivergedError):
        return "diverged"
    return "failed" if isinstance(error, Exception) else "interrupted"
