"""The LightningModule: a network, what it learns by, and what is said of it while it learns."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins import Precision
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import Tensor, nn
from torch.optim import Optimizer

from galaxy.data.loader import Batch
from galaxy.labels.labels import Labels
from galaxy.learning.losses import Loss
from galaxy.learning.metrics import CLASS_METRICS, FRACTION_METRICS, FractionMetrics, metrics_for
from galaxy.learning.optimizer import build_optimizer
from galaxy.learning.schedule import Schedule
from galaxy.models.encoder import Encoder
from galaxy.models.output import Output
from galaxy.system.errors import UserError

log = logging.getLogger(__name__)


class DivergedError(UserError):
    """The loss is no longer a finite number."""


class GalaxyTask(pl.LightningModule):
    """Predicts the vote fractions, or the class, of galaxy images with an encoder and a head.

    Batches hold "image" (B, C, H, W) float32 in [0, 1], "target" (B, K) float32 and whatever else the loss
    reads. RMSE is the global one over N x K, as Kaggle defines it.

    Args:
        encoder: (B, C, H, W) -> (B, F).
        head: (B, F) -> `Output`.
        loss: Of an `Output` and a batch.
        labels: What the targets are.
        mean: (C,) mean of the training images, which the encoder's input is centred by.
        std: (C,) their standard deviation, which it is divided by.
        weighted: Whether batches hold "weight" (B, K), which the metrics then use as well.

    Attributes:
        optimizer: Called with parameter groups. Training needs it, predicting does not.
        schedule: Of the learning rate.
        seed: Of the dropout.
        steps_per_epoch: Steps of the optimizer in an epoch.
    """

    mean: Tensor
    std: Tensor
    optimizer: Callable[..., Optimizer]

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module,
        loss: Loss,
        labels: Labels,
        mean: Tensor,
        std: Tensor,
        weighted: bool = False,
    ) -> None:
        super().__init__()
        # Convolutions are up to twice as fast with the channels innermost, on CPUs and GPUs.
        self.encoder = encoder.to(memory_format=torch.channels_last)
        self.head = head
        self.loss = loss
        self._compiled: Callable[[Tensor], Output] | None = None
        self._compiled_batch = 0
        self.schedule = Schedule()
        self.seed = 0
        self.steps_per_epoch = 1
        self.register_buffer("mean", mean.view(-1, 1, 1))
        self.register_buffer("std", std.view(-1, 1, 1))
        # What a row of an image is multiplied by and what is added to it, by width, type and device.
        self._rows: dict[tuple[int, torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}
        self.labels = labels
        self.train_metrics = metrics_for(labels, weighted)
        self.val_metrics = metrics_for(labels, weighted)
        self.running = _RunningLoss()

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets an attribute.

        Lightning notes the name of every hook that it calls, 50 times a step, and `nn.Module` looks each time
        whether that is a parameter: a tenth of a millisecond.
        """
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def forward(self, images: Tensor) -> Output:
        """Predicts from images (B, C, H, W) float32 in [0, 1]."""
        network: Callable[[Tensor], Output] = self._network
        if self._compiled is not None and self.training and len(images) == self._compiled_batch:
            network = self._compiled
        return network(self._normalised(images))

    def _network(self, images: Tensor) -> Output:
        output: Output = self.head(self.encoder(images))
        return output

    def load_state_dict(self, *arguments: Any, **named: Any) -> Any:
        """As in torch."""
        self._rows.clear()
        return super().load_state_dict(*arguments, **named)

    def _normalised(self, images: Tensor) -> Tensor:
        """Images centred and divided, (B, C, H, W) channels_last.

        Row by row: torch would do so for three channels at a time, as these are innermost, which takes ten
        times as long.
        """
        images = images.to(self.mean.dtype).contiguous(memory_format=torch.channels_last)
        batch, channels, height, width = images.shape
        key = (width, self.mean.dtype, self.mean.device)
        if key not in self._rows:
            with torch.inference_mode(mode=False):  # for use in training, too
                scale = self.std.flatten().reciprocal()
                self._rows[key] = ((-self.mean.flatten() * scale).repeat(width), scale.repeat(width))
        offset, scale = self._rows[key]
        rows = torch.addcmul(offset, images.permute(0, 2, 3, 1).flatten(2), scale)
        return rows.view(batch, height, width, channels).permute(0, 3, 1, 2)

    def compile_network(self, mode: str, batch_size: int) -> None:
        """Translates the network when it first trains; in place, so that checkpoints stay as they are.

        Encoder and head as one: of two, the second could find its input overwritten by CUDA graphs. For one
        size of batches, and training, alone: the odd last batch of an epoch and validation would each be
        translated anew, for as long.

        Args:
            mode: One of `torch.compile`.
            batch_size: Images of the batches that it is for.
        """
        self._compiled = torch.compile(self._network, mode=mode, dynamic=False)
        self._compiled_batch = batch_size

    def _step(self, batch: Batch, metrics: FractionMetrics) -> Tensor:
        output = self(batch["image"])
        loss: Tensor = self.loss(output, batch)
        metrics.update(output.fractions.detach(), batch["target"], batch.get("weight"))
        return loss

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step; logs once an interval, for a call of `self.log` costs more than a small network."""
        loss = self._step(batch, self.train_metrics)
        self.running.add(loss)
        trainer = self.trainer
        ends_step = (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch
        if ends_step and (self.global_step + 1) % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            mean = self._finite_loss()
            assert mean is not None  # this step's loss is in it
            # At once, so that a checkpoint after this step knows what has been logged.
            for logger in self.loggers:
                logger.log_metrics({"train/loss": mean, "epoch": self.current_epoch}, step=self.global_step)
            # Not with `self.log`, whose value Lightning fetches from the device again after every later step.
            trainer.callback_metrics["train/loss"] = torch.tensor(mean)
            trainer.progress_bar_metrics["train/loss"] = mean
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds one batch to the validation metrics."""
        loss = self._step(batch, self.val_metrics)
        self.log("val/loss", loss, batch_size=len(batch["image"]), sync_dist=True)

    def on_fit_start(self) -> None:
        """Refuses what distributed training cannot do."""
        if self.encoder.frozen_epochs > 0 and self.trainer.world_size > 1:
            raise UserError(
                f"model.frozen_epochs={self.encoder.frozen_epochs} works in one process only, for the others "
                "would wait for gradients of the frozen body: use trainer.devices=1 or model.frozen_epochs=0"
            )

    def on_train_start(self) -> None:
        """Freezes the encoder in an epoch that is resumed, which does not start again."""
        self.on_train_epoch_start()

    def on_train_epoch_start(self) -> None:
        """Freezes or thaws the encoder by the number of the epoch."""
        learns = self.current_epoch >= self.encoder.frozen_epochs
        self.encoder.requires_grad_(learns)
        self.encoder.train(learns)  # a frozen body keeps its batch statistics too

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Makes what is random in a step, dropout, depend on the seed and the step alone."""
        place = f"{self.seed} {self.current_epoch} {batch_idx} {self.global_rank}"
        seed = int.from_bytes(blake2b(place.encode(), digest_size=8).digest())
        # `torch.manual_seed` reads its caller's traceback for every kind of GPU that is not there: 0.5 ms.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the sums of an epoch that is not over."""
        checkpoint["sums"] = {
            "metrics": dict(self.train_metrics.metric_state),
            "loss": (self.running.total, self.running.steps),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the sums up again."""
        for name, value in checkpoint["sums"]["metrics"].items():
            setattr(self.train_metrics, name, value.to(self.device))
        total, self.running.steps = checkpoint["sums"]["loss"]
        self.running.total = None if total is None else total.to(self.device)

    def on_validation_epoch_start(self) -> None:
        """Stops a diverged run before its weights could become a checkpoint."""
        self._finite_loss()

    def on_train_epoch_end(self) -> None:
        """Logs the training metrics of the epoch, as they were while the weights changed."""
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
        log.info("epoch %d: %s", self.current_epoch, text)

    def _finite_loss(self) -> float | None:
        """The mean loss of the steps since the last call, if there were any, over all processes."""
        mean = self.running.mean()
        if mean is not None and self.trainer.world_size > 1:  # what they decide by it must be the same in all
            mean = float(self.trainer.strategy.reduce(torch.tensor(mean, device=self.device)))
        if mean is not None and not math.isfinite(mean):
            rate = self.trainer.optimizers[0].param_groups[-1]["lr"]
            raise DivergedError(
                f"the training loss became {mean} by step {self.global_step} (epoch {self.current_epoch}) at "
                f"learning rate {rate:.3g}: try a smaller optimizer.lr or trainer.gradient_clip_val=1"
            )
        return mean

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips for fused optimizers too, which Lightning 2.6 refuses in any mixed precision.

        They divide by the loss scale in the middle of their step, after the clipping. Only float16 has such a
        scale, and `galaxy.runs.checks.check_settings`
        refuses a fused optimizer that should clip in it.
        """
        plugin = self.trainer.precision_plugin
        algorithm = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
        Precision.clip_gradients(plugin, optimizer, gradient_clip_val or 0.0, algorithm)

    def configure_optimizers(self) -> Any:
        """The optimizer of the network, and of a loss that learns as well, and its schedule."""
        head = [*self.head.parameters(), *self.loss.parameters()]
        optimizer = build_optimizer(self.optimizer, self.encoder, head)
        assert self.trainer.max_epochs is not None
        return self.schedule.configure(optimizer, self.trainer.max_epochs, self.steps_per_epoch)


# Lightning reads it in every step, and Python would work it out every time.
GalaxyTask.training_step.__signature__ = inspect.signature(GalaxyTask.training_step)  # type: ignore[attr-defined]


class _RunningLoss:
    """The mean loss since it was last asked for, summed on the device."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.steps = 0

    def add(self, loss: Tensor) -> None:
        self.total = loss.detach() if self.total is None else self.total + loss.detach()
        self.steps += 1

    def mean(self) -> float | None:
        if self.total is None:
            return None
        mean = float(self.total) / self.steps  # waits for the device
        self.total, self.steps = None, 0
        return mean
