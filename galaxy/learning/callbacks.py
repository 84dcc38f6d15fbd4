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

from galaxy.learning.checkpoint import Progress
from galaxy.system.interruption import Interruption


class LastCheckpoint(Checkpoint):
    """Keeps last.ckpt, from which a training goes on as if it had never stopped.

    Lightning 2.6 resumes exactly from three places only, and the checkpoint is written there: after a batch
    that is not the last of its epoch, between two epochs when the first has been logged to its end, and at
    the end of the training. The metrics that have been logged go with it, so that a resumed run does not log
    the metrics of lost steps twice.

    The lines that read or change the state of Lightning's loops name the behaviour of Lightning 2.6.6 that
    makes them needed. Much of it came with `RestartStage` (Lightning pull request 20379).

    Args:
        dirpath: The folder of the checkpoint.
        every_n_train_steps: The number of the optimizer's steps between two opportunities within an epoch.
        max_overhead: The share of the time that may go into writing. An opportunity that would exceed it is
            left out, except at the end and when the run is asked to stop.

    Attributes:
        interruption: Asks for a checkpoint at the next opportunity.
        elapsed: Seconds that the run took before it was resumed.
    """

    _SPEED = 3e8  # bytes/s for copying, writing and flushing a checkpoint on a common disk

    def __init__(self, dirpath: str, every_n_train_steps: int = 100, max_overhead: float = 0.01) -> None:
        if every_n_train_steps < 1:
            raise ValueError(f"every_n_train_steps is {every_n_train_steps}; it must be 1 or more")
        if not 0 < max_overhead <= 1:
            raise ValueError(f"max_overhead is {max_overhead}; it must be above 0 and at most 1")
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
        # The metrics that other callbacks watch, as they were when the run was stopped.
        self._metrics: dict[str, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From now on a signal waits for a checkpoint."""
        # In a distributed run the other processes would wait for ever for the one that got the signal.
        if trainer.world_size == 1:
            self.interruption.deferred = True
            # Lightning has put its own handlers in front. They end the program with status 0 at SIGTERM
            # (Lightning issue 19916).
            self.interruption.listen()
        # Lightning does not keep the metrics that callbacks and schedulers watch (Lightning issue 18595).
        trainer.callback_metrics.update(self._metrics)
        # Guess the cost of the first checkpoint: weights, and the two averages of their gradients that Adam
        # keeps.
        self._cost = 3 * sum(weights.nbytes for weights in pl_module.parameters()) / self._SPEED

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Writes a checkpoint every few steps, if it is worth it or the run is asked to stop."""
        if not self._changed:
            # Lightning keeps `restarting=True` for the whole resumed epoch and therefore skips
            # ReduceLROnPlateau at its end (Lightning issue 14699, pull request 14702).
            trainer.fit_loop.restarting = False
        self._changed = True
        # The gradients that wait for an optimizer step are in no checkpoint.
        accumulated = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if (
            # A run that is resumed after the last batch takes the epoch for complete and skips its
            # validation, metrics and schedules (`_FitLoop.reset`, pull request 20379).
            trainer.is_last_batch
            or not accumulated
            # The sums of the metrics in other processes are in no checkpoint.
            or trainer.world_size > 1
            or _validates(trainer, batch_idx)
        ):
            return
        asked = self.interruption.signum is not None
        if asked or (trainer.global_step % self.every_n_train_steps == 0 and self._worth_it()):
            self._save(trainer)
            self.interruption.answer()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes a checkpoint between two epochs, if it is worth it or the run is asked to stop.

        No earlier hook will do: Lightning logs the metrics of an epoch after the last hook of its end.
        """
        asked = self.interruption.signum is not None
        # All processes of a distributed run save, or none.
        if self._changed and trainer.strategy.broadcast(asked or self._worth_it()):
            self._between_epochs = True
            self._save(trainer)
            self._between_epochs = False
        self.interruption.answer()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the last checkpoint. A run that is resumed from it only has to be scored."""
        self._finished = True
        self._save(trainer)
        self.interruption.answer()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """From now on a signal stops the program at once, because scoring can be stopped anywhere."""
        self.interruption.deferred = False

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds what Lightning does not keep to any checkpoint of a whole training state."""
        if self._between_epochs:
            # Lightning counts an epoch as ready before `on_train_epoch_start`. A run that is resumed with
            # that count would take the batches of the epoch before for those of the new one, and skip them
            # all (`RESTARTED_ON_EPOCH_START`, pull request 20379).
            for progress in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
                progress["ready"] -= 1
        watched = trainer.callback_metrics.items()
        checkpoint["callback_metrics"] = {name: value for name, value in watched if name != Throughput.METRIC}
        checkpoint["progress"] = Progress(
            epochs=trainer.current_epoch,
            finished=self._finished,
            seconds=self.elapsed + time.monotonic() - self._started,
            metrics=_logged(trainer),
        ).plain()

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restores what Lightning does not restore."""
        self._metrics = checkpoint["callback_metrics"]
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.state_key in checkpoint["callbacks"]:
                state = checkpoint["callbacks"][callback.state_key]
                # ModelCheckpoint saves this value and does not load it.
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
    """Returns whether validation within the epoch follows this batch.

    Lightning winds its counters forward to the end of such a validation when it resumes there, and so skips
    it (Lightning issue 14579, `_TrainingEpochLoop.advance`).
    """
    interval = trainer.val_check_batch
    if interval is None or math.isinf(interval):
        return False
    batch = trainer.fit_loop.total_batch_idx if trainer.check_val_every_n_epoch is None else batch_idx
    return (batch + 1) % int(interval) == 0


def _move(state: dict[str, Any], folder: str) -> None:
    """Writes another folder into the state of a ModelCheckpoint.

    A ModelCheckpoint forgets its best checkpoint where the state names another folder than its own, as it
    does when a run folder has been moved (Lightning issues 11379 and 14443).
    """

    def moved(path: str) -> str:
        return str(Path(folder) / Path(path).name) if path else path

    state["dirpath"] = folder
    for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
        state[name] = moved(state[name])
    state["best_k_models"] = {moved(path): score for path, score in state["best_k_models"].items()}


def _logged(trainer: pl.Trainer) -> str:
    """Returns the text of metrics.csv with all that has been logged; only the first process writes one."""
    for logger in trainer.loggers:
        if isinstance(logger, CSVLogger) and trainer.is_global_zero:
            logger.save()
            path = Path(logger.experiment.metrics_file_path)
            return path.read_text(encoding="utf-8") if path.exists() else ""
    return ""


class Throughput(pl.Callback):
    """Logs the training speed of each epoch as `images_per_second`, without the time for validation.

    For an epoch that was resumed it is the speed since then.
    """

    METRIC = "images_per_second"

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
