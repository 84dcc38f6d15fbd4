"""The LightningModules: a network trained by gradients, and a baseline fitted in one pass."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from galaxy.errors import UserError
from galaxy.loader import Batch
from galaxy.losses import Loss
from galaxy.metrics import FractionMetrics
from galaxy.models.baselines import ClosedForm
from galaxy.models.encoder import Encoder
from galaxy.models.heads import Output
from galaxy.questions import Questions
from galaxy.schedule import Schedule


class DivergedError(UserError):
    """The loss is no longer a finite number."""


class FractionTask(pl.LightningModule):
    """Predicts the vote fractions of galaxy images with an encoder and a head.

    Batches hold "image" (B, C, H, W) float32 in [0, 1], "target" (B, K) float32 and whatever else the loss
    reads. RMSE is the global one over N x K, as Kaggle defines it.

    Args:
        encoder: (B, C, H, W) -> (B, F).
        head: (B, F) -> `Output`.
        loss: Of an `Output` and a batch.
        optimizer: Called with parameter groups.
        schedule: Of the learning rate.
        questions: The tree of the targets.
        mean: (C,) mean of the training images, which the encoder's input is centred by.
        std: (C,) their standard deviation, which it is divided by.
        steps_per_epoch: Training steps an epoch. Asking the trainer instead would lose the loader's
            position when a run is resumed (Lightning issue 20550).
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module,
        loss: Loss,
        optimizer: Callable[..., Optimizer],
        schedule: Schedule,
        questions: Questions,
        mean: Tensor,
        std: Tensor,
        steps_per_epoch: int,
    ) -> None:
        super().__init__()
        # Convolutions are up to twice as fast with the channels innermost, on CPUs and GPUs.
        self.encoder = encoder.to(memory_format=torch.channels_last)
        self.head = head
        self.loss = loss
        self.optimizer = optimizer
        self.schedule = schedule
        self.steps_per_epoch = steps_per_epoch
        self.register_buffer("mean", mean.view(-1, 1, 1))
        self.register_buffer("std", std.view(-1, 1, 1))
        self.train_metrics = FractionMetrics(questions)
        self.val_metrics = FractionMetrics(questions)
        self.test_metrics = FractionMetrics(questions)
        self.running = _RunningLoss()

    def forward(self, images: Tensor) -> Output:
        """Predicts from images (B, C, H, W) float32 in [0, 1]."""
        images = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        output: Output = self.head(self.encoder(images))
        return output

    def _step(self, batch: Batch, metrics: FractionMetrics) -> Tensor:
        output = self(batch["image"])
        loss: Tensor = self.loss(output, batch)
        metrics.update(output.fractions.detach(), batch["target"])
        return loss

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step; logs once an interval, for a call of `self.log` costs more than a small network."""
        loss = self._step(batch, self.train_metrics)
        self.running.add(loss)
        if (self.global_step + 1) % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self.log("train/loss", self._finite_loss(), prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds one batch to the validation metrics."""
        loss = self._step(batch, self.val_metrics)
        self.log("val/loss", loss, batch_size=len(batch["image"]), sync_dist=True)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds one batch to the test metrics."""
        self._step(batch, self.test_metrics)

    def on_fit_start(self) -> None:
        """Refuses what distributed training cannot do."""
        if self.encoder.frozen_epochs > 0 and self.trainer.world_size > 1:
            raise UserError(
                f"model.frozen_epochs={self.encoder.frozen_epochs} works in one process only, for the others "
                "would wait for gradients of the frozen body: use trainer.devices=1 or model.frozen_epochs=0"
            )

    def on_train_epoch_start(self) -> None:
        """Freezes or thaws the encoder by the number of the epoch, so that a resumed run agrees."""
        learns = self.current_epoch >= self.encoder.frozen_epochs
        self.encoder.requires_grad_(learns)
        self.encoder.train(learns)  # a frozen body keeps its batch statistics too

    def on_validation_epoch_start(self) -> None:
        """Stops a diverged run before a checkpoint could be written."""
        self._finite_loss()

    def on_train_epoch_end(self) -> None:
        """Logs the training metrics of the epoch, as they were while the weights changed."""
        values = self.train_metrics.compute()
        self.train_metrics.reset()
        self.log_dict({f"train/{name}": values[name].float() for name in ("rmse", "r2")})

    def on_validation_epoch_end(self) -> None:
        """Logs the validation metrics."""
        rmse = self._log_metrics("val", self.val_metrics)
        self.log("val_rmse", rmse, prog_bar=True, logger=False)

    def on_test_epoch_end(self) -> None:
        """Logs the test metrics."""
        self._log_metrics("test", self.test_metrics)

    def _log_metrics(self, stage: str, metrics: FractionMetrics) -> Tensor:
        values = metrics.compute()
        metrics.reset()
        self.log_dict({f"{stage}/{name}": value.float() for name, value in values.items()})
        return values["rmse"].float()

    def _finite_loss(self) -> float:
        mean = self.running.mean()
        if not math.isfinite(mean):
            rate = self.trainer.optimizers[0].param_groups[0]["lr"] if self.trainer.optimizers else 0.0
            raise DivergedError(
                f"the training loss became {mean} by step {self.global_step} (epoch {self.current_epoch}) at "
                f"learning rate {rate:.3g}: try a smaller optimizer.lr or trainer.gradient_clip_val=1"
            )
        return mean

    def configure_optimizers(self) -> Any:
        """The encoder may learn at its own rate; the head learns at the optimizer's."""
        head = [*self.head.parameters(), *self.loss.parameters()]
        optimizer = self.optimizer(
            [
                {"name": "encoder", "params": list(self.encoder.parameters())},
                {"name": "head", "params": head},
            ]
        )
        optimizer.param_groups[0]["lr"] *= self.encoder.body_lr_factor
        assert self.trainer.max_epochs is not None
        return self.schedule.configure(optimizer, self.trainer.max_epochs, self.steps_per_epoch)


class ClosedFormTask(pl.LightningModule):
    """Fits a baseline in one pass over the training batches, with the loaders and metrics of a network.

    Args:
        model: The baseline, which predicts fractions directly.
        questions: The tree of the targets.
    """

    def __init__(self, model: ClosedForm, questions: Questions) -> None:
        super().__init__()
        self.model = model
        self.metrics = FractionMetrics(questions)
        self.automatic_optimization = False

    def forward(self, images: Tensor) -> Output:
        """Predicts from images (B, C, H, W) float32 in [0, 1]."""
        fractions = self.model(images)
        return Output(logits=fractions, fractions=fractions)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds one batch to the sums that the solution is made of."""
        self.model.accumulate(batch["image"], batch["target"])

    def on_validation_epoch_start(self) -> None:
        """Solves: validation follows the only pass over the training batches."""
        self.model.solve()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds one batch to the validation metrics."""
        self.metrics.update(self(batch["image"]).fractions, batch["target"])

    def on_validation_epoch_end(self) -> None:
        """Logs the validation metrics."""
        values = self.metrics.compute()
        self.metrics.reset()
        self.log_dict({f"val/{name}": value.float() for name, value in values.items()})
        self.trainer.should_stop = True  # another pass would count every galaxy again and change nothing

    def configure_optimizers(self) -> None:
        """There is nothing to optimise."""


class _RunningLoss:
    """The mean loss since it was last asked for, summed on the device."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.steps = 0
        self.last = 0.0

    def add(self, loss: Tensor) -> None:
        self.total = loss.detach() if self.total is None else self.total + loss.detach()
        self.steps += 1

    def mean(self) -> float:
        if self.total is not None:
            self.last = float(torch.as_tensor(self.total)) / self.steps  # waits for the device
            self.total, self.steps = None, 0
        return self.last
