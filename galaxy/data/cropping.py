"""Decodes and crops many images in parallel, in order, with a progress bar."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Collection, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task
from rich.text import Text

from galaxy.images import BadImageError
from galaxy.images.crops import Crop, Pixels
from galaxy.images.decode import Decoder
from galaxy.surveys.catalog import FitsImage, Hdf5Image, ImageSource, ParquetImage

# A task decodes this many images: handing tasks out then costs nothing, and the progress bar still moves.
BLOCK = 64


@dataclass(frozen=True)
class Cropped:
    """One image after it was read.

    Attributes:
        content: A digest of the image's content; empty if the image cannot be read.
        reason: The flaw of a bad image; empty for a good one.
        frame: Height and width of the whole image in pixels.
        side: The shorter side of the part that was kept, in pixels; 0 for the whole image.
        crc: The CRC-32 of `pixels`.
        pixels: The crop, (size, size, channels) uint8; empty if the image was not cropped.
    """

    content: str = ""
    reason: str = ""
    frame: tuple[int, int] = (0, 0)
    side: int = 0
    crc: int = 0
    pixels: Pixels = field(default_factory=lambda: np.empty(0, np.uint8))


def crop_images(
    images: Sequence[ImageSource],
    crop: Crop | None,
    known: Collection[str],
    threads: int,
    title: str = "Decoding",
) -> Generator[list[Cropped], None, None]:
    """Crops every image whose content is not known yet.

    Args:
        images: Where the images are.
        crop: Makes the (size, size, channels) pictures; None to find out the contents alone.
        known: Digests of contents that need not be cropped; the caller may add to them meanwhile.
        threads: How many threads decode.
        title: What is done with the images, for the progress bar.

    Yields:
        The results of up to `BLOCK` images, in the order of `images`.

    Raises:
        UserError: A disk or the system failed, or the package that reads a format is not installed.
        TypeError: The crop returned other pixels than uint8.
    """
    with (
        one_opencv_thread(),
        Decoder() as decode,
        Progress(*Progress.get_default_columns(), _Speed(), console=Console(stderr=True)) as progress,
        ThreadPoolExecutor(threads) as pool,
    ):
        task = progress.add_task(f"{title} {len(images):,} images", total=len(images))

        def crop_block(start: int) -> list[Cropped]:
            return [_cropped(image, decode, crop, known) for image in images[start : start + BLOCK]]

        # Two blocks for each thread, one at work and one waiting: no thread is idle, and the memory in use
        # does not grow with the number of images.
        waiting: deque[Future[list[Cropped]]] = deque()
        try:
            for start in range(0, len(images), BLOCK):
                waiting.append(pool.submit(crop_block, start))
                if len(waiting) == 2 * threads:
                    yield waiting.popleft().result()
                    progress.advance(task, BLOCK)
            while waiting:
                yield waiting.popleft().result()
                progress.advance(task, BLOCK)
        finally:
            pool.shutdown(cancel_futures=True)  # An interrupted run waits for the blocks at work alone.


class _Speed(ProgressColumn):
    """Shows how many images are done in a second."""

    def render(self, task: Task) -> Text:
        """Returns the mean speed; nothing before there is one."""
        seconds = task.finished_time or task.elapsed
        speed = f"{min(task.completed, task.total or 0) / seconds:,.0f}/s" if seconds else ""
        return Text(speed, style="progress.data.speed")


def _cropped(image: ImageSource, decode: Decoder, crop: Crop | None, known: Collection[str]) -> Cropped:
    content, pixels = "", None
    try:
        if isinstance(image, Hdf5Image):
            # The file holds many images, so the digest is that of the decoded image.
            pixels = decode(image)
            content = _digest(pixels.tobytes(), repr(pixels.shape))
        else:
            data = decode.content(image)
            settings: list[Any] = [] if isinstance(image, Path) else list(image[1:])
            if isinstance(image, FitsImage):  # the places of further files do not change the pixels
                settings.pop(image._fields.index("further") - 1)
            if isinstance(image, ParquetImage):  # the place in the file does not change the pixels
                settings = [] if image.white is None else [image.white]
            content = _digest(data, repr(settings))
        if content in known or crop is None:
            return Cropped(content)
        if pixels is None:
            # The file may have been replaced meanwhile, so the bytes of the digest are decoded.
            pixels = decode(image, data)
    except BadImageError as error:
        return Cropped(content, str(error))
    picture, side = cut(pixels, crop)
    cropped = np.ascontiguousarray(picture)
    return Cropped(content, "", (pixels.shape[0], pixels.shape[1]), side, zlib.crc32(cropped.data), cropped)


def cut(pixels: Pixels, crop: Crop) -> tuple[Pixels, int]:
    """Crops an image; returns also the shorter side of the part that was kept, 0 for the whole image."""
    if type(crop).__call__ is not Crop.__call__:  # a crop of one's own may do without a part
        return crop(pixels), crop.size
    region = crop.region(pixels)
    return crop.resized(region), 0 if region.shape == pixels.shape else min(region.shape[:2])


def _digest(content: bytes, settings: str) -> str:
    """Digests the content of an image and all else that decides its pixels."""
    digest = blake2b(content, digest_size=16)
    digest.update(settings.encode())
    return digest.hexdigest()


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Keeps OpenCV from starting threads inside ours."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
