"""Makes batches whose images worker processes augment one after the other."""

from __future__ import annotations

import atexit
import signal
import weakref
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from galaxy.data.loader import Batch, BatchLoader, Order, channels_last
from galaxy.data.pixels import OnDisk
from galaxy.images.augment import Augment, uniforms
from galaxy.system.interruption import SIGNALS


class WorkerLoader(BatchLoader):
    """Loads batches whose images are augmented already.

    Args:
        pixels: The images; each worker reads them from the disk.
        columns: See `BatchLoader`.
        order: Decides which galaxies each batch holds.
        augment: Changes one image after the other.
        ids: (N,) int64; a galaxy's augmentation depends on its id, not on its row.
        seed: The seed of the augmentation.
        workers: How many processes augment; 0 to augment in this one.
        pin: Whether a GPU will fetch the batches.
    """

    pixels: OnDisk

    def __init__(
        self,
        pixels: OnDisk,
        columns: Batch,
        order: Order,
        augment: Augment,
        ids: NDArray[np.int64],
        seed: int,
        workers: int,
        pin: bool,
    ) -> None:
        super().__init__(pixels, columns, order, pin=pin)
        # The rows and seeds of each batch of an epoch. A `DataLoader` reads its tasks from its sampler.
        self._asked: list[tuple[Tensor, Tensor]] = []
        self.ids = ids
        self.seed = seed
        self._augmented: DataLoader[Tensor] = DataLoader(
            _Augmented(pixels, augment),
            sampler=self._asked,
            batch_size=None,  # each item is a whole batch
            num_workers=workers,
            persistent_workers=workers > 0,
            multiprocessing_context="spawn" if workers > 0 else None,
            worker_init_fn=_ignore_signals,
            pin_memory=pin,
        )
        # The workers ignore signals, so they must be stopped: when this loader goes, or before Python waits
        # for its child processes at its exit. The exit of `weakref.finalize` would come after that.
        stop = weakref.finalize(self, _stop, self._augmented)
        stop.atexit = False
        atexit.register(stop)

    def _batches(self, order: list[Tensor]) -> Iterable[Batch]:
        seeds = image_seeds(self.seed, self.sampler.epoch, self.ids)
        self._asked[:] = [(rows, seeds[rows]) for rows in order]
        for rows, images in zip(order, self._augmented, strict=True):
            columns = {name: values[rows] for name, values in self.columns.items()}
            yield self._pinned({"image": channels_last(images), "row": rows, **columns})


def image_seeds(seed: int, epoch: int, ids: NDArray[np.int64]) -> Tensor:
    """Returns the (N,) int64 seeds of what albumentations does to each image in an epoch."""
    return (uniforms(seed, epoch, ids, 1)[:, 0] * 2**24).long()


class _Augmented(Dataset[Tensor]):
    """Augments whole batches; `dataset[rows, seeds]` is (B, S, S, C) uint8."""

    def __init__(self, pixels: OnDisk, augment: Augment) -> None:
        self.pixels = pixels
        self.augment = augment

    def __getitem__(self, asked: tuple[Tensor, Tensor]) -> Tensor:
        rows, seeds = asked
        images: NDArray[np.uint8] = self.pixels.gather(rows).numpy()
        for place, seed in enumerate(seeds.tolist()):
            images[place] = self.augment.sample(images[place], seed)
        return torch.from_numpy(images)


def _stop(loader: DataLoader[Tensor]) -> None:
    """Ends the processes of a loader; torch has no public way to do so."""
    if loader._iterator is not None:
        loader._iterator._shutdown_workers()  # type: ignore[attr-defined]  # a loader with processes has it


def _ignore_signals(worker: int) -> None:
    """Makes a worker ignore signals to the whole run: the main process answers them and needs its workers."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
