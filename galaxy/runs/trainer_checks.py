"""What a trainer cannot be asked for, found before anything starts."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from galaxy.config.instantiation import instantiate, naming
from galaxy.labels.labels import Labels
from galaxy.learning.metrics import CLASS_METRICS, FRACTION_METRICS
from galaxy.learning.optimizer import build_optimizer
from galaxy.models.encoder import Encoder
from galaxy.system.errors import UserError, meant

# Metrics that a callback or a scheduler can watch in every run; labels add their own.
METRICS = ("train/loss", "val/loss", *(f"{s}/{m}" for s in ("train", "val") for m in FRACTION_METRICS))

# Metrics that are the better the larger they are.
_LARGE = ("r2", *CLASS_METRICS, "images_per_second")

# Arguments that a run sets itself, and what to write instead.
OWN = {
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


def check_trainer(config: dict[str, Any]) -> None:
    """Refuses what cannot work, before any data are read.

    Raises:
        UserError: An argument is out of range or belongs to the run itself, a metric to be watched does not
            exist, or a GPU is asked for and there is none.
    """
    node = config["trainer"]
    for name in OWN.keys() & node.keys():
        raise UserError(f"trainer.{name} is set by the run itself; use {OWN[name]}")
    for name in ("max_epochs", "log_every_n_steps", "accumulate_grad_batches"):
        if node.get(name, 1) is None or node.get(name, 1) < 1:
            raise UserError(f"trainer.{name} is {node[name]}; it must be 1 or more")
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
    if clip and node["precision"] == "16-mixed" and config["optimizer"].get("fused"):
        raise UserError(
            "trainer.gradient_clip_val fails with trainer.precision=16-mixed and optimizer.fused=true, "
            "which scales gradients back in its step: use optimizer.fused=false or precision=bf16-mixed"
        )
    graphs = node.get("compile") in ("reduce-overhead", "max-autotune")
    if graphs and node.get("accumulate_grad_batches", 1) > 1:
        raise UserError(
            f"trainer.compile={node['compile']} uses CUDA graphs, whose gradients the next batch overwrites: "
            "use trainer.compile=true or trainer.accumulate_grad_batches=1"
        )
    if "best" not in config["callbacks"]:
        raise UserError("callbacks.best is missing, but a run is judged by its best checkpoint")
    check_monitors(config, labels=None)
    _check_hardware(node)


def check_optimizer(config: dict[str, Any], encoder: Encoder) -> None:
    """Makes the optimizer and its schedule, with a head of a single weight, before any data are read.

    Raises:
        UserError: They refuse their settings.
    """
    head = [nn.Parameter(torch.zeros(1))]
    optimizer = build_optimizer(instantiate(config["optimizer"], "optimizer"), encoder, head)
    with naming("scheduler"):
        # Of so many steps, for how many an epoch has is not known yet.
        instantiate(config["scheduler"], "scheduler").configure(
            optimizer, config["trainer"]["max_epochs"], 100
        )


def check_monitors(config: dict[str, Any], labels: Labels | None, weighted: bool = True) -> None:
    """Refuses metrics to be watched that a run does not log, or in the wrong direction.

    Args:
        config: Of the run.
        labels: What its targets are; None while that is not known, when any metric will do that there is.
        weighted: Whether the targets come with weights.

    Raises:
        UserError: Naming the metrics that there are, or the direction.
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
        of, _, key = name.rpartition("/")
        of_question = of == "val/rmse" and (labels is None or key in keys)
        if name not in known and not of_question:
            whose = "" if labels is None else f" on {labels.meaning} labels"
            questions = [f"val/rmse/{keys[0]} ... {keys[-1]}"] if keys else []
            raise UserError(
                f"{owner}.monitor is {name}, which no run{whose} logs{meant(name, known)}\n"
                f"There are: {', '.join([*known, *questions])}"
            )
        mode, better = watcher.get("mode"), "max" if key in _LARGE else "min"
        # Of a metric of classes, first of all, whether the labels are classes.
        if mode not in (None, better) and (labels is not None or key not in CLASS_METRICS):
            best = {"min": "least", "max": "greatest"}[better]
            raise UserError(
                f"{owner}.mode is {mode}, but the {best} {name} is the best: use {owner}.mode={better}"
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
