"""An image as the compiled steps read it."""

from __future__ import annotations

import numpy as np

from galaxy.images.crops.crop import Pixels


def as_rows(image: Pixels) -> tuple[Pixels, int]:
    """The memory of a (H, W) or (H, W, C) uint8 image, and how far in it one row is from the next.

    A view wherever each row's numbers follow one another, as in a rectangle of a frame; a copy of images that
    are mirrored, turned or read-only. A step is then compiled for numbers that are neighbours, of which it
    takes many at once.
    """
    if not image.flags.writeable:  # which Numba would take for another type
        image = image.copy()
    if image.flags.c_contiguous:  # a tenth of the time of what follows
        return image.reshape(-1), image.strides[0]
    if not (image[0].flags.c_contiguous and image.strides[0] > 0):
        image = np.ascontiguousarray(image)
    stride = image.strides[0]
    length = (len(image) - 1) * stride + image[0].size
    return np.lib.stride_tricks.as_strided(image, (length,), (1,)), stride
