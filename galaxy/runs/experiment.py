"""From a configuration, or the one in a checkpoint, to the objects of a run.

Only this module and its checks (`galaxy.runs.checks`) read the configuration of a run. Building an
`Experiment` checks every setting that can be checked before the images are read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from galaxy.config.instantiation import instantiate, naming
from galaxy.config.trust import check_model
from galaxy.data.datamodule import GalaxyDataModule
from galaxy.labels.labels import Labels
from galaxy.learning import checkpoint_files
from galaxy.learning.losses import Loss
from galaxy.learning.resuming import LastCheckpoint, ResumePoint
from galaxy.learning.task import GalaxyTask
from galaxy.models.encoder import Encoder
from galaxy.runs.checks import check_monitors, check_optimizer, check_settings
from galaxy.runs.learners import FitsInOneGo, Learner, Model, TrainsByGradients
from galaxy.runs.rehearsal import rehearse
from galaxy.runs.trainer import build_callbacks, build_trainer
from galaxy.system.errors import UserError
from galaxy.system.files import write_text
from galaxy.system.interruption import Interruption

Config = dict[str, Any]

# Predicting builds these parts of a configuration, so every checkpoint has them.
PREDICTING = ("target", "crop", "augment", "model", "head", "loss")
# Runs are compared by the options of these groups.
COMPARED_GROUPS = ("data", "target", "crop", "augment", "model", "head", "loss", "optimizer", "scheduler")
# TensorBoard's table has these columns. "best/..." belong to the best checkpoint; "val/rmse" is live.
TABLE_METRICS = ("best/val_rmse", "best/test_rmse", "best/test_accuracy", "val/rmse")


class Experiment:
    """The objects of one run: its data, and the model with everything that it learns by.

    Args:
        config: The whole configuration, resolved, as plain dicts and lists.
        folder: The run folder, which checkpoints go to.
        loggers: The loggers that the training writes to.
        progress: How far `last.ckpt` in the folder has come; None starts from the beginning.
        interruption: Asks for a checkpoint when the program is to stop.
        in_sweep: Whether the run is a job of a sweep.

    Attributes:
        data: The catalog has been read and split; the images are still to be read.
        learner: Trains the model.

    Raises:
        UserError: A setting is wrong, or does not fit another setting or the data.
    """

    def __init__(
        self,
        config: Config,
        folder: Path,
        loggers: Sequence[Logger] = (),
        progress: ResumePoint | None = None,
        interruption: Interruption | None = None,
        in_sweep: bool = False,
    ) -> None:
        check_settings(config)
        pl.seed_everything(config["seed"], workers=True, verbose=False)
        self.data = build_data(config)
        # The survey is read after everything else has been built, because reading takes longest.
        model = instantiate(config["model"], "model")
        loss = trainer = None
        checkpoints = folder / "checkpoints"
        if isinstance(model, Encoder):
            loss = instantiate(config["loss"], "loss")
            optimizer = instantiate(config["optimizer"], "optimizer")
            schedule = instantiate(config["scheduler"], "scheduler")
            check_optimizer(optimizer, schedule, model, config["trainer"]["max_epochs"])
            callbacks = build_callbacks(config["callbacks"], checkpoints)
            for callback in callbacks.values():
                if isinstance(callback, LastCheckpoint):
                    callback.interruption = interruption or callback.interruption
                    callback.elapsed = 0.0 if progress is None else progress.seconds
            trainer = build_trainer(config["trainer"], callbacks, loggers)
            if in_sweep and trainer.world_size > 1:
                raise UserError(
                    f"trainer.devices is {config['trainer']['devices']}, but each further process of a "
                    "distributed training would start the whole sweep: train the jobs one by one, or use "
                    "trainer=auto"
                )
            model.load_pretrained()
        self.data.read()
        self.data.check_trainable()
        weighted = self.data.catalog.weights is not None
        check_monitors(config, self.data.labels, weighted)
        model = _completed(model, config, self.data.labels, loss, weighted)
        # Every checkpoint carries these.
        recipe = {"config": config, "labels": self.data.labels.plain()}
        self.learner: Learner
        if trainer is None:
            self.learner = FitsInOneGo(model, recipe, checkpoints)
        else:
            model.optimizer, model.schedule, model.seed = optimizer, schedule, config["seed"]
            model.hparams.update(recipe)
            self.learner = TrainsByGradients(model, trainer, checkpoints / "last.ckpt", progress)
            self.learner.check_lengths(self.data)
            # Further processes would wait for each other, and a run that goes on has trained before.
            if trainer.world_size == 1 and progress is None:
                rehearse(model, config, self.data)

    def read_images(self) -> None:
        """Reads the images. With `data.on_bad=skip` fewer galaxies may be left.

        Raises:
            UserError: Some images are bad, or a split is empty without them.
        """
        self.data.setup()
        self.data.check_trainable()
        self.learner.check_data(self.data)

    def fit(self) -> Model:
        """Trains the model and returns it as the training left it."""
        return self.learner.fit(self.data)


@dataclass(frozen=True)
class Trained:
    """The model of a checkpoint, with its weights.

    Attributes:
        model: The model.
        labels: What it predicts.
        config: The configuration that it was trained under.
    """

    model: Model
    labels: Labels
    config: Config

    def data(self, node: Config) -> GalaxyDataModule:
        """Builds other data, which are cropped for this model; they are still to be read.

        Args:
            node: The node `data` of a configuration.
        """
        return build_data({**self.config, "data": node})


def load(path: Path) -> Trained:
    """Builds the model of a checkpoint. What the checkpoint names is checked before anything is called.

    Raises:
        UserError: The file is missing or damaged, it is no checkpoint of this project, it would call other
            code, or its weights do not fit its configuration.
    """
    content = checkpoint_files.load(path)
    try:
        hyperparameters = content["hyper_parameters"]
        config = hyperparameters["config"]
        nodes = [config[name] for name in PREDICTING]
        labels = Labels.from_plain(hyperparameters["labels"])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is not a checkpoint of this project: {error!r}") from None
    check_model(nodes, path)
    model = build_model(config, labels)
    _load_state(model, content, path)
    return Trained(model, labels, config)


def load_weights(model: Model, path: Path) -> None:
    """Gives a model the weights of a checkpoint, and calls nothing that the checkpoint names.

    Raises:
        UserError: The file is missing or damaged, or its weights do not fit the model.
    """
    _load_state(model, checkpoint_files.load(path), path)


def build_model(config: Config, labels: Labels) -> Model:
    """Builds the model of a configuration as it is before it has learned anything.

    Args:
        config: A configuration that has at least the parts named in `PREDICTING`.
        labels: What the model predicts.
    """
    model = instantiate(config["model"], "model")
    loss = instantiate(config["loss"], "loss") if isinstance(model, Encoder) else None
    return _completed(model, config, labels, loss)


def _completed(model: Any, config: Config, labels: Labels, loss: Loss | None, weighted: bool = False) -> Any:
    """Completes an encoder by a head, a loss and a normalisation, or tells a `Fitted` its labels."""
    if not isinstance(model, Encoder):
        with naming("model"):
            return model(labels=labels)
    assert loss is not None
    head = instantiate(config["head"], "head", in_features=model.num_features, questions=labels.questions)
    channels = config["crop"]["channels"]
    return GalaxyTask(model, head, loss, labels, torch.zeros(channels), torch.ones(channels), weighted)


def build_data(config: Config) -> GalaxyDataModule:
    """Builds the data of a configuration; they are still to be read."""
    data: GalaxyDataModule = instantiate(
        config["data"],
        "data",
        target=instantiate(config["target"], "target"),
        crop=instantiate(config["crop"], "crop"),
        augment=instantiate(config["augment"], "augment"),
        seed=config["seed"],
    )
    return data


def open_loggers(
    config: Config, choices: dict[str, str], overrides: Sequence[str], folder: Path, metrics: str
) -> list[Logger]:
    """Opens the chosen loggers and metrics.csv, which belongs to every run folder.

    The run is declared in TensorBoard's table at once, before anything can fail. The columns of that table
    come from one arbitrary run, so every run has the same keys. A metric is a column only if it was declared
    with the hyperparameters; here it is NaN until it is known.

    Args:
        config: The configuration of the run.
        choices: The option taken in each group.
        overrides: What the command line changed.
        folder: The run folder.
        metrics: What metrics.csv holds already, if the run is resumed.
    """
    nodes = {name: node for name, node in config["logger"].items() if node is not None}
    chosen = [instantiate(node, f"logger.{name}") for name, node in nodes.items()]
    table = CSVLogger(save_dir=str(folder), name="", version="")
    writer = table.experiment  # this deletes an older metrics.csv
    if metrics:
        write_text(Path(writer.metrics_file_path), metrics)
        writer.metrics_keys = metrics.splitlines()[0].split(",")
    loggers = [*(made(save_dir=str(folder)) if callable(made) else made for made in chosen), table]
    hyperparameters = {
        **{group: choices[group] for group in COMPARED_GROUPS},
        "seed": config["seed"],
        "lr": config["optimizer"].get("lr"),
        "batch_size": config["data"]["batch_size"],
        "limit": config["data"]["limit"] or "all",
        "max_epochs": config["trainer"].get("max_epochs"),
        "overrides": " ".join(overrides),
    }
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(hyperparameters, dict.fromkeys(TABLE_METRICS, math.nan))
        else:
            logger.log_hyperparams(hyperparameters)
    return loggers


def _load_state(model: Model, content: dict[str, Any], path: Path) -> None:
    try:
        model.load_state_dict(content["state_dict"])
    except (RuntimeError, LookupError) as error:
        raise UserError(f"{path} has other weights than its configuration describes: {error}") from error
