"""Objects of a run that do not fit each other, refused before any images are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from galaxy.config.instantiation import naming
from galaxy.config.objective import direction, metrics
from galaxy.labels.labels import Labels
from galaxy.learning.optim import Schedule, build_optimizer
from galaxy.learning.transfer import Transfer
from galaxy.models.encoder import Encoder
from galaxy.runs.trainer import one_line
from galaxy.system.errors import UserError, meant


def transfer(config: dict[str, Any]) -> Transfer:
    """Reads how the encoder of a run learns.

    Raises:
        UserError: A setting is out of its range.
    """
    with naming("model"):
        return Transfer(**{field.name: config["model"][field.name] for field in fields(Transfer)})


def check_optimizer(
    optimizer: Callable[..., Optimizer], schedule: Schedule, encoder: Encoder, config: dict[str, Any]
) -> None:
    """Makes the optimizer and its schedule once, with a head of a single weight.

    Raises:
        UserError: One of them refuses its settings, or these do not suit the encoder.
    """
    head, how = [nn.Parameter(torch.zeros(1))], transfer(config)
    trainer = config["trainer"]
    with naming("model"):
        how.check(encoder)
    with naming("optimizer"):
        made = build_optimizer(optimizer, encoder, head, how, config["optimizer"]["weight_decay_exclude_1d"])
    with naming_schedule():
        # The real number of steps is not known yet. A share of a prime number is hardly ever a single step.
        moves = schedule.configure(made, planned_epochs(trainer), steps_per_epoch=101)
    if isinstance(moves.get("lr_scheduler", {}).get("scheduler"), ReduceLROnPlateau):
        _check_plateau(schedule, trainer.get("check_val_every_n_epoch", 1))


def planned_epochs(trainer: dict[str, Any]) -> int:
    """Returns the number of epochs, or a usual one as long as that of `max_epochs=-1` is not known."""
    epochs: int = trainer["max_epochs"]
    return 15 if epochs == -1 else epochs


@contextmanager
def naming_schedule() -> Iterator[None]:
    """Puts the key of the scheduler in front of anything that it raises in the block.

    Raises:
        UserError: The block raised an exception.
    """
    try:
        with naming("scheduler.scheduler"):
            yield
    except UserError:
        raise
    except Exception as error:  # torch checks some settings by an assert, or not at all
        raise UserError(f"scheduler.scheduler: {type(error).__name__}: {one_line(error)}") from error


def _check_plateau(schedule: Schedule, every: int | None) -> None:
    """Refuses a plateau schedule that would look for a metric when there is no new one.

    Args:
        schedule: The schedule.
        every: The number of epochs between two validations; None where they do not follow epochs.
    """
    monitor = schedule.monitor
    if monitor is None:
        raise UserError("scheduler.monitor is null, but ReduceLROnPlateau needs the metric that it watches")
    if schedule.interval == "step":
        raise UserError(
            f"scheduler.interval is step, but {monitor} is not known after each step: "
            "use scheduler.interval=epoch"
        )
    if monitor.startswith("train/"):
        return
    if every is None:
        raise UserError(
            f"trainer.check_val_every_n_epoch is null, but {monitor} must be known when an epoch ends: "
            "use trainer.check_val_every_n_epoch=1"
        )
    if schedule.frequency % every:
        raise UserError(
            f"scheduler.frequency is {schedule.frequency}, but {monitor} is new every {every} epochs "
            f"(trainer.check_val_every_n_epoch): use scheduler.frequency={every}"
        )


def check_metrics(config: dict[str, Any], labels: Labels, weighted: bool, fitted: bool) -> None:
    """Refuses an objective, and other watched metrics, that a run on these labels does not log.

    Args:
        config: The configuration of the run, whose metrics and directions have been checked without labels.
        labels: What the targets are.
        weighted: Whether the targets come with weights.
        fitted: Whether the model is fitted in one go. Then there is no loss, and nothing watches a metric.

    Raises:
        UserError: The message names the metrics that exist.
    """
    keys = [question.key for question in labels.questions] if len(labels.questions) > 1 else []
    logged = list(metrics(labels.kind == "classes", weighted, keys))
    watched = {"objective.metric": config["objective"]["metric"]}
    if fitted:
        logged = [name for name in logged if name.startswith("val/") and name != "val/loss"]
    else:
        watchers = {f"callbacks.{name}": callback for name, callback in config["callbacks"].items()}
        for owner, watcher in {**watchers, "scheduler": config["scheduler"]}.items():
            watched[f"{owner}.monitor"] = (watcher or {}).get("monitor")
    for key, name in watched.items():
        own = name is None or (direction(name) is None and not fitted)
        if not own and name not in logged:
            whose = "model that is fitted in one go has" if fitted else f"run on {labels.meaning} labels logs"
            shown = [name for name in logged if not name.startswith("val/rmse/")]
            shown += [f"val/rmse/{keys[0]} ... {keys[-1]}"] if keys else []
            raise UserError(
                f"{key} is {name}, which no {whose}{meant(name, logged)}\nThere are: {', '.join(shown)}"
            )
