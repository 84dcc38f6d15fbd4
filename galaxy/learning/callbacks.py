"""Callbacks that Lightning does not have; the one that writes last.ckpt is in `galaxy.learning.resuming`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from statistics import median_high
from typing import Any

import lightning.pytorch as pl
import torch

from galaxy.config.objective import SPEED
from galaxy.learning.task import GalaxyTask


class Throughput(pl.Callback):
    """Logs the training speed of each epoch as `images_per_second`, without the time for validation.

    For an epoch that was resumed it is the speed since then.
    """

    METRIC = SPEED

    def __init__(self) -> None:
        self._speeds: list[float] = []
        self._started = self._paused = 0.0
        self._epoch_images = 0

    @property
    def speed(self) -> float | None:
        """The median of the epochs' speeds in images/s.

        Of two epochs it is the faster one, because the first may also have compiled the network.
        """
        return median_high(self._speeds) if self._speeds else None

    def state_dict(self) -> dict[str, Any]:
        """Returns the speeds so far, for a resumed training."""
        return {"speeds": self._speeds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the speeds up again."""
        self._speeds = list(state_dict["speeds"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock in an epoch that is resumed, whose start Lightning does not announce again."""
        self._start()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self._start()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops the clock, in case the epoch goes on after this validation."""
        self._paused = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lets the clock go on."""
        self._started += time.perf_counter() - self._paused

    def _start(self) -> None:
        self._started = time.perf_counter()
        self._epoch_images = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts the images. The clock stops with the last batch, before validation starts."""
        self._epoch_images += len(batch["row"])
        if trainer.is_last_batch:
            if trainer.strategy.root_device.type == "cuda":
                torch.cuda.synchronize()  # the GPU runs behind the program that feeds it
            seconds = time.perf_counter() - self._started
            self._speeds.append(self._epoch_images * trainer.world_size / seconds)
            pl_module.log(self.METRIC, self._speeds[-1], on_step=False, on_epoch=True, batch_size=1)


class Pruning(pl.Callback):
    """Ends a training early that a search has given up.

    Optuna's own callback (`optuna_integration.PyTorchLightningPruningCallback`) raises an exception in the
    middle of the training, so that no checkpoint is written, and cannot report an epoch again that a resumed
    training repeats.

    Args:
        monitor: The metric that is reported after each epoch with a validation.
        should_prune: Called with the number of epochs trained and the metric. It says whether to stop.

    Attributes:
        pruned: Whether the training was given up.
    """

    def __init__(self, monitor: str, should_prune: Callable[[int, float], bool]) -> None:
        self.monitor = monitor
        self.should_prune = should_prune
        self.pruned = False

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keeps the decision, for a training that is killed before it has been written down elsewhere.

        It is no `state_dict`: Lightning would warn that the callback is missing where a trial is resumed
        without its search.
        """
        checkpoint["pruned"] = self.pruned

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Takes the decision up again. A trial that was resumed without its search has none."""
        self.pruned = checkpoint.get("pruned", False)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reports the metric, and asks the trainer to stop after this epoch if others do better.

        The last epoch is paid for, so no training is given up after it. Validations inside an epoch are not
        reported.
        """
        value = trainer.callback_metrics.get(self.monitor)
        if trainer.sanity_checking or value is None or not trainer.is_last_batch:
            return
        epoch = trainer.current_epoch + 1
        given_up = self.should_prune(epoch, float(value)) and epoch < (trainer.max_epochs or math.inf)
        self.pruned = self.pruned or given_up
        trainer.should_stop |= self.pruned


class ProgressiveResizing(pl.Callback):
    """Trains on small images at first, which is faster, and on whole ones at the end.

    The side of the training images grows evenly in between. It depends on the number of the epoch alone, so
    that a resumed training sees the same sizes. Validation always sees whole images. The names are those of
    Composer, whose documentation describes the method (docs.mosaicml.com, "Progressive Image Resizing").

    Args:
        initial_scale: The side of the first images divided by that of whole ones, above 0 and at most 1.
        delay_fraction: The share of the epochs before the images begin to grow.
        finetune_fraction: The share of the epochs at the end that sees whole images.
        size_increment: Sides are multiples of this many pixels.

    Raises:
        ValueError: A parameter is out of its range.
    """

    def __init__(
        self,
        initial_scale: float = 0.5,
        delay_fraction: float = 0.5,
        finetune_fraction: float = 0.2,
        size_increment: int = 8,
    ) -> None:
        if not 0 < initial_scale <= 1:
            raise ValueError(f"initial_scale is {initial_scale}; it must be above 0 and at most 1")
        for name, share in (("delay_fraction", delay_fraction), ("finetune_fraction", finetune_fraction)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} is {share}; it must be between 0 and 1")
        if delay_fraction + finetune_fraction > 1:
            raise ValueError(
                f"delay_fraction is {delay_fraction} and finetune_fraction is {finetune_fraction}; they must "
                "not exceed 1 together"
            )
        if size_increment < 1:
            raise ValueError(f"size_increment is {size_increment}; it must be 1 or more")
        self.initial_scale = initial_scale
        self.delay_fraction = delay_fraction
        self.finetune_fraction = finetune_fraction
        self.size_increment = size_increment

    def side(self, whole: int, epoch: int, epochs: int) -> int:
        """Returns the side of the training images in pixels.

        Args:
            whole: The side of whole images in pixels.
            epoch: The number of the epoch, from 0 on.
            epochs: The number of all epochs.
        """
        growing = 1 - self.delay_fraction - self.finetune_fraction
        # The epoch counts from its end, so that the last one is whole even without a share of its own.
        past = (epoch + 1) / epochs - self.delay_fraction
        grown = min(1.0, max(0.0, past / growing)) if growing > 0 else float(past > 0)
        scale = self.initial_scale + (1 - self.initial_scale) * grown
        side = round(whole * scale / self.size_increment) * self.size_increment
        return min(whole, max(self.size_increment, side)) if scale < 1 else whole

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Tells the task how small the images of the batch are to be.

        Raises:
            ValueError: The training has no number of epochs.
        """
        epochs = trainer.max_epochs or -1
        if epochs < 0:
            raise ValueError("max_epochs is -1; progressive resizing needs a number of epochs")
        assert isinstance(pl_module, GalaxyTask)
        whole = pl_module.input_size or batch["image"].shape[-1]
        pl_module.training_size = self.side(whole, trainer.current_epoch, epochs)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leaves the task as it was."""
        assert isinstance(pl_module, GalaxyTask)
        pl_module.training_size = None
