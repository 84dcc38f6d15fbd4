"""The LightningModule: the network, its steps, and the metrics of each epoch."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from galaxy.data.loader import Batch
from galaxy.labels.labels import Labels
from galaxy.learning.lean_trainer import LeanModule
from galaxy.learning.losses import Loss
from galaxy.learning.metrics import (
    CLASS_METRICS,
    FRACTION_METRICS,
    FractionMetrics,
    RunningMean,
    metrics_for,
)
from galaxy.learning.optim import Schedule, build_optimizer, check_encoder_training
from galaxy.models import Encoder, Output
from galaxy.system.errors import UserError

log = logging.getLogger(__name__)


class DivergedError(UserError):
    """The loss is no longer a finite number."""


class GalaxyTask(LeanModule):
    """Predicts the vote fractions, or the class, of galaxy images with an encoder and a head.

    Batches hold "image" (B, C, H, W) float32 in [0, 1], "target" (B, K) float32 and whatever else the loss
    reads. RMSE is the global one over all known targets; where all are known, that is Kaggle's.

    Args:
        encoder: A network from images (B, C, H, W) to features (B, F).
        head: A module from features (B, F) to an `Output`.
        loss: The loss of an `Output` and a batch.
        labels: The labels that the targets hold.
        mean: (C,) mean of the training images; the task subtracts it from the encoder's input.
        std: (C,) standard deviation of the training images; the task divides by it.
        weighted: Whether batches hold "weight" (B, K), which the metrics then use as well.
        optimizer: A function from parameter groups to an optimizer. Predicting does not need it.
        schedule: The schedule of the learning rate; None keeps it constant.
        seed: The seed of the dropout.
        steps_per_epoch: The number of the optimizer's steps in an epoch.
        frozen_epochs: The number of epochs at the start in which only the head learns. The encoder then keeps
            its weights and its batch-norm statistics.
        body_lr_factor: The encoder's learning rate divided by the head's.

    Raises:
        ValueError: A parameter is out of its range.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module,
        loss: Loss,
        labels: Labels,
        mean: Tensor,
        std: Tensor,
        weighted: bool = False,
        optimizer: Callable[..., Optimizer] | None = None,
        schedule: Schedule | None = None,
        seed: int = 0,
        steps_per_epoch: int = 1,
        frozen_epochs: int = 0,
        body_lr_factor: float = 1.0,
    ) -> None:
        super().__init__()
        check_encoder_training(frozen_epochs, body_lr_factor)
        # Convolutions are up to twice as fast with the channels innermost, on CPUs and GPUs.
        self.encoder = encoder.to(memory_format=torch.channels_last)
        self.head = head
        self.loss = loss
        self.labels = labels
        self.optimizer = optimizer
        self.schedule = schedule or Schedule()
        self.seed = seed
        self.steps_per_epoch = steps_per_epoch
        self.frozen_epochs = frozen_epochs
        self.body_lr_factor = body_lr_factor
        self._learning: list[nn.Parameter] = []  # what the encoder ever trains
        self.register_buffer("mean", mean.view(-1, 1, 1))
        self.register_buffer("std", std.view(-1, 1, 1))
        self.train_metrics = metrics_for(labels, weighted)
        self.val_metrics = metrics_for(labels, weighted)
        self.running_loss = RunningMean()
        self._compiled: Callable[[Tensor], Output] | None = None
        self._compiled_batch = 0

    def forward(self, images: Tensor) -> Output:
        """Predicts from images (B, C, H, W) float32 in [0, 1]."""
        images = (images.to(self.mean.dtype) - self.mean) / self.std
        images = images.contiguous(memory_format=torch.channels_last)
        if self._compiled is not None and self.training and len(images) == self._compiled_batch:
            return self._compiled(images)
        return self._network(images)

    def _network(self, images: Tensor) -> Output:
        output: Output = self.head(self.encoder(images))
        return output

    def compile_network(self, mode: str, batch_size: int) -> None:
        """Lets `torch.compile` translate the network when it first trains; checkpoints stay as they are.

        Encoder and head are translated as one. The second of two could find its input overwritten by CUDA
        graphs. Only training batches of one size are translated: the last, smaller batch of an epoch and
        validation would each take as long to translate again.

        Args:
            mode: A mode of `torch.compile`.
            batch_size: The number of images in a whole batch.
        """
        self._compiled = torch.compile(self._network, mode=mode, dynamic=False)
        self._compiled_batch = batch_size

    def configure_optimizers(self) -> Any:
        """Builds the optimizer of the network, and of a loss that learns as well, with its schedule."""
        if self.optimizer is None:
            raise ValueError("optimizer is None; training needs one")
        head = [*self.head.parameters(), *self.loss.parameters()]
        optimizer = build_optimizer(self.optimizer, self.encoder, head, self.body_lr_factor)
        assert self.trainer.max_epochs is not None
        return self.schedule.configure(optimizer, self.trainer.max_epochs, self.steps_per_epoch)

    def _step(self, batch: Batch, metrics: FractionMetrics) -> Tensor:
        output = self(batch["image"])
        loss: Tensor = self.loss(output, batch)
        metrics.update(output.fractions.detach(), batch["target"], batch.get("weight"))
        return loss

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Returns the loss of a batch; logs the mean loss every `log_every_n_steps` steps."""
        loss = self._step(batch, self.train_metrics)
        self.running_loss.add(loss)
        trainer = self.trainer
        ends_step = (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch
        if ends_step and (self.global_step + 1) % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            mean = self._finite_loss()
            assert mean is not None  # it contains this step's loss
            self.log_at_once("train/loss", mean)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds one batch to the validation metrics."""
        loss = self._step(batch, self.val_metrics)
        self.log("val/loss", loss, batch_size=len(batch["image"]), sync_dist=True)

    def on_fit_start(self) -> None:
        """Refuses a frozen encoder in distributed training."""
        self._learning = [parameter for parameter in self.encoder.parameters() if parameter.requires_grad]
        if self.frozen_epochs > 0 and self.trainer.world_size > 1:
            raise UserError(
                f"model.frozen_epochs={self.frozen_epochs} works in one process only, because the "
                "others would wait for gradients of the frozen encoder: use trainer.devices=1 or "
                "model.frozen_epochs=0"
            )

    def on_train_start(self) -> None:
        """Freezes the encoder in an epoch that is resumed, whose start Lightning does not announce again."""
        self.on_train_epoch_start()

    def on_train_epoch_start(self) -> None:
        """Freezes or thaws the encoder, depending on the number of the epoch."""
        if self.frozen_epochs == 0:
            return
        learns = self.current_epoch >= self.frozen_epochs
        for parameter in self._learning:
            parameter.requires_grad_(learns)
        self.encoder.train(learns)  # a frozen encoder keeps its batch-norm statistics too

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Makes dropout depend on the seed and the step alone, so that a resumed run draws the same."""
        place = f"{self.seed} {self.current_epoch} {batch_idx} {self.global_rank}"
        seed = int.from_bytes(blake2b(place.encode(), digest_size=8).digest())
        # `torch.manual_seed` reads its caller's traceback for every kind of GPU that is not there: 0.5 ms.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def on_validation_epoch_start(self) -> None:
        """Stops a diverged run before its weights could become a checkpoint."""
        self._finite_loss()

    def on_train_epoch_end(self) -> None:
        """Logs the training metrics of the epoch, summed while the weights changed."""
        self._finite_loss()
        values = self.train_metrics.compute()
        self.train_metrics.reset()
        names = [name for name in (*FRACTION_METRICS, *CLASS_METRICS) if name in values]
        self.log_dict({f"train/{name}": values[name].float() for name in names})

    def on_validation_epoch_end(self) -> None:
        """Logs the validation metrics."""
        values = {name: value.float() for name, value in self.val_metrics.compute().items()}
        self.val_metrics.reset()
        self.log_dict({f"val/{name}": value for name, value in values.items()})
        shown = [name for name in ("rmse", "accuracy") if name in values]
        for name in shown:
            self.log(f"val_{name}", values[name], prog_bar=True, logger=False)
        text = ", ".join(f"val/{name} {values[name]:.5f}" for name in shown)
        log.info("epoch %d/%s: %s", self.current_epoch + 1, self.trainer.max_epochs, text)

    def _finite_loss(self) -> float | None:
        """Returns the mean loss since the last call over all processes; None if there was no step.

        Raises:
            DivergedError: It is not a finite number.
        """
        mean = self.running_loss.take()
        if mean is not None and self.trainer.world_size > 1:  # all processes must decide the same
            mean = float(self.trainer.strategy.reduce(torch.tensor(mean, device=self.device)))
        if mean is not None and not math.isfinite(mean):
            rate = self.trainer.optimizers[0].param_groups[-1]["lr"]
            raise DivergedError(
                f"the training loss became {mean} by step {self.global_step} "
                f"(epoch {self.current_epoch + 1}) at learning rate {rate:.3g}: "
                "try a smaller optimizer.lr or trainer.gradient_clip_val=1"
            )
        return mean

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the sums of an epoch that is not over."""
        checkpoint["sums"] = {
            "metrics": dict(self.train_metrics.metric_state),
            "loss": (self.running_loss.total, self.running_loss.steps),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the sums up again."""
        for name, value in checkpoint["sums"]["metrics"].items():
            setattr(self.train_metrics, name, value.to(self.device))
        total, self.running_loss.steps = checkpoint["sums"]["loss"]
        self.running_loss.total = None if total is None else total.to(self.device)
