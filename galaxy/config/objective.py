"""The objective: the metric that runs are judged by, and whether less or more of it is better.

The best checkpoint, early stopping, schedules that watch a metric, sweeps and tables go by it. In the files
they refer to it as `${objective.metric}` and `${objective.mode}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from galaxy.config.problems import Problem
from galaxy.config.signatures import UnknownNameError, signature_of
from galaxy.system.errors import nearest

Direction = Literal["min", "max"]
DIRECTIONS: tuple[Direction, ...] = ("min", "max")

# The metrics of both splits and their directions: those of every run, and those that classes add.
FRACTION_METRICS: dict[str, Direction] = {"rmse": "min", "r2": "max"}
CLASS_METRICS: dict[str, Direction] = {"accuracy": "max", "balanced_accuracy": "max", "f1": "max"}
SPEED = "images_per_second"


def metrics(
    classes: bool = True, weighted: bool = True, questions: Iterable[str] = ()
) -> dict[str, Direction]:
    """Lists the metrics that a run logs, each with its direction.

    Args:
        classes: Whether the targets are classes.
        weighted: Whether the targets come with weights.
        questions: The keys of the questions, if there are several.
    """
    shared = FRACTION_METRICS | (CLASS_METRICS if classes else {})
    found: dict[str, Direction] = {}
    for split in ("val", "train"):
        found |= {f"{split}/{name}": direction for name, direction in shared.items()}
        found[f"{split}/loss"] = "min"
    if weighted:
        found["val/weighted_rmse"] = "min"
    found |= dict.fromkeys((f"val/rmse/{key}" for key in questions), DIRECTIONS[0])
    return {**found, SPEED: "max"}


def direction(metric: str) -> Direction | None:
    """Returns whether less or more of a metric is better; None if it is not one of Galaxy's."""
    if metric.startswith("val/rmse/"):
        return "min"
    return metrics().get(metric)


def settle(config: DictConfig) -> None:
    """Replaces `objective.mode=auto` by min or max, before anything refers to it."""
    if _read(config, "objective.mode") == "auto":
        better = direction(str(_read(config, "objective.metric")))
        if better is not None:
            config.objective.mode = better


def check_objective(config: DictConfig) -> list[Problem]:
    """Settles the objective of a composed configuration, if it has one, and checks what refers to it.

    Returns:
        The mistakes in the objective itself, or else in what watches a metric: a callback or a schedule whose
        direction is wrong or unknown.
    """
    if "objective" not in config:
        return []
    settle(config)
    problem = _objective_problem(config)
    if problem is None:
        return [problem for watcher in _watchers(config) for problem in _watcher_problem(config, *watcher)]
    with open_dict(config):  # Each reference to a wrong objective would be one more mistake.
        config.objective = {"metric": "val/rmse", "mode": "min"}
    return [problem]


def _objective_problem(config: DictConfig) -> Problem | None:
    node = _read(config, "objective")
    if not isinstance(node, DictConfig):
        return Problem("objective", f"is {node}, but has a metric and a mode: write objective.metric={node}")
    for name in ("metric", "mode"):
        if name not in node:
            return Problem(f"objective.{name}", f"is required: leave out ~objective.{name}")
    metric, mode = _read(node, "metric"), _read(node, "mode")
    better = direction(str(metric))
    text = None
    if not isinstance(metric, str):
        text = "must be the name of a metric"
    elif better is None and mode == "auto":
        text = f"is {metric}, {_unknown('objective.mode')}"
    elif better is not None and not metric.startswith("val/"):
        text = f"is {metric}, but runs are judged by the validation split"
    if text is not None:
        allowed = tuple(name for name in metrics() if name.startswith("val/"))
        return Problem("objective.metric", text, allowed, nearest(str(metric), allowed))
    if mode not in DIRECTIONS:
        return Problem("objective.mode", f"is {mode}", ("auto", *DIRECTIONS), nearest(str(mode), DIRECTIONS))
    if better not in (None, mode):
        return Problem("objective.mode", f"is {mode}, but {_better(metric, better)}: leave it at auto")
    return None


def _watchers(config: DictConfig) -> Iterator[tuple[str, DictConfig, str, DictConfig]]:
    """Yields all that watches a metric: the key of its `monitor` and of its `mode`, each with its node."""
    callbacks = _read(config, "callbacks")
    for name in map(str, callbacks) if isinstance(callbacks, DictConfig) else ():
        node = _read(callbacks, name)
        if isinstance(node, DictConfig) and "monitor" in node:
            yield f"callbacks.{name}", node, f"callbacks.{name}", node
    schedule, scheduler = _read(config, "scheduler"), _read(config, "scheduler.scheduler")
    if isinstance(schedule, DictConfig) and isinstance(scheduler, DictConfig):
        yield "scheduler", schedule, "scheduler.scheduler", scheduler


def _watcher_problem(
    config: DictConfig, owner: str, node: DictConfig, mode_owner: str, mode_node: DictConfig
) -> Iterator[Problem]:
    metric, objective = _read(node, "monitor"), _read(config, "objective.metric")
    if not isinstance(metric, str):
        return
    if owner == "callbacks.best" and metric != objective:
        text = f"is {metric}, but the best checkpoint goes by the objective: set objective.metric={metric}"
        yield Problem(f"{owner}.monitor", text)
        return
    better = _read(config, "objective.mode") if metric == objective else direction(metric)
    key = f"{mode_owner}.mode"
    if better is None:
        raw: Any = OmegaConf.to_container(mode_node)
        if raw.get("mode") not in DIRECTIONS:  # a reference to objective.mode says nothing about this metric
            known = tuple(metrics())
            yield Problem(f"{owner}.monitor", f"is {metric}, {_unknown(key)}", known, nearest(metric, known))
    elif "mode" not in mode_node:
        if better == "max" and _takes_mode(mode_node):
            yield Problem(key, f"is not given, but {_better(metric, better)}: add +{key}=max")
    elif (mode := _read(mode_node, "mode")) != better:
        yield Problem(key, f"is {mode}, but {_better(metric, better)}: use {key}={better}")


def _unknown(key: str) -> str:
    return f"which Galaxy does not log (a metric that your own code logs needs {key}=min or max)"


def _better(metric: str, better: str | None) -> str:
    return f"a {'smaller' if better == 'min' else 'larger'} {metric} is better"


def _takes_mode(node: DictConfig) -> bool:
    """Returns whether the target of a node has a parameter `mode`, which Lightning and torch set to min."""
    target = _read(node, "_target_")
    with suppress(UnknownNameError):  # This mistake is reported elsewhere.
        signature = signature_of(target) if isinstance(target, str) else None
        return signature is not None and "mode" in signature.parameters
    return False


def _read(config: DictConfig, key: Any) -> Any:
    """Returns the value of a key; None if it is missing or cannot be resolved (`check` reports that)."""
    try:
        return OmegaConf.select(config, str(key))
    except OmegaConfBaseException:
        return None
