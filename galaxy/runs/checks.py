"""Settings of a run that cannot work, refused before any data are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from galaxy.config.instantiation import naming
from galaxy.labels.labels import Labels
from galaxy.learning.metrics import CLASS_METRICS, FRACTION_METRICS
from galaxy.learning.optim import Schedule, build_optimizer
from galaxy.models.encoder import Encoder
from galaxy.runs.folder import SPLIT_SETTINGS
from galaxy.runs.trainer import check_trainer, one_line
from galaxy.system.errors import UserError, meant

# A callback or a scheduler can watch these metrics in every run; labels add their own.
METRICS = ("train/loss", "val/loss", *(f"{s}/{m}" for s in ("train", "val") for m in FRACTION_METRICS))

# These metrics are the better the larger they are.
_LARGE = ("r2", *CLASS_METRICS, "images_per_second")

# Every run reads these keys.
REQUIRED_KEYS = {
    "trainer": ("max_epochs", "accelerator", "precision", "devices"),
    "optimizer": ("lr",),
    "data": (*SPLIT_SETTINGS, "root", "limit", "batch_size", "on_bad", "catalog"),
}


def check_settings(config: dict[str, Any]) -> None:
    """Refuses settings that no data could make right.

    Raises:
        UserError: An argument is out of range or belongs to the run itself, a watched metric does not exist,
            or a GPU is asked for and there is none.
    """
    for group, keys in REQUIRED_KEYS.items():
        for key in keys:
            if key not in config[group]:
                raise UserError(f"{group}.{key} is required: leave out ~{group}.{key}")
    if not 0 <= config["seed"] < 2**32:
        raise UserError(f"seed is {config['seed']}; it must be 0 or more and less than 2**32")
    node = config["trainer"]
    check_trainer(node)
    clip = node.get("gradient_clip_val") or 0
    if clip and node["precision"] == "16-mixed" and config["optimizer"].get("fused"):
        raise UserError(
            "trainer.gradient_clip_val fails with trainer.precision=16-mixed and optimizer.fused=true, "
            "which scales gradients back in its step: use optimizer.fused=false or precision=bf16-mixed"
        )
    if not config["callbacks"].get("best"):
        raise UserError("callbacks.best is missing, but a run is judged by its best checkpoint")
    check_monitors(config, labels=None)


def check_optimizer(
    optimizer: Callable[..., Optimizer], schedule: Schedule, encoder: Encoder, epochs: int
) -> None:
    """Makes the optimizer and its schedule once, with a head of a single weight.

    Raises:
        UserError: One of them refuses its settings.
    """
    head = [nn.Parameter(torch.zeros(1))]
    with naming("optimizer"):
        made = build_optimizer(optimizer, encoder, head)
    try:
        with naming("scheduler.scheduler"):
            schedule.configure(made, epochs, steps_per_epoch=100)  # the real number is not known yet
    except UserError:
        raise
    except Exception as error:  # torch checks some settings by an assert, or not at all
        raise UserError(f"scheduler.scheduler: {type(error).__name__}: {one_line(error)}") from error


def check_monitors(config: dict[str, Any], labels: Labels | None, weighted: bool = True) -> None:
    """Refuses watched metrics that a run does not log, and wrong directions.

    Args:
        config: The configuration of the run.
        labels: What the targets are. While that is not known, None allows the metrics of all kinds of labels.
        weighted: Whether the targets come with weights.

    Raises:
        UserError: The message names the metrics that exist, or the direction.
    """
    known = [*METRICS, "images_per_second"]
    if labels is None or labels.kind == "classes":
        known += [f"{split}/{name}" for split in ("train", "val") for name in CLASS_METRICS]
    if weighted:
        known.append("val/weighted_rmse")
    keys = [] if labels is None or len(labels.questions) == 1 else [q.key for q in labels.questions]
    watchers = {f"callbacks.{name}": callback for name, callback in config["callbacks"].items()}
    for owner, watcher in {**watchers, "scheduler": config["scheduler"]}.items():
        name = (watcher or {}).get("monitor")
        if name is None:
            continue
        group, _, key = name.rpartition("/")
        of_question = group == "val/rmse" and (labels is None or key in keys)
        if name not in known and not of_question:
            whose = "" if labels is None else f" on {labels.meaning} labels"
            questions = [f"val/rmse/{keys[0]} ... {keys[-1]}"] if keys else []
            raise UserError(
                f"{owner}.monitor is {name}, which no run{whose} logs{meant(name, known)}\n"
                f"There are: {', '.join([*known, *questions])}"
            )
        mode, better = watcher.get("mode"), "max" if key in _LARGE else "min"
        # A metric of classes is first checked against the labels, whose message says more.
        if mode not in (None, better) and (labels is not None or key not in CLASS_METRICS):
            which = {"min": "smaller", "max": "larger"}[better]
            raise UserError(
                f"{owner}.mode is {mode}, but a {which} {name} is better: use {owner}.mode={better}"
            )
