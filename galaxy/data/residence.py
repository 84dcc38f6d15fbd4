"""Where the pixels are that batches are gathered from: the disk, memory, or the device that trains."""

from __future__ import annotations

import gc
import logging
import math
import os
import weakref
from collections.abc import Sequence
from typing import Any, Literal

import torch
from rich.filesize import decimal
from torch import Tensor

from galaxy.data.cache import CachedImages
from galaxy.system.errors import UserError
from galaxy.system.machine import free_memory

log = logging.getLogger(__name__)

# What `auto` may take of the memory that is free: the rest is for the network.
_SHARE = 0.5
# Images that are read into memory at once: few of the largest crop, and enough for the speed of the disk.
_AT_ONCE = 256


class OnDisk:
    """Reads the images of each batch from the cache's file.

    The file is read and not mapped: the pages of a mapped file count as the process's memory, and the system
    maps many more around each one that is asked for. A batch of 64 images of 64 pixels takes 0.14 ms from the
    system's own memory of the file, twice the time of a copy that the process holds.

    Attributes:
        device: Where batches are gathered: the CPU.
    """

    device = torch.device("cpu")

    def __init__(self, cached: CachedImages) -> None:
        self._path = cached.path
        self.shape, self._start = cached.layout()
        self._open()

    def gather(self, rows: Tensor) -> Tensor:
        """The (B, H, W, C) uint8 images of rows (B,) int64."""
        return self._read(rows.tolist(), self.shape[1:], 0)

    def expect(self, rows: Tensor) -> None:
        """Says which images will soon be gathered, so that the system fetches them meanwhile."""
        if hasattr(os, "posix_fadvise"):
            size = math.prod(self.shape[1:])
            for row in rows.tolist():
                begin = self._start + row * size
                os.posix_fadvise(self._descriptor, begin, size, os.POSIX_FADV_WILLNEED)

    def central_pixels(self) -> Tensor:
        """The (N, 1, 1, C) uint8 pixels in the middle of all images, without reading the rest of them."""
        count, height, width, channels = self.shape
        middle = (height // 2 * width + width // 2) * channels
        return self._read(range(count), (1, 1, channels), middle)

    def _read(self, rows: Sequence[int], shape: tuple[int, ...], skip: int) -> Tensor:
        """What of each image comes after so many bytes, in this shape."""
        pixels = torch.empty((len(rows), *shape), dtype=torch.uint8)
        size, stride = math.prod(shape), math.prod(self.shape[1:])
        flat = pixels.numpy().reshape(len(rows), size)
        for place, row in enumerate(rows):
            begin, done = self._start + skip + row * stride, 0
            while done < size:  # some file systems answer in pieces
                try:
                    got = os.preadv(self._descriptor, [flat[place][done:]], begin + done)
                except OSError as error:
                    raise UserError(f"{self._path} cannot be read: {error.strerror}") from error
                if not got:
                    raise UserError(f"{self._path} was cut off while it was read: start again")
                done += got
        return pixels

    def _open(self) -> None:
        self._descriptor = os.open(self._path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def __getstate__(self) -> dict[str, Any]:
        # A process that is handed this opens the file itself.
        return {name: value for name, value in self.__dict__.items() if name != "_descriptor"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()


class InMemory:
    """Holds all images on a device.

    Attributes:
        device: Where that is, and where batches are gathered.
    """

    def __init__(self, cached: CachedImages, device: torch.device) -> None:
        disk = OnDisk(cached)
        self.shape = disk.shape
        self.device = device
        self._pixels = torch.empty(self.shape, dtype=torch.uint8, device=device)
        # Some at a time: all of them may not fit into the memory of the computer that a GPU is in.
        for rows in torch.arange(len(self._pixels)).split(_AT_ONCE):
            self._pixels[rows[0] : rows[-1] + 1] = disk.gather(rows)

    def gather(self, rows: Tensor) -> Tensor:
        """The (B, H, W, C) uint8 images of rows (B,) int64, both on `device`."""
        return self._pixels.index_select(0, rows)  # whole images, where an index in brackets copies bytes

    def expect(self, rows: Tensor) -> None:
        """Nothing: they are there."""

    def central_pixels(self) -> Tensor:
        """The (N, 1, 1, C) uint8 pixels in the middle of all images, on `device`."""
        y, x = self.shape[1] // 2, self.shape[2] // 2
        return self._pixels[:, y : y + 1, x : x + 1]


Pixels = OnDisk | InMemory


def reside(
    cached: CachedImages,
    residence: Literal["auto", "disk", "memory", "device"],
    device: torch.device,
    processes: int = 1,
) -> Pixels:
    """Puts the pixels of a cache where batches are to be gathered from.

    Args:
        cached: The cache.
        residence: "disk", "memory" (of the computer) or "device"; "auto" takes the device if its memory has
            room, else the computer's, else the disk.
        device: That trains. If it is the CPU, its memory is the computer's.
        processes: How many of them share the computer's memory, and will each hold the images.
    """
    places = {"memory": torch.device("cpu"), "device": device}
    size, reason = _size(cached), ""
    if residence == "auto":
        fitting = [name for name in ("device", "memory") if _fits(size, places[name], processes)]
        residence = fitting[0] if fitting else "disk"  # type: ignore[assignment]  # the names above
        reason = ", for they do not fit into memory"
    if residence == "disk":
        log.info("the images, %s, are read from the disk%s", decimal(size), reason)
        return OnDisk(cached)
    place = places[residence]
    pixels = InMemory(cached, place)
    log.info("the images, %s, are in %s", decimal(size), "memory" if place.type == "cpu" else place)
    return pixels


def _size(cached: CachedImages) -> int:
    shape, _ = cached.layout()
    return math.prod(shape)


def _fits(size: int, device: torch.device, processes: int) -> bool:
    if size <= _SHARE * _free(device, processes):
        return True
    gc.collect()  # the images of the job of a sweep before this one may be there still
    return size <= _SHARE * _free(device, processes)


def _free(device: torch.device, processes: int) -> int:
    """Bytes that each process can take; what a file that the system remembers takes can be."""
    if device.type == "cuda":
        torch.cuda.empty_cache()  # which else counts as taken
        return torch.cuda.mem_get_info(device)[0]
    return free_memory() // processes
