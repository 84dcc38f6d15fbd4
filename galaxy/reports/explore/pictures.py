"""Looks at many images, one after the other: what crops keep of them, their mean, and what tells copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b

import cv2
import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray

from galaxy.data.cropping import BLOCK, cut, one_opencv_thread
from galaxy.images import BadImageError
from galaxy.images.crops import Crop, Pixels
from galaxy.images.crops.crop import central_square
from galaxy.images.decode import Decoder
from galaxy.surveys.catalog import ImageSource
from galaxy.system.terminal import tracked

# The side of the mean frame in pixels.
MEAN_SIDE = 128
# The side of a thumbnail. Its sky holds neighbours, whose places no other galaxy has.
THUMBNAIL = 16


@dataclass(frozen=True)
class Cut:
    """What a crop made of an image.

    Attributes:
        share: The share of the frame's area that was kept.
        whole: Whether that is the whole frame.
        enlarged: Whether it has fewer pixels than the picture that was made of it.
        pixels: The picture, (size, size, channels) uint8.
    """

    share: float
    whole: bool
    enlarged: bool
    pixels: Pixels


@dataclass(frozen=True)
class Look:
    """What was seen of an image: the reason why it cannot be used, or everything else."""

    reason: str = ""
    digest: bytes = b""
    thumbnail: NDArray[np.float32] | None = None
    shape: tuple[int, int] = (0, 0)
    frame: Pixels | None = None
    cuts: tuple[Cut, ...] = ()


@dataclass(frozen=True)
class CropRow:
    """What a crop made of N images.

    Attributes:
        name: The name of the crop.
        searches: Whether it looks for the galaxy.
        size: The side of its pictures.
        shares: (N,) the share of the frame's area that was kept.
        whole: The number of images that were kept whole.
        enlarged: The number of images whose kept part has fewer pixels than the picture.
        mean: The mean picture, (size, size, channels) uint8.
    """

    name: str
    searches: bool
    size: int
    shares: NDArray[np.float64]
    whole: int
    enlarged: int
    mean: Pixels


@dataclass(frozen=True)
class Looked:
    """What was seen of the images of some galaxies.

    Attributes:
        rows: (N,) the rows of the galaxies whose images could be read.
        digests: The digests of their pixels, N of them.
        thumbnails: (N, D) float32, see `thumbnail`.
        shapes: The heights and widths of the frames, with the number of each.
        mean: The mean of the frames' central squares, (side, side, 3) uint8.
        crops: What each crop made of them.
        bad: One line for each image that cannot be used.
    """

    rows: NDArray[np.int64]
    digests: tuple[bytes, ...]
    thumbnails: NDArray[np.float32]
    shapes: dict[tuple[int, int], int]
    mean: Pixels
    crops: tuple[CropRow, ...]
    bad: tuple[str, ...]


def look_at(
    rows: NDArray[np.int64],
    images: Sequence[ImageSource],
    crops: Mapping[str, Crop],
    workers: int | None,
) -> Looked:
    """Decodes and crops images. What is kept of each is small, so memory does not grow with their size.

    Args:
        rows: (N,) the rows of the galaxies to look at.
        images: The images of all galaxies.
        crops: The crops, by their names.
        workers: How many threads decode; None for one per core.

    Raises:
        UserError: A disk or the system failed, or the package that reads a format is not installed.
    """
    kept: list[int] = []
    bad: list[str] = []
    digests: list[bytes] = []
    thumbnails: list[NDArray[np.float32]] = []
    shapes: Counter[tuple[int, int]] = Counter()
    frames = np.zeros((MEAN_SIDE, MEAN_SIDE, 3))
    sums = [_CropSum(crop) for crop in crops.values()]
    with one_opencv_thread(), Decoder() as decode, ThreadPoolExecutor(workers or cpu_count()) as pool:

        def look(row: int) -> Look:
            return _look(images[row], decode, list(crops.values()))

        # A block at a time is decoded, so that no more results than these wait.
        for start in tracked(range(0, len(rows), BLOCK), "Looking at images"):
            block = rows[start : start + BLOCK].tolist()
            for row, seen in zip(block, pool.map(look, block), strict=True):
                if seen.frame is None or seen.thumbnail is None:
                    bad.append(f"{images[row]}: {seen.reason}")
                    continue
                kept.append(row)
                digests.append(seen.digest)
                thumbnails.append(seen.thumbnail)
                shapes[seen.shape] += 1
                frames += seen.frame
                for total, one in zip(sums, seen.cuts, strict=True):
                    total.add(one)
    return Looked(
        np.array(kept, dtype=np.int64),
        tuple(digests),
        np.array(thumbnails, dtype=np.float32).reshape(len(kept), THUMBNAIL**2),
        shapes,
        _mean(frames, len(kept)),
        tuple(total.row(name) for name, total in zip(crops, sums, strict=True)),
        tuple(bad),
    )


class _CropSum:
    """Adds up what a crop makes of images."""

    def __init__(self, crop: Crop) -> None:
        self.crop = crop
        self.shares: list[float] = []
        self.whole = self.enlarged = 0
        self.total = np.zeros((crop.size, crop.size, crop.channels))

    def add(self, one: Cut) -> None:
        self.shares.append(one.share)
        self.whole += one.whole
        self.enlarged += one.enlarged
        self.total += one.pixels

    def row(self, name: str) -> CropRow:
        shares, mean = np.array(self.shares), _mean(self.total, len(self.shares))
        crop = self.crop
        return CropRow(name, crop.searches, crop.size, shares, self.whole, self.enlarged, mean)


def _mean(total: NDArray[np.float64], count: int) -> Pixels:
    return (total / max(count, 1)).round().astype(np.uint8)


def _look(image: ImageSource, decode: Decoder, crops: Sequence[Crop]) -> Look:
    try:
        pixels = decode(image)
    except BadImageError as error:
        return Look(str(error))
    height, width = pixels.shape[:2]
    digest = blake2b(np.ascontiguousarray(pixels).data, digest_size=16, person=f"{height}x{width}".encode())
    cuts = []
    for crop in crops:
        picture, side = cut(pixels, crop)
        kept = side or min(height, width)
        share = side**2 / (height * width) if side else 1.0
        cuts.append(Cut(share, not side, kept < crop.size, picture))
    return Look(
        "", digest.digest(), thumbnail(pixels), (height, width), fitted(pixels, MEAN_SIDE), tuple(cuts)
    )


def thumbnail(image: Pixels) -> NDArray[np.float32]:
    """Makes the vector that tells copies: the logarithm of the grey levels, with mean 0 and length 1.

    The logarithm gives the sky a say beside the galaxy, which would outshine it.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (THUMBNAIL**2,) float32, all 0 for an image without any detail.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    small = np.log1p(cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)).ravel()
    small -= small.mean()
    length = float(np.linalg.norm(small))
    return (small / length).astype(np.float32) if length > 1e-3 else np.zeros_like(small)


def pictures_of(
    rows: Sequence[int], images: Sequence[ImageSource], crops: Mapping[str, Crop], side: int
) -> dict[int, list[Pixels]]:
    """Makes the pictures that a gallery shows: of each galaxy its frame and its crops.

    Args:
        rows: The rows of the galaxies.
        images: The images of all galaxies.
        crops: The crops.
        side: The side of each picture in pixels.

    Returns:
        For each galaxy whose image can be read, 1 + C pictures of (side, side, 3) uint8.
    """
    made = {}
    with Decoder() as decode:
        for row in tracked(list(dict.fromkeys(rows)), "Making galleries"):
            try:
                pixels = decode(images[row])
            except BadImageError:
                continue
            made[row] = [
                fitted(picture, side) for picture in (pixels, *(crop(pixels) for crop in crops.values()))
            ]
    return made


def fitted(picture: Pixels, side: int) -> Pixels:
    """Resizes the central square of a picture, (H, W, 3) or (H, W, 1), to (side, side, 3) uint8."""
    square = central_square(picture, min(picture.shape[:2]))
    if square.shape[2] == 1:
        square = cv2.cvtColor(square, cv2.COLOR_GRAY2RGB)
    how = cv2.INTER_AREA if len(square) >= side else cv2.INTER_NEAREST
    return cv2.resize(square, (side, side), interpolation=how)


def most_of(shapes: Mapping[tuple[int, int], int], limit: int = 3) -> str:
    """Says how large frames are, and of several sizes how many have each, the most common first."""
    common = sorted(shapes.items(), key=lambda item: -item[1])
    words = [
        f"{width} x {height} pixels" + f" ({count:,})" * (len(common) > 1)
        for (height, width), count in common[:limit]
    ]
    others = sum(count for _, count in common[limit:])
    return ", ".join(words) + (f", and other sizes ({others:,})" if others else "")
