"""The two ways in which a model learns: step by step with a trainer, or in one go.

Both kinds of learner answer the same questions: how many `epochs` and `steps` they have trained, on which
`device`, and at which `precision` and speed (`images_per_second`); None is where that does not apply.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import torch

from galaxy.config.instantiation import naming
from galaxy.data.datamodule import GalaxyDataModule
from galaxy.images.augment import as_floats
from galaxy.learning import checkpoint_files
from galaxy.learning.callbacks import Throughput
from galaxy.learning.lean_trainer import Trainer
from galaxy.learning.resuming import ResumePoint
from galaxy.learning.task import GalaxyTask
from galaxy.models.fitted import Fitted
from galaxy.runs.rehearsal import check_lengths, check_schedule
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

    def check_data(self, data: GalaxyDataModule) -> None:
        """Accepts any data."""

    def fit(self, data: GalaxyDataModule) -> Fitted:
        """Fits on the training images as they are: augmentation would falsify them."""
        batches = tracked(data.loader("train"), "Reading train")
        targets = torch.from_numpy(data.catalog.known_targets)
        with naming("model"):
            self.model.fit((as_floats(batch["image"]), targets[batch["row"]]) for batch in batches)
        self.epochs = 1
        # The files have the form of those that a trainer writes.
        content = {"state_dict": self.model.state_dict(), "hyper_parameters": self.recipe}
        for name in ("best.ckpt", "last.ckpt"):
            checkpoint_files.save(content, self.checkpoints / name)
        return self.model


class TrainsByGradients:
    """Trains a network with Lightning's trainer.

    Args:
        task: The network, with its loss and optimizer.
        trainer: The trainer.
        last: The checkpoint that a resumed training goes on from.
        progress: How far that checkpoint has come; None starts from the beginning.
    """

    def __init__(
        self, task: GalaxyTask, trainer: Trainer, last: Path, progress: ResumePoint | None = None
    ) -> None:
        self.task = task
        self.trainer = trainer
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

    def check_lengths(self, data: GalaxyDataModule) -> None:
        """Refuses limits, intervals and a schedule that do not fit the number of batches.

        Raises:
            UserError: The message has the key.
        """
        check_lengths(self.trainer, data)
        self.task.steps_per_epoch = self._steps_per_epoch(data)
        check_schedule(self.task, self.trainer.max_epochs or 1)

    def check_data(self, data: GalaxyDataModule) -> None:
        """Tells the data their device, and refuses splits that some process would get nothing of."""
        data.device, data.processes = self.device, self.trainer.num_devices
        processes = self.trainer.world_size
        check_lengths(self.trainer, data)  # bad images may have been left out
        for split in ("train", "val"):
            count = len(data.rows[split])
            if processes > 1 and count < 2 * processes:
                raise UserError(
                    f"the {split} split has {count} galaxies, and each of {processes} processes needs two: "
                    "use fewer (trainer.devices) or more galaxies"
                )

    def fit(self, data: GalaxyDataModule) -> GalaxyTask:
        """Trains from the beginning, or from where the progress says."""
        task, trainer, progress = self.task, self.trainer, self.progress
        mean, std = (torch.from_numpy(x).view(-1, 1, 1) for x in data.channel_statistics())
        task.mean.copy_(mean)
        task.std.copy_(std)
        task.loss.prepare(torch.from_numpy(data.targets[data.nonempty_rows("train")]), data.labels)
        task.steps_per_epoch = self._steps_per_epoch(data)
        # A short epoch is logged at least once.
        interval = min(trainer.log_every_n_steps, task.steps_per_epoch)  # type: ignore[attr-defined]
        trainer.log_every_n_steps = interval  # type: ignore[attr-defined]
        if trainer.compile_mode is not None:
            task.compile_network(trainer.compile_mode, data.whole_batch(trainer.world_size))
        if task.steps_per_epoch == 1 and progress is None:
            log.warning(
                "an epoch is one step, and the training %d steps, because a batch (data.batch_size=%d) holds "
                "all %d training galaxies: use a smaller data.batch_size",
                trainer.max_epochs,
                data.batch_size,
                len(data.rows["train"]),
            )
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
