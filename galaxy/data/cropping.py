"""Many images to crops: in parallel, in order, with a progress bar, and with the reasons of bad ones."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress

import cv2
import numpy as np
from rich.console import Console
from rich.progress import Progress

from galaxy.data.blocks import BLOCK, Block
from galaxy.images.crops import Crop, Pixels
from galaxy.images.decode import BadImageError, Decoder
from galaxy.surveys.catalog import ImageSource

# Frames looked at to learn the usual frame size.
_SAMPLE = 32

_Batch = tuple[Pixels, Block]


def crop_blocks(
    images: Sequence[ImageSource], crop: Crop, any_frame: bool, workers: int, first: int
) -> Generator[_Batch, None, None]:
    """Decodes and crops the images of each block.

    Args:
        images: Where all images are.
        crop: Makes the (size, size, channels) pictures.
        any_frame: Whether frames may differ in width and height; if not, those of an unusual one are bad.
        workers: Threads.
        first: The block to begin with.

    Yields:
        The (n, size, size, channels) uint8 crops of the good images of a block, and what the block holds.
    """
    starts = range(first * BLOCK, len(images), BLOCK)
    with (
        _modest_opencv(),
        Decoder() as decode,
        Progress(console=Console(stderr=True)) as progress,
        ThreadPoolExecutor(workers) as pool,
    ):
        frame = None if any_frame else _usual_frame(images, decode)
        task = progress.add_task(
            f"Decoding {len(images):,} images", total=len(images), completed=starts.start
        )
        # Two blocks a worker, one at work and one ready: so nobody waits, and memory does not grow with the
        # number of images.
        ahead: deque[Future[_Batch]] = deque()
        for start in starts:
            ahead.append(pool.submit(_batch, images, start, decode, crop, frame))
            if len(ahead) == 2 * workers:
                yield ahead.popleft().result()
                progress.advance(task, BLOCK)
        while ahead:
            yield ahead.popleft().result()
            progress.advance(task, BLOCK)


def _batch(
    images: Sequence[ImageSource], start: int, decode: Decoder, crop: Crop, frame: tuple[int, ...] | None
) -> _Batch:
    rows = range(start, min(start + BLOCK, len(images)))
    pixels = np.empty((len(rows), crop.size, crop.size, crop.channels), np.uint8)
    bad: dict[int, str] = {}
    for row in rows:
        try:
            image = decode(images[row])
            if frame is not None and image.shape != frame:
                raise BadImageError(f"the frame is {_size(image.shape)}, others are {_size(frame)}")
            pixels[row - start - len(bad)] = crop(image)
        except BadImageError as error:
            bad[row] = str(error)
    good = pixels[: len(rows) - len(bad)]
    return good, Block.of(good, bad)  # here, for this thread's processor still has much of them in its cache


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
