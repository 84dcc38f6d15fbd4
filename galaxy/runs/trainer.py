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
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelCheckpoint,
    StochasticWeightAveraging,
    WeightAveraging,
)
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import CheckpointIO
from lightning.pytorch.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    TorchElasticEnvironment,
)

from galaxy.config.instantiation import instantiate, naming
from galaxy.learning.checkpoint_files import WholeCheckpointIO
from galaxy.learning.lean_trainer import Trainer
from galaxy.learning.resuming import LastCheckpoint
from galaxy.runs.settings import STRATEGIES
from galaxy.system.errors import UserError
from galaxy.system.launchers import Group
from galaxy.system.machine import best_precision

# In place of these values a trainer can be built anywhere.
_PLAIN = {"accelerator": "cpu", "devices": 1, "strategy": "auto", "precision": "32-true", "max_epochs": 1}

# These callbacks of Lightning do not work in a run; the text says why, and what to use instead.
REFUSED_CALLBACKS: dict[type[pl.Callback], str] = {
    StochasticWeightAveraging: "changes the weights after they were validated: use callbacks=ema",
    BackboneFinetuning: "gives the optimizer weights that no schedule knows: use model.frozen_epochs",
    GradientAccumulationScheduler: (
        "changes the number of steps of an epoch, which schedules and resumed runs must know: use "
        "trainer.accumulate_grad_batches"
    ),
    LearningRateFinder: "trains before the training, which no resumed run could repeat: sweep optimizer.lr",
    BatchSizeFinder: "changes data.batch_size, which a run keeps: sweep data.batch_size",
}


def check_hardware(node: dict[str, Any]) -> None:
    """Refuses what the trainer cannot do on this machine, or with the processes that were started.

    Raises:
        UserError: There is no GPU although one is asked for, or the processes cannot train together.
    """
    _check_processes(node)
    if torch.cuda.is_available():
        return
    if node["accelerator"] in ("gpu", "cuda"):
        raise UserError(
            f"trainer.accelerator={node['accelerator']}, but torch finds no GPU: use trainer=auto"
        )
    if node["precision"] == "16-mixed":
        # Lightning would silently change it to bf16-mixed.
        raise UserError("trainer.precision=16-mixed needs a GPU: use trainer.precision=auto")


def _check_processes(node: dict[str, Any]) -> None:
    """Refuses a training that does not use the processes that a launcher has started."""
    group, devices = Group.current, node["devices"]
    if group is None:
        return
    if node.get("strategy", "auto") not in STRATEGIES[1:]:
        raise group.refusal("and each would work by itself: use trainer=ddp, or start it once")
    if devices not in ("auto", -1, group.per_machine):
        raise group.refusal(
            f"{group.per_machine} times on a machine, but trainer.devices is {devices}: leave it out"
        )
    gpus = torch.cuda.device_count()
    takes_gpus = node["accelerator"] in ("gpu", "cuda") or (node["accelerator"] == "auto" and gpus > 0)
    if takes_gpus and gpus < group.per_machine:
        raise group.refusal(
            f"{group.per_machine} times on a machine, but each process sees {gpus} GPUs: start one for "
            "each GPU, and let it see all of them (Slurm: --gpus-per-node, and not --gpus-per-task)"
        )


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
    # It may end the run, after which no other callback could write what this step is worth to it.
    return dict(sorted(built.items(), key=lambda item: isinstance(item[1], LastCheckpoint)))


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
    # Slurm's own environment would demand as many devices as the job has tasks.
    environment: ClusterEnvironment = LightningEnvironment()
    if (group := Group.current) is not None:  # with the variables of torchrun, also under srun
        environment = TorchElasticEnvironment()
        node |= {"devices": group.per_machine, "num_nodes": group.machines}

    def made(node: dict[str, Any], callbacks: Mapping[str, pl.Callback]) -> Trainer:
        trainer: Trainer = instantiate(
            node,
            "trainer",
            callbacks=list(callbacks.values()),
            logger=list(loggers),
            plugins=[checkpoint_io or WholeCheckpointIO(), environment],
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
