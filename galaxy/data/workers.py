"""Batches whose images are augmented one after the other, in processes of their own."""

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
from galaxy.data.residence import OnDisk
from galaxy.images.augment import Augment, uniforms
from galaxy.system.interruption import SIGNALS


class WorkerLoader(BatchLoader):
    """A `BatchLoader` of augmented images.

    Args:
        pixels: The images, which each worker reads from the disk.
        columns: See `BatchLoader`.
        order: Decides which galaxies.
        augment: Changes one image after the other.
        ids: (N,) int64; a galaxy's augmentation depends on its id, not on its row.
        seed: Of the augmentation.
        workers: Processes, 0 meaning this one.
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
        # Rows and seeds of each batch of an epoch; a `DataLoader` takes what it is to do from its sampler.
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
            pin_memory=pin,  # in a thread of its own
        )
        # With this loader, or before Python waits at its exit for processes that ignore its signal to end.
        stop = weakref.finalize(self, _stop, self._augmented)
        stop.atexit = False  # which would be after that
        atexit.register(stop)

    def _batches(self, order: list[Tensor]) -> Iterable[Batch]:
        # One draw a sample, whose 24 bits seed the sample's own transforms.
        seeds = (uniforms(self.seed, self.sampler.epoch, self.ids, 1)[:, 0] * 2**24).long()
        self._asked[:] = [(rows, seeds[rows]) for rows in order]
        for rows, images in zip(order, self._augmented, strict=True):
            columns = {name: values[rows] for name, values in self.columns.items()}
            yield self._pinned({"image": channels_last(images), "row": rows, **columns})


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
    """Ends the processes of a loader, for which torch has no public way."""
    if loader._iterator is not None:
        loader._iterator._shutdown_workers()  # type: ignore[attr-defined]  # of loaders with processes


def _ignore_signals(worker: int) -> None:
    """A signal to all processes of a run is answered by the first, which still needs its workers for it."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
