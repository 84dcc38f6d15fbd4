"""A search: it runs the trials of a study one after the other, and says at the end what it has found."""

from __future__ import annotations

import copy
import logging
import shlex
from collections.abc import Callable, Sequence
from contextlib import closing
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from galaxy.cli.sweep import Sweep
from galaxy.config.composition import Composer
from galaxy.config.jobs import check_jobs
from galaxy.config.objective import settle
from galaxy.config.overrides import config_dir_of, key_of
from galaxy.config.plan import SWEEP_FILE
from galaxy.config.problems import ConfigError
from galaxy.config.search import read_space, search_settings
from galaxy.config.trust import trust_arguments
from galaxy.runs.folder import FolderInUseError, RunFolder, write_planned
from galaxy.runs.result import Result
from galaxy.system.errors import UserError
from galaxy.system.files import write_text

log = logging.getLogger(__name__)

# What decides whether to end the trial that is running. Hydra's launcher runs it in this process.
_JUDGE: ContextVar[Callable[[int, float], bool] | None] = ContextVar("judge", default=None)


def search(config: DictConfig, loader: ConfigLoader, launcher: Launcher, arguments: Sequence[str]) -> None:
    """Runs the trials that are missing. Other processes may work on the same search at the same time.

    Args:
        config: The configuration of the search, as Hydra composed it.
        loader: Hydra's loader.
        launcher: Runs a trial.
        arguments: The overrides on the command line.

    Raises:
        UserError: The folder holds another search.
    """
    from galaxy.runs.study import Study  # noqa: PLC0415  Optuna is an extra

    folder = Path(config.hydra.sweep.dir)
    folder.mkdir(parents=True, exist_ok=True)
    settings = search_settings(config)
    space = read_space(loader, settings, arguments)
    epochs = _epochs(config, {dimension.key for dimension in space.dimensions})
    try:
        study = Study(folder, settings, space, *_objective(config), epochs)
    except UserError:
        Sweep.folder = None  # What another sweep has left there is no result of this one.
        raise
    write_text(folder / SWEEP_FILE, OmegaConf.to_yaml(config))
    write_planned(folder, settings.n_trials)
    composer = Composer(loader.get_search_path(), config.hydra.job.config_name, arguments)
    # Closing frees the lock of a trial at once, whatever ends the program.
    with closing(study.trials()) as trials:
        for trial in trials:
            overrides = [*space.fixed, *trial.overrides]
            try:
                check_jobs(composer, [overrides])
            except ConfigError as error:
                # Settings that are right each by itself may not fit each other.
                text = "; ".join(f"{problem.key} {problem.text}" for problem in error.problems)
                log.warning("trial %d cannot run: %s", trial.number, text)
                study.tell(trial.number, Result(status="failed", error=text))
                continue
            judge = _JUDGE.set(study.should_prune(trial.number))
            try:
                (job,) = launcher.launch([overrides], initial_job_idx=trial.number)
            finally:
                _JUDGE.reset(judge)
            study.tell(trial.number, *_outcome(job))


def pruning_of_job() -> Callable[[int, float], bool] | None:
    """Returns what decides whether to end the job that Hydra is running; None if it is no trial of a search.

    It is called with the number of epochs trained and the objective.
    """
    return _JUDGE.get()


def conclude(folder: Path, planned: int, resume: str) -> int:
    """Prints what a search has found so far.

    Args:
        folder: The folder of the sweep.
        planned: The number of trials that were asked for.
        resume: The command that goes on with the search.

    Returns:
        The number of trials that nobody brings to their end, or of all if none is done.

    Raises:
        UserError: The file of the study is damaged.
    """
    from galaxy.reports.search import read_search  # noqa: PLC0415  Optuna is an extra

    report = read_search(folder)
    assert report is not None  # The search has made it.
    print("", *report.sentences, sep="\n")
    if (best := report.best) is not None and best.folder is not None:
        print(f"Command of the best trial:\n  {shlex.join(_command(RunFolder(folder / best.folder)))}")
    else:
        print("train.log in a trial's folder says more")
    total = max(planned, len(report.trials))
    running = report.states.get("running", 0)
    missing = total - running - sum(trial.status not in ("running", "interrupted") for trial in report.trials)
    if running:
        print(f"{running} of {total} trials still run, in other processes")
    if missing:
        print(f"{missing} of {total} trials are not over. Go on with: {resume}")
    return total if best is None and not running else missing


def _command(run: RunFolder) -> list[str]:
    """Returns the command that repeats a trial."""
    overrides = run.overrides()
    alone = ["hydra.mode=RUN"] if any(key_of(override) == "sweep" for override in overrides) else []
    config_dir = config_dir_of(shlex.split(run.meta()["command"]))
    return ["galaxy", "train", *config_dir, *overrides, *alone, *trust_arguments(run.config())]


def _objective(config: DictConfig) -> tuple[str, Any]:
    settled = copy.deepcopy(config)
    settle(settled)
    return settled.objective.metric, settled.objective.mode


def _epochs(config: DictConfig, searched: set[str]) -> int | None:
    epochs: int = config.trainer.max_epochs
    return None if searched & {"trainer.max_epochs", "trainer"} or epochs < 0 else epochs


def _outcome(job: JobReturn) -> tuple[Result, str]:
    """Returns how a trial ended, and the name of its run folder."""
    assert job.hydra_cfg is not None
    run = RunFolder(Path(job.hydra_cfg.hydra.runtime.output_dir))
    try:
        _ = job.return_value  # Hydra raises here what the job raised.
        return run.result(), run.path.name
    except FolderInUseError as error:  # another program trains this trial, so its end is not known yet
        log.warning("%s", error)
        return Result(status="running"), run.path.name
    except Exception as error:
        log.exception("trial %s failed", run.path.name)
        return Result(status="failed", error=str(error)), run.path.name
