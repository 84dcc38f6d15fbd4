"""One training run: build the experiment, fit it, score it, write it down."""

from __future__ import annotations

import logging
import math
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from galaxy.config.overrides import is_within, key_of
from galaxy.config.trust import trust_arguments
from galaxy.data.datamodule import GalaxyDataModule
from galaxy.data.split_files import write_splits
from galaxy.data.splits import SPLITS
from galaxy.learning import checkpoint_files
from galaxy.learning.resuming import ResumePoint
from galaxy.learning.task import DivergedError, GalaxyTask
from galaxy.runs.baseline_scores import baseline_metrics
from galaxy.runs.confusion import write_confusion
from galaxy.runs.experiment import Config, Experiment, load_state
from galaxy.runs.folder import RunFolder
from galaxy.runs.learners import Model, TrainsByGradients
from galaxy.runs.loggers import (
    close_loggers,
    lay_out_charts,
    log_final,
    log_pictures,
    open_loggers,
    takes_pictures,
)
from galaxy.runs.pictures import crops_picture, prediction_pictures
from galaxy.runs.predict import Predictions, predict, values, write_columns
from galaxy.runs.result import Objective, Result, Status
from galaxy.system.errors import UserError
from galaxy.system.files import explained
from galaxy.system.interruption import Interrupted, Interruption, listening
from galaxy.system.launchers import Group
from galaxy.system.machine import keep_freed_memory
from galaxy.system.terminal import quieten_libraries

log = logging.getLogger(__name__)

# An accuracy on so many galaxies is uncertain by about 0.05.
FEW = 100


@dataclass(frozen=True)
class TrainingRun:
    """One run, which leaves a run folder.

    Attributes:
        run: The run folder.
        config: The composed configuration, resolved, as plain dicts and lists.
        choices: The option taken in each group.
        overrides: What the command line changed.
        resume: Whether a run that was begun in the folder goes on.
        like: The folder of the run whose settings this one began with, for meta.json; None for no other run.
        in_sweep: Whether other jobs follow. Then a failure is written down instead of raised, and a job that
            was begun before goes on, or is left alone if it is done.
        should_prune: Whether a search gives the run up after so many epochs with such an objective; None
            without a search.
        call_others: Called when the training begins, if a launcher has started further processes that wait
            for it.
    """

    run: RunFolder
    config: Config
    choices: dict[str, str]
    overrides: list[str]
    resume: bool
    like: str | None
    in_sweep: bool
    should_prune: Callable[[int, float], bool] | None = None
    call_others: Callable[[], None] | None = None

    def start(self) -> Result | None:
        """Trains the model, or brings a run that was begun before to its end.

        Returns:
            The result; None if the run was done or pruned before, so that nothing was trained.

        Raises:
            UserError: The data or the settings are wrong, or the loss diverged.
            Interrupted: The program was asked to stop; the run can be resumed.
        """
        quieten_libraries()
        keep_freed_memory()
        resume = self.resume or self.in_sweep
        if rank_zero_only.rank > 0:  # type: ignore[attr-defined]
            self._help_to_train(resume)
            return Result(status="running")
        with self.run.claimed(), listening() as interruption:
            self.run.begin(self.config, self.overrides, self.choices, resume)
            if self.like is not None:
                self.run.add_meta(like=self.like)
            if self.run.result().finished:
                return None
            result = self._attempt(interruption)
            interruption.raise_if_asked()  # a failed job of a sweep returns without answering a signal
        return result

    def _attempt(self, interruption: Interruption) -> Result:
        """Trains and scores. Whatever happens, the folder says so."""
        started = time.perf_counter()
        wanted = self.config["objective"]
        objective = Objective(metric=wanted["metric"], mode=wanted["mode"], value=None)
        result = Result(status="running", objective=objective)
        progress: ResumePoint | None = None
        loggers: list[Logger] = []
        try:
            progress = _resume_point(self.run)
            loggers += self._loggers("" if progress is None else progress.metrics)
            warn_of_shares(self.config["data"].get("folds"), self.overrides)
            experiment = Experiment(
                self.config, self.run.path, loggers, progress, interruption, self.in_sweep, self.should_prune
            )
            if not self.in_sweep:  # which says it once for all jobs
                warn_of_ignored(self.choices["model"], self.config["model"]["ignores"], self.overrides)
            model = self._fit(experiment, result, loggers)
            if experiment.learner.pruned:
                result.status = "pruned"
            else:
                self._score(experiment, model, result, loggers)
                log_final(loggers, result, experiment.learner.steps)
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
            try:
                self.run.write_result(result)
            finally:  # the next job of a sweep must not log to the run of this one
                close_loggers(loggers, result.status)
            log.info("%s after %.0f s: %s", result.status, result.seconds, self.run.path)
        return result

    def _help_to_train(self, resume: bool) -> None:
        """Trains as a further process of a distributed run. The first process keeps the folder.

        It also says what all processes have found together: that the loss diverged, or that they were asked
        to stop.

        Raises:
            UserError: The first process is on another machine, and this one has other files.
        """
        if not self.run.begun:
            raise UserError(f"{self.run.path} is not here: the machines of a training share its folder")
        progress = _resume_point(self.run) if resume else None
        with suppress(DivergedError, Interrupted), listening() as interruption:
            experiment = Experiment(
                self.config, self.run.path, self._loggers(), progress, interruption, self.in_sweep
            )
            experiment.read_images()
            self.run.check_data(experiment.data.description())
            experiment.fit()

    def _loggers(self, metrics: str = "") -> list[Logger]:
        sweep = self.run.path.parent.name if self.in_sweep else None
        return open_loggers(self.run, self.config, self.choices, self.overrides, metrics, sweep)

    def _fit(self, experiment: Experiment, result: Result, loggers: Sequence[Logger]) -> Model:
        """Reads the images and trains; says in the folder on what, and in the result how far it came."""
        run, data, learner = self.run, experiment.data, experiment.learner
        started = time.perf_counter()
        experiment.read_images()
        run.record_data(data.description())
        if "reading_seconds" not in run.meta():  # a resumed run finds all images in the cache
            run.add_meta(reading_seconds=round(time.perf_counter() - started, 3))
        weights = experiment.weights
        if weights is not None:
            run.record_weights(weights.description())
        if not run.splits_file.exists():  # a resumed run does not know what its starting weights have seen
            trained_before = () if weights is None else weights.trained_on
            write_splits(run.splits_file, data.catalog.identifiers, data.splits, trained_before)
        if learner.precision is not None:
            run.record_machine(precision=learner.precision, processes=learner.processes)
        result.labels = data.labels.meaning
        sizes = ", ".join(f"{len(data.rows[split]):,} {split}" for split in SPLITS)
        log.info("data=%s at %s: %s; labels: %s", data.catalog.name, data.root, sizes, data.labels.meaning)
        warn_of_few(data)
        if "resumed" in run.meta() and not run.last.exists():
            log.warning("the run has no checkpoint yet, and starts from the beginning: %s", run.path)
        if isinstance(learner, TrainsByGradients):
            lay_out_charts(loggers, data.labels, data.catalog.weights is not None)
        if not run.last.exists() and data.augment.engine == "batch":
            self._show_crops(experiment, loggers)
        if (epochs := learner.plan_epochs(data, run.meta().get("max_epochs"))) is not None:
            run.add_meta(max_epochs=epochs)
        if self.call_others is not None:
            self.call_others()
        try:
            # Loggers write files of their own, and a full disk cuts those off as well.
            with explained(run.path / "metrics.csv"):
                return experiment.fit()
        finally:  # an interrupted training says it too
            result.epochs = learner.epochs
            result.images_per_second = learner.images_per_second
            result.parameters = learner.parameters
            result.checkpoint = str(run.best.relative_to(run.path)) if run.best.exists() else None

    def _show_crops(self, experiment: Experiment, loggers: Sequence[Logger]) -> None:
        """Shows some training galaxies as the model sees them."""
        if (count := self.config["pictures"]) and takes_pictures(loggers):
            learner = experiment.learner
            task = learner.task if isinstance(learner, TrainsByGradients) else None
            log_pictures(loggers, {"crops": crops_picture(experiment.data, count, task)}, 0)

    def _show_predictions(
        self, experiment: Experiment, predictions: Predictions, loggers: Sequence[Logger]
    ) -> None:
        """Shows what the best checkpoint predicts for some validation galaxies."""
        if experiment.data.augment.engine == "albumentations":  # its import takes seconds: not at the start
            self._show_crops(experiment, loggers)
        if (count := self.config["pictures"]) and takes_pictures(loggers):
            pictures = prediction_pictures(experiment.data, predictions, count)
            log_pictures(loggers, pictures, experiment.learner.steps)

    def _score(self, experiment: Experiment, model: Model, result: Result, loggers: Sequence[Logger]) -> None:
        """Scores the best checkpoint. No run looks at its test split at any other time."""
        data = experiment.data
        load_state(model, checkpoint_files.load(self.run.best), self.run.best)
        for split, file in self.run.predictions_files.items():
            if not len(data.rows[split]):
                log.warning("nothing was tested, because data.test_fraction is 0")
                continue
            predictions = predict(model, data.labels, data, split, experiment.learner.device)
            predictions.write(file)
            metrics = predictions.metrics()
            result.metrics |= {f"{split}/{name}": value for name, value in values(metrics).items()}
            if split == "val":
                self._show_predictions(experiment, predictions, loggers)
            else:
                write_confusion(self.run.path, data.labels, metrics)
        write_columns(self.run.columns_file, data.labels)
        assert result.objective is not None
        metric = result.objective["metric"]
        validated = experiment.learner.best_score
        result.objective["value"] = result.metrics.get(metric, validated)
        _compare_with_validation(metric, validated, result.metrics.get(metric))
        result.baselines = baseline_metrics(data)
        _caution(model, len(data.rows["val"]), result)

    def _say_how_to_go_on(self) -> None:
        under = "" if Group.current is None else f" under {Group.current.starter}"
        how = f"Go on{under} with:"
        if not self.run.last.exists():
            how = f"No checkpoint was written yet. Start again{under} with:"
        command = ["galaxy", "train", f"resume={self.run.path}", *trust_arguments(self.config)]
        print(f"Interrupted. {how} {shlex.join(command)}", file=sys.stderr)


def _compare_with_validation(metric: str, validated: float | None, scored: float | None) -> None:
    """Warns if the best checkpoint does not hold the weights that were validated.

    A callback of a user's own may exchange the weights for a validation. Half precision alone makes a
    difference of a few thousandths.
    """
    if validated is None or scored is None or math.isclose(validated, scored, rel_tol=0.03, abs_tol=1e-3):
        return
    log.warning(
        "%s of the best checkpoint was %.5f when it was validated, and its weights score %.5f: a callback "
        "validates other weights than those that are saved (callbacks=ema does it right), or only a part of "
        "the split was validated (trainer.limit_val_batches)",
        metric,
        validated,
        scored,
    )


def _caution(model: Model, galaxies: int, result: Result) -> None:
    """Warns if the model is no better, on the validation split, than one that does not look at the images.

    Args:
        model: The model.
        galaxies: Their number in the validation split.
        result: The metrics of the model and of the baselines, and the objective.
    """
    assert result.objective is not None
    metric, mode, baseline = result.objective["metric"], result.objective["mode"], result.baselines["mean"]
    if metric not in baseline:
        metric, mode = "val/rmse", "min"
    found = result.metrics[metric]
    learned = found < baseline[metric] if mode == "min" else found > baseline[metric]
    if isinstance(model, GalaxyTask) and not learned:
        log.warning(
            "on the validation split (%d galaxies) the network is no better than the mean of the training "
            "labels, so it has learned nothing: try a smaller optimizer.lr or more epochs",
            galaxies,
        )
    accuracy, commonest = (metrics.get("val/accuracy") for metrics in (result.metrics, baseline))
    if accuracy is not None and commonest is not None and accuracy < commonest:
        log.warning(
            "on the validation split (%d galaxies) the accuracy is %.3f, below the %.3f of always answering "
            "the commonest class: look at confusion.png, or train longer",
            galaxies,
            accuracy,
            commonest,
        )


def warn_of_few(data: GalaxyDataModule) -> None:
    """Warns of splits that are too small for figures on them to mean much."""
    counts = {split: len(data.rows[split]) for split in ("val", "test") if len(data.rows[split])}
    if any(count < FEW for count in counts.values()):
        shares = "larger data.val_fraction and data.test_fraction"
        log.warning(
            "%s: figures on fewer than %d galaxies change much with the choice of the galaxies; use more "
            "galaxies, or %s",
            ", ".join(f"{count} galaxies in the {split} split" for split, count in counts.items()),
            FEW,
            shares if data.split_settings.folds is None else "look at all folds together (galaxy compare)",
        )


def warn_of_shares(folds: int | None, overrides: Sequence[str]) -> None:
    """Warns of shares of the splits on a command line that has folds, where they count for nothing."""
    shares = [o for o in overrides if key_of(o) in ("data.val_fraction", "data.test_fraction")]
    if folds is not None and shares:
        log.warning("data.folds=%d decides who validates and tests, not %s", folds, " and ".join(shares))


def warn_of_ignored(model: str, ignores: Sequence[str], overrides: Sequence[str]) -> None:
    """Warns of settings on a command line that do not change the result of its model."""
    if ignored := [override for override in overrides if is_within(key_of(override), ignores)]:
        log.warning("model=%s ignores %s", model, ", ".join(ignored))


def _resume_point(run: RunFolder) -> ResumePoint | None:
    """Reads how far a run had come when it stopped; None if there is nothing to go on from.

    Raises:
        UserError: Its last.ckpt is damaged.
    """
    if not run.last.exists():
        return None
    try:
        content = checkpoint_files.load(run.last)
    except UserError as error:
        raise UserError(
            f"the run cannot be resumed: {error}\nDelete this file, and the run starts anew."
        ) from error
    recorded = content.get("progress")  # a model that is fitted in one go has none
    return None if recorded is None else ResumePoint(**recorded)


def _write_down(error: BaseException, result: Result, ends_program: bool) -> None:
    """Says in the result and in train.log how a run failed."""
    result.status = _status(error)
    if result.objective is not None:
        result.objective["value"] = None
    result.metrics.clear()  # the validation split may have been scored, and the test split not
    result.error = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    # An error that ends the program is shown at its end; train.log needs it all the same.
    level = logging.INFO if ends_program else logging.ERROR
    expected = isinstance(error, UserError | Interrupted)
    extra = {"for_file": ends_program}
    log.log(level, "%s: %s", result.status, error, exc_info=not expected, extra=extra)
    if isinstance(error, UserError) and error.__cause__ is not None:
        # It may have been a mistake in somebody's code, and not in a setting.
        log.info("it was raised by", exc_info=error.__cause__, extra={"for_file": True})
    if result.status == "interrupted":
        result.error = f"interrupted by {error}" if isinstance(error, Interrupted) else "interrupted"


def _status(error: BaseException) -> Status:
    if isinstance(error, DivergedError):
        return "diverged"
    return "failed" if isinstance(error, Exception) else "interrupted"
