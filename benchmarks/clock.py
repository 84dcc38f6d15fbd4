"""A callback that notes when each step of a training starts, for the benchmarks that time steps."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl


class Clock(pl.Callback):
    """Adds a line to a file at the end of a training: the starts of the steps of each epoch.

    Args:
        path: The file. Trainings that follow each other, as the jobs of a sweep, add a line each.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.epochs: list[list[float]] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A list for its steps."""
        self.epochs.append([])

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Looks at the clock."""
        self.epochs[-1].append(time.monotonic())

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes."""
        write_times(self.path, self.epochs)


def clock_overrides(path: Path) -> list[str]:
    """What makes `train.py` use the clock."""
    return ["+callbacks.clock._target_=benchmarks.clock.Clock", f"+callbacks.clock.path={path}"]


def write_times(path: Path, epochs: Sequence[Sequence[float]]) -> None:
    """Adds the line of a training."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(epochs) + "\n")


def read_times(path: Path) -> list[list[list[float]]]:
    """The trainings, their epochs, the starts of their steps by `time.monotonic`."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
