"""What a search has found, by the file of its study: its history, and which settings matter."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from galaxy.config.objective import Direction
from galaxy.config.search import STUDY_FILE
from galaxy.system.errors import UserError


@dataclass(frozen=True)
class SearchTrial:
    """A trial of a search.

    Attributes:
        number: Its number.
        status: How it ended, in the words of result.json; "running" also if it was interrupted.
        value: Its objective, that of the last epoch if it was pruned; None without one, as of a failed trial.
        best: The best objective of the trials up to this one that are done; None before there is one.
        settings: The settings that were drawn, by their keys.
        validated: The objective after each epoch.
        folder: The name of its run folder; None while it runs, and if its settings do not fit each other.
        same_as: The number of the earlier trial whose settings and value it repeats.
    """

    number: int
    status: str
    value: float | None
    best: float | None
    settings: dict[str, Any]
    validated: dict[int, float]
    folder: str | None
    same_as: int | None


@dataclass(frozen=True)
class SearchReport:
    """A search.

    Attributes:
        metric: The objective.
        mode: Whether less or more of it is better.
        trials: All trials that have begun, in the order of their numbers.
        importance: The share of each setting in the differences between trials, the largest first; empty if
            nobody can say. Optuna's default evaluator finds it (PED-ANOVA).
        counted: The number of trials that the importance is from.
    """

    metric: str
    mode: Direction
    trials: tuple[SearchTrial, ...]
    importance: dict[str, float]
    counted: int

    @property
    def best(self) -> SearchTrial | None:
        """The best trial that is done; None without one."""
        done = [trial for trial in self.trials if trial.status == "done" and trial.value is not None]
        return min(done, key=lambda trial: _to_minimise(trial.value, self.mode), default=None)


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
    from galaxy.runs.study import read_study  # noqa: PLC0415  Optuna is an extra

    study, metric, mode = read_study(path)
    trials: list[SearchTrial] = []
    best: float | None = None
    for frozen in study.get_trials(deepcopy=False):
        status = frozen.user_attrs.get("status", "running") if frozen.state.is_finished() else "running"
        value = None if frozen.value is None or not np.isfinite(frozen.value) else frozen.value
        if status == "done" and value is not None:
            best = value if best is None else min(best, value, key=lambda v: _to_minimise(v, mode))
        folder_name, same_as = (frozen.user_attrs.get(key) for key in ("folder", "same_as"))
        settings, validated = dict(frozen.params), dict(frozen.intermediate_values)
        trials.append(
            SearchTrial(frozen.number, status, value, best, settings, validated, folder_name, same_as)
        )
    counted = sum(trial.status == "done" and trial.value is not None for trial in trials)
    return SearchReport(metric, mode, tuple(trials), _importance(study), counted)


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
