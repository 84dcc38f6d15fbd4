"""The LightningModule: the network, its steps, and the metrics of each epoch."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import MeanMetric

from galaxy.config.objective import CLASS_METRICS, FRACTION_METRICS
from galaxy.data.datamodule import GalaxyDataModule
from galaxy.data.loader import Batch
from galaxy.labels.labels import Labels
from galaxy.learning import averaging
from galaxy.learning.lean_trainer import LeanModule, Trainer
from galaxy.learning.losses import Loss
from galaxy.learning.losses.mse import MSE
from galaxy.learning.metrics import FractionMetrics, RunningMean, metrics_for
from galaxy.learning.optim import Schedule, build_optimizer
from galaxy.learning.transfer import Transfer
from galaxy.models import Encoder, Output
from galaxy.models.heads.head import Head
from galaxy.models.heads.tree import TreeHead
from galaxy.system.errors import UserError

log = logging.getLogger(__name__)


class DivergedError(UserError):
    """The loss is no longer a finite number."""


def count_steps(trainer: pl.Trainer, data: GalaxyDataModule) -> int:
    """Counts the steps of the optimizer in an epoch.

    `Trainer.estimated_stepping_batches` says so too, but reading it makes a resumed run forget the position
    of its loader (Lightning issue 20550).
    """
    batches, limit = data.batches_per_epoch(trainer.world_size), trainer.limit_train_batches
    batches = int(batches * limit) if isinstance(limit, float) else min(batches, limit)
    return max(1, math.ceil(batches / trainer.accumulate_grad_batches))


class GalaxyTask(LeanModule):
    """Predicts the vote fractions, or the class, of galaxy images with an encoder and a head.

    Batches hold "image" (B, C, H, W) float32 in [0, 1], "target" (B, K) float32 and whatever else the loss
    reads. RMSE is the global one over all known targets; where all are known, that is Kaggle's.

    When a trainer fits the task on a `GalaxyDataModule`, what the task has to know of the training split is
    measured first: the mean and the standard deviation of the images, and whatever the loss prepares.

    Example:
        >>> from galaxy.models.deep_cnn import DeepCNN
        >>> from galaxy.surveys.kaggle import LABELS
        >>> task = GalaxyTask(DeepCNN(channels=3, size=64), LABELS)
        >>> task(torch.rand(2, 3, 64, 64)).fractions.shape
        torch.Size([2, 37])

    Args:
        encoder: A network from images (B, C, H, W) to features (B, F).
        labels: The labels that the targets hold.
        head: A module from features (B, F) to an `Output`; None for a `TreeHead`.
        loss: The loss of an `Output` and a batch; None for the mean squared error.
        optimizer: A function from parameter groups to an optimizer; None for AdamW with torch's settings.
        schedule: The schedule of the learning rate; None keeps it constant.
        channels: The number C of channels of the images.
        input_size: The side in pixels that images are reduced to, by pixel area; None for images as they are.
        seed: The seed of the dropout.
        transfer: How gently the encoder learns; None lets all weights learn alike.
        weight_decay_exclude_1d: Whether biases and the weights of norms get no weight decay.

    Attributes:
        mean: (C, 1, 1) mean of the training images, or the one that pretrained weights expect; the task
            subtracts it from the encoder's input.
        std: (C, 1, 1) standard deviation likewise; the task divides by it.
        starts_at_mean: Whether the head predicts the training galaxies' mean before it learns.
        training_size: The side that takes the place of `input_size` while the task trains; None for the same.
        steps_per_epoch: The number of the optimizer's steps in an epoch; None until it is measured.

    Raises:
        ValueError: A parameter is out of its range.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        encoder: Encoder,
        labels: Labels,
        head: nn.Module | None = None,
        loss: Loss | None = None,
        optimizer: Callable[..., Optimizer] | None = None,
        schedule: Schedule | None = None,
        channels: int = 3,
        input_size: int | None = None,
        seed: int = 0,
        transfer: Transfer | None = None,
        weight_decay_exclude_1d: bool = False,
    ) -> None:
        super().__init__()
        # Convolutions are up to twice as fast with the channels innermost, on CPUs and GPUs.
        self.encoder = encoder.to(memory_format=torch.channels_last)
        self.head = head or TreeHead(encoder.num_features, labels.questions)
        self.loss = loss or MSE()
        self.labels = labels
        self.optimizer = optimizer or partial(torch.optim.AdamW, fused=True)
        self.schedule = schedule or Schedule()
        self.input_size = input_size
        self.training_size: int | None = None
        self.starts_at_mean = True
        self.seed = seed
        self.transfer = transfer or Transfer()
        self.transfer.check(encoder)
        self.weight_decay_exclude_1d = weight_decay_exclude_1d
        self._learning: list[nn.Parameter] = []  # what may learn of the encoder
        self.steps_per_epoch: int | None = None
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("std", torch.ones(channels, 1, 1))
        self.train_metrics = metrics_for(labels)
        self.val_metrics = metrics_for(labels)
        self.val_loss = MeanMetric(nan_strategy=math.nan)  # any NaN makes the mean one
        self.running_loss = RunningMean()
        self._compiled: Callable[[Tensor], Output] | None = None
        self._compiled_batch = 0

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Loads all weights, as torch does. A fit then goes on with the head that was loaded."""
        self.starts_at_mean = False
        return super().load_state_dict(state_dict, strict, assign)

    def forward(self, images: Tensor) -> Output:
        """Predicts from images (B, C, H, W) float32 in [0, 1]."""
        images = self._prepared(images)
        if self._compiled is not None and self.training and len(images) == self._compiled_batch:
            return self._compiled(images)
        return self._network(images)

    def features(self, images: Tensor) -> Tensor:
        """Encodes images (B, C, H, W) float32 in [0, 1] as features (B, F)."""
        features: Tensor = self.encoder(self._prepared(images))
        return features

    def reduced(self, images: Tensor) -> Tensor:
        """Reduces images (B, C, H, W) float32 by area to the side that the encoder sees."""
        side = (self.training_size if self.training else None) or self.input_size
        if side is not None and side < images.shape[-1]:
            images = F.interpolate(images, (side, side), mode="area")
        return images

    def _prepared(self, images: Tensor) -> Tensor:
        """Reduces the images to what the encoder sees, and normalises them."""
        images = (self.reduced(images).to(self.mean.dtype) - self.mean) / self.std
        return images.contiguous(memory_format=torch.channels_last)

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

    def measure(self, data: GalaxyDataModule) -> None:
        """Measures what the task has to know of the training split. The data module calls it before a fit.

        A checkpoint that a training goes on from holds the same values, which are then loaded.

        Raises:
            ValueError: The images of the data have another number of channels.
        """
        self.train()  # a model that has predicted is in the other mode
        trainer = self.trainer
        mean, std = (torch.from_numpy(x).view(-1, 1, 1) for x in data.channel_statistics())
        if len(mean) != len(self.mean):
            raise ValueError(
                f"channels is {len(self.mean)}; it must be {len(mean)}, as the crop of the data makes them"
            )
        if self.transfer.normalisation == "pretrained":
            mean, std = self.transfer.statistics(self.encoder, len(mean))
        self.mean.copy_(mean)
        self.std.copy_(std)
        targets = data.training_targets()
        if self.starts_at_mean and isinstance(self.head, Head):
            self.head.start_at(targets.nanmean(dim=0))
            self.starts_at_mean = False  # a second fit goes on with what the first has learned
        self.loss.prepare(targets, data.labels)
        self.steps_per_epoch = count_steps(trainer, data)
        # A short epoch is logged at least once.
        interval = min(trainer.log_every_n_steps, self.steps_per_epoch)  # type: ignore[attr-defined]
        trainer.log_every_n_steps = interval  # type: ignore[attr-defined]
        if isinstance(trainer, Trainer) and trainer.compile_mode is not None:
            self.compile_network(trainer.compile_mode, data.whole_batch(trainer.world_size))

    def configure_optimizers(self) -> Any:
        """Builds the optimizer of the network, and of a loss that learns as well, with its schedule.

        Raises:
            ValueError: The schedule has to know the length of the training, which has none.
        """
        head = [*self.head.parameters(), *self.loss.parameters()]
        exclude = self.weight_decay_exclude_1d
        optimizer = build_optimizer(self.optimizer, self.encoder, head, self.transfer, exclude)
        trainer, steps, epochs = self.trainer, self.steps_per_epoch, self.trainer.max_epochs or 1
        if steps is None:  # the trainer was given other data than a `GalaxyDataModule`
            steps = max(1, math.ceil(trainer.estimated_stepping_batches / abs(epochs)))
        if epochs < 0:  # the trainer counts steps, or neither steps nor epochs
            if trainer.max_steps < 0 and self.schedule.length is not None:
                raise ValueError("max_epochs is -1; the schedule needs a number of epochs")
            epochs = math.ceil(max(1, trainer.max_steps) / steps)
        return self.schedule.configure(optimizer, epochs, steps)

    def _step(self, batch: Batch, metrics: FractionMetrics) -> Tensor:
        output = self(batch["image"])
        loss: Tensor = self.loss(output, batch)
        metrics.update(output.fractions.detach(), batch["target"], batch.get("weight"))
        return loss

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Returns the loss of a batch; logs the mean loss every `log_every_n_steps` steps."""
        trainer = self.trainer
        loss = self._step(batch, self.train_metrics)
        if trainer.world_size > 1 and trainer.is_last_batch:
            loss = loss * self._share(batch)
        self.running_loss.add(loss)
        ends_step = (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch
        interval = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if ends_step and interval and (self.global_step + 1) % interval == 0:
            mean = self._finite_loss()
            assert mean is not None  # it contains this step's loss
            self.log_at_once("train/loss", mean)
        return loss

    def _share(self, batch: Batch) -> Tensor:
        """Divides the size of a batch by the mean size in all processes.

        Losses that are multiplied by it give the mean of all galaxies, as in one process. Only the last batch
        of an epoch may not be shared evenly.
        """
        size = torch.tensor(float(len(batch["image"])), device=self.device)
        return size / self.trainer.strategy.reduce(size.clone())

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds one batch to the validation metrics and to the mean loss."""
        loss = self._step(batch, self.val_metrics)
        self.val_loss.update(loss, len(batch["image"]))

    def on_fit_start(self) -> None:
        """Prepares averages of the weights, and notes which weights of the encoder learn.

        Raises:
            UserError: The encoder is frozen at first or in part, and several processes train.
        """
        averaging.prepare(self)
        self._learning = [parameter for parameter in self.encoder.parameters() if parameter.requires_grad]
        self.transfer.check_processes(self.trainer.world_size)

    def on_train_start(self) -> None:
        """Freezes the encoder in an epoch that is resumed, whose start Lightning does not announce again."""
        self.on_train_epoch_start()

    def on_train_epoch_start(self) -> None:
        """Freezes or thaws the encoder, depending on the number of the epoch alone."""
        self.transfer.freeze(self.encoder, self._learning, self.current_epoch)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Makes dropout depend on the seed and the step alone, so that a resumed run draws the same."""
        place = f"{self.seed} {self.current_epoch} {batch_idx} {self.global_rank}"
        seed = int.from_bytes(blake2b(place.encode(), digest_size=8).digest())
        # `torch.manual_seed` reads its caller's traceback for every kind of GPU that is not there: 0.5 ms.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def on_validation_start(self) -> None:
        """Completes averaged weights, which Lightning is about to validate."""
        averaging.complete(self)

    def on_validation_epoch_start(self) -> None:
        """Stops a diverged run before its weights could become a checkpoint."""
        self._finite_loss()

    def on_train_epoch_end(self) -> None:
        """Completes averages of the weights, and logs the metrics of the epoch, summed while it trained."""
        averaging.complete(self)  # after the last epoch they replace the weights
        self._finite_loss()
        values = self.train_metrics.compute()
        self.train_metrics.reset()
        names = [name for name in (*FRACTION_METRICS, *CLASS_METRICS) if name in values]
        self.log_dict({f"train/{name}": values[name].float() for name in names})

    def on_validation_epoch_end(self) -> None:
        """Logs the validation metrics."""
        values = {name: value.float() for name, value in self.val_metrics.compute().items()}
        self.val_metrics.reset()
        values["loss"] = self.val_loss.compute()
        self.val_loss.reset()
        self.log_dict({f"val/{name}": value for name, value in values.items()})
        for name in ("rmse", "accuracy"):
            if name in values:
                self.log(f"val_{name}", values[name], prog_bar=True, logger=False)

    def on_validation_end(self) -> None:
        """Says the metrics that matter: the errors, and what checkpoints are chosen by."""
        chosen_by = [getattr(callback, "monitor", None) for callback in self.trainer.checkpoint_callbacks]
        values = self.trainer.callback_metrics
        shown = [name for name in dict.fromkeys(("val/rmse", "val/accuracy", *chosen_by)) if name in values]
        text = ", ".join(f"{name} {values[name]:.5f}" for name in shown)
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
        """Adds the sums of an epoch that is not over, over all processes, and averaged weights."""
        averaging.save(self, checkpoint)
        reduce, total = self.trainer.strategy.reduce, self.running_loss.total
        sums: dict[str, Any] = self.train_metrics.metric_state
        checkpoint["sums"] = {
            "metrics": {name: reduce(value.clone(), reduce_op="sum") for name, value in sums.items()},
            "loss": (None if total is None else reduce(total.clone()), self.running_loss.steps),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the sums up again, those of the metrics in the first process alone."""
        share = int(self.trainer.is_global_zero)
        for name, value in checkpoint["sums"]["metrics"].items():
            setattr(self.train_metrics, name, value.to(self.device) * share)
        total, self.running_loss.steps = checkpoint["sums"]["loss"]
        self.running_loss.total = None if total is None else total.to(self.device)
