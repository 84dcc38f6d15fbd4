"""Colour to grey."""

# Numba reads no annotations.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from galaxy.images.crops.crop import Pixels
from galaxy.images.kernels.compiled import compiled
from galaxy.images.kernels.rows import as_rows

# OpenCV's weights of red, green and blue (ITU-R 601) in units of 2^-15.
_RED, _GREEN, _BLUE = 9798, 19235, 3735


def grey(image: Pixels) -> Pixels:
    """A colour image in grey, as by `cv2.cvtColor` with `COLOR_RGB2GRAY`.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (H, W) uint8.
    """
    level: Pixels = grey_of_rgb(*as_rows(image), *image.shape[:2])
    return level


@compiled("void(uint8[::1], uint8[::1], uint8[::1], uint8[::1])")
def _take_apart(row, first, second, third):
    """The three colours of a row by themselves, so that the processor takes many pixels at once after it."""
    for x in range(first.size):
        first[x], second[x], third[x] = row[3 * x], row[3 * x + 1], row[3 * x + 2]


def _compiled(first_weight: int, last_weight: int) -> Callable[..., Pixels]:
    """The conversion with the weights of the first and last colour as constants, which halves its time."""
    half, shift = np.int32(2**14), np.int32(15)
    first, second, third = np.int32(first_weight), np.int32(_GREEN), np.int32(last_weight)

    def convert(image, stride, height, width):
        out, apart = np.empty((height, width), np.uint8), np.empty((3, width), np.uint8)
        a, b, c = apart[0], apart[1], apart[2]
        for y in range(height):
            _take_apart(image[y * stride : y * stride + 3 * width], a, b, c)
            pixels = out[y]
            for x in range(width):
                total = np.int32(a[x]) * first + np.int32(b[x]) * second + np.int32(c[x]) * third
                pixels[x] = np.uint8((total + half) >> shift)
        return out

    # Under names of their own: of two that share one, a process that compiles the one and finds the other in
    # Numba's store can take both for the same.
    convert.__qualname__ += f"_{first_weight}_{last_weight}"
    return compiled("uint8[:, ::1](uint8[::1], int64, int64, int64)")(convert)


# The grey of an image by its memory, how far in it one row is from the next, its height and its width.
grey_of_rgb, grey_of_bgr = _compiled(_RED, _BLUE), _compiled(_BLUE, _RED)
