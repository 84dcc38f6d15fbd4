"""Lightning's trainer: what it is asked for, and what it cannot be asked for."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import PassThroughProfiler

from galaxy.callbacks import SlowProgressBar
from galaxy.checkpoint_io import WholeCheckpointIO
from galaxy.errors import UserError, meant
from galaxy.instantiation import instantiate
from galaxy.labels import Labels
from galaxy.metrics import CLASS_METRICS, FRACTION_METRICS
from galaxy.precision import best_precision, use_tf32

# Metrics that a callback or a scheduler can watch in every run; labels add their own.
METRICS = ("train/loss", "val/loss", *(f"{s}/{m}" for s in ("train", "val") for m in FRACTION_METRICS))

# What Lightning calls in every step, of callbacks and of the module.
STEP_HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)

# Arguments that a run sets itself, and what to write instead.
OWN = {
    "callbacks": "the group callbacks",
    "logger": "the group logger",
    "default_root_dir": "hydra.run.dir",
    "fast_dev_run": "trainer=debug",
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
    for name in ("limit_train_batches", "limit_val_batches"):
        if node.get(name) == 0:
            raise UserError(f"trainer.{name} is 0, but a run both trains and validates")
    clips = bool(node.get("gradient_clip_val"))
    if clips and node["precision"] == "16-mixed" and config["optimizer"].get("fused"):
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


def check_monitors(config: dict[str, Any], labels: Labels | None, weighted: bool = True) -> None:
    """Refuses metrics to be watched that a run does not log.

    Args:
        config: Of the run.
        labels: What its targets are; None while that is not known, when any metric will do that there is.
        weighted: Whether the targets come with weights.

    Raises:
        UserError: Naming the metrics that there are.
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
        if name is None or name in known:
            continue
        of, _, key = name.rpartition("/")
        if of == "val/rmse" and (labels is None or key in keys):
            continue
        whose = "" if labels is None else f" on {labels.meaning} labels"
        questions = [f"val/rmse/{keys[0]} ... {keys[-1]}"] if keys else []
        raise UserError(
            f"{owner}.monitor is {name}, which no run{whose} logs{meant(name, known)}\n"
            f"There are: {', '.join([*known, *questions])}"
        )


class Trainer(pl.Trainer):
    """Lightning's trainer, with less between two steps.

    Args:
        tf32: Whether GPUs multiply float32 matrices in TF32, with 10 bits of mantissa instead of 23.
        compile: Whether, or in which mode, `torch.compile` translates the network.
        callbacks: What is called at each step; a progress bar is added if there is none and may be one.
        **arguments: Lightning's own.

    Attributes:
        compile_mode: That of `torch.compile`; None to leave the network as it is.
    """

    def __init__(
        self,
        *,
        tf32: bool = True,
        compile: bool | Literal["default", "reduce-overhead", "max-autotune"] = False,  # noqa: A002  the name
        callbacks: Sequence[pl.Callback] = (),
        **arguments: Any,
    ) -> None:
        arguments.setdefault("profiler", _NoProfiler())
        callbacks = list(callbacks)
        own = any(isinstance(callback, pl.callbacks.ProgressBar) for callback in callbacks)
        if arguments.get("enable_progress_bar", True) and not own:
            callbacks.append(SlowProgressBar())
        super().__init__(callbacks=callbacks, **arguments)
        for callback in callbacks:
            _drop_empty_hooks(callback, pl.Callback)
        self.compile_mode = ("default" if compile is True else compile) or None
        use_tf32(tf32)

    def fit(self, model: pl.LightningModule, *arguments: Any, **named: Any) -> None:
        """As Lightning's."""
        _drop_empty_hooks(model, pl.LightningModule)
        super().fit(model, *arguments, **named)


def _drop_empty_hooks(owner: object, base: type) -> None:
    """Sets the hooks of a step that nobody has filled to None, which Lightning passes over at once.

    Otherwise it prepares for each of them in each callback, some 40 times a step: 0.1 ms.
    """
    for name in STEP_HOOKS:
        if name not in vars(owner) and getattr(type(owner), name) is getattr(base, name):
            setattr(owner, name, None)


class _NoProfiler(PassThroughProfiler):
    """Lightning's own makes and closes a generator at each of the 60 places of a step that it could time."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[Any]:  # type: ignore[override]
        """Times nothing."""
        return self._nothing


def build_trainer(config: dict[str, Any], callbacks: list[pl.Callback], loggers: list[Logger]) -> Trainer:
    """Builds the trainer; "auto" becomes the best that the hardware has.

    The accelerator is a CUDA GPU or the CPU: metrics are summed in float64, which Apple's GPUs lack.
    """
    node = dict(config["trainer"])
    if not torch.cuda.is_available():
        # Or else every step of an optimizer looks for a GPU anew, in 0.1 ms.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if node["accelerator"] == "auto":
        node["accelerator"] = "cuda" if torch.cuda.is_available() else "cpu"
    if node["precision"] == "auto":
        node["precision"] = best_precision(node["accelerator"])
    built: Trainer = instantiate(node, _partial_=True)(
        callbacks=callbacks,
        logger=loggers,
        plugins=[WholeCheckpointIO()],
        use_distributed_sampler=False,
        enable_autolog_hparams=False,
        enable_model_summary=False,
    )
    return built


def optimizer_steps(config: dict[str, Any], batches: int) -> int:
    """Steps of the optimizer in an epoch of so many batches.

    `Trainer.estimated_stepping_batches` says so too, but makes a resumed run forget the position of its
    loader (Lightning issue 20550).
    """
    node = config["trainer"]
    limit = node.get("limit_train_batches")
    if isinstance(limit, float):
        batches = int(batches * limit)
    elif limit is not None:
        batches = min(batches, limit)
    return max(1, math.ceil(batches / node.get("accumulate_grad_batches", 1)))


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
