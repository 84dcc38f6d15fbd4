"""What a search has found, by the file of its study: its history, and which settings matter."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from galaxy.config.objective import Direction
from galaxy.config.search import STUDY_FILE
from galaxy.system.errors import UserError
from galaxy.system.files import is_locked

# Shares of importance from fewer trials are little more than chance.
FEW = 20


@dataclass(frozen=True)
class SearchTrial:
    """A trial of a search.

    Attributes:
        number: Its number.
        status: How it ended, in the words of result.json; "running" also where nobody can say whether its
            process is gone.
        value: Its objective, that of the last epoch if it was pruned; None without one, as of a failed trial.
        best: The best objective of the trials up to this one that are done; None before there is one.
        settings: The settings that were drawn, by their keys.
        validated: The objective after each epoch.
        folder: The name of its run folder; None while it runs, and if its settings do not fit each other.
        same_as: The number of the earlier trial whose settings and value it repeats.
        error: Why it failed; None if it did not.
    """

    number: int
    status: str
    value: float | None
    best: float | None
    settings: dict[str, Any]
    validated: dict[int, float]
    folder: str | None
    same_as: int | None
    error: str | None = None


@dataclass(frozen=True)
class Searched:
    """A setting that was searched.

    Attributes:
        key: Its key.
        choices: Its values, if they are no numbers of an interval.
        low: The smallest number that may be drawn.
        high: The largest number.
        log: Whether its logarithms were drawn evenly.
        whole: Whether its numbers are whole.
    """

    key: str
    choices: tuple[str, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False
    whole: bool = False


@dataclass(frozen=True)
class SearchReport:
    """A search.

    Attributes:
        folder: The folder of the sweep.
        metric: The objective.
        mode: Whether less or more of it is better.
        trials: All trials that have begun, in the order of their numbers.
        importance: The share of each setting in the differences between trials, the largest first; empty if
            nobody can say. Optuna's default evaluator finds it (PED-ANOVA).
        counted: The number of trials that the importance is from.
        searched: The settings that were searched, in the order of their drawing.
    """

    folder: Path
    metric: str
    mode: Direction
    trials: tuple[SearchTrial, ...]
    importance: dict[str, float]
    counted: int
    searched: tuple[Searched, ...]

    @property
    def states(self) -> dict[str, int]:
        """The number of trials of each status, and of those that repeat another one."""
        return Counter("repeated" if t.same_as is not None else t.status for t in self.trials)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the search has found so far, in words."""
        count = "1 trial" if len(self.trials) == 1 else f"{len(self.trials)} trials"
        states = ", ".join(f"{number} {state}" for state, number in self.states.items())
        found = [self._best_trial, f"{count}: {states}" if states else count]
        if self.importance:
            shares = ", ".join(f"{key} {share:.0%}" for key, share in self.importance.items())
            few = ", which is few for such shares" if self.counted < FEW else ""
            found.append(f"Importance of the settings, from {self.counted} trials{few}: {shares}")
        return tuple(found)

    @property
    def _best_trial(self) -> str:
        if (best := self.best) is None or best.folder is None:
            return "No trial is done"
        return f"Best trial: {best.number}, {self.metric} {best.value:.5f}, in {self.folder / best.folder}"

    @property
    def best(self) -> SearchTrial | None:
        """The best trial that is done; None without one."""
        done = [trial for trial in self.trials if trial.status == "done" and trial.value is not None]
        return min(done, key=lambda trial: _to_minimise(trial.value, self.mode), default=None)


@dataclass(frozen=True)
class Search:
    """A folder that holds a search.

    Attributes:
        folder: The folder.
        report: What the search has found; None if it cannot be read.
        problem: Why it cannot be read; empty if it can.
    """

    folder: Path
    report: SearchReport | None
    problem: str = ""

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the search has found so far, or why it cannot be read."""
        return (self.problem,) if self.report is None else self.report.sentences

    @property
    def best(self) -> SearchTrial | None:
        """The best trial that is done; None without one."""
        return None if self.report is None else self.report.best


def find_searches(folders: Sequence[Path]) -> list[Search]:
    """Reads every search at or below some folders, each once, though one folder may lie in another."""
    files = {file.resolve(): file for folder in folders for file in sorted(folder.rglob(STUDY_FILE))}
    return [search_in(file.parent) for file in files.values()]


def search_in(folder: Path) -> Search:
    """Reads the search in a folder, or says why it cannot be read."""
    try:
        return Search(folder, read_search(folder))
    except UserError as error:
        return Search(folder, None, str(error))


def read_search(folder: Path) -> SearchReport | None:
    """Reads the study in the folder of a sweep; None if the sweep is no search.

    Raises:
        UserError: Optuna is not installed, or the file is damaged.
    """
    path = folder / STUDY_FILE
    if not path.is_file():
        return None
    if find_spec("optuna") is None:
        raise UserError(f"{path} needs Optuna to be read: pip install 'galaxy-morphology[search]'")
    from galaxy.runs.study import lock_of_trial, read_study  # noqa: PLC0415  Optuna is an extra

    study, metric, mode = read_study(path)
    trials: list[SearchTrial] = []
    searched: dict[str, Searched] = {}
    best: float | None = None
    for frozen in study.get_trials(deepcopy=False):
        status = frozen.user_attrs.get("status", "running") if frozen.state.is_finished() else "running"
        if status == "running" and is_locked(lock_of_trial(folder, frozen.number)) is False:
            status = "interrupted"
        value = None if frozen.value is None or not np.isfinite(frozen.value) else frozen.value
        if status == "done" and value is not None:
            best = value if best is None else min(best, value, key=lambda v: _to_minimise(v, mode))
        attributes = (frozen.user_attrs.get(key) for key in ("folder", "same_as", "error"))
        settings, validated = dict(frozen.params), dict(frozen.intermediate_values)
        trials.append(SearchTrial(frozen.number, status, value, best, settings, validated, *attributes))
        for key, drawn in frozen.distributions.items():
            searched.setdefault(key, _searched(key, drawn))
    counted = sum(trial.status == "done" and trial.value is not None for trial in trials)
    return SearchReport(
        folder, metric, mode, tuple(trials), _importance(study), counted, tuple(searched.values())
    )


def _searched(key: str, drawn: Any) -> Searched:
    import optuna  # noqa: PLC0415  an extra

    if isinstance(drawn, optuna.distributions.CategoricalDistribution):
        return Searched(key, tuple(map(str, drawn.choices)))
    whole = isinstance(drawn, optuna.distributions.IntDistribution)
    return Searched(key, (), drawn.low, drawn.high, drawn.log, whole)


def _importance(study: Any) -> dict[str, float]:
    import optuna  # noqa: PLC0415  an extra

    with warnings.catch_warnings():
        # Optuna warns if the trials do not tell the settings apart, and gives each the same share.
        warnings.simplefilter("error", UserWarning)
        try:
            found = optuna.importance.get_param_importances(study)
        except (ValueError, RuntimeError, UserWarning):  # there are too few trials
            return {}
    return found if np.isfinite(list(found.values())).all() else {}


def _to_minimise(value: float | None, mode: Direction) -> float:
    if value is None:
        return np.inf
    return value if mode == "min" else -value
