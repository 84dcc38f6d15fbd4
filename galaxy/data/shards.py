"""Writes, reads and checks the files of an image cache: shards of cropped images with an index at the end.

A shard is the pixels of its crops, one after the other, then an index in JSON, then the length and the
CRC-32 of that index. The index has a CRC-32 for each crop. Nothing in a shard is ever changed. The file that
says what is known of each image has the same form without pixels.

A CRC-32 misses no change of up to 32 bits in a row, and one in four thousand million of the others. That is
enough against disks that err and processes that die.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import zlib
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from galaxy.system.errors import UserError

# The end of a file: the length of the index before it, and the CRC-32 of that index.
_FOOTER = struct.Struct("<QI")
# This many neighbouring crops are read at once to be checked.
_CHECKED_AT_ONCE = 64
# After these errors a file is made again: the disk has lost a part of it, or another process has removed it.
_LOST = {errno.EIO, errno.ENOENT}


class DamagedError(Exception):
    """A file of a cache is not as it was written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.path = path


@dataclass(frozen=True)
class Shards:
    """The index of some shards, which hold M crops.

    Attributes:
        paths: The shards.
        places: The number of each crop from 0 to M - 1, by the digest of its image's content.
        shard: (M,) int64, the place in `paths` of the shard of each crop.
        row: (M,) int64, the row of each crop in its shard.
        frames: (height, width) of the image of each crop.
        sides: (M,) int64, the shorter side of the part of the image that was kept; 0 for the whole image.
        crcs: (M,) int64, the CRC-32 of each crop.
    """

    paths: tuple[Path, ...]
    places: dict[str, int]
    shard: NDArray[np.int64]
    row: NDArray[np.int64]
    frames: list[tuple[int, int]]
    sides: NDArray[np.int64]
    crcs: NDArray[np.int64]


def read_shards(paths: Sequence[Path], crop_bytes: int) -> Shards:
    """Reads the indices of shards.

    Args:
        paths: The shards.
        crop_bytes: The bytes of each crop.

    Raises:
        DamagedError: A shard is lost, or has another length or another index than it should have.
        UserError: A shard cannot be read now.
    """
    contents: list[str] = []
    frames: list[tuple[int, int]] = []
    sides: list[int] = []
    crcs: list[int] = []
    counts = []
    for path in paths:
        index, pixel_bytes = read_index(path)
        if pixel_bytes != len(index["contents"]) * crop_bytes:
            raise DamagedError(path, "does not have the length that it should")
        contents += index["contents"]
        frames += map(tuple, index["frames"])
        sides += index["sides"]
        crcs += index["crcs"]
        counts.append(len(index["contents"]))
    return Shards(
        paths=tuple(paths),
        places={content: place for place, content in enumerate(contents)},
        shard=np.repeat(np.arange(len(paths)), counts),
        row=np.concatenate([np.arange(0), *map(np.arange, counts)]),
        frames=frames,
        sides=np.array(sides, dtype=np.int64),
        crcs=np.array(crcs, dtype=np.int64),
    )


def check_pixels(
    shards: Shards, crops: NDArray[np.int64], crop_bytes: int, threads: int, trusted: Collection[Path] = ()
) -> None:
    """Compares the checksums of crops.

    Args:
        shards: All shards.
        crops: The numbers of the crops, as in `Shards.places`.
        crop_bytes: The bytes of each crop.
        threads: How many threads read.
        trusted: Shards that need not be checked.

    Raises:
        DamagedError: A shard is lost, or the pixels of a crop are not as they were written.
        UserError: A shard cannot be read now.
    """
    crops = np.unique(crops)
    ends = np.flatnonzero((np.diff(crops) != 1) | (np.diff(shards.shard[crops]) != 0)) + 1
    runs = [
        run[start : start + _CHECKED_AT_ONCE]
        for run in np.split(crops, ends)
        for start in range(0, len(run), _CHECKED_AT_ONCE)
    ]

    def check(run: NDArray[np.int64]) -> None:
        path = shards.paths[shards.shard[run[0]]]
        if path in trusted:
            return
        # The file is read and not mapped: where a disk fails, the system kills a process that maps a file.
        try:
            with path.open("rb") as file:
                file.seek(int(shards.row[run[0]]) * crop_bytes)
                pixels = memoryview(file.read(len(run) * crop_bytes))
        except OSError as error:
            raise _unreadable(path, error) from error
        for number, crc in enumerate(shards.crcs[run].tolist()):
            if zlib.crc32(pixels[number * crop_bytes : (number + 1) * crop_bytes]) != crc:
                raise DamagedError(path, "has pixels that have changed")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(check, runs))


def write_index(file: BinaryIO, index: dict[str, Any]) -> None:
    """Writes the index and the end of a file."""
    text = json.dumps(index).encode()
    file.write(text + _FOOTER.pack(len(text), zlib.crc32(text)))


def read_index(path: Path) -> tuple[dict[str, Any], int]:
    """Returns the index at the end of a file, and the number of bytes before it.

    Raises:
        DamagedError: The file is lost or is not as it was written.
        UserError: The file cannot be read now.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _FOOTER.size))
            footer = file.read()
            length, crc = _FOOTER.unpack(footer) if len(footer) == _FOOTER.size else (size, 0)
            start = size - _FOOTER.size - length
            file.seek(max(0, start))
            text = file.read(length) if start >= 0 else b""
    except OSError as error:
        raise _unreadable(path, error) from error
    if not text or zlib.crc32(text) != crc:
        raise DamagedError(path, "is cut off or its index has changed")
    index: dict[str, Any] = json.loads(text)
    return index, start


def _unreadable(path: Path, error: OSError) -> DamagedError | UserError:
    """Decides whether a file that could not be read is damaged. If not, nobody must remove it."""
    if error.errno in _LOST:
        return DamagedError(path, f"cannot be read: {error.strerror}")
    return UserError(f"{path} cannot be read: {error.strerror}")
