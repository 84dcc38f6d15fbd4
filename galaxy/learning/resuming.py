"""What last.ckpt holds beside the weights, so that a training goes on as if it had never stopped."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from galaxy.learning.callbacks import Throughput
from galaxy.system.interruption import Interrupted, Interruption


@dataclass(frozen=True)
class ResumePoint:
    """How far a training had come when last.ckpt was written; Lightning does not keep these values.

    Attributes:
        epochs: The number of epochs that are over.
        finished: Whether the training is over.
        seconds: The time that the run has taken.
        metrics: The text of metrics.csv at that time.
    """

    epochs: int = 0
    finished: bool = False
    seconds: float = 0.0
    metrics: str = ""


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
        self.interruption.deferred = True
        self.interruption.silent = not trainer.is_global_zero
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
            trainer.is_last_batch or not accumulated or _validates(trainer, batch_idx)
        ):
            return
        due = trainer.global_step % self.every_n_train_steps == 0
        # Asking the other processes after each step would slow down all of them.
        if not due and trainer.world_size > 1:
            return
        signum = self._asked(trainer)
        if signum or (due and self._worth_it(trainer)):
            self._save(trainer)
        if signum:
            raise Interrupted(signum)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes a checkpoint between two epochs, if it is worth it or the run is asked to stop.

        No earlier hook will do: Lightning logs the metrics of an epoch after the last hook of its end.
        """
        signum = self._asked(trainer)
        if self._changed and (signum or self._worth_it(trainer)):
            self._between_epochs = True
            self._save(trainer)
            self._between_epochs = False
        if signum:
            raise Interrupted(signum)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the last checkpoint. A run that is resumed from it only has to be scored."""
        self._finished = True
        self._save(trainer)
        if signum := self._asked(trainer):
            raise Interrupted(signum)

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
        checkpoint["progress"] = asdict(
            ResumePoint(
                epochs=trainer.current_epoch,
                finished=self._finished,
                seconds=self.elapsed + time.monotonic() - self._started,
                metrics=_logged(trainer),
            )
        )

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

    def _asked(self, trainer: pl.Trainer) -> int:
        """Returns the number of the signal that has asked any process to stop; 0 for none.

        A process that got none itself does not note it down: its own may come while it writes the common
        checkpoint, and would count as a second one, which stops at once.
        """
        signum = self.interruption.signum or 0
        if trainer.world_size > 1:
            highest = torch.tensor(signum, device=trainer.strategy.root_device)
            signum = int(trainer.strategy.reduce(highest, reduce_op="max"))
        return signum

    def _worth_it(self, trainer: pl.Trainer) -> bool:
        """Whether a checkpoint is worth its time. The first process decides for all."""
        worth_it = self._cost <= self.max_overhead * (time.monotonic() - self._saved_at)
        return trainer.strategy.broadcast(worth_it)

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
