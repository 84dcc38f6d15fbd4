"""The study of a search: what Optuna remembers of its trials, in a file in the folder of the sweep.

The file is a journal, to which each process that works on the search adds lines. SQLite would need locks that
many shared file systems lack or do badly. For the journal it is enough that a file can be made that
must not exist (NFS 3 and later, Lustre). A trial's own lock says whether a process still runs it, so that
another may take over the trials of killed processes.
"""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import psutil
from filelock import Timeout
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from galaxy.config.objective import Direction
from galaxy.config.overrides import key_of
from galaxy.config.search import STUDY_FILE, SearchSettings, Space
from galaxy.runs.folder import RESUMABLE_SETTINGS, differences
from galaxy.runs.result import Result
from galaxy.system.errors import UserError, listing
from galaxy.system.files import locked

log = logging.getLogger(__name__)

# The name of the study in its file.
NAME = "search"
# The attribute of the study that says what is searched.
_CONTENT = "search"
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
# These overrides may differ each time the search is started.
_OF_ONE_START = ("resume", "trust", *RESUMABLE_SETTINGS)


@dataclass(frozen=True)
class Trial:
    """A trial that this process is to run.

    Attributes:
        number: Its number in the study.
        overrides: The settings that were drawn.
    """

    number: int
    overrides: list[str]


class Study:
    """The study in the folder of a sweep, for a process that works on it. A study that was begun goes on.

    Args:
        folder: The folder. It exists.
        settings: How settings are drawn and trials are pruned.
        space: The search space.
        metric: The objective.
        mode: Its direction.
        epochs: The number of epochs of a whole trial; None if it is searched.

    Raises:
        UserError: The folder holds another search, or the file is damaged.
    """

    def __init__(
        self,
        folder: Path,
        settings: SearchSettings,
        space: Space,
        metric: str,
        mode: Direction,
        epochs: int | None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder = folder
        self.settings = settings
        self.space = space
        fixed = {key_of(o): o for o in space.fixed if key_of(o) not in _OF_ONE_START and not _of_hydra(o)}
        searched = {dimension.element: dimension.text for dimension in space.dimensions}
        content = {"metric": metric, "mode": mode, "epochs": epochs, "fixed": fixed, "space": searched}
        path = (folder / STUDY_FILE).absolute()
        with locked(folder / ".study.lock"):
            self.study = optuna.create_study(
                study_name=NAME,
                storage=open_journal(path, _JournalLock(path)),
                sampler=RandomSampler(),
                pruner=build_pruner(settings, epochs),
                direction=StudyDirection.MINIMIZE if mode == "min" else StudyDirection.MAXIMIZE,
                load_if_exists=True,
            )
            if _CONTENT not in self.study.user_attrs:
                self.study.set_user_attr(_CONTENT, content)
        if differing := list(differences(self.study.user_attrs[_CONTENT], content)):
            raise UserError(
                f"{folder} holds another search, which this one cannot go on with:\n"
                f"{listing(differing)}\nGive another hydra.sweep.dir for a new search"
            )

    def trials(self) -> Generator[Trial, None, None]:
        """Yields the trials that this process is to run, until all processes together have begun all of them.

        First come the trials that killed processes have left behind. No other process gets a trial while the
        caller works on it. A trial that repeats an earlier one is given its value, and is not yielded.
        """
        tried: set[int] = set()
        while True:
            with ExitStack() as stack:
                with locked(self.folder / ".study.lock") as is_locked:
                    frozen = self._left_behind(tried, stack, is_locked) or self._drawn(stack)
                if frozen is None:
                    return
                tried.add(frozen.number)
                yield Trial(frozen.number, _overrides(self.space, frozen))
                self._lock_of(frozen.number).unlink(missing_ok=True)

    def tell(self, number: int, result: Result, folder: str | None = None) -> None:
        """Writes down how a trial ended; one that was interrupted stays as it is, to be taken up again.

        A trial that failed is the worst there is, so that the sampler learns to avoid its settings.

        Args:
            number: The number of the trial.
            result: The result of its run.
            folder: The name of its run folder; None if it was not begun.
        """
        if result.status in ("running", "interrupted"):
            return
        trial = self._trial(number)
        for key, text in (("status", result.status), ("folder", folder), ("error", result.error)):
            if text is not None:
                trial.set_user_attr(key, text)
        if result.status == "pruned":
            self.study.tell(number, state=TrialState.PRUNED, skip_if_finished=True)
            return
        value = None if result.objective is None else result.objective["value"]
        if result.status != "done" or value is None or math.isnan(value):
            value = math.inf if self.study.direction == StudyDirection.MINIMIZE else -math.inf
        self.study.tell(number, value, skip_if_finished=True)

    def should_prune(self, number: int) -> Callable[[int, float], bool]:
        """Returns the judge of a running trial; see `galaxy.learning.callbacks.Pruning`."""
        trial = self._trial(number)

        def judge(epoch: int, value: float) -> bool:
            # A resumed training repeats the epochs since its last checkpoint.
            if epoch not in self._frozen(number).intermediate_values:
                trial.report(value, epoch)
            return trial.should_prune()

        return judge

    def _left_behind(self, tried: set[int], stack: ExitStack, is_locked: bool) -> FrozenTrial | None:
        """Takes over a trial whose process is gone."""
        for frozen in self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            number = frozen.number
            if number in tried or not (is_locked or _is_gone(frozen.user_attrs.get("process"))):
                continue
            try:
                stack.enter_context(locked(self._lock_of(number), wait=False))
            except Timeout:
                continue
            if self._frozen(number).state == TrialState.RUNNING:  # It may just have been told.
                log.info("trial %d was interrupted, and goes on", number)
                self.study.sampler = build_sampler(self.settings, number)
                if (begun := self._begun(self._trial(number))) is not None:
                    return begun
            else:
                self._lock_of(number).unlink(missing_ok=True)
        return None

    def _drawn(self, stack: ExitStack) -> FrozenTrial | None:
        """Draws the settings of a new trial; None if there are enough."""
        while True:
            trials = self.study.get_trials(deepcopy=False)
            if sum(trial.state != TrialState.WAITING for trial in trials) >= self.settings.n_trials:
                return None
            # Each trial has a seed of its own, so that neither kills nor other processes change the draws.
            self.study.sampler = build_sampler(self.settings, len(trials))
            trial = self.study.ask()
            stack.enter_context(locked(self._lock_of(trial.number), wait=False))
            if (begun := self._begun(trial)) is not None:
                return begun

    def _begun(self, trial: optuna.Trial) -> FrozenTrial | None:
        """Draws what a trial lacks; None if it repeats an earlier one, whose value it is given then."""
        trial.set_user_attr("process", [socket.gethostname(), os.getpid()])
        for dimension in self.space.dimensions:
            if dimension.choices:
                trial.suggest_categorical(dimension.key, dimension.choices)
            elif dimension.whole:
                low, high = int(dimension.low), int(dimension.high)
                trial.suggest_int(dimension.key, low, high, step=int(dimension.step or 1), log=dimension.log)
            else:
                bounds = dimension.low, dimension.high
                trial.suggest_float(dimension.key, *bounds, step=dimension.step, log=dimension.log)
        frozen = self._frozen(trial.number)
        for other in self.study.get_trials(deepcopy=False, states=_FINISHED):
            if other.params == frozen.params:
                self._repeat(trial, other)
                return None
        return frozen

    def _repeat(self, trial: optuna.Trial, other: FrozenTrial) -> None:
        log.info("trial %d repeats trial %d", trial.number, other.number)
        trial.set_user_attr("same_as", other.number)
        for key in ("status", "folder"):
            trial.set_user_attr(key, other.user_attrs.get(key))
        for epoch, value in other.intermediate_values.items():
            trial.report(value, epoch)
        is_pruned = other.state == TrialState.PRUNED
        self.study.tell(trial.number, None if is_pruned else other.value, other.state)
        self._lock_of(trial.number).unlink(missing_ok=True)

    def _trial(self, number: int) -> optuna.Trial:
        return optuna.Trial(self.study, self._frozen(number)._trial_id)

    def _frozen(self, number: int) -> FrozenTrial:
        return self.study.get_trials(deepcopy=False)[number]

    def _lock_of(self, number: int) -> Path:
        return lock_of_trial(self.folder, number)


def lock_of_trial(folder: Path, number: int) -> Path:
    """Returns the file that the process which runs a trial keeps locked."""
    return folder / f".trial-{number}.lock"


def build_sampler(settings: SearchSettings, number: int) -> BaseSampler:
    """Builds the sampler for the trial of a number."""
    seed = int(np.random.SeedSequence([settings.seed, number]).generate_state(1)[0])
    startup = settings.startup_trials
    match settings.sampler:
        case "tpe":
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup)
        case "gp":
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup)
        case "cmaes":
            return optuna.samplers.CmaEsSampler(seed=seed, n_startup_trials=startup)
    return RandomSampler(seed=seed)


def build_pruner(settings: SearchSettings, epochs: int | None) -> BasePruner:
    """Builds the pruner. The number of epochs of a whole trial is None if it is searched."""
    warmup = settings.warmup_epochs
    match settings.pruner:
        case "median":
            return optuna.pruners.MedianPruner(settings.startup_trials, warmup)
        case "halving":
            return optuna.pruners.SuccessiveHalvingPruner(warmup)
        case "hyperband":
            return optuna.pruners.HyperbandPruner(warmup, epochs or "auto")
    return optuna.pruners.NopPruner()


class _JournalLock(JournalFileOpenLock):
    """The lock for writing to a journal, whose owner removes what a killed process left of a line.

    Otherwise the next line would be added to that part, and nobody could read the two.

    Args:
        path: The journal.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._journal = path

    def acquire(self) -> bool:
        """Waits for the lock."""
        acquired = super().acquire()
        with self._journal.open("rb+") as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                if file.read() != b"\n":
                    file.seek(0)
                    file.truncate(file.read().rfind(b"\n") + 1)
        return acquired


def open_journal(path: Path, lock: JournalFileOpenLock | None = None) -> JournalStorage:
    """Opens the file of a study.

    Args:
        path: The file.
        lock: The lock for writing to it; None only reads.

    Raises:
        UserError: The file is damaged.
    """
    try:
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    except (ValueError, LookupError, TypeError) as error:  # Optuna raises these for what is no journal
        raise UserError(f"{path} is damaged: {error}") from error


def read_study(path: Path) -> tuple[optuna.Study, str, Direction]:
    """Opens a study for reading.

    Returns:
        The study, the objective of the search, and its direction.

    Raises:
        UserError: The file holds no search.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_journal(path)
    try:
        study = optuna.load_study(study_name=NAME, storage=storage)
        content = study.user_attrs[_CONTENT]
        return study, content["metric"], content["mode"]
    except LookupError as error:
        raise UserError(f"{path} is damaged: it holds no search") from error


def _overrides(space: Space, frozen: FrozenTrial) -> list[str]:
    """Writes the settings of a trial as overrides, numbers with as many digits as people read."""
    values = [(dimension, frozen.params[dimension.key]) for dimension in space.dimensions]
    return [f"{d.element}={f'{value:.5g}' if isinstance(value, float) else value}" for d, value in values]


def _is_gone(process: Any) -> bool:
    """Whether a process of this machine has ended; of other machines nobody knows."""
    host, number = process or (None, 0)
    return host == socket.gethostname() and not psutil.pid_exists(number)


def _of_hydra(override: str) -> bool:
    return key_of(override).startswith(("hydra.", "hydra/"))
