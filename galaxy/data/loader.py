"""Gathers batches by index, in an order that (seed, epoch) alone decides."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galaxy.data.pixels import PixelStore

# The columns of some galaxies, B rows each: "image" (B, C, H, W), "row" (B,), and where the survey has them
# "target", "weight" and "counts" (B, K).
Batch = dict[str, Tensor]
# This many batches wait for a device, or are fetched by the system from the disk: enough that neither side
# waits for the other's slowest batch.
PREFETCH_BATCHES = 2


class Order:
    """Decides which rows of a catalog each batch of an epoch holds.

    Every process of a distributed training walks the same global order and takes its own part of each
    global batch, so that all of them take the same number of steps. Batch statistics need two galaxies in
    each process. If too few are left over at the end for that, they join the batch before them.

    Args:
        rows: (N,) int64 rows of the catalog.
        batch_size: The number of galaxies in a batch of one process.
        shuffle: Whether to shuffle the rows in each epoch.
        seed: Decides the order, together with the epoch.
        rank: The number of this process.
        world_size: How many processes there are.
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

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._starts())

    def batches(self) -> list[Tensor]:
        """Returns the rows of each batch of the epoch, (B,) int64."""
        rows = self.rows
        if self.shuffle:
            rows = np.random.default_rng([self.seed, self.epoch]).permutation(rows)
        starts = self._starts()
        stops = [*starts[1:], len(rows)]
        whole = torch.from_numpy(rows)
        return [whole[a:b][self.rank :: self.world_size] for a, b in zip(starts, stops, strict=True)]

    def _starts(self) -> list[int]:
        starts = list(range(0, len(self.rows), self.batch_size * self.world_size))
        if len(starts) > 1 and len(self.rows) - starts[-1] < 2 * self.world_size:
            starts.pop()
        return starts


class BatchLoader:
    """Gathers whole batches, and can go on in the middle of an epoch.

    Lightning saves the `state_dict` of a loader and hands it back when a training is resumed. It tells the
    epoch to the attribute `sampler` of a loader.

    Args:
        pixels: The images of all N galaxies.
        columns: Other values of all galaxies, (N, ...) each, on the device of the pixels.
        order: Decides which galaxies each batch holds.
        epoch_columns: Makes further columns (N, ...) from the number of an epoch.
        ahead: Whether a thread gathers batches before they are asked for.
        pin: Whether to copy batches into memory from which a GPU can fetch by itself.
    """

    batch_sampler = None  # Lightning asks every loader with a sampler for it

    def __init__(
        self,
        pixels: PixelStore,
        columns: Batch,
        order: Order,
        epoch_columns: Callable[[int], Batch] | None = None,
        ahead: bool = False,
        pin: bool = False,
    ) -> None:
        self.pixels = pixels
        self.columns = columns
        self.sampler = order
        self.epoch_columns = epoch_columns
        self.ahead = ahead
        self.pin = pin
        self._first = self._position = 0

    def __len__(self) -> int:
        return len(self.sampler)

    def state_dict(self) -> dict[str, int]:
        """Counts the batches of the epoch that have been handed out."""
        return {"position": self._position}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Makes the next epoch begin behind so many batches."""
        self._first = state_dict["position"]

    def __iter__(self) -> Iterator[Batch]:
        self._position, self._first = self._first, 0
        for batch in self._batches(self.sampler.batches()[self._position :]):
            self._position += 1
            yield batch

    def _batches(self, order: list[Tensor]) -> Iterable[Batch]:
        """Yields the batches that hold these rows."""
        gathered = self._gathered(order)
        return _ahead(gathered) if self.ahead else gathered

    def _gathered(self, order: list[Tensor]) -> Iterator[Batch]:
        columns = self.columns
        if self.epoch_columns is not None:
            columns = {**columns, **self.epoch_columns(self.sampler.epoch)}
        # All rows of the epoch move to the device in one piece.
        epoch = torch.cat(order).to(self.pixels.device) if order else torch.empty(0)
        batches = epoch.split([len(rows) for rows in order])
        for number, rows in enumerate(batches):
            for later in batches[number + PREFETCH_BATCHES : number + PREFETCH_BATCHES + 1]:
                self.pixels.prefetch(later)
            batch = {"image": channels_last(self.pixels.gather(rows)), "row": rows}
            batch |= {name: values.index_select(0, rows) for name, values in columns.items()}
            yield self._pinned(batch)

    def _pinned(self, batch: Batch) -> Batch:
        return {name: value.pin_memory() for name, value in batch.items()} if self.pin else batch


def channels_last(images: Tensor) -> Tensor:
    """Views (B, H, W, C) as (B, C, H, W), in the layout called channels_last that the pixels already have."""
    return images.permute(0, 3, 1, 2)


def _ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yields the same batches, which a thread gathers up to `PREFETCH_BATCHES` before they are asked for."""
    with ThreadPoolExecutor(1, "gather") as thread:
        waiting = deque(thread.submit(next, batches, None) for _ in range(PREFETCH_BATCHES))
        while (batch := waiting.popleft().result()) is not None:
            waiting.append(thread.submit(next, batches, None))
            yield batch
