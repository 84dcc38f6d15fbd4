"""What processes that share an image cache do. The tests themselves take a second to import."""

import os
import signal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galaxy.data import cache
from galaxy.data.cache import open_cache
from galaxy.images.crops.center import CenterCrop


class CountingCrop(CenterCrop):
    """Leaves a mark for every image that any process crops, and kills its process at a certain mark."""

    deadly = 0  # an attribute of the class: a crop that kills has the same cache as one that does not

    def __init__(self, marks: str) -> None:
        super().__init__(size=8)
        self.marks = marks

    def region(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        with Path(self.marks).open("ab", buffering=0) as file:
            file.write(b".")
            if file.tell() == self.deadly:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().region(image)


def open_in_a_process(paths: list[Path], marks: Path, folder: Path) -> str:
    """Opens the cache and returns its digest."""
    return open_cache(paths, CountingCrop(str(marks)), folder, "error").digest


def die_in_a_process(
    paths: list[Path], marks: Path, folder: Path, after: int, shard: int = cache.SHARD
) -> None:
    """Makes a part of the cache, in shards of so many images."""
    CountingCrop.deadly = after
    cache.SHARD = shard
    open_cache(paths, CountingCrop(str(marks)), folder, "error", workers=1)
