"""Callbacks that Lightning does not have."""

from __future__ import annotations

import math
import time
from pathlib import Path
from statistics import median_high
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from galaxy.system.errors import UserError
from galaxy.system.interruption import Interruption


class LastCheckpoint(Checkpoint):
    """Keeps last.ckpt, from which a training goes on as if it had never stopped.

    It is written where Lightning can take up the thread exactly: after a batch that is not the last of its
    epoch, between two epochs with all that belongs to the first logged, and at the end. The metrics that have
    been logged go with it, so that those of lost steps are not told twice.

    Args:
        dirpath: Folder of the checkpoint.
        every_n_train_steps: Steps of the optimizer between two opportunities within an epoch.
        max_overhead: Share of the time that may go into writing; opportunities that would exceed it pass,
            but for the end and for an interruption.

    Attributes:
        interruption: Asks for a checkpoint at the next opportunity.
        elapsed: Seconds that the run took before it was resumed.
    """

    _SPEED = 3e8  # bytes/s of a checkpoint that is copied, written and flushed, as on a common disk

    def __init__(self, dirpath: str, every_n_train_steps: int = 100, max_overhead: float = 0.01) -> None:
        if every_n_train_steps < 1:
            raise UserError(
                f"callbacks.last.every_n_train_steps is {every_n_train_steps}; it must be 1 or more"
            )
        if not 0 < max_overhead <= 1:
            raise UserError(
                f"callbacks.last.max_overhead is {max_overhead}; it must be above 0 and at most 1"
            )
        self.path = Path(dirpath) / "last.ckpt"
        self.interruption = Interruption()
        self.elapsed = 0.0
        self.every_n_train_steps = every_n_train_steps
        self.max_overhead = max_overhead
        self._started = time.monotonic()
        self._saved_at = self._started
        self._cost = 0.0
        # Whether any step has changed the weights since the last checkpoint.
        self._changed = False
        self._between_epochs = False
        self._finished = False
        # What callbacks watch, as it was when the run was stopped.
        self._metrics: dict[str, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From now on a signal waits for a checkpoint."""
        # The other processes of a distributed run would wait for the first one for ever.
        if trainer.world_size == 1:
            self.interruption.deferred = True
            self.interruption.listen()  # Lightning ends the program at SIGTERM, with status 0
        trainer.callback_metrics.update(self._metrics)
        # Until one has been written: weights and the two averages that Adam keeps of their gradients.
        self._cost = 3 * sum(weights.nbytes for weights in pl_module.parameters()) / self._SPEED

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """An opportunity every few steps."""
        if not self._changed:
            # For Lightning a resumed epoch restarts until its end, and then passes over ReduceLROnPlateau.
            trainer.fit_loop.restarting = False
        self._changed = True
        # Gradients that wait for an optimizer step, and the sums of other processes, are in no checkpoint.
        accumulated = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if (
            trainer.is_last_batch
            or not accumulated
            or trainer.world_size > 1
            or _validates(trainer, batch_idx)
        ):
            return
        asked = self.interruption.signum is not None
        if asked or (trainer.global_step % self.every_n_train_steps == 0 and self._worth_it()):
            self._save(trainer)
            self.interruption.answer()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """An opportunity between epochs: only now the one before has been logged to its end."""
        asked = self.interruption.signum is not None
        # All processes of a distributed run save, or none.
        if self._changed and trainer.strategy.broadcast(asked or self._worth_it()):
            self._between_epochs = True
            self._save(trainer)
            self._between_epochs = False
        self.interruption.answer()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The last checkpoint, which only needs scoring."""
        self._finished = True
        self._save(trainer)
        self.interruption.answer()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """What follows, such as scoring, can be stopped anywhere."""
        self.interruption.deferred = False

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds what Lightning does not keep."""
        if self._between_epochs:
            # Lightning has counted the next epoch as ready; resumed from there, it would skip its batches.
            for progress in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
                progress["ready"] -= 1
        watched = trainer.callback_metrics.items()
        checkpoint["callback_metrics"] = {name: value for name, value in watched if name != Throughput.METRIC}
        checkpoint["progress"] = {
            "epochs": trainer.current_epoch,
            "finished": self._finished,
            "seconds": self.elapsed + time.monotonic() - self._started,
            "metrics": _logged(trainer),
        }

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Takes up what Lightning does not restore."""
        self._metrics = checkpoint["callback_metrics"]
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.state_key in checkpoint["callbacks"]:
                state = checkpoint["callbacks"][callback.state_key]
                callback.current_score = state["current_score"]
                _move(state, str(callback.dirpath))

    def _worth_it(self) -> bool:
        return self._cost <= self.max_overhead * (time.monotonic() - self._saved_at)

    def _save(self, trainer: pl.Trainer) -> None:
        started = time.monotonic()
        trainer.save_checkpoint(self.path, weights_only=False)
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - started
        self._changed = False


def _validates(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether validation follows this batch, which a resumed run would take to be over."""
    interval = trainer.val_check_batch
    if interval is None or math.isinf(interval):
        return False
    batch = trainer.fit_loop.total_batch_idx if trainer.check_val_every_n_epoch is None else batch_idx
    return (batch + 1) % int(interval) == 0


def _move(state: dict[str, Any], folder: str) -> None:
    """Tells a ModelCheckpoint's state where its files are; in another folder it would forget the best one."""

    def moved(path: str) -> str:
        return str(Path(folder) / Path(path).name) if path else path

    state["dirpath"] = folder
    for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
        state[name] = moved(state[name])
    state["best_k_models"] = {moved(path): score for path, score in state["best_k_models"].items()}


def _logged(trainer: pl.Trainer) -> str:
    """The text of metrics.csv, with all that has been logged; the first process writes it."""
    for logger in trainer.loggers:
        if isinstance(logger, CSVLogger) and trainer.is_global_zero:
            logger.save()
            path = Path(logger.experiment.metrics_file_path)
            return path.read_text(encoding="utf-8") if path.exists() else ""
    return ""


class Throughput(pl.Callback):
    """Logs the training speed of each epoch as `images_per_second`, validation not counted.

    Of an epoch that was resumed it is that of the batches since.
    """

    METRIC = "images_per_second"

    def __init__(self) -> None:
        self._speeds: list[float] = []
        self._started = self._paused = 0.0
        self._epoch_images = 0

    @property
    def speed(self) -> float | None:
        """Images/s of an epoch in the middle; of two the faster, for the first also compiles the network."""
        return median_high(self._speeds) if self._speeds else None

    def state_dict(self) -> dict[str, Any]:
        """The speeds so far, for a resumed training."""
        return {"speeds": self._speeds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes them up again."""
        self._speeds = list(state_dict["speeds"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock of an epoch that is resumed."""
        self._start()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self._start()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops the clock, in case the epoch goes on after this validation."""
        self._paused = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lets it go on."""
        self._started += time.perf_counter() - self._paused

    def _start(self) -> None:
        self._started = time.perf_counter()
        self._epoch_images = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts; the clock stops with the last batch, before validation starts."""
        self._epoch_images += len(batch["row"])
        if trainer.is_last_batch:
            if trainer.strategy.root_device.type == "cuda":
                torch.cuda.synchronize()  # the GPU runs behind the program that feeds it
            seconds = time.perf_counter() - self._started
            self._speeds.append(self._epoch_images * trainer.world_size / seconds)
            pl_module.log(self.METRIC, self._speeds[-1], on_step=False, on_epoch=True, batch_size=1)
