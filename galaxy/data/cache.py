"""The cache of cropped images: each image is decoded and cropped once, and every later run reads the result.

A cache is a folder for one crop of one survey. It holds:

| file | content |
| --- | --- |
| `cache.json` | the survey's folder, and the recipe: the crop, and the code that makes the pixels |
| `0001.shard`, ... | the crops of up to 16,384 images, and an index of their contents; never changed |
| `files` | for each image: the size and times of its file, and the digest of its content or its flaw |
| `used` | nothing; its modification time is the last use of the cache |

Crops are found by the content of their image. A run looks at the size and the times of each file first. If
they are not those in `files`, or the file is new there, the run computes the digest of the file's content;
if a shard has a crop of this content, it is used, otherwise the image is decoded. So other files under the
names of old ones never get the pixels of the old ones, and files that were moved or copied are not decoded
again. What a run decodes becomes a new shard that all later runs share.

Every opening compares the checksums of all pixels that it will use, so that nobody trains on bytes that a
disk has changed. This takes 0.4 s for the Galaxy Challenge at 64 pixels if the system has the file in memory.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
from filelock import FileLock, Timeout
from joblib import cpu_count
from numpy.typing import NDArray
from rich.filesize import decimal

from galaxy.data.cache_folders import cache_folder, describe
from galaxy.data.cropping import Cropped, crop_images
from galaxy.data.shards import DamagedError, Shards, check_pixels, read_index, read_shards, write_index
from galaxy.images.crops import Crop
from galaxy.images.decode import bad_images
from galaxy.surveys.catalog import ImageSource
from galaxy.system.errors import UserError, listing
from galaxy.system.files import explained, replacing

# A killed run loses at most this many decoded images.
SHARD = 16_384
# What file systems that have no locks answer to a request for one.
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedImages:
    """The cropped images of a catalog, N of them.

    Attributes:
        shards: The files that hold the pixels. The crop in row r of a shard begins at byte r * the size of a
            crop.
        shard: (N,) int64, which of `shards` holds each crop.
        row: (N,) int64, the row of each crop in its shard.
        crop_shape: The (size, size, channels) of each crop, which is uint8.
        digest: A digest of the pixels in their order; it is the same wherever and whenever they were decoded.
        kept: (N,) int64, ascending: the places of these images among those that were asked for.
        skipped: One line for each image that was left out.
    """

    shards: tuple[Path, ...]
    shard: NDArray[np.int64]
    row: NDArray[np.int64]
    crop_shape: tuple[int, int, int]
    digest: str
    kept: NDArray[np.int64]
    skipped: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The (N, size, size, channels) of all pixels."""
        return (len(self.row), *self.crop_shape)


def open_cache(
    images: Sequence[ImageSource],
    crop: Crop,
    folder: Path,
    on_bad: Literal["error", "skip"],
    workers: int | None = None,
    any_frame: bool = False,
    root: Path | None = None,
) -> CachedImages:
    """Opens the crops of these images, and decodes those images first that the cache does not have.

    Of processes that start together one decodes and the others wait. Damaged files are named in a warning
    and made again.

    Args:
        images: Where the images are.
        crop: Makes the (size, size, channels) pictures.
        folder: The folder of all caches; made if missing.
        on_bad: What to do about images that cannot be decoded or have an unusual frame: "error" lists them
            and stops once all have been tried, "skip" leaves them out and lists them in
            `CachedImages.skipped`. Neither decodes again what the other has decoded.
        workers: The number of threads that decode and check, at least one; None for one per processor this
            process may use.
        any_frame: Whether frames may differ in width and height. Otherwise the usual frame is that of most
            of these images, and the others are bad.
        root: The folder of the survey, which names the cache; None for the folder that holds all images.

    Raises:
        UserError: Some image (with "error") or every image is bad, or the disk is full or cannot be written.
    """
    if not images:
        raise UserError("There are no images to read.")
    files = _files(images)
    opening = _Cache(folder, root or _common_folder(images), crop, workers)
    try:
        cached = opening.load(images, files, any_frame)
    except DamagedError:
        cached = None  # said and mended below, where no other process can be mending it
    if cached is None:
        with explained(opening.folder):
            opening.folder.mkdir(parents=True, exist_ok=True)
            with _one_at_a_time(opening.folder):
                cached = opening.complete(images, files, any_frame)
    with suppress(OSError):  # the folder may be read-only
        (opening.folder / "used").touch()
    if not len(cached.kept):
        reasons = listing(list(cached.skipped))
        raise UserError(f"None of the {len(images):,} images can be used:\n{reasons}")
    if cached.skipped and on_bad == "error":
        raise bad_images(cached.skipped)
    return cached


class _Cache:
    """The folder of one cache.

    Args:
        parent: The folder of all caches.
        root: The folder of the survey.
        crop: Makes the pictures.
        workers: The number of threads; None for one per processor.
    """

    def __init__(self, parent: Path, root: Path, crop: Crop, workers: int | None) -> None:
        self.root = root.expanduser().resolve()
        self.crop = crop
        self.threads = cpu_count() if workers is None else max(1, workers)
        self.crop_shape = (crop.size, crop.size, crop.channels)
        self.crop_bytes = crop.size**2 * crop.channels
        self.folder = cache_folder(parent, self.root, crop)
        self.notes_file = self.folder / "files"
        self._written: set[Path] = set()  # shards whose pixels this process need not check
        self._last_number = 0  # of all shards that there were: a removed shard's name is not given again

    def load(
        self, images: Sequence[ImageSource], files: Sequence[tuple[str, str]], any_frame: bool
    ) -> CachedImages | None:
        """The crops of the images, checked from the first byte to the last.

        Args:
            images: Where the images are, for the lines about bad ones.
            files: The name and the state of each image; see `_files`.
            any_frame: Whether frames may differ.

        Returns:
            The crops; None if some image still has to be read.

        Raises:
            DamagedError: A file is not as it was written.
        """
        notes, shards = self._notes(), read_shards(self._shards(), self.crop_bytes)
        if any(not _is_known(notes.get(name), state, shards) for name, state in files):
            return None
        found = [notes[name] for name, _ in files]
        place = [shards.places[content] if content else -1 for _, content, _ in found]
        bad = {row: reason for row, (_, content, reason) in enumerate(found) if not content}
        if not any_frame:
            bad |= _unusual({row: shards.frames[crop] for row, crop in enumerate(place) if crop >= 0})
        kept = np.delete(np.arange(len(images), dtype=np.int64), list(bad))
        crops = np.array(place, dtype=np.int64)[kept]
        check_pixels(shards, crops, self.crop_bytes, self.threads, self._written)
        return CachedImages(
            shards=shards.paths,
            shard=shards.shard[crops],
            row=shards.row[crops],
            crop_shape=self.crop_shape,
            digest=blake2b(shards.crcs[crops].astype(">u4").tobytes(), digest_size=16).hexdigest(),
            kept=kept,
            skipped=tuple(f"{images[row]}: {bad[row]}" for row in sorted(bad)),
        )

    def complete(
        self, images: Sequence[ImageSource], files: Sequence[tuple[str, str]], any_frame: bool
    ) -> CachedImages:
        """Removes what is damaged and reads the images that are missing; the caller holds the lock."""
        while True:
            try:
                cached = self.load(images, files, any_frame)
            except DamagedError as error:
                _log.warning("The image cache is damaged, and a part of it is made again: %s.", error)
                error.path.unlink(missing_ok=True)  # processes that have it open keep what they have
                continue
            if cached is not None:
                return cached
            self._read_missing(images, files)

    def _read_missing(self, images: Sequence[ImageSource], files: Sequence[tuple[str, str]]) -> None:
        describe(self.folder, self.root, self.crop)
        notes, shards = self._notes(), read_shards(self._shards(), self.crop_bytes)
        missing = [
            row for row, (name, state) in enumerate(files) if not _is_known(notes.get(name), state, shards)
        ]
        contents = set(shards.places)
        blocks = crop_images([images[row] for row in missing], self.crop, contents, self.threads)
        with closing(blocks):
            results = zip((files[row] for row in missing), chain.from_iterable(blocks), strict=True)
            left = len(missing)
            while left:
                left = self._write_shard(results, left, notes, contents)

    def _write_shard(
        self,
        results: Iterator[tuple[tuple[str, str], Cropped]],
        left: int,
        notes: dict[str, list[str]],
        contents: set[str],
    ) -> int:
        """Writes the next crops and what is known of their files.

        Args:
            results: Name and state of a file, and what became of it.
            left: How many of these are left at most.
            notes: What is known of each file, which grows.
            contents: The digests of all images that have been cropped, which grow.

        Returns:
            How many are left after that.
        """
        self._last_number += 1
        path = self.folder / f"{self._last_number:04}.shard"
        digests: list[str] = []
        frames: list[tuple[int, int]] = []
        crcs: list[int] = []
        with replacing(path, left * self.crop_bytes) as temporary, temporary.open("wb") as file:
            for (name, state), result in results:
                notes[name] = [state, result.content, result.reason]
                if result.pixels is not None and result.content not in contents:
                    if not digests:
                        self._check_space(left)
                    file.write(result.pixels.data)
                    digests.append(result.content)
                    frames.append(result.frame)
                    crcs.append(result.crc)
                    contents.add(result.content)
                left -= 1
                if len(digests) == SHARD:
                    break
            write_index(file, {"contents": digests, "frames": frames, "crcs": crcs})
        self._written.add(path)
        if not digests:  # the contents of all files were known
            path.unlink()
        with replacing(self.notes_file) as temporary, temporary.open("wb") as file:
            write_index(file, notes)
        return left

    def _check_space(self, count: int) -> None:
        size, free = count * self.crop_bytes, shutil.disk_usage(self.folder).free
        if size > free:
            raise UserError(
                f"The image cache needs {decimal(size)}; {decimal(free)} are free in {self.folder}.\n"
                "Free some space (galaxy cache --prune), choose a smaller crop.size or limit the data."
            )

    def _shards(self) -> list[Path]:
        paths = sorted(path for path in self.folder.glob("*.shard") if path.stem.isdecimal())
        self._last_number = max([self._last_number, *(int(path.stem) for path in paths)])
        return paths

    def _notes(self) -> dict[str, list[str]]:
        """The state, content and reason of each file that was ever read; the last two as in `Cropped`."""
        if not self.notes_file.exists():
            return {}
        notes, start = read_index(self.notes_file)
        if start:
            raise DamagedError(self.notes_file, "has changed")
        return notes


def _is_known(note: list[str] | None, state: str, shards: Shards) -> bool:
    """Whether nothing has to be read of a file in this state."""
    if note is None:
        return False
    noted_state, content, reason = note
    return noted_state == state and (content in shards.places or bool(reason))


def _unusual(frames: dict[int, tuple[int, int]]) -> dict[int, str]:
    """What is wrong with the rows whose frame is unusual; of equally frequent frames the first is usual."""
    if not frames:
        return {}
    usual = Counter(frames.values()).most_common(1)[0][0]
    return {
        row: f"the frame is {frame[1]} x {frame[0]} pixels, others are {usual[1]} x {usual[0]} pixels"
        for row, frame in frames.items()
        if frame != usual
    }


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Holds a lock that one process has at a time; the system frees it when the process dies."""
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _log.info("Waiting for another process that is making the image cache %s.", folder)
        lock.acquire()
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    try:
        yield
    finally:
        lock.release()


def _files(images: Sequence[ImageSource]) -> list[tuple[str, str]]:
    """The name of each image, unique on this machine, and the state of its file."""
    here, state = os.getcwd(), cache(_state)  # noqa: PTH109  a file of many images is looked at once
    files = []
    for image in images:
        path, *place = (image,) if isinstance(image, Path) else image
        text = os.path.join(here, path)  # noqa: PTH118  ten times as fast as `Path.absolute`
        files.append(("\0".join([text, *map(str, place)]), state(text)))
    return files


def _state(path: str) -> str:
    """What changes when a file is written, replaced or made readable; empty if there is no file.

    Programs can set the modification time, and a file that is moved here keeps it. The system alone sets the
    change time, and another file has another inode.
    """
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return ""  # decoding will say why
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def _common_folder(images: Sequence[ImageSource]) -> Path:
    folders = {(image if isinstance(image, Path) else image.path).absolute().parent for image in images}
    return Path(os.path.commonpath(folders))
