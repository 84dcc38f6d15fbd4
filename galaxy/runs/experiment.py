"""From a configuration, or the one in a checkpoint, to the objects of a run.

Building an `Experiment` reads the configuration and checks every setting that can be checked before the
images are read. The modules that it calls for it (`checks`, `trainer`, `rehearsal`, `weights`, `loggers`)
read their own parts; nothing that trains, scores or writes reads it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import Logger
from torch.optim import Optimizer

from galaxy.config.instantiation import instantiate, naming
from galaxy.config.trust import check_trusted
from galaxy.data.datamodule import GalaxyDataModule
from galaxy.data.splits import SPLITS
from galaxy.labels.labels import Labels
from galaxy.learning import checkpoint_files
from galaxy.learning.callbacks import Pruning
from galaxy.learning.lean_trainer import Trainer
from galaxy.learning.losses import Loss
from galaxy.learning.optim import Schedule
from galaxy.learning.resuming import LastCheckpoint, ResumePoint
from galaxy.learning.task import GalaxyTask
from galaxy.models.encoder import Encoder
from galaxy.runs.checks import check_metrics, check_optimizer, transfer
from galaxy.runs.folder import PREDICTING
from galaxy.runs.learners import FitsInOneGo, Learner, Model, TrainsByGradients
from galaxy.runs.model import TrainedModel
from galaxy.runs.rehearsal import fit_copy, rehearse
from galaxy.runs.settings import check_settings
from galaxy.runs.trainer import build_callbacks, build_trainer, check_hardware
from galaxy.runs.weights import StartingWeights
from galaxy.surveys.files import Stretch
from galaxy.system.errors import UserError
from galaxy.system.interruption import Interruption
from galaxy.system.launchers import Group

Config = dict[str, Any]


@dataclass(frozen=True)
class _Training:
    """What trains an encoder.

    Attributes:
        loss: The loss.
        optimizer: Makes the optimizer.
        schedule: The schedule of the learning rate.
        callbacks: The callbacks by their names.
        trainer: The trainer, which has these callbacks.
    """

    loss: Loss
    optimizer: Callable[..., Optimizer]
    schedule: Schedule
    callbacks: dict[str, pl.Callback]
    trainer: Trainer

    def remember(self, interruption: Interruption | None, seconds: float) -> None:
        """Tells the last checkpoint who asks the run to stop, and how long it has trained before."""
        for callback in self.callbacks.values():
            if isinstance(callback, LastCheckpoint):
                callback.interruption = interruption or callback.interruption
                callback.elapsed = seconds


class Experiment:
    """The objects of one run: its data, and the model with everything that it learns by.

    Args:
        config: The whole configuration, resolved, as plain dicts and lists.
        folder: The run folder, which checkpoints go to.
        loggers: The loggers that the training writes to.
        progress: How far `last.ckpt` in the folder has come; None starts from the beginning.
        interruption: Asks for a checkpoint when the program is to stop.
        in_sweep: Whether the run is a job of a sweep.
        should_prune: Whether a search gives a network up after so many epochs with such an objective; None
            without a search.

    Attributes:
        data: The catalog has been read and split; the images are still to be read.
        learner: Trains the model.
        weights: The weights that the model starts from; None for random ones, and where the run goes on.

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
        should_prune: Callable[[int, float], bool] | None = None,
    ) -> None:
        check_settings(config)
        check_hardware(config["trainer"])
        pl.seed_everything(config["seed"], workers=True, verbose=False)
        self.data = build_data(config)
        # The survey is read after everything else has been built, because reading takes longest.
        model, checkpoints = _instantiate_model(config), folder / "checkpoints"
        training = None
        if isinstance(model, Encoder):
            training = _build_training(config, model, checkpoints, loggers, should_prune)
            training.remember(interruption, 0.0 if progress is None else progress.seconds)
            if training.trainer.world_size > 1:
                _check_processes(config, training.trainer.world_size, in_sweep)
        elif Group.current is not None:
            raise Group.current.refusal("but this model is fitted in one process: start it once")
        self.weights: StartingWeights | None = None
        if config["model"]["weights"] is not None and progress is None:
            self.weights = StartingWeights(model, config, folder)
        self.data.read()
        self.data.check_trainable(SPLITS)
        if self.weights is not None:
            self.weights.check_unseen(self.data)
        weighted = self.data.catalog.weights is not None
        check_metrics(config, self.data.labels, weighted, fitted=training is None)
        model = _completed(model, config, self.data.labels, None if training is None else training.loss)
        # Every checkpoint carries these, and the frame of the images once they have been read.
        recipe = {"config": config, "labels": self.data.labels.plain(), "frame": None}
        self.learner: Learner
        if training is None:
            self.learner = FitsInOneGo(model, recipe, checkpoints)
            self.learner.check_lengths(self.data)
            return
        model.optimizer, model.schedule, model.seed = training.optimizer, training.schedule, config["seed"]
        model.transfer = transfer(config)
        model.weight_decay_exclude_1d = config["optimizer"]["weight_decay_exclude_1d"]
        model.hparams.update(recipe)
        if self.weights is not None:
            model.starts_at_mean = not self.weights.load_head(model, config["head"])
        last, trial = checkpoints / "last.ckpt", partial(fit_copy, config)
        self.learner = TrainsByGradients(model, training.trainer, trial, last, progress)
        self.learner.check_lengths(self.data)
        # Further processes would wait for each other, and a run that goes on has trained before.
        if training.trainer.world_size == 1 and progress is None:
            rehearse(model, config, self.data)

    def read_images(self) -> None:
        """Reads the images. With `data.on_bad=skip` fewer galaxies may be left.

        Raises:
            UserError: Some images are bad, or a split is empty without them.
        """
        self.data.setup()
        self.data.check_trainable(SPLITS)
        self.learner.recipe["frame"] = self.data.images.frame
        self.learner.check_data(self.data)

    def fit(self) -> Model:
        """Trains the model and returns it as the training left it."""
        return self.learner.fit(self.data)


def load(path: Path, trust: Sequence[str] = ()) -> TrainedModel:
    """Builds the model of a checkpoint. What the checkpoint names is checked before anything is called.

    Args:
        path: The checkpoint.
        trust: Packages whose code the checkpoint may name, beside those of `GALAXY_TRUST`. Galaxy's own
            models and those of installed plugins need no trust.

    Raises:
        UserError: The file is missing or damaged, it is no checkpoint of this project, or its weights do not
            fit its configuration.
        UntrustedError: It would call code that is not trusted.
    """
    content = checkpoint_files.load(path)
    try:
        hyperparameters = content["hyper_parameters"]
        config, frame = hyperparameters["config"], hyperparameters.get("frame")
        nodes = {name: config[name] for name in PREDICTING}
        labels = Labels.from_plain(hyperparameters["labels"])
        stretch = _stretch(config)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is not a checkpoint of this project: {error!r}") from None
    check_trusted(nodes, path, trust)
    model = build_model(config, labels)
    load_state(model, content, path)
    model.eval()
    crop = instantiate(config["crop"], "crop")
    return TrainedModel(model, labels, crop, stretch, None if frame is None else tuple(frame), config)


def _stretch(config: Config) -> Stretch:
    """Returns how the data of a configuration become pictures, as far as it says so."""
    catalog = config.get("data", {}).get("catalog", {})
    return Stretch(**{field.name: catalog[field.name] for field in fields(Stretch) if field.name in catalog})


def build_model(config: Config, labels: Labels) -> Model:
    """Builds the model of a configuration as it is before it has learned anything.

    Args:
        config: A configuration that has at least the parts named in `PREDICTING`.
        labels: What the model predicts.
    """
    model = _instantiate_model(config)
    loss = _instantiate_loss(config) if isinstance(model, Encoder) else None
    return _completed(model, config, labels, loss)


def _instantiate_model(config: Config) -> Any:
    try:
        model = instantiate(config["model"], "model")
    except UserError as error:
        # conf/model copies the size, so another key is the one to be changed.
        seen = config["model"]["input_size"]
        if config["model"].get("size") != seen:
            raise
        key = "crop.size" if seen == config["crop"]["size"] else "model.input_size"
        raise UserError(re.sub("^model.size is", f"{key} is", str(error))) from error
    if not isinstance(model, Encoder | partial):
        raise UserError(
            f"model._target_ is {config['model']['_target_']}, which is neither a galaxy.models.Encoder nor, "
            "with _partial_: true, a galaxy.models.Fitted"
        )
    return model


def _build_training(
    config: Config,
    encoder: Encoder,
    checkpoints: Path,
    loggers: Sequence[Logger],
    should_prune: Callable[[int, float], bool] | None,
) -> _Training:
    """Builds what trains an encoder, and refuses what does not fit together."""
    loss = _instantiate_loss(config)
    optimizer = instantiate(config["optimizer"], "optimizer")
    schedule = instantiate(config["scheduler"], "scheduler")
    check_optimizer(optimizer, schedule, encoder, config)
    callbacks = build_callbacks(config["callbacks"], checkpoints)
    if should_prune is not None:
        callbacks["(pruning)"] = Pruning(config["objective"]["metric"], should_prune)
    trainer = build_trainer(config["trainer"], callbacks, loggers)
    return _Training(loss, optimizer, schedule, callbacks, trainer)


def _check_processes(config: Config, processes: int, in_sweep: bool) -> None:
    """Refuses what several processes cannot do together."""
    if in_sweep:
        raise UserError(
            f"trainer.devices is {config['trainer']['devices']}, but each further process of a distributed "
            "training would start the whole sweep: train the jobs one by one, or use trainer=auto"
        )
    if config["trainer"]["max_epochs"] == -1:
        raise UserError(
            f"trainer.max_epochs is -1, and each of {processes} processes would find another number of "
            "epochs: give the number"
        )
    transfer(config).check_processes(processes)


def _instantiate_loss(config: Config) -> Loss:
    loss = instantiate(config["loss"], "loss")
    if not isinstance(loss, Loss):
        target = config["loss"]["_target_"]
        raise UserError(f"loss._target_ is {target}, which is no galaxy.learning.losses.Loss")
    return loss


def _completed(model: Any, config: Config, labels: Labels, loss: Loss | None) -> Any:
    """Completes an encoder by a head and a loss, or tells a `Fitted` its labels."""
    if not isinstance(model, Encoder):
        with naming("model"):
            return model(labels=labels)
    assert loss is not None
    head = instantiate(config["head"], "head", in_features=model.num_features, questions=labels.questions)
    channels, size = config["crop"]["channels"], config["model"].get("input_size")
    return GalaxyTask(model, labels, head, loss, channels=channels, input_size=size)


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


def load_state(model: Model, content: dict[str, Any], path: Path) -> None:
    """Gives a model the weights of a checkpoint.

    Args:
        model: The model.
        content: What the checkpoint holds.
        path: The checkpoint, for the error.

    Raises:
        UserError: The weights do not fit the model.
    """
    try:
        model.load_state_dict(content["state_dict"])
    except (RuntimeError, LookupError) as error:
        raise UserError(f"{path} has other weights than its configuration describes: {error}") from error
