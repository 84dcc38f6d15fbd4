"""What processes that share an image cache do; apart from the tests, whose imports take a second each."""

import os
import signal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galaxy.data.cache import open_cache
from galaxy.images.crops.center import CenterCrop


class CountingCrop(CenterCrop):
    """Leaves a mark for every image it crops, across processes; kills its own after so many marks."""

    deadly = 0  # of the class, so that a crop that kills has the cache of one that does not

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
    """The digest of the cache."""
    return open_cache(paths, CountingCrop(str(marks)), folder, "error").digest


def die_in_a_process(paths: list[Path], marks: Path, folder: Path, after: int) -> None:
    """Makes a part of the cache."""
    CountingCrop.deadly = after
    open_cache(paths, CountingCrop(str(marks)), folder, "error", workers=1)
