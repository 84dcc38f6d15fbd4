"""The base class of all crops: a region of the frame, resized to a square."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

# All pixels are uint8. The type says "any" because OpenCV's annotations promise no more than some number.
Pixels: TypeAlias = NDArray[Any]

# The largest size of a crop. A mistyped size must not take all memory: each thread holds the crops of 128
# images at once.
LARGEST = 1024


class Crop(ABC):
    """Turns an RGB frame into a square picture of the galaxy.

    A subclass chooses the region. Every setting that changes its pixels must be an attribute that JSON can
    hold, because the cache of cropped images is keyed by the class's name and `vars(crop)`.

    Args:
        size: Width and height of the result, 1 to 1024 pixels.
        channels: 3 for RGB, 1 for grey (with the weights of ITU-R 601).

    Attributes:
        searches: Whether the crop looks for the galaxy, and keeps the whole frame where it finds none.

    Raises:
        ValueError: A parameter is out of its range.
    """

    searches: ClassVar[bool] = False

    def __init__(self, size: int, channels: int) -> None:
        if not 1 <= size <= LARGEST:
            raise ValueError(f"size is {size}; it must be from 1 to {LARGEST} (pixels)")
        if channels not in (1, 3):
            raise ValueError(f"channels is {channels}; it must be 1 (grey) or 3 (RGB)")
        self.size = size
        self.channels = channels

    def __call__(self, image: Pixels) -> Pixels:
        """Crops one image.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            (size, size, channels) uint8, which may be a view of `image`.

        Raises:
            TypeError: `region` returned pixels of another type.
        """
        return self.resized(self.region(image))

    def resized(self, region: Pixels) -> Pixels:
        """Makes the picture, (size, size, channels) uint8, of the part of the frame that was chosen."""
        if region.dtype != np.uint8:
            raise TypeError(f"{type(self).__name__}.region returned {region.dtype}; it must return uint8")
        if self.channels == 1:
            region = cv2.cvtColor(region, cv2.COLOR_RGB2GRAY)
        if region.shape[:2] != (self.size, self.size):
            # INTER_AREA averages all pixels that a new one covers, so that shrinking does not alias.
            region = cv2.resize(region, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return region.reshape(self.size, self.size, self.channels)

    @abstractmethod
    def region(self, image: Pixels) -> Pixels:
        """Chooses the part of the frame to keep.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            A view of `image` with at least one pixel.
        """


def central_square(image: Pixels, side: int) -> Pixels:
    """Returns a view of the central (side, side) pixels.

    Where the margin is odd, the square lies half a pixel above and to the left of the centre.
    """
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side]
