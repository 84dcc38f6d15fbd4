"""Settings of a run that cannot work, refused before any data are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from galaxy.config.check import READ_BY_PROGRAM
from galaxy.config.instantiation import naming
from galaxy.labels.labels import Labels
from galaxy.learning.metrics import CLASS_METRICS, FRACTION_METRICS
from galaxy.learning.optim import Schedule, build_optimizer, check_encoder_training
from galaxy.models.encoder import Encoder
from galaxy.runs.folder import SPLIT_SETTINGS
from galaxy.system.errors import UserError, meant

# A callback or a scheduler can watch these metrics in every run; labels add their own.
METRICS = ("train/loss", "val/loss", *(f"{s}/{m}" for s in ("train", "val") for m in FRACTION_METRICS))

# These metrics are the better the larger they are.
_LARGE = ("r2", *CLASS_METRICS, "images_per_second")

# Every run reads these keys.
REQUIRED_KEYS = {
    "model": tuple(READ_BY_PROGRAM["model"]),
    "trainer": ("max_epochs", "accelerator", "precision", "devices"),
    "optimizer": ("lr",),
    "data": (*SPLIT_SETTINGS, "root", "limit", "batch_size", "on_bad", "catalog"),
}

# A run sets these arguments of the trainer itself; the text says what to write instead.
RESERVED_TRAINER_ARGS = {
    "callbacks": "the group callbacks",
    "logger": "the group logger",
    "default_root_dir": "hydra.run.dir",
    "fast_dev_run": "trainer=debug",
    "max_steps": "trainer.max_epochs",
    "overfit_batches": "data.limit",
    "barebones": "trainer=debug",
    "plugins": "nothing: one of them writes the checkpoints",
    "use_distributed_sampler": "nothing: the loaders share out the galaxies themselves",
    "enable_autolog_hparams": "nothing: the whole configuration is logged",
    "enable_model_summary": "nothing",
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
    with naming("model"):
        check_encoder_training(config["model"]["frozen_epochs"], config["model"]["body_lr_factor"])
    node = config["trainer"]
    _check_trainer(node)
    clip = node.get("gradient_clip_val") or 0
    if clip and node["precision"] == "16-mixed" and config["optimizer"].get("fused"):
        raise UserError(
            "trainer.gradient_clip_val fails with trainer.precision=16-mixed and optimizer.fused=true, "
            "which scales gradients back in its step: use optimizer.fused=false or precision=bf16-mixed"
        )
    if not config["callbacks"].get("best"):
        raise UserError("callbacks.best is missing, but a run is judged by its best checkpoint")
    check_monitors(config, labels=None)
    _check_hardware(node)


def _check_trainer(node: dict[str, Any]) -> None:
    for name in RESERVED_TRAINER_ARGS.keys() & node.keys():
        raise UserError(f"trainer.{name} is set by the run itself; use {RESERVED_TRAINER_ARGS[name]}")
    for name in ("max_epochs", "log_every_n_steps", "accumulate_grad_batches"):
        if node.get(name, 1) is None or node.get(name, 1) < 1:
            raise UserError(f"trainer.{name} is {node[name]}; it must be 1 or more")
    if node["devices"] in (0, "0", []):
        raise UserError(f"trainer.devices is {node['devices']}; a run needs one device or more")
    every = node.get("check_val_every_n_epoch", 1)
    if every is not None and every > node["max_epochs"]:
        raise UserError(
            f"trainer.check_val_every_n_epoch is {every}, but there are {node['max_epochs']} epochs"
        )
    for name in ("limit_train_batches", "limit_val_batches"):
        if node.get(name) == 0:
            raise UserError(f"trainer.{name} is 0, but a run both trains and validates")
    clip = node.get("gradient_clip_val") or 0
    if clip < 0:
        raise UserError(f"trainer.gradient_clip_val is {clip}; it must be above 0, or null for no clipping")
    graphs = node.get("compile") in ("reduce-overhead", "max-autotune")
    if graphs and node.get("accumulate_grad_batches", 1) > 1:
        raise UserError(
            f"trainer.compile={node['compile']} uses CUDA graphs, whose gradients the next batch overwrites: "
            "use trainer.compile=true or trainer.accumulate_grad_batches=1"
        )


def _check_hardware(node: dict[str, Any]) -> None:
    if torch.cuda.is_available():
        return
    if node["accelerator"] in ("gpu", "cuda"):
        raise UserError(
            f"trainer.accelerator={node['accelerator']}, but torch finds no GPU: use trainer=auto"
        )
    if node["precision"] == "16-mixed":
        # Lightning would silently change it to bf16-mixed.
        raise UserError("trainer.precision=16-mixed needs a GPU: use trainer.precision=auto")


def check_optimizer(
    optimizer: Callable[..., Optimizer],
    schedule: Schedule,
    encoder: Encoder,
    body_lr_factor: float,
    epochs: int,
) -> None:
    """Makes the optimizer and its schedule once, with a head of a single weight.

    Raises:
        UserError: One of them refuses its settings.
    """
    head = [nn.Parameter(torch.zeros(1))]
    with naming("optimizer"):
        made = build_optimizer(optimizer, encoder, head, body_lr_factor)
    with naming("scheduler.scheduler"):
        schedule.configure(made, epochs, steps_per_epoch=100)  # the real number is not known yet


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
