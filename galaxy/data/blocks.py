"""The journal of an image cache: what each block of it holds, which tells a whole cache from all others.

A block is the good ones of 64 images in a row. The journal has a line for each block, in order, and a last
line once all are there. A line is the CRC-32 of what follows, a space and JSON:

    5d1a2e0c {"size": 24576, "crcs": [2774193501, 90110402], "bad": {"70": "the file is empty"}}
    9e0f61b2 {"digest": "8f1b03..."}

A CRC-32 misses no change of up to 32 bits in a row, and one in four thousand million of the others: enough
for disks that err and processes that die, which this is for. zlib-ng computes it at the speed of the memory,
twelve times faster than the system's zlib.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from typing import Any

from zlib_ng import zlib_ng

from galaxy.images.crops import Pixels

# Images of a block, which one task decodes: enough that handing tasks out costs nothing beside a millisecond
# an image, few enough that the progress bar moves and that the two blocks of each thread stay small.
BLOCK = 64


@dataclass(frozen=True)
class Block:
    """What a block holds.

    Attributes:
        size: Bytes of the pixels of its good images.
        crcs: CRC-32 of each of these.
        bad: What is wrong with the other images, by row.
    """

    size: int
    crcs: tuple[int, ...]
    bad: dict[int, str]

    @classmethod
    def of(cls, pixels: Pixels, bad: dict[int, str]) -> Block:
        """The block of these pixels."""
        return cls(pixels.nbytes, _crcs(pixels.data, len(pixels)), bad)

    def line(self) -> bytes:
        """Its line in the journal."""
        return _line(vars(self))


def digest_of(blocks: Sequence[Block]) -> str:
    """A digest of all pixels, by the checksums of the images, in whichever blocks these are."""
    digest = blake2b(digest_size=16)
    for block in blocks:
        for crc in block.crcs:
            digest.update(crc.to_bytes(4))
    return digest.hexdigest()


def last_line(digest: str) -> bytes:
    """The line after those of all blocks.

    Args:
        digest: Of all pixels.
    """
    return _line({"digest": digest})


def read_journal(path: Path) -> tuple[list[Block], str | None]:
    """Reads a journal up to its last line, or to the first that is not as it was written.

    Returns:
        The blocks; and the digest of all pixels, None if the last line was not reached.
    """
    blocks: list[Block] = []
    digest = None
    for line in path.read_bytes().splitlines(keepends=True):
        if digest is not None or line != _checked(line[9:-1]):
            return blocks, None  # changed, cut off in the middle, or after the last
        values = json.loads(line[9:])
        if "digest" in values:
            digest = values["digest"]
        else:
            bad = {int(row): reason for row, reason in values["bad"].items()}
            blocks.append(Block(values["size"], tuple(values["crcs"]), bad))
    return blocks, digest


def offsets(blocks: Sequence[Block], start: int) -> list[int]:
    """Where each block begins in a file that has the first at `start`, and where the last one ends."""
    return list(accumulate((block.size for block in blocks), initial=start))


def count_intact(path: Path, blocks: Sequence[Block], start: int, threads: int) -> int:
    """Counts the blocks before the first one whose pixels are not as they were written.

    Args:
        path: The file of the pixels; it may be too short, or missing.
        blocks: What it should hold.
        start: Where the first block begins.
        threads: Threads that read.
    """

    def is_intact(block: Block, offset: int) -> bool:
        # Read rather than mapped: where the disk fails, the system kills a process that maps the file.
        try:
            with path.open("rb") as file:
                file.seek(offset)
                pixels = file.read(block.size)
        except OSError:
            return False
        return len(pixels) == block.size and _crcs(memoryview(pixels), len(block.crcs)) == block.crcs

    with ThreadPoolExecutor(threads) as pool:
        intact = list(pool.map(is_intact, blocks, offsets(blocks, start)))
    return intact.index(False) if False in intact else len(blocks)


def _crcs(pixels: memoryview, count: int) -> tuple[int, ...]:
    """The CRC-32 of each of so many images."""
    pixels = pixels.cast("B") if count else pixels
    size = pixels.nbytes // max(1, count)
    return tuple(zlib_ng.crc32(pixels[place * size : (place + 1) * size]) for place in range(count))


def _line(values: dict[str, Any]) -> bytes:
    return _checked(json.dumps(values).encode())


def _checked(text: bytes) -> bytes:
    return b"%08x %s\n" % (zlib_ng.crc32(text), text)
