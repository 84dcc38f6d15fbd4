"""Decodes and crops each image once, into a cache that every later run reads.

A cache is a folder for one crop of one survey. It holds:

| file | content |
| --- | --- |
| `cache.json` | the survey's folder, and the recipe: the crop, and the code that makes the pixels |
| `*.shard` | the crops of up to 16,384 images each, and an index of their contents; never changed |
| `known_files` | for each image: the state of its file, and the digest and the flaw of its content |
| `used` | nothing; its modification time is the last use of the cache |

Crops and flaws are found by the content of their image. A run looks at the size and the times of each file
first. If they are not those in `known_files`, or the file is new there, the run computes the digest of the
file's content. If a shard has a crop of this content, it is used, otherwise the image is decoded. So other
files under the names of old ones never get the pixels of the old ones, and files that were moved or copied
are not decoded again. A run decodes images into a new shard, which all later runs share.

Every opening compares the checksums of all pixels that it will use, so that nobody trains on bytes that a
disk has changed. An opening takes about a second for the Galaxy Challenge at 64 pixels, on two processors
that are busy and if the system has the files in memory.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import uuid4

import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray
from rich.filesize import decimal

from galaxy.data.cache_folders import cache_folder, describe, locked
from galaxy.data.cropping import Cropped, crop_images
from galaxy.data.shards import DamagedError, Shards, check_pixels, read_index, read_shards, write_index
from galaxy.images.crops import Crop
from galaxy.images.decode import bad_images_error
from galaxy.surveys.catalog import FitsImage, ImageSource
from galaxy.system.errors import UserError, listing
from galaxy.system.files import explained, replacing

# A killed run loses at most this many decoded images.
SHARD = 16_384
# Some file systems count the times of files in steps of this many nanoseconds.
_CLOCK_STEP = 2 * 10**9

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
        whole: The number of crops that show the whole frame.
        enlarged: The number of crops whose part of the frame has fewer pixels than the crop.
        frame: The (height, width) that all images have before they are cropped; None if they differ.
    """

    shards: tuple[Path, ...]
    shard: NDArray[np.int64]
    row: NDArray[np.int64]
    crop_shape: tuple[int, int, int]
    digest: str
    kept: NDArray[np.int64]
    skipped: tuple[str, ...]
    whole: int
    enlarged: int
    frame: tuple[int, int] | None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Returns the (N, size, size, channels) of all pixels."""
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
        on_bad: Decides about images that cannot be decoded or have an unusual frame: "error" lists them
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
    opening.mark_used()  # before the first look, so that nobody removes an old cache meanwhile
    try:
        cached = opening.load(images, files, any_frame)
    except DamagedError:
        cached = None  # said and mended below, where no other process can be mending it
    if cached is None:
        with explained(opening.folder, key="data.cache"):
            folder.mkdir(parents=True, exist_ok=True)
            with locked(opening.folder) as alone:
                cached = opening.load_or_build(images, files, any_frame, alone)
    if not len(cached.kept):
        reasons = listing(cached.skipped)
        raise UserError(f"None of the {len(images):,} images can be used:\n{reasons}")
    if cached.skipped and on_bad == "error":
        raise bad_images_error(cached.skipped)
    return cached


class _LookedUp(NamedTuple):
    """The state of a cache at one moment.

    Attributes:
        known: The state, the content and the flaw of each file that was ever read, by its name.
        shards: The crops.
        missing: The rows of the images that have to be read.
    """

    known: dict[str, list[str]]
    shards: Shards
    missing: list[int]


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
        self.known_files = self.folder / "known_files"
        self._written: set[Path] = set()  # shards whose pixels this process need not check
        self._read: dict[str, list[str]] = {}  # what this process has found out, in the form of `known_files`

    def mark_used(self) -> None:
        """Notes that the cache is used now, if it is there and can be written."""
        with suppress(OSError):
            (self.folder / "used").touch()

    def load(
        self, images: Sequence[ImageSource], files: Sequence[tuple[str, str]], any_frame: bool
    ) -> CachedImages | None:
        """Finds the crops of the images and checks every byte.

        Args:
            images: Where the images are.
            files: The name and the state of each image; see `_files`.
            any_frame: Whether frames may differ.

        Returns:
            The crops; None if some image still has to be cropped.

        Raises:
            DamagedError: A file is not as it was written.
        """
        looked_up = self._look_up(files)
        if looked_up.missing and not self._recognised(images, files, looked_up):
            return None
        return self._checked(images, files, looked_up, any_frame)

    def load_or_build(
        self, images: Sequence[ImageSource], files: Sequence[tuple[str, str]], any_frame: bool, alone: bool
    ) -> CachedImages:
        """Removes damaged files and crops the images that are missing; the caller holds the lock.

        Args:
            images: See `load`.
            files: See `load`.
            any_frame: See `load`.
            alone: Whether the lock kept other processes out, so that unfinished shards are nobody's.

        Raises:
            UserError: The disk damages files as soon as they are written.
        """
        self.folder.mkdir(exist_ok=True)
        self.mark_used()
        describe(self.folder, self.root, self.crop)
        for unfinished in self.folder.glob(".*.shard") if alone else ():
            unfinished.unlink()
        while True:
            try:
                looked_up = self._look_up(files)
                if not looked_up.missing:
                    return self._checked(images, files, looked_up, any_frame)
            except DamagedError as error:
                if error.path in self._written:
                    raise UserError(f"{error}, right after it was written: check the disk.") from error
                _log.warning("The image cache is damaged, and a part of it is made again: %s.", error)
                error.path.unlink(missing_ok=True)  # processes that have it open keep what they have
                continue
            self._build(images, files, looked_up)

    def _look_up(self, files: Sequence[tuple[str, str]]) -> _LookedUp:
        known: dict[str, list[str]] = {}
        start = 0
        if os.path.exists(self.known_files):  # noqa: PTH110  `Path.exists` fails in a forbidden folder
            known, start = read_index(self.known_files)
        if start:
            raise DamagedError(self.known_files, "has changed")
        known |= self._read
        # The names of unfinished shards begin with a dot.
        paths = sorted(path for path in self.folder.glob("*.shard") if not path.name.startswith("."))
        shards = read_shards(paths, self.crop_bytes)
        missing = [
            row for row, (name, state) in enumerate(files) if not _is_known(known.get(name), state, shards)
        ]
        return _LookedUp(known, shards, missing)

    def _checked(
        self,
        images: Sequence[ImageSource],
        files: Sequence[tuple[str, str]],
        looked_up: _LookedUp,
        any_frame: bool,
    ) -> CachedImages:
        """Compares the checksums of the crops of all images, of which none may be missing."""
        known, shards, _ = looked_up
        found = [known[name] for name, _ in files]
        bad = {row: flaw for row, (_, _, flaw) in enumerate(found) if flaw}
        place = [-1 if flaw else shards.places[content] for _, content, flaw in found]
        if not any_frame:
            bad |= _unusual_frames({row: shards.frames[crop] for row, crop in enumerate(place) if crop >= 0})
        kept = np.delete(np.arange(len(images), dtype=np.int64), list(bad))
        crops = np.array(place, dtype=np.int64)[kept]
        check_pixels(shards, crops, self.crop_bytes, self.threads, self._written)
        frames = {tuple(shards.frames[crop]) for crop in crops.tolist()}
        used, shard = np.unique(shards.shard[crops], return_inverse=True)
        sides = shards.sides[crops]
        whole = crops[sides == 0].tolist()
        smaller = sum(min(shards.frames[place]) < self.crop.size for place in whole)
        return CachedImages(
            shards=tuple(shards.paths[number] for number in used.tolist()),
            shard=shard.astype(np.int64),
            row=shards.row[crops],
            crop_shape=self.crop_shape,
            digest=blake2b(shards.crcs[crops].astype(">u4").tobytes(), digest_size=16).hexdigest(),
            kept=kept,
            skipped=tuple(f"{images[row]}: {bad[row]}" for row in sorted(bad)),
            whole=len(whole),
            enlarged=smaller + int(((sides > 0) & (sides < self.crop.size)).sum()),
            frame=frames.pop() if len(frames) == 1 else None,
        )

    def _recognised(
        self, images: Sequence[ImageSource], files: Sequence[tuple[str, str]], looked_up: _LookedUp
    ) -> bool:
        """Looks for the contents of the missing images in the shards, until one has to be cropped.

        This takes no lock and need not write, so that a cache that can only be read works for copies of its
        images too.
        """
        if not looked_up.shards.places:
            return False
        with closing(self._results(images, files, looked_up, None)) as new:
            if next(new, None) is not None:
                return False
        looked_up.known.update(self._read)
        with suppress(OSError, UserError):
            describe(self.folder, self.root, self.crop)
            self._write_known_files(looked_up.known)
        return True

    def _build(
        self, images: Sequence[ImageSource], files: Sequence[tuple[str, str]], looked_up: _LookedUp
    ) -> None:
        """Crops the missing images and writes shards of them."""
        with closing(self._results(images, files, looked_up, self.crop)) as new:
            left = len(looked_up.missing)
            for first in new:
                self._write_shard(chain([first], islice(new, SHARD - 1)), left)
                self._write_known_files(looked_up.known | self._read)
                left -= SHARD
        self._write_known_files(looked_up.known | self._read)

    def _results(
        self,
        images: Sequence[ImageSource],
        files: Sequence[tuple[str, str]],
        looked_up: _LookedUp,
        crop: Crop | None,
    ) -> Generator[Cropped, None, None]:
        """Reads the missing images, keeps in mind what each is, and yields those that no shard has.

        Args:
            images: See `load`.
            files: See `load`.
            looked_up: The state of the cache.
            crop: Makes the pictures; None to find out the contents alone.
        """
        known, shards, missing = looked_up
        flaws = {content: flaw for _, content, flaw in known.values() if content and flaw}
        flaws |= dict.fromkeys(shards.places, "")
        blocks = crop_images([images[row] for row in missing], crop, flaws, self.threads)
        with closing(blocks):
            for row, result in zip(missing, chain.from_iterable(blocks), strict=True):
                name, state = files[row]
                new = not result.reason and result.content not in flaws
                flaw = flaws.setdefault(result.content, result.reason) if result.content else result.reason
                self._read[name] = [state, result.content, flaw]
                if new:
                    yield result

    def _write_shard(self, crops: Iterable[Cropped], count: int) -> None:
        """Writes a new shard.

        Args:
            crops: The crops.
            count: How many images are still to be read, at least as many as there are crops.
        """
        size, free = count * self.crop_bytes, shutil.disk_usage(self.folder).free
        if size > free:
            raise UserError(
                f"The image cache needs {decimal(size)}; {decimal(free)} are free in {self.folder}.\n"
                "Free some space (galaxy cache --prune), choose another disk (data.cache=DIR) or a smaller "
                "crop.size, or limit the data."
            )
        path = self.folder / f"{uuid4().hex}.shard"
        index: dict[str, list[Any]] = {"contents": [], "frames": [], "sides": [], "crcs": []}
        with replacing(path, size) as temporary, temporary.open("wb") as file:
            for crop in crops:
                file.write(crop.pixels.data)
                index["contents"].append(crop.content)
                index["frames"].append(crop.frame)
                index["sides"].append(crop.side)
                index["crcs"].append(crop.crc)
            write_index(file, index)
        self._written.add(path)

    def _write_known_files(self, known: dict[str, list[str]]) -> None:
        """Writes what is known of each file, except of files that only others may be able to read."""
        # The state of a new file is not written, so that its content is looked at again.
        lasting = {
            name: [state or "new", content, flaw] for name, (state, content, flaw) in known.items() if content
        }
        with replacing(self.known_files) as temporary, temporary.open("wb") as file:
            write_index(file, lasting)


def _is_known(note: list[str] | None, state: str, shards: Shards) -> bool:
    """Whether nothing has to be read of a file in this state."""
    if note is None:
        return False
    noted_state, content, flaw = note
    return noted_state == state and (content in shards.places or bool(flaw))


def _unusual_frames(frames: dict[int, tuple[int, int]]) -> dict[int, str]:
    """Names the flaw of each row whose frame is unusual. Of equally frequent frames the first is usual."""
    if not frames:
        return {}
    usual = Counter(frames.values()).most_common(1)[0][0]
    return {
        row: f"the frame is {frame[1]} x {frame[0]} pixels, others are {usual[1]} x {usual[0]} pixels"
        for row, frame in frames.items()
        if frame != usual
    }


def _files(images: Sequence[ImageSource]) -> list[tuple[str, str]]:
    """Returns the name of each image, unique on this machine, and the state of its files."""
    here, state = os.getcwd(), cache(_state)  # noqa: PTH109  a file of many images is looked at once
    files = []
    for image in images:
        path, *place = (image,) if isinstance(image, Path) else image
        text = os.path.join(here, path)  # noqa: PTH118  ten times as fast as `Path.absolute`
        states = [state(text)]
        if isinstance(image, FitsImage):
            states += [state(os.path.join(here, further)) for further in image.further]  # noqa: PTH118
        files.append(("\0".join([text, *map(str, place)]), " ".join(states) if all(states) else ""))
    return files


def _state(path: str) -> str:
    """Returns the state of a file, which is another one after the file was written, replaced or moved.

    Programs can set the modification time, and a file that is moved here keeps it. The system alone sets the
    change time, and another file has another inode.

    Returns:
        The state; empty if there is no file, or if it is so new that the clock of its disk may not tell it
        from one that is written next.
    """
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return ""  # decoding will say why
    if status.st_mtime_ns > time.time_ns() - _CLOCK_STEP:
        return ""
    times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
    return f"{status.st_size} {times} {status.st_dev} {status.st_ino}"


def _common_folder(images: Sequence[ImageSource]) -> Path:
    folders = {(image if isinstance(image, Path) else image.path).absolute().parent for image in images}
    return Path(os.path.commonpath(folders))
