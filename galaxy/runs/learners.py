"""The two ways in which a model learns: step by step with a trainer, or in one go.

Both kinds of learner answer the same questions: how many `epochs` and `steps` they have trained, on which
`device`, and at which `precision` and speed (`images_per_second`); None is where that does not apply.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from galaxy.config.instantiation import naming
from galaxy.data.datamodule import GalaxyDataModule
from galaxy.images.augment import as_floats
from galaxy.learning import checkpoint_files
from galaxy.learning.callbacks import Throughput
from galaxy.learning.lean_trainer import Trainer
from galaxy.learning.losses import Loss
from galaxy.learning.optim import Schedule
from galaxy.learning.resuming import ResumePoint
from galaxy.learning.task import GalaxyTask
from galaxy.models.encoder import Encoder
from galaxy.models.fitted import Fitted
from galaxy.system.errors import UserError
from galaxy.system.terminal import tracked

log = logging.getLogger(__name__)

# A model that predicts: called with images (B, C, S, S) float32 in [0, 1], it answers with an `Output`.
Model = GalaxyTask | Fitted


class FitsInOneGo:
    """Fits a model without a trainer, in one pass over the training images.

    Args:
        model: The model, not yet fitted.
        recipe: The configuration and the labels, which the checkpoints carry.
        checkpoints: The folder of the checkpoints.
    """

    images_per_second = None
    precision = None
    device = torch.device("cpu")
    steps = 1

    def __init__(self, model: Fitted, recipe: dict[str, Any], checkpoints: Path) -> None:
        self.model = model
        self.recipe = recipe
        self.checkpoints = checkpoints
        self.epochs = 0

    def meet(self, data: GalaxyDataModule) -> None:
        """Any data will do."""

    def fit(self, data: GalaxyDataModule) -> Fitted:
        """Fits on the training images as they are: augmentation would falsify them."""
        batches = tracked(data.loader("train"), "Reading train")
        with naming("model"):
            self.model.fit((as_floats(batch["image"]), batch["target"]) for batch in batches)
        self.epochs = 1
        # The files have the form of those that a trainer writes.
        content = {"state_dict": self.model.state_dict(), "hyper_parameters": self.recipe}
        for name in ("best.ckpt", "last.ckpt"):
            checkpoint_files.save(content, self.checkpoints / name)
        return self.model


class TrainsByGradients:
    """Trains a network with Lightning's trainer.

    Args:
        encoder: Images to features.
        head: Features to answers.
        loss: What the training makes small.
        optimizer: A function of the parameter groups.
        schedule: The schedule of the learning rate.
        trainer: The trainer.
        seed: The seed of the dropout.
        recipe: The configuration and the labels, which the checkpoints carry.
        last: The checkpoint that a resumed training goes on from.
        progress: How far that checkpoint has come; None starts from the beginning.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module,
        loss: Loss,
        optimizer: Callable[..., Optimizer],
        schedule: Schedule,
        trainer: Trainer,
        seed: int,
        recipe: dict[str, Any],
        last: Path,
        progress: ResumePoint | None = None,
    ) -> None:
        self.encoder = encoder
        self.head = head
        self.loss = loss
        self.optimizer = optimizer
        self.schedule = schedule
        self.trainer = trainer
        self.seed = seed
        self.recipe = recipe
        self.last = last
        self.progress = progress

    @property
    def epochs(self) -> int:
        """The number of epochs trained so far."""
        return self.trainer.current_epoch

    @property
    def images_per_second(self) -> float | None:
        """The training speed, as the callback `Throughput` measures it."""
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, Throughput) and callback.speed is not None:
                return round(callback.speed, 1)
        return None

    @property
    def precision(self) -> str:
        """Lightning's name of the number format."""
        return self.trainer.precision

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return self.trainer.strategy.root_device

    @property
    def steps(self) -> int:
        """The number of steps of the optimizer so far."""
        return self.trainer.global_step

    def meet(self, data: GalaxyDataModule) -> None:
        """Tells the data where they are needed, and refuses splits that some process would get nothing of."""
        data.device, data.processes = self.device, self.trainer.num_devices
        processes = self.trainer.world_size
        for split in ("train", "val"):
            count = len(data.rows[split])
            if processes > 1 and count < 2 * processes:
                raise UserError(
                    f"the {split} split has {count} galaxies, and each of {processes} processes needs two: "
                    "use fewer (trainer.devices) or more galaxies"
                )

    def fit(self, data: GalaxyDataModule) -> GalaxyTask:
        """Trains from the beginning, or from where the progress says."""
        trainer, progress = self.trainer, self.progress
        task = self._task(data)
        # A short epoch is logged at least once.
        interval = min(trainer.log_every_n_steps, task.steps_per_epoch)  # type: ignore[attr-defined]
        trainer.log_every_n_steps = interval  # type: ignore[attr-defined]
        if trainer.compile_mode is not None:
            task.compile_network(trainer.compile_mode, data.whole_batch(trainer.world_size))
        parameters = sum(parameter.numel() for parameter in task.parameters())
        log.info("%s parameters, precision %s, %s", f"{parameters:,}", self.precision, self.device)
        if progress is None:
            trainer.fit(task, datamodule=data)
            return task
        if progress.finished:  # perhaps early: only the scoring is left
            trainer.fit_loop.max_epochs = progress.epochs
        log.info("resumed in epoch %d, from %s", progress.epochs + 1, self.last)
        trainer.fit(task, datamodule=data, ckpt_path=self.last, weights_only=True)
        return task

    def _task(self, data: GalaxyDataModule) -> GalaxyTask:
        mean, std = (torch.from_numpy(x) for x in data.channel_statistics())
        self.loss.prepare(torch.from_numpy(data.targets[data.nonempty_rows("train")]), data.labels)
        weighted = data.catalog.weights is not None
        task = GalaxyTask(
            self.encoder,
            self.head,
            self.loss,
            data.labels,
            mean,
            std,
            weighted,
            optimizer=self.optimizer,
            schedule=self.schedule,
            seed=self.seed,
            steps_per_epoch=self._steps_per_epoch(data),
        )
        task.hparams.update(self.recipe)
        return task

    def _steps_per_epoch(self, data: GalaxyDataModule) -> int:
        """Counts the steps of the optimizer in an epoch.

        `Trainer.estimated_stepping_batches` says so too, but reading it makes a resumed run forget the
        position of its loader (Lightning issue 20550).
        """
        batches = data.batches_per_epoch(self.trainer.world_size)
        limit = self.trainer.limit_train_batches
        batches = int(batches * limit) if isinstance(limit, float) else min(batches, limit)
        return max(1, math.ceil(batches / self.trainer.accumulate_grad_batches))


Learner = FitsInOneGo | TrainsByGradients
