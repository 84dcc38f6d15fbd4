"""From a configuration to the objects it describes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import CSVLogger, Logger

from galaxy.config.instantiation import instantiate, naming
from galaxy.data.datamodule import GalaxyDataModule
from galaxy.labels.labels import Labels
from galaxy.learning.lean_trainer import optimizer_steps
from galaxy.learning.losses import Loss
from galaxy.learning.task import GalaxyTask
from galaxy.models.encoder import Encoder
from galaxy.models.fitted import Fitted
from galaxy.system.files import write_text

Config = dict[str, Any]
# Whatever predicts: called with images (B, C, S, S) float32 in [0, 1], it answers with an `Output`.
Model = GalaxyTask | Fitted


def datamodule(config: Config) -> GalaxyDataModule:
    """The data of a run, not yet set up."""
    data: GalaxyDataModule = instantiate(config["data"], "data")(
        target=instantiate(config["target"], "target"),
        crop=instantiate(config["crop"], "crop"),
        augment=instantiate(config["augment"], "augment"),
        seed=config["seed"],
    )
    return data


def bare_model(config: Config, labels: Labels, mean: torch.Tensor, std: torch.Tensor) -> Model:
    """The model of a configuration before it has learned anything; a checkpoint fills it.

    Args:
        config: Of the run.
        labels: What its targets are.
        mean: (C,) mean of the training images.
        std: (C,) their standard deviation.
    """
    model = instantiate(config["model"], "model")
    if not isinstance(model, Encoder):  # it learns in one go, has no head and is told the labels itself
        fitted: Fitted = model(labels=labels)
        return fitted
    return _task(config, model, instantiate(config["loss"], "loss"), labels, mean, std, weighted=False)


def trainable_task(
    config: Config, encoder: Encoder, loss: Loss, data: GalaxyDataModule, world_size: int
) -> GalaxyTask:
    """The network of a run, ready to be trained on data that have been set up."""
    mean, std = (torch.from_numpy(x) for x in data.channel_statistics())
    loss.prepare(torch.from_numpy(data.targets[data.labelled_rows("train")]), data.labels)
    weighted = data.catalog.weights is not None
    task = _task(config, encoder, loss, data.labels, mean, std, weighted)
    task.optimizer = instantiate(config["optimizer"], "optimizer")
    task.schedule = instantiate(config["scheduler"], "scheduler")
    task.seed = config["seed"]
    task.steps_per_epoch = optimizer_steps(config, data.batches_per_epoch(world_size))
    # Which every checkpoint then carries.
    task.hparams.update({"config": config, "labels": data.labels.plain()})
    return task


def loggers(config: Config, folder: Path, metrics: str) -> list[Logger]:
    """metrics.csv, which belongs to every run folder, and the chosen loggers.

    Args:
        config: Of the run.
        folder: Of the run.
        metrics: What metrics.csv holds already, if the run is resumed.
    """
    chosen = [
        instantiate(node, f"logger.{name}") for name, node in config["logger"].items() if node is not None
    ]
    table = CSVLogger(save_dir=str(folder), name="", version="")
    writer = table.experiment  # which deletes an older metrics.csv
    if metrics:
        write_text(Path(writer.metrics_file_path), metrics)
        writer.metrics_keys = metrics.splitlines()[0].split(",")
    return [*(node(save_dir=str(folder)) if callable(node) else node for node in chosen), table]


def callbacks(config: Config, checkpoints: Path) -> list[pl.Callback]:
    """The chosen callbacks; those left partial are given the folder of the checkpoints.

    Raises:
        UserError: One refuses its arguments.
    """
    chosen = []
    for name, node in config["callbacks"].items():
        if node is not None:
            with naming(f"callbacks.{name}"):
                made = instantiate(node, f"callbacks.{name}")
                chosen.append(made(dirpath=str(checkpoints)) if callable(made) else made)
    return chosen


def _task(
    config: Config,
    encoder: Encoder,
    loss: Loss,
    labels: Labels,
    mean: torch.Tensor,
    std: torch.Tensor,
    weighted: bool,
) -> GalaxyTask:
    head = instantiate(config["head"], "head")(in_features=encoder.num_features, questions=labels.questions)
    return GalaxyTask(encoder, head, loss, labels, mean, std, weighted)
