"""Builds Lightning's trainer and callbacks, and refuses what they could not do in a run."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BatchSizeFinder,
    LearningRateFinder,
    ModelCheckpoint,
    StochasticWeightAveraging,
    WeightAveraging,
)
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import CheckpointIO
from lightning.pytorch.plugins.environments import LightningEnvironment

from galaxy.config.instantiation import instantiate, naming
from galaxy.learning.checkpoint_files import WholeCheckpointIO
from galaxy.learning.lean_trainer import Trainer
from galaxy.system.errors import UserError
from galaxy.system.machine import best_precision

# Other strategies share out the weights, or start their processes in ways that a run does not allow for.
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true")

# In place of these values a trainer can be built anywhere.
_PLAIN = {"accelerator": "cpu", "devices": 1, "strategy": "auto", "precision": "32-true", "max_epochs": 1}

# These callbacks of Lightning do not work in a run; the text says why, and what to use instead.
REFUSED_CALLBACKS: dict[type[pl.Callback], str] = {
    StochasticWeightAveraging: "changes the weights after they were validated: use callbacks=ema",
    BackboneFinetuning: "gives the optimizer weights that no schedule knows: use model.frozen_epochs",
    LearningRateFinder: "trains before the training, which no resumed run could repeat: sweep optimizer.lr",
    BatchSizeFinder: "changes data.batch_size, which a run keeps: sweep data.batch_size",
}


def check_trainer(node: dict[str, Any]) -> None:
    """Refuses arguments of the trainer that no data could make right.

    Raises:
        UserError: An argument is out of range or belongs to the run itself, or the hardware lacks something.
    """
    for name in ("max_epochs", "log_every_n_steps", "accumulate_grad_batches"):
        if node.get(name, 1) is None or node.get(name, 1) < 1:
            shown = "null" if node[name] is None else node[name]
            raise UserError(f"trainer.{name} is {shown}; it must be 1 or more")
    if node["devices"] in (0, "0", []):
        raise UserError(f"trainer.devices is {node['devices']}; a run needs one device or more")
    if node.get("deterministic") not in (None, True, False, "warn"):
        raise UserError(f"trainer.deterministic is {node['deterministic']}; it must be true, false or warn")
    strategy = node.get("strategy", "auto")
    if isinstance(strategy, str) and strategy not in STRATEGIES:
        raise UserError(f"trainer.strategy is {strategy}; it must be {', '.join(STRATEGIES)}")
    _check_validation(node)
    clip = node.get("gradient_clip_val") or 0
    if clip < 0:
        raise UserError(f"trainer.gradient_clip_val is {clip}; it must be above 0, or null for no clipping")
    graphs = node.get("compile") in ("reduce-overhead", "max-autotune")
    if graphs and node.get("accumulate_grad_batches", 1) > 1:
        raise UserError(
            f"trainer.compile={node['compile']} uses CUDA graphs, whose gradients the next batch overwrites: "
            "use trainer.compile=true or trainer.accumulate_grad_batches=1"
        )
    _check_hardware(node)


def _check_validation(node: dict[str, Any]) -> None:
    every, epochs = node.get("check_val_every_n_epoch", 1), node["max_epochs"]
    if every is not None and every < 1:
        raise UserError(f"trainer.check_val_every_n_epoch is {every}; it must be 1 or more, or null")
    if every is not None and every > epochs:
        raise UserError(f"trainer.check_val_every_n_epoch is {every}, but there are {epochs} epochs")
    interval = node.get("val_check_interval")
    if isinstance(interval, str | dict):
        raise UserError(
            f"trainer.val_check_interval is {interval}; by the clock no run could be repeated, so it must be "
            "a number of batches, or a share of an epoch between 0 and 1"
        )
    if interval is not None and interval <= 0:
        raise UserError(
            f"trainer.val_check_interval is {interval}; it must be 1 or more batches, or a share of an epoch "
            "above 0 and up to 1.0"
        )
    if (least := node.get("min_epochs")) is not None and least > epochs:
        raise UserError(f"trainer.min_epochs is {least}, but there are {epochs} epochs (trainer.max_epochs)")
    for name in ("limit_train_batches", "limit_val_batches"):
        if node.get(name) == 0:
            raise UserError(f"trainer.{name} is 0, but a run both trains and validates")


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


def check_callbacks(callbacks: dict[str, pl.Callback]) -> None:
    """Refuses callbacks that cannot work in a run.

    Args:
        callbacks: The callbacks by their keys in the configuration.

    Raises:
        UserError: The message names the key, and what to use instead.
    """
    averages = []
    for name, callback in callbacks.items():
        for kind, reason in REFUSED_CALLBACKS.items():
            if isinstance(callback, kind):
                raise UserError(f"callbacks.{name} is a {kind.__name__}, which {reason}")
        if isinstance(callback, ModelCheckpoint) and callback.save_last:
            raise UserError(f"callbacks.{name}.save_last is true, but last.ckpt is written by callbacks.last")
        if name != "best" and isinstance(callback, ModelCheckpoint) and callback.filename in ("best", "last"):
            raise UserError(
                f"callbacks.{name}.filename is {callback.filename}, but {callback.filename}.ckpt is written "
                f"by callbacks.{callback.filename}: give another name"
            )
        averages += [name] if isinstance(callback, WeightAveraging) else []
    if len(averages) > 1:
        raise UserError(
            f"callbacks.{averages[1]} averages the weights, as callbacks.{averages[0]} does: use one"
        )


def build_callbacks(nodes: dict[str, Any], checkpoints: Path) -> dict[str, pl.Callback]:
    """Builds the chosen callbacks, by their names. Partial ones are given the folder of the checkpoints.

    Raises:
        UserError: A callback refuses its settings, or would disturb the run.
    """
    built = {}
    for name, node in nodes.items():
        if node is None:
            continue
        key = f"callbacks.{name}"
        made = instantiate(node, key)
        with naming(key):
            built[name] = made(dirpath=str(checkpoints)) if isinstance(made, partial) else made
            if not isinstance(built[name], pl.Callback):
                raise ValueError(f"it is a {type(made).__name__}, and not a callback of Lightning")
    check_callbacks(built)
    return built


def build_trainer(
    node: dict[str, Any],
    callbacks: Mapping[str, pl.Callback],
    loggers: Sequence[Logger],
    checkpoint_io: CheckpointIO | None = None,
) -> Trainer:
    """Builds the trainer; "auto" becomes the best that the hardware has.

    The accelerator is a CUDA GPU or the CPU. Metrics are summed in float64, which Apple's GPUs lack.

    Args:
        node: The node `trainer` of a configuration.
        callbacks: The callbacks by their names.
        loggers: The loggers.
        checkpoint_io: Writes the checkpoints.

    Raises:
        UserError: Lightning refuses an argument or a callback. The message has its key.
    """
    node = {**node, "_partial_": True}
    if node["accelerator"] == "auto":
        node["accelerator"] = "cuda" if torch.cuda.is_available() else "cpu"
    if node["precision"] == "auto":
        node["precision"] = best_precision(node["accelerator"])

    def made(node: dict[str, Any], callbacks: Mapping[str, pl.Callback]) -> Trainer:
        trainer: Trainer = instantiate(
            node,
            "trainer",
            callbacks=list(callbacks.values()),
            logger=list(loggers),
            # Slurm's own environment would demand as many devices as the job has tasks.
            plugins=[checkpoint_io or WholeCheckpointIO(), LightningEnvironment()],
            use_distributed_sampler=False,
            enable_autolog_hparams=False,
            enable_model_summary=False,
        )
        return trainer

    try:
        return made(node, callbacks)
    except Exception as error:  # Lightning raises exceptions of many kinds
        for key, other_node, others in without_one(node, callbacks):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    made(other_node, others)
                except Exception:
                    continue
            name = key.rpartition(".")[2]
            given = f" is {node[name]}" if key == f"trainer.{name}" else ""
            raise UserError(f"{key}{given}: {one_line(error)}") from error
        raise UserError(f"trainer: {one_line(error)}") from error


def without_one(
    node: dict[str, Any], callbacks: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yields the arguments of a trainer and its callbacks, each time without one of them, and its key.

    It finds the argument that is to blame for an error: without it there is none.
    """
    for name in callbacks:
        if name != "best":
            yield f"callbacks.{name}", node, {key: value for key, value in callbacks.items() if key != name}
    for name in node:
        if name in _PLAIN:
            yield f"trainer.{name}", {**node, name: _PLAIN[name]}, dict(callbacks)
        elif not name.startswith("_"):
            rest = {key: value for key, value in node.items() if key != name}
            yield f"trainer.{name}", rest, dict(callbacks)


def one_line(error: BaseException) -> str:
    """Returns the message of an exception in one line."""
    return " ".join(str(error).removeprefix("trainer: ").split()) or type(error).__name__
