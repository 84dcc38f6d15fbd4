"""What every crop is: a region of the frame, resized to a square."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from galaxy.images import kernels
from galaxy.system.errors import UserError

# uint8 throughout; OpenCV's own annotations promise no more than "some number".
Pixels: TypeAlias = NDArray[Any]

# A slip of the keyboard must not take all memory: each thread has the crops of 128 images at once.
LARGEST = 1024


class Crop(ABC):
    """Turns an RGB frame into a square picture of the galaxy.

    A subclass chooses the region. Whatever decides its pixels must be an attribute that JSON can hold: the
    cache of cropped images is keyed by the class's name and `vars(crop)`.

    Attributes:
        size: Width and height of the result, in pixels.
        channels: 3 for RGB, 1 for grey (ITU-R 601 weights).
    """

    def __init__(self, size: int, channels: int) -> None:
        if not 1 <= size <= LARGEST:
            raise UserError(f"crop.size is {size}; it must be from 1 to {LARGEST} (pixels).")
        if channels not in (1, 3):
            raise UserError(f"crop.channels is {channels}; it must be 1 (grey) or 3 (RGB).")
        self.size = size
        self.channels = channels

    def __call__(self, image: Pixels, out: Pixels | None = None) -> Pixels:
        """Crops one image.

        Args:
            image: (H, W, 3) uint8 RGB.
            out: (size, size, channels) uint8, contiguous: where the result goes; None for a new array.

        Returns:
            (size, size, channels) uint8.
        """
        if out is None:
            out = np.empty((self.size, self.size, self.channels), np.uint8)
        assert out.flags.c_contiguous
        region = self.region(image)
        _resize(kernels.grey(region) if self.channels == 1 else region, out)
        return out

    @abstractmethod
    def region(self, image: Pixels) -> Pixels:
        """The part of the (H, W, 3) uint8 RGB `image` to keep, as a view of at least one pixel."""


def _resize(image: Pixels, out: Pixels) -> None:
    """Fills a square with the image, its pixels averaged by area, so that shrinking does not alias."""
    (height, width), size = image.shape[:2], len(out)
    if (height, width) == (size, size):
        out[:] = image.reshape(out.shape)
    elif min(height, width) < size or (height % size == 0 and width % size == 0):
        # Enlarging, and shrinking by whole numbers, for which OpenCV has fast ways of its own.
        cv2.resize(image, (size, size), out, interpolation=cv2.INTER_AREA)
    else:
        kernels.shrink(image, out)


def central_square(image: Pixels, side: int) -> Pixels:
    """The central (side, side) pixels, as a view; of the two middles of an odd margin, the upper left."""
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side]
