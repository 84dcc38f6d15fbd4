"""Images decoded and cropped once, into an array in a file that every later run opens in no time.

A cache is two files: `<fingerprint>.npy`, the pixels in NumPy's format, and `<fingerprint>.journal`, the
checksums of their blocks and what is wrong with the bad images (see `galaxy.data.blocks`). While they are
made they end in `.part` and a process holds `<fingerprint>.lock`; the journal gets its name last.

Every opening reads all pixels and compares their checksums, so that nobody learns from a byte that changed on
the disk. One core checks 6 GB/s of what is in memory already, as on a warm start: 0.1 s for the Galaxy
Challenge at 64 pixels. Other pixels come at the speed of the disk, which the first epoch is then spared. To
keep a note of when a file was last checked would save this, and miss what a disk changes by itself.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import simplejpeg
from filelock import FileLock, Timeout
from joblib import cpu_count
from numpy.typing import NDArray
from rich.filesize import decimal

from galaxy.data.blocks import BLOCK, Block, count_intact, digest_of, last_line, offsets, read_journal
from galaxy.data.cropping import crop_blocks
from galaxy.images.crops import Crop
from galaxy.images.decode import bad_images
from galaxy.surveys.catalog import ImageSource
from galaxy.system.errors import UserError, listing
from galaxy.system.files import Flusher, explained, publish

# Raise it when a change of this package changes the pixels of a crop or the layout of the files.
CACHE_VERSION = 6
# Seconds after which half a cache that nobody went on with is removed: a day, so that a run can be repeated.
_FORGOTTEN = 86_400

_log = logging.getLogger(__name__)


class _DamagedError(Exception):
    """Says what is wrong with the files of a cache."""


@dataclass(frozen=True)
class CachedImages:
    """The cropped images of a catalog.

    Attributes:
        path: The file of the pixels.
        digest: Of all pixels, the same wherever and whenever they were decoded.
        kept: (N,) int64, ascending: which of the given images each of those in the file is.
        skipped: One line for each image left out.
    """

    path: Path
    digest: str
    kept: NDArray[np.int64]
    skipped: tuple[str, ...]

    def layout(self) -> tuple[tuple[int, int, int, int], int]:
        """The shape (N, size, size, channels) of the pixels, and where in the file they begin."""
        with self.path.open("rb") as file:
            np.lib.format.read_magic(file)
            (count, height, width, channels), _, _ = np.lib.format.read_array_header_1_0(file)
            return (count, height, width, channels), file.tell()


def open_cache(
    images: Sequence[ImageSource],
    crop: Crop,
    folder: Path,
    on_bad: Literal["error", "skip"],
    workers: int | None = None,
    any_frame: bool = False,
) -> CachedImages:
    """Opens the crops of these images, and makes them first if this has not been done before.

    A cache belongs to the names, sizes, modification times and permissions of the images' files, in order,
    to the places of the images in them, and to the crop with its code and parameters; where any of them
    changes, another cache is made. Of processes that start together one makes it and the others wait; where
    that one is killed, the next goes on from what it left. A damaged cache is made again, with a warning.

    Args:
        images: Where the images are.
        crop: Makes the (size, size, channels) pictures.
        folder: Where caches are kept; made if missing.
        on_bad: What to do about images that cannot be decoded or have an unusual frame: "error" lists them
            and stops once all have been tried, "skip" leaves them out and lists them in
            `CachedImages.skipped`. Either finds the cache that the other made.
        workers: Threads that decode or check, at least one; None for one per processor this process may use.
        any_frame: Whether frames may differ in width and height.

    Raises:
        UserError: Some image (with "error") or every image is bad, or the disk is full or cannot be written.
    """
    if not images:
        raise UserError("There are no images to read.")
    work = _Cache(folder / _fingerprint(images, crop, any_frame), images, crop, workers)
    try:
        cached = work.load()
    except _DamagedError:
        cached = None  # which is looked at again, and said, once no other process can be mending it
    if cached is None:
        with explained(work.pixels, work.size):
            folder.mkdir(parents=True, exist_ok=True)
            with _one_at_a_time(work.pixels):
                cached = work.load_or_build(any_frame)
    if cached.skipped and on_bad == "error":
        raise bad_images(cached.skipped)
    return cached


def _fingerprint(images: Sequence[ImageSource], crop: Crop, any_frame: bool) -> str:
    decoders = {"opencv": cv2.__version__, "simplejpeg": simplejpeg.__version__}
    recipe = {"version": CACHE_VERSION, **decoders, "crop": _code(type(crop)), **vars(crop)}
    if any_frame:
        recipe["any_frame"] = True
    digest = blake2b(json.dumps(recipe, sort_keys=True).encode(), digest_size=16)
    state = cache(_state)  # a file of many images is looked at once
    for image in images:
        path, *place = (image,) if isinstance(image, Path) else image
        text = os.fspath(path)  # a path that is looked up keeps a second copy of its parts
        name = os.path.basename(text)  # noqa: PTH119
        digest.update("\0".join(map(str, (name, *state(text), *place))).encode() + b"\n")
    return digest.hexdigest()


def _code(crop: type[Crop]) -> list[str]:
    """The name of a crop, and a digest of the file it is written in: whoever mends it wants other pixels."""
    file = getattr(sys.modules[crop.__module__], "__file__", None)  # none at an interactive prompt
    content = b"" if file is None else Path(file).read_bytes()
    return [crop.__module__, crop.__name__, blake2b(content, digest_size=16).hexdigest()]


def _state(path: str) -> tuple[int, int, int]:
    """Size, modification time and who may read: a file that nobody could read is bad until then only."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return -1, -1, -1  # decoding will say why
    return status.st_size, status.st_mtime_ns, status.st_mode & 0o444


@contextmanager
def _one_at_a_time(pixels: Path) -> Iterator[None]:
    """Holds a lock that belongs to one process at a time; the system frees it when a process dies."""
    lock = FileLock(pixels.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _log.info("Waiting for another process that is making the image cache %s.", pixels)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class _Cache:
    """The files of one cache.

    Args:
        stem: Their path but for the suffixes.
        images: What is in it.
        crop: Made its pictures.
        workers: Threads; None for one per processor.
    """

    def __init__(self, stem: Path, images: Sequence[ImageSource], crop: Crop, workers: int | None) -> None:
        self.images = images
        self.crop = crop
        self.workers = cpu_count() if workers is None else max(1, workers)
        self.blocks = -(-len(images) // BLOCK)
        self.size = len(images) * crop.size**2 * crop.channels
        self.pixels = stem.with_suffix(".npy")
        self.journal = stem.with_suffix(".journal")
        self.pixels_part = stem.with_suffix(".npy.part")
        self.journal_part = stem.with_suffix(".journal.part")

    def load(self) -> CachedImages | None:
        """The images, checked from the first byte to the last; None where there is no whole cache.

        Raises:
            _DamagedError: The files are not as they were written.
        """
        if not self.journal.exists():
            return None
        try:
            blocks, digest = read_journal(self.journal)
            if digest is None or len(blocks) != self.blocks:
                raise _DamagedError("its journal is cut off or has changed")
            header = self._header(sum(len(block.bad) for block in blocks))
            length = offsets(blocks, len(header))[-1]
            with self.pixels.open("rb") as file:
                if os.fstat(file.fileno()).st_size != length:
                    raise _DamagedError(f"it does not have the {length:,} bytes it should")
                if file.read(len(header)) != header:
                    raise _DamagedError("its header has changed")
        except OSError as error:
            raise _DamagedError(f"it cannot be read: {error.strerror}") from error
        intact = count_intact(self.pixels, blocks, len(header), self.workers)
        if intact < len(blocks):
            raise _DamagedError(f"the pixels of block {intact + 1:,} of {len(blocks):,} have changed")
        return self._cached(blocks, digest)

    def load_or_build(self, any_frame: bool) -> CachedImages:
        """Makes the cache, unless another process did while this one waited for the lock."""
        try:
            cached = self.load()
        except _DamagedError as error:
            _log.warning("The image cache %s is damaged and is made again: %s.", self.pixels, error)
            # Removed and not mended, for processes at work may have it open.
            self.journal.unlink(missing_ok=True)
            self.pixels.unlink(missing_ok=True)
            cached = None
        if cached is not None:
            return cached
        try:
            return self._build(any_frame)
        except Exception:  # but not a keyboard interrupt, after which the next run goes on
            self.pixels_part.unlink(missing_ok=True)
            self.journal_part.unlink(missing_ok=True)
            raise

    def _build(self, any_frame: bool) -> CachedImages:
        """Writes both files, from where a process that was killed left them."""
        self._remove_forgotten()
        self._check_space()
        blocks = self._begun()
        with self.pixels_part.open("r+b") as pixels, self.journal_part.open("ab") as journal:
            pixels.seek(0, os.SEEK_END)
            rest = crop_blocks(self.images, self.crop, any_frame, self.workers, len(blocks))
            with closing(rest), Flusher(pixels) as flusher:
                for crops, block in rest:
                    blocks.append(block)
                    pixels.write(crops.data)
                    pixels.flush()
                    journal.write(block.line())
                    journal.flush()
                    flusher.wrote()
                flusher.wait()
            cached = self._cached(blocks, digest_of(blocks))
            if not len(cached.kept):
                reasons = listing(list(cached.skipped))
                raise UserError(f"None of the {len(self.images):,} images can be used:\n{reasons}")
            pixels.seek(0)
            pixels.write(self._header(len(cached.skipped)))
            journal.write(last_line(cached.digest))
        publish(self.pixels_part, self.pixels)
        publish(self.journal_part, self.journal)
        return cached

    def _begun(self) -> list[Block]:
        """The blocks that a killed process left, up to the first that is not as it wrote it.

        Both files are cut off there, and made if they are missing.
        """
        start = len(self._header(0))
        for path in (self.pixels_part, self.journal_part):
            path.touch()
        blocks, _ = read_journal(self.journal_part)
        blocks = blocks[: count_intact(self.pixels_part, blocks, start, self.workers)]
        os.truncate(self.pixels_part, offsets(blocks, start)[-1])
        os.truncate(self.journal_part, sum(len(block.line()) for block in blocks))
        if blocks:
            done = f"{len(blocks) * BLOCK:,} of {len(self.images):,}"
            _log.info("Going on with the image cache %s, which has %s images.", self.pixels, done)
        return blocks

    def _remove_forgotten(self) -> None:
        """Removes what killed processes left of other caches, which nobody asked for since."""
        fingerprint = "[0-9a-f]" * 32  # half a download, too, ends in .part
        for own in (self.pixels_part, self.journal_part):
            for part in own.parent.glob(f"{fingerprint}{''.join(own.suffixes)}"):
                with suppress(FileNotFoundError):  # another process removed it
                    if part != own and time.time() - part.stat().st_mtime > _FORGOTTEN:
                        part.unlink()

    def _check_space(self) -> None:
        there = self.pixels_part.stat().st_size if self.pixels_part.exists() else 0
        free = shutil.disk_usage(self.pixels.parent).free
        if self.size - there > free:
            raise UserError(
                f"The image cache needs {decimal(self.size)}; {decimal(free + there)} are free in "
                f"{self.pixels.parent}.\nFree some space, choose a smaller crop.size or limit the data."
            )

    def _header(self, bad: int) -> bytes:
        """NumPy's, which it pads so that one for another number of images has the same length."""
        shape = (len(self.images) - bad, self.crop.size, self.crop.size, self.crop.channels)
        file = BytesIO()
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return file.getvalue()

    def _cached(self, blocks: Sequence[Block], digest: str) -> CachedImages:
        bad = {row: reason for block in blocks for row, reason in block.bad.items()}
        kept = np.delete(np.arange(len(self.images), dtype=np.int64), list(bad))
        skipped = tuple(f"{self.images[row]}: {reason}" for row, reason in bad.items())
        return CachedImages(self.pixels, digest, kept, skipped)
