"""A callback that notes when each training step starts, for the benchmarks that measure steps."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl


class Clock(pl.Callback):
    """Adds a line to a file when a training ends: the start times of the steps, epoch by epoch.

    Args:
        path: The file. The jobs of a sweep add a line each.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.epochs: list[list[float]] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins the list of the steps of this epoch."""
        self.epochs.append([])

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Notes the time."""
        self.epochs[-1].append(time.monotonic())

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the times."""
        write_times(self.path, self.epochs)


def clock_overrides(path: Path) -> list[str]:
    """Returns the overrides that make `train.py` use the clock."""
    return ["+callbacks.clock._target_=benchmarks.clock.Clock", f"+callbacks.clock.path={path}"]


def write_times(path: Path, epochs: Sequence[Sequence[float]]) -> None:
    """Adds the line of one training."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(epochs) + "\n")


def read_times(path: Path) -> list[list[list[float]]]:
    """Reads, for each training and epoch, the start times of the steps by `time.monotonic`."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
