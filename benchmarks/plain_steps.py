"""Trains the network of a finished run without the machinery of this project, for `bench_step.py`.

`python -m benchmarks.plain_steps loop|lightning|barebones RUN TIMES` writes the start times of the steps as
`clock.py` does.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from benchmarks.clock import Clock, write_times
from galaxy.config.instantiation import instantiate
from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2
from galaxy.runs.folder import RunFolder
from galaxy.system.machine import best_precision, keep_freed_memory

Batch = tuple[Tensor, Tensor]


class Plain(pl.LightningModule):
    """The network and the optimizer of a run, in a LightningModule as most people write it first."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        config = folder.config()
        encoder = instantiate(config["model"], "model")
        head = instantiate(config["head"], "head")(in_features=encoder.num_features, questions=GALAXY_ZOO_2)
        self.network = nn.Sequential(encoder, head).to(memory_format=torch.channels_last)
        self.optimizer = instantiate(config["optimizer"], "optimizer")

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Makes one step."""
        loss = self.loss(batch)
        self.log("train/loss", loss)
        return loss

    def loss(self, batch: Batch) -> Tensor:
        """Returns the loss of a batch."""
        images, targets = batch
        return F.mse_loss(self.network(images).fractions, targets)

    def configure_optimizers(self) -> Optimizer:
        """Returns the optimizer of the run."""
        optimizer: Optimizer = self.optimizer(self.network.parameters())
        return optimizer


def images_of(folder: RunFolder) -> tuple[Tensor, Tensor]:
    """Makes noise, which takes as long as galaxies: (N, S, S, C) images and (N, K) targets, float32."""
    config = folder.config()
    count, size = folder.meta()["data"]["train"], config["crop"]["size"]
    images = torch.randn(count, size, size, config["crop"]["channels"])
    return images, torch.rand(count, GALAXY_ZOO_2.size)


def batches_of(images: Tensor, targets: Tensor, batch_size: int) -> Iterator[Batch]:
    """Yields the batches of an epoch in random order, (B, C, S, S) channels_last."""
    for rows in torch.randperm(len(images)).split(batch_size):
        yield images.index_select(0, rows).permute(0, 3, 1, 2), targets.index_select(0, rows)


def loop(module: Plain, epochs: int, batches: Callable[[], Iterator[Batch]]) -> list[list[float]]:
    """Trains with nothing but the steps, and returns when each of them started."""
    optimizer = module.configure_optimizers()
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=best_precision("cpu") == "bf16-mixed")
    times: list[list[float]] = []
    for _ in range(epochs):
        times.append([])
        for batch in batches():
            times[-1].append(time.monotonic())
            with autocast:
                loss = module.loss(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return times


def main(kind: str, run: Path, path: Path) -> None:
    """Trains for as many epochs as the run."""
    keep_freed_memory()  # train.py does the same, and only the framework shall be compared
    torch.manual_seed(0)
    folder = RunFolder(run)
    module, config = Plain(folder), folder.config()
    epochs = config["trainer"]["max_epochs"]
    batches = partial(batches_of, *images_of(folder), config["data"]["batch_size"])
    if kind == "loop":
        write_times(path, loop(module, epochs, batches))
        return
    trainer = pl.Trainer(
        accelerator="cpu",
        precision=best_precision("cpu"),
        max_epochs=epochs,
        callbacks=[Clock(str(path))],
        default_root_dir=run.parent,
        barebones=kind == "barebones",
    )
    trainer.fit(module, DataLoader(list(batches()), batch_size=None))  # type: ignore[arg-type]  # a list will do


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
