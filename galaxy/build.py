"""From a configuration to the objects it describes; the only place that instantiates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra.utils
import lightning.pytorch as pl
import torch
from hydra.errors import InstantiationException
from lightning.pytorch.loggers import CSVLogger, Logger

from galaxy.datamodule import GalaxyDataModule
from galaxy.errors import UserError
from galaxy.models.encoder import Encoder
from galaxy.precision import best_precision
from galaxy.questions import Questions
from galaxy.task import ClosedFormTask, FractionTask

Config = dict[str, Any]
Task = FractionTask | ClosedFormTask


def instantiate(node: Any, **arguments: Any) -> Any:
    """Hydra's `instantiate`, with a user's mistake said as a constructor said it.

    Raises:
        UserError: A constructor refused its arguments.
    """
    try:
        return hydra.utils.instantiate(node, **arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise


def datamodule(config: Config) -> GalaxyDataModule:
    """The data of a run, not yet set up."""
    data: GalaxyDataModule = instantiate(config["data"])(
        crop=instantiate(config["crop"]), augment=instantiate(config["augment"]), seed=config["seed"]
    )
    return data


def task_for(config: Config, data: GalaxyDataModule, world_size: int = 1) -> Task:
    """The model of a run, ready to be trained on data that has been set up."""
    targets = torch.from_numpy(data.targets[data.labelled_rows("train")])
    mean, std = (torch.from_numpy(x) for x in data.channel_statistics())
    task = bare_task(config, data.catalog.questions, mean, std, data.steps_per_epoch(world_size))
    if isinstance(task, FractionTask):
        task.encoder.load_pretrained()
        task.loss.prepare(targets)
    return task


def bare_task(
    config: Config,
    questions: Questions,
    mean: torch.Tensor,
    std: torch.Tensor,
    steps_per_epoch: int = 1,
) -> Task:
    """The model of a run before it has seen any data; a checkpoint fills it."""
    encoder = instantiate(config["model"])
    task: Task
    if is_baseline(config):  # which has no head, so it is told the questions itself
        task = ClosedFormTask(encoder(questions=questions), questions)
    else:
        task = _fraction_task(config, encoder, questions, mean, std, steps_per_epoch)
    task.hparams["config"] = config  # which every checkpoint then carries
    return task


def _fraction_task(
    config: Config,
    encoder: Encoder,
    questions: Questions,
    mean: torch.Tensor,
    std: torch.Tensor,
    steps_per_epoch: int,
) -> FractionTask:
    return FractionTask(
        encoder=encoder,
        head=instantiate(config["head"])(in_features=encoder.num_features, questions=questions),
        loss=instantiate(config["loss"]),
        optimizer=instantiate(config["optimizer"]),
        schedule=instantiate(config["scheduler"]),
        questions=questions,
        mean=mean,
        std=std,
        steps_per_epoch=steps_per_epoch,
    )


def is_baseline(config: Config) -> bool:
    """Whether the model is fitted in closed form; its option is partial, for the questions come later."""
    return bool(config["model"].get("_partial_", False))


def loggers(config: Config, folder: Path) -> list[Logger]:
    """metrics.csv, which belongs to every run folder, and the chosen loggers."""
    chosen = [instantiate(node) for node in config["logger"].values() if node is not None]
    return [
        *(node(save_dir=str(folder)) if callable(node) else node for node in chosen),
        CSVLogger(save_dir=str(folder), name="", version=""),
    ]


def callbacks(config: Config, checkpoints: Path) -> list[pl.Callback]:
    """The chosen callbacks; those left partial are given the folder of the checkpoints."""
    chosen = [instantiate(node) for node in (config["callbacks"] or {}).values() if node is not None]
    return [node(dirpath=str(checkpoints)) if callable(node) else node for node in chosen]


def check_hardware(config: Config) -> None:
    """Refuses what this machine cannot do, before any data are read.

    Raises:
        UserError: A GPU is asked for, and there is none.
    """
    node = config["trainer"]
    if torch.cuda.is_available():
        return
    if node["accelerator"] in ("gpu", "cuda"):
        raise UserError(
            f"trainer.accelerator={node['accelerator']}, but torch finds no GPU: use trainer=auto"
        )
    if node["precision"] == "16-mixed":
        # Lightning would silently change it to bf16-mixed.
        raise UserError("trainer.precision=16-mixed needs a GPU: use trainer.precision=auto")


def trainer(
    config: Config, callbacks: list[pl.Callback], loggers: list[Logger], steps_per_epoch: int
) -> pl.Trainer:
    """Lightning's trainer, with the precision that the hardware is best at where "auto" is asked for."""
    node = dict(config["trainer"])
    node["log_every_n_steps"] = min(node["log_every_n_steps"], steps_per_epoch)
    if is_baseline(config):  # one pass of sums: nothing to share among processes
        node |= {"devices": 1, "strategy": "auto"}
    if node["precision"] == "auto":
        node["precision"] = best_precision(node["accelerator"])
    if node["accelerator"] in ("gpu", "cuda") and not torch.cuda.is_available():
        raise UserError(
            f"trainer.accelerator={node['accelerator']}, but torch finds no GPU: use trainer=auto"
        )
    if node["precision"] == "16-mixed" and not torch.cuda.is_available():
        raise UserError("trainer.precision=16-mixed needs a GPU: use trainer.precision=auto")
    built: pl.Trainer = instantiate(node, _partial_=True)(
        callbacks=callbacks,
        logger=loggers,
        # Loaders walk a distributed order of their own, and the configuration is logged whole, once.
        use_distributed_sampler=False,
        enable_autolog_hparams=False,
        enable_model_summary=False,
    )
    return built
