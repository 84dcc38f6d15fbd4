"""Batches gathered by index, in an order that (seed, epoch) alone decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from queue import Full, Queue
from threading import Event, Thread

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galaxy.data.residence import Pixels

Batch = dict[str, Tensor]
# Batches that wait for a device, or that the disk looks for: enough that neither side waits for the other's
# slowest batch.
AHEAD = 2


class Order:
    """Which rows of a catalog each batch of an epoch holds.

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

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._starts())

    def batches(self) -> list[Tensor]:
        """The rows of each batch of the epoch, (B,) int64."""
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

    Lightning saves the state of a loader that has one, hands it back when a training is resumed, and tells
    the epoch to what a loader calls its sampler.

    Args:
        pixels: Where images are gathered from.
        columns: (N, ...) of all galaxies, such as "target"; on the pixels' device.
        order: Decides which galaxies.
        epoch_columns: Makes the columns that each epoch has anew.
        ahead: Whether to gather in a thread of its own, ahead of what is asked for.
        pin: Whether to gather into memory from which a GPU can fetch by itself.
    """

    batch_sampler = None  # which Lightning asks every loader with a sampler for

    def __init__(
        self,
        pixels: Pixels,
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
        """How many batches of the epoch have been handed out."""
        return {"position": self._position}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """The next epoch begins behind these."""
        self._first = state_dict["position"]

    def __iter__(self) -> Iterator[Batch]:
        self._position = self._first
        self._first = 0
        for batch in self._batches(self.sampler.batches()[self._position :]):
            self._position += 1
            yield batch

    def _batches(self, order: list[Tensor]) -> Iterable[Batch]:
        """The batches of these rows."""
        gathered = self._gathered(order)
        return _ahead(gathered) if self.ahead else gathered

    def _gathered(self, order: list[Tensor]) -> Iterator[Batch]:
        columns = self.columns
        if self.epoch_columns is not None:
            columns = {**columns, **self.epoch_columns(self.sampler.epoch)}
        sizes = [len(rows) for rows in order]
        # On the way to a device in one piece.
        whole = torch.cat(order).to(self.pixels.device) if order else torch.empty(0)
        batches = whole.split(sizes)
        for number, rows in enumerate(batches):
            for later in batches[number + AHEAD : number + AHEAD + 1]:
                self.pixels.expect(later)
            batch = {"image": channels_last(self.pixels.gather(rows)), "row": rows}
            batch |= {name: values.index_select(0, rows) for name, values in columns.items()}
            yield self._pinned(batch)

    def _pinned(self, batch: Batch) -> Batch:
        return {name: value.pin_memory() for name, value in batch.items()} if self.pin else batch


def channels_last(images: Tensor) -> Tensor:
    """(B, H, W, C) seen as (B, C, H, W), in the layout called channels_last that the pixels already have."""
    return images.permute(0, 3, 1, 2)


def _ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, made in a thread that is `AHEAD` of them ahead."""
    queue: Queue[Batch | BaseException | None] = Queue(AHEAD)
    stopped = Event()

    def put(item: Batch | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                return queue.put(item, timeout=0.1)
            except Full:
                continue
        return None

    def work() -> None:
        try:
            for batch in batches:
                put(batch)
                if stopped.is_set():
                    return
            put(None)
        except BaseException as error:
            put(error)

    thread = Thread(target=work, name="gather", daemon=True)
    thread.start()
    try:
        while (item := queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:  # also where an epoch ends early
        stopped.set()
        thread.join()
