"""Images decoded and cropped once, into a memory-mapped array that every later run opens in no time."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, Literal

import cv2
import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from galaxy.catalogs.catalog import ImageSource
from galaxy.errors import UserError, listing
from galaxy.files import replacing, write_json
from galaxy.images.crops import Crop, Pixels
from galaxy.images.decode import BadImageError, Decoder

# Raise it when a change of this package changes the pixels of a crop or the layout of the files.
CACHE_VERSION = 2
# Images decoded by one task: enough that handing tasks out costs nothing beside a millisecond an image, few
# enough that the progress bar moves and that the batches in flight stay small.
_BATCH = 64
# Frames looked at to learn the usual frame size.
_SAMPLE = 32

_log = logging.getLogger(__name__)
_Bad = dict[int, str]


@dataclass(frozen=True)
class CachedImages:
    """The cropped images of a catalog.

    Attributes:
        path: The file of the pixels.
        digest: Of all pixels, the same wherever and whenever they were decoded.
        kept: (N,) int64, ascending: the row of the given images that each row of `array` shows.
        skipped: One line for each image left out.
    """

    path: Path
    digest: str
    kept: NDArray[np.int64]
    skipped: tuple[str, ...]

    @cached_property
    def array(self) -> NDArray[np.uint8]:
        """(N, size, size, channels) uint8, memory-mapped and read-only."""
        # A plain view: the subclass that NumPy maps files with makes every gather of a batch slower.
        return np.load(self.path, mmap_mode="r").view(np.ndarray)

    def __getstate__(self) -> dict[str, Any]:
        # A process that is handed the images maps the file itself, instead of being sent all pixels.
        return {name: value for name, value in self.__dict__.items() if name != "array"}


def open_cache(
    images: Sequence[ImageSource],
    crop: Crop,
    folder: Path,
    on_bad: Literal["error", "skip"],
    workers: int | None = None,
    any_frame: bool = False,
) -> CachedImages:
    """Opens the crops of these images, and makes them first if this has not been done before.

    A cache belongs to the names, sizes and modification times of the images' files, in order, to the places
    of the images in them, and to the crop with its parameters; where any of them changes, another cache is
    made. Of processes that start together one makes it and the others wait.

    Args:
        images: Where the images are.
        crop: Makes the (size, size, channels) pictures.
        folder: Where caches are kept; made if missing.
        on_bad: What to do about images that cannot be decoded or have an unusual frame: "error" lists them
            and stops, "skip" leaves them out and lists them in `CachedImages.skipped`.
        workers: Threads that decode, at least one; None for one per processor this process may use.
        any_frame: Whether frames may differ in width and height.

    Raises:
        UserError: Some image (with "error") or every image is bad, or the disk is too small.
    """
    if not images:
        raise UserError("There are no images to read.")
    stem = folder / _fingerprint(images, crop, any_frame)
    cached = _load(stem, images, crop)
    if cached is None:
        folder.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(stem.with_suffix(".lock")):
            cached = _load(stem, images, crop)  # made while this process waited
            if cached is None:
                threads = processors() if workers is None else max(1, workers)
                _build(stem, images, crop, any_frame, on_bad, threads)
                cached = _load(stem, images, crop)
    if cached is None:
        raise RuntimeError(f"{stem}.npy was just written and cannot be read")
    if cached.skipped and on_bad == "error":
        raise _bad_images(cached.skipped)
    return cached


def _fingerprint(images: Sequence[ImageSource], crop: Crop, any_frame: bool) -> str:
    recipe = {"version": CACHE_VERSION, "opencv": cv2.__version__, "crop": type(crop).__name__, **vars(crop)}
    if any_frame:
        recipe["any_frame"] = True
    digest = blake2b(json.dumps(recipe, sort_keys=True).encode(), digest_size=16)
    state = cache(_state)  # a file of many images is looked at once
    for image in images:
        path, *place = (image,) if isinstance(image, Path) else image
        digest.update("\0".join(map(str, (path.name, *state(path), *place))).encode() + b"\n")
    return digest.hexdigest()


def _state(path: Path) -> tuple[int, int]:
    """Size and modification time."""
    try:
        status = path.stat()
    except OSError:
        return -1, -1  # decoding will say why
    return status.st_size, status.st_mtime_ns


def _load(stem: Path, images: Sequence[ImageSource], crop: Crop) -> CachedImages | None:
    """The cache, or None where there is none or its files do not agree."""
    pixels, facts = stem.with_suffix(".npy"), stem.with_suffix(".json")
    if not facts.exists():  # it is written last
        return None
    try:
        known = json.loads(facts.read_text())
        bad = {int(row): str(reason) for row, reason in known["bad"].items()}
        digest = str(known["digest"])
        array = np.load(pixels, mmap_mode="r")
        whole = pixels.stat().st_size == array.offset + array.nbytes
    except (OSError, ValueError, EOFError, LookupError, TypeError, AttributeError) as error:
        _log.warning("The image cache %s is damaged and is made again (%s).", pixels, error)
        return None
    expected = (len(images) - len(bad), crop.size, crop.size, crop.channels)
    if not whole or array.shape != expected or array.dtype != np.uint8:
        _log.warning("The image cache %s does not have the length it should and is made again.", pixels)
        return None
    kept = np.delete(np.arange(len(images), dtype=np.int64), list(bad))
    skipped = tuple(f"{images[row]}: {reason}" for row, reason in bad.items())
    return CachedImages(pixels, digest, kept, skipped)


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Holds a lock that belongs to one process at a time; the system frees it when a process dies."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _log.info("Waiting for another process that is making the image cache %s.", path.with_suffix(".npy"))
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _build(
    stem: Path, images: Sequence[ImageSource], crop: Crop, any_frame: bool, on_bad: str, workers: int
) -> None:
    """Writes `stem`.npy and then `stem`.json, or neither."""
    needed = len(images) * crop.size**2 * crop.channels
    free = shutil.disk_usage(stem.parent).free
    if needed > free:
        raise UserError(
            f"The image cache needs {needed / 1e9:.1f} GB; {free / 1e9:.1f} GB are free in {stem.parent}.\n"
            "Free some space, choose a smaller crop.size or limit the data."
        )
    with replacing(stem.with_suffix(".npy")) as temporary:
        with temporary.open("wb") as file, _modest_opencv():
            digest, bad = _write(file, images, crop, any_frame, workers)
        skipped = tuple(f"{images[row]}: {reason}" for row, reason in bad.items())
        if len(bad) == len(images):
            raise UserError(f"None of the {len(images):,} images can be used:\n{listing(list(skipped))}")
        if bad and on_bad == "error":
            raise _bad_images(skipped)
    write_json(stem.with_suffix(".json"), {"images": len(images), "digest": digest, "bad": bad})


def _write(
    file: BinaryIO, images: Sequence[ImageSource], crop: Crop, any_frame: bool, workers: int
) -> tuple[str, _Bad]:
    """Writes the crops of the good images in NumPy's format.

    Returns:
        A digest of the pixels, and what is wrong with the other images.
    """
    digest = blake2b(digest_size=16)
    bad: _Bad = {}
    _write_header(file, len(images), crop)
    start = file.tell()
    with (
        Decoder() as decode,
        Progress(console=Console(stderr=True)) as progress,
        ThreadPoolExecutor(workers) as pool,
    ):
        frame = None if any_frame else _usual_frame(images, decode)
        task = progress.add_task(f"Decoding {len(images):,} images", total=len(images))
        # Two batches a worker: one at work, one ready, so that nobody waits and memory does not grow.
        ahead: deque[Future[tuple[Pixels, _Bad]]] = deque()
        for first in range(0, len(images), _BATCH):
            ahead.append(pool.submit(_batch, images, first, decode, crop, frame))
            if len(ahead) == 2 * workers:
                bad |= _write_batch(file, digest, ahead.popleft())
                progress.advance(task, _BATCH)
        while ahead:
            bad |= _write_batch(file, digest, ahead.popleft())
            progress.advance(task, _BATCH)
    if bad:
        # NumPy pads its header so that one of another length takes the same room.
        file.seek(0)
        _write_header(file, len(images) - len(bad), crop)
        if file.tell() != start:
            raise RuntimeError("NumPy's header changed its length")
    return digest.hexdigest(), bad


def _write_header(file: BinaryIO, count: int, crop: Crop) -> None:
    shape = (count, crop.size, crop.size, crop.channels)
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _write_batch(file: BinaryIO, digest: blake2b, batch: Future[tuple[Pixels, _Bad]]) -> _Bad:
    pixels, bad = batch.result()
    file.write(pixels.data)
    digest.update(pixels.data)
    return bad


def _batch(
    images: Sequence[ImageSource], first: int, decode: Decoder, crop: Crop, frame: tuple[int, ...] | None
) -> tuple[Pixels, _Bad]:
    """The crops of the good images among `_BATCH` from `first`, and the reasons of the bad by row."""
    rows = range(first, min(first + _BATCH, len(images)))
    pixels = np.empty((len(rows), crop.size, crop.size, crop.channels), np.uint8)
    bad: _Bad = {}
    for row in rows:
        try:
            image = decode(images[row])
            if frame is not None and image.shape != frame:
                raise BadImageError(f"the frame is {_size(image.shape)}, others are {_size(frame)}")
            pixels[row - first - len(bad)] = crop(image)
        except BadImageError as error:
            bad[row] = str(error)
    return pixels[: len(rows) - len(bad)], bad


def _usual_frame(images: Sequence[ImageSource], decode: Decoder) -> tuple[int, ...]:
    """The most common (H, W, 3) in a sample spread over all images; of all images if the sample is bad."""
    shapes: Counter[tuple[int, ...]] = Counter()
    for sample in (images[:: max(1, len(images) // _SAMPLE)], images):
        for image in sample:
            with suppress(BadImageError):  # it is reported when its turn comes
                shapes[decode.shape(image)] += 1
        if shapes:
            return shapes.most_common(1)[0][0]
    return ()


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} pixels"


def _bad_images(lines: Sequence[str]) -> UserError:
    return UserError(
        f"{len(lines):,} image(s) cannot be used:\n{listing(list(lines))}\n"
        "Get these files again, or leave these galaxies out with data.on_bad=skip."
    )


def processors() -> int:
    """The processors this process may use, which in a container are fewer than the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _modest_opencv() -> Iterator[None]:
    """Keeps OpenCV from starting threads inside ours, and from printing into the progress what we report."""
    logs = cv2.utils.logging
    threads, level = cv2.getNumThreads(), logs.getLogLevel()
    cv2.setNumThreads(1)
    logs.setLogLevel(logs.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
        logs.setLogLevel(level)
