"""The two ways in which a model learns: step by step with a trainer, or in one go.

Both kinds of learner answer the same questions: how many `epochs` and `steps` they have trained, on which
`device`, in how many `processes`, at which `precision` and speed (`images_per_second`), how many `parameters`
the network has, the `best_score` by which the best checkpoint was chosen, and whether a search has `pruned`
the training; None is where that does not apply. `plan_epochs` finds the number of epochs where the settings
have a time in its place.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from galaxy.config.instantiation import naming
from galaxy.data.datamodule import GalaxyDataModule
from galaxy.images.augment import as_floats
from galaxy.learning import checkpoint_files
from galaxy.learning.callbacks import Pruning, Throughput
from galaxy.learning.lean_trainer import Trainer
from galaxy.learning.resuming import ResumePoint
from galaxy.learning.task import GalaxyTask, count_steps
from galaxy.models.fitted import Fitted
from galaxy.runs.budget import Trial, epochs_within, warn_of_cut
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

    best_score = None
    images_per_second = None
    parameters = None
    precision = None
    processes = 1
    pruned = False
    device = torch.device("cpu")
    steps = 1

    def __init__(self, model: Fitted, recipe: dict[str, Any], checkpoints: Path) -> None:
        self.model = model
        self.recipe = recipe
        self.checkpoints = checkpoints
        self.epochs = 0

    def check_lengths(self, data: GalaxyDataModule) -> None:
        """Refuses a training split that the model cannot learn from.

        Raises:
            UserError: The message has the key.
        """
        with naming("model"):
            self.model.check(len(data.rows["train"]), data.crop.size)

    def check_data(self, data: GalaxyDataModule) -> None:
        """Accepts any data."""

    def plan_epochs(self, data: GalaxyDataModule, known: int | None) -> None:
        """Plans nothing: there are no epochs."""

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
        trial: Trains a copy of the network for a moment.
        last: The checkpoint that a resumed training goes on from.
        progress: How far that checkpoint has come; None starts from the beginning.
    """

    def __init__(
        self,
        task: GalaxyTask,
        trainer: Trainer,
        trial: Trial,
        last: Path,
        progress: ResumePoint | None = None,
    ) -> None:
        self.task = task
        self.trial = trial
        self.recipe = task.hparams
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
    def parameters(self) -> int:
        """The number of weights, frozen ones counted."""
        return sum(parameter.numel() for parameter in self.task.parameters())

    @property
    def best_score(self) -> float | None:
        """The objective as it was validated when the best checkpoint was saved."""
        best = self.last.with_name("best.ckpt").resolve()
        for callback in self.trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and Path(callback.best_model_path).resolve() == best:
                return None if callback.best_model_score is None else float(callback.best_model_score)
        return None

    @property
    def pruned(self) -> bool:
        """Whether a search has ended the training early."""
        return any(
            isinstance(callback, Pruning) and callback.pruned
            for callback in self.trainer.callbacks  # type: ignore[attr-defined]
        )

    @property
    def precision(self) -> str:
        """Lightning's name of the number format."""
        return self.trainer.precision

    @property
    def processes(self) -> int:
        """The number of processes that train together."""
        return self.trainer.world_size

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
        self.task.steps_per_epoch = count_steps(self.trainer, data)
        if self.trainer.max_epochs != -1:
            check_schedule(self.task, self.trainer.max_epochs or 1, self.task.steps_per_epoch)

    def plan_epochs(self, data: GalaxyDataModule, known: int | None) -> int | None:
        """Finds the number of epochs where `max_epochs` is -1.

        Args:
            data: The data, whose images have been read.
            known: The number that the run has found before; None for a new run.

        Returns:
            The number; None where the settings have it.

        Raises:
            UserError: The time is too short, or the schedule does not fit the number.
        """
        if self.trainer.max_epochs != -1:
            return None
        epochs = epochs_within(self.trainer, self.task, data, self.trial) if known is None else known
        assert self.task.steps_per_epoch is not None
        check_schedule(self.task, epochs, self.task.steps_per_epoch)
        self.trainer.fit_loop.max_epochs = epochs
        return epochs

    def check_data(self, data: GalaxyDataModule) -> None:
        """Refuses splits that some process would get nothing of."""
        processes = self.processes
        check_lengths(self.trainer, data)  # bad images may have been left out
        for split in ("train", "val"):
            count = len(data.rows[split])
            if processes > 1 and count < 2 * processes:
                raise UserError(
                    f"the {split} split has {count} galaxies, and each of {processes} processes needs two: "
                    "use fewer (trainer.devices) or more galaxies"
                )

    def _why_one_step(self, data: GalaxyDataModule) -> str:
        """Says which setting leaves one step of an epoch."""
        trainer = self.trainer
        if data.batches_per_epoch(trainer.world_size) == 1:
            galaxies, processes = len(data.rows["train"]), trainer.world_size
            batch = "a batch" if processes == 1 else f"a batch of each of {processes} processes"
            holds = "holds" if processes == 1 else "together hold"
            return (
                f"{batch} (data.batch_size={data.batch_size}) {holds} all {galaxies} training galaxies: "
                "use a smaller data.batch_size"
            )
        if (summed := trainer.accumulate_grad_batches) > 1:
            return f"it sums the gradients of trainer.accumulate_grad_batches={summed} batches: sum fewer"
        return f"trainer.limit_train_batches={trainer.limit_train_batches} leaves one batch of it"

    def fit(self, data: GalaxyDataModule) -> GalaxyTask:
        """Trains from the beginning, or from where the progress says."""
        task, trainer, progress = self.task, self.trainer, self.progress
        log.info("%s parameters, precision %s, %s", f"{self.parameters:,}", self.precision, self.device)
        if task.steps_per_epoch == 1 and progress is None:
            reason = self._why_one_step(data)
            log.warning(
                "an epoch is one step, and the training %d steps, because %s", trainer.max_epochs, reason
            )
        arguments: dict[str, Any] = {}
        if progress is not None:
            if progress.finished:  # perhaps early: only the scoring is left
                trainer.fit_loop.max_epochs = progress.epochs
            log.info("resumed in epoch %d, from %s", progress.epochs + 1, self.last)
            arguments = {"ckpt_path": self.last, "weights_only": True}
        try:
            trainer.fit(task, datamodule=data, **arguments)
        except (MisconfigurationException, RuntimeError) as error:
            self._explain(error)
            raise
        if not (self.last.parent / "best.ckpt").exists() and not trainer.interrupted:
            raise UserError(
                f"the training stopped after {trainer.global_step} steps, before its first validation, so "
                "there is no best checkpoint: give it more time (trainer.max_time, or a callback)"
            )
        warn_of_cut(trainer, (trainer.max_epochs or 1) * (task.steps_per_epoch or 0))
        return task

    def _explain(self, error: Exception) -> None:
        """Raises a UserError in place of what Lightning raises when a watched metric was not logged."""
        trainer = self.trainer
        watched = [getattr(callback, "monitor", None) for callback in trainer.callbacks]  # type: ignore[attr-defined]
        watched += [config.monitor for config in trainer.lr_scheduler_configs]
        for name in filter(None, watched):
            if name not in trainer.callback_metrics and str(name) in str(error):
                raise UserError(
                    f"nothing has logged {name} by the end of the first validation, but objective.metric, a "
                    f"callback or the scheduler watches it\nThere are: {', '.join(trainer.callback_metrics)}"
                ) from error


Learner = FitsInOneGo | TrainsByGradients
