"""Batches gathered by index from the image cache, in an order that (seed, epoch) alone decides."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from galaxy.images.augment import Augment
from galaxy.images.cache import CachedImages
from galaxy.images.draws import uniforms
from galaxy.interruption import SIGNALS

Batch = dict[str, Tensor]


class EpochBatches(Sampler[tuple[int, NDArray[np.int64]]]):
    """Yields (epoch, rows of a batch).

    Every process of a distributed training walks the same global order and takes its own part of each
    global batch, so that all of them take the same number of steps. What is left over at the end and would
    not give each process two galaxies, which batch statistics need, joins the batch before it.

    Args:
        rows: (N,) int64 rows of the catalog.
        batch_size: Galaxies a batch, in one process.
        shuffle: False keeps the order of `rows`.
        seed: With the epoch, decides the order.
        rank: Of this process.
        world_size: Number of processes.
    """

    def __init__(
        self,
        rows: NDArray[np.int64],
        batch_size: int,
        shuffle: bool,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.rows = rows
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.first = 0  # batch to begin with

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._starts())

    def __iter__(self) -> Iterator[tuple[int, NDArray[np.int64]]]:
        rows = self.rows
        if self.shuffle:
            rows = np.random.default_rng([self.seed, self.epoch]).permutation(rows)
        starts = self._starts()
        batches = list(zip(starts, [*starts[1:], len(rows)], strict=True))
        for start, stop in batches[self.first :]:
            yield self.epoch, rows[start:stop][self.rank :: self.world_size]

    def _starts(self) -> list[int]:
        starts = list(range(0, len(self.rows), self.batch_size * self.world_size))
        if len(starts) > 1 and len(self.rows) - starts[-1] < 2 * self.world_size:
            starts.pop()
        return starts


class BatchSource(Dataset[Batch]):
    """Gathers a whole batch from arrays; `source[epoch, rows]` is one batch.

    Args:
        images: Whose `array` is (N, H, W, C) uint8.
        ids: (N,) int64; a galaxy's augmentation depends on its id, not on its row.
        columns: Further columns of N rows each, such as target.
        augment: Augmentation of training batches, or None.
        seed: Of the augmentation.
    """

    def __init__(
        self,
        images: CachedImages,
        ids: NDArray[np.int64],
        columns: dict[str, Tensor],
        augment: Augment | None,
        seed: int,
    ) -> None:
        self.images = images
        self.ids = ids
        self.columns = columns
        self.augment = augment
        self.seed = seed

    def __getitem__(self, index: tuple[int, NDArray[np.int64]]) -> Batch:
        epoch, rows = index
        images = self.images.array[rows]
        extra = {}
        if self.augment is not None:
            if self.augment.engine == "albumentations":
                images = self._augmented(images, epoch, self.ids[rows])
            else:
                draws = uniforms(self.seed, epoch, self.ids[rows], self.augment.count)
                extra["draws"] = torch.from_numpy(draws)
        picked = torch.from_numpy(rows)
        return {
            # A view: (B, C, H, W) in the channels_last layout that the pixels already have.
            "image": torch.from_numpy(images).permute(0, 3, 1, 2),
            "row": picked,
            **{name: values[picked] for name, values in self.columns.items()},
            **extra,
        }

    def _augmented(self, images: NDArray[np.uint8], epoch: int, ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        assert self.augment is not None
        # One draw a sample, whose 24 bits seed the sample's own transforms.
        seeds = (uniforms(self.seed, epoch, ids, 1)[:, 0] * 2**24).astype(np.int64)
        return np.stack([self.augment.sample(x, s) for x, s in zip(images, seeds.tolist(), strict=True)])


def _ignore_signals(worker: int) -> None:
    """A signal to all processes of a run is answered by the first, which still needs its workers for it."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)


class BatchLoader(DataLoader[Batch]):
    """A DataLoader whose items are whole batches, and that can go on in the middle of an epoch.

    Lightning saves the state of a loader that has one, and hands it back when a training is resumed.

    Args:
        source: Makes the batches.
        batches: Decides which.
        workers: Processes that fill them, 0 meaning this one.
    """

    def __init__(self, source: BatchSource, batches: EpochBatches, workers: int) -> None:
        super().__init__(
            source,
            sampler=batches,
            batch_size=None,  # the sampler already yields batches
            num_workers=workers,
            persistent_workers=workers > 0,
            multiprocessing_context="spawn" if workers > 0 else None,
            worker_init_fn=_ignore_signals,
        )
        self._batches = batches
        self._first = self._position = 0

    def state_dict(self) -> dict[str, int]:
        """How many batches of the epoch have been handed out."""
        return {"position": self._position}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """The next epoch begins behind these."""
        self._first = state_dict["position"]

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        self._position = self._batches.first = self._first
        self._first = 0
        for batch in super().__iter__():
            self._position += 1
            yield batch
