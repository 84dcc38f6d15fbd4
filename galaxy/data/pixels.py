"""Gathers the pixels of batches from the disk, from memory, or from the device that trains."""

from __future__ import annotations

import gc
import logging
import math
import os
import weakref
from typing import Any, Literal

import numpy as np
import torch
from rich.filesize import decimal
from torch import Tensor

from galaxy.data.cache import CachedImages
from galaxy.system.errors import UserError
from galaxy.system.machine import free_memory

log = logging.getLogger(__name__)

# `auto` takes at most this share of the memory that is free: the rest is for the network.
_SHARE = 0.5
# This many images are read into memory at once: little memory for any crop, and enough for the disk's speed.
_AT_ONCE = 256


class OnDisk:
    """Reads the images of each batch from the shards of the cache.

    The files are read and not mapped: the pages of a mapped file count as the process's memory, and the
    system maps many more around each one that is asked for. A batch of 64 images of 64 pixels takes 0.14 ms
    if the system has the file in memory, twice the time of a copy that the process holds.

    Attributes:
        device: Where batches are gathered, the CPU.
        shape: The (N, H, W, C) of all images.
    """

    device = torch.device("cpu")

    def __init__(self, cached: CachedImages) -> None:
        self.shape = cached.shape
        self._paths = cached.shards
        self._shard = cached.shard
        self._start = cached.row * math.prod(cached.crop_shape)
        self._open()

    def gather(self, rows: Tensor) -> Tensor:
        """Returns the (B, H, W, C) uint8 images of rows (B,) int64."""
        return self._read(rows, self.shape[1:], 0)

    def prefetch(self, rows: Tensor) -> None:
        """Tells the system which images will soon be gathered, so that it fetches them meanwhile."""
        if hasattr(os, "posix_fadvise"):
            size = math.prod(self.shape[1:])
            for descriptor, start in self._places(rows):
                os.posix_fadvise(descriptor, start, size, os.POSIX_FADV_WILLNEED)

    def central_pixels(self) -> Tensor:
        """Reads the (N, 1, 1, C) uint8 pixels in the middle of all images, and no others."""
        count, height, width, channels = self.shape
        middle = (height // 2 * width + width // 2) * channels
        return self._read(torch.arange(count), (1, 1, channels), middle)

    def _places(self, rows: Tensor) -> list[tuple[int, int]]:
        """Returns the descriptor of the file of each image, and the byte at which the image begins."""
        shards, starts = self._shard[rows.numpy()].tolist(), self._start[rows.numpy()].tolist()
        return [(self._descriptors[shard], start) for shard, start in zip(shards, starts, strict=True)]

    def _read(self, rows: Tensor, shape: tuple[int, ...], skip: int) -> Tensor:
        """Reads a part of each image, in this shape, that begins after `skip` bytes."""
        pixels = np.empty((len(rows), math.prod(shape)), np.uint8)
        for buffer, row, (descriptor, start) in zip(pixels, rows.tolist(), self._places(rows), strict=True):
            done = 0
            while done < len(buffer):  # some file systems answer in pieces
                try:
                    got = os.preadv(descriptor, [buffer.data[done:]], start + skip + done)
                except OSError as error:
                    raise UserError(f"{self._path(row)} cannot be read: {error.strerror}") from error
                if not got:
                    raise UserError(f"{self._path(row)} was cut off while it was read: start again")
                done += got
        return torch.from_numpy(pixels).reshape(len(rows), *shape)

    def _path(self, row: int) -> os.PathLike[str]:
        return self._paths[self._shard[row]]

    def _open(self) -> None:
        self._descriptors = []
        for path in self._paths:
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except OSError as error:
                raise UserError(f"{path} cannot be read: {error.strerror}") from error
            weakref.finalize(self, os.close, descriptor)
            self._descriptors.append(descriptor)

    def __getstate__(self) -> dict[str, Any]:
        # A process that this object is sent to opens the files itself.
        return {name: value for name, value in self.__dict__.items() if name != "_descriptors"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()


class InMemory:
    """Holds all images on a device.

    Attributes:
        device: Where the images are, and where batches are gathered.
        shape: The (N, H, W, C) of all images.
    """

    def __init__(self, cached: CachedImages, device: torch.device) -> None:
        disk = OnDisk(cached)
        self.shape = disk.shape
        self.device = device
        self._pixels = torch.empty(self.shape, dtype=torch.uint8, device=device)
        # A few at a time: all of them may not fit into the memory of the computer that a GPU is in.
        for rows in torch.arange(len(self._pixels)).split(_AT_ONCE):
            self._pixels[rows[0] : rows[-1] + 1] = disk.gather(rows)

    def gather(self, rows: Tensor) -> Tensor:
        """Returns the (B, H, W, C) uint8 images of rows (B,) int64, both on `device`."""
        return self._pixels.index_select(0, rows)  # copies whole images; an index in brackets copies bytes

    def prefetch(self, rows: Tensor) -> None:
        """Does nothing: the images are there."""

    def central_pixels(self) -> Tensor:
        """Returns the (N, 1, 1, C) uint8 pixels in the middle of all images, on `device`."""
        y, x = self.shape[1] // 2, self.shape[2] // 2
        return self._pixels[:, y : y + 1, x : x + 1]


PixelStore = OnDisk | InMemory


def place_pixels(
    cached: CachedImages,
    residence: Literal["auto", "disk", "memory", "device"],
    device: torch.device,
    processes: int = 1,
) -> PixelStore:
    """Puts the pixels of a cache where batches are to be gathered from.

    Args:
        cached: The cache.
        residence: "disk", "memory" (of the computer) or "device"; "auto" takes the device if its memory has
            room, else the computer's memory, else the disk.
        device: The device that trains. If it is the CPU, its memory is the computer's.
        processes: How many processes share the computer's memory; each of them will hold the images.
    """
    places = {"memory": torch.device("cpu"), "device": device}
    size, reason = math.prod(cached.shape), ""
    if residence == "auto":
        fitting = [name for name in ("device", "memory") if _fits(size, places[name], processes)]
        residence = fitting[0] if fitting else "disk"  # type: ignore[assignment]  # one of the names above
        reason = ", for they do not fit into memory"
    if residence == "disk":
        log.info("the images, %s, are read from the disk%s", decimal(size), reason)
        return OnDisk(cached)
    place = places[residence]
    pixels = InMemory(cached, place)
    log.info("the images, %s, are in %s", decimal(size), "memory" if place.type == "cpu" else place)
    return pixels


def _fits(size: int, device: torch.device, processes: int) -> bool:
    if size <= _SHARE * _free(device, processes):
        return True
    gc.collect()  # the images of an earlier job of a sweep may still be there
    return size <= _SHARE * _free(device, processes)


def _free(device: torch.device, processes: int) -> int:
    """Returns the bytes that each process can take."""
    if device.type == "cuda":
        torch.cuda.empty_cache()  # else memory that torch keeps for later counts as taken
        return torch.cuda.mem_get_info(device)[0]
    return free_memory() // processes
