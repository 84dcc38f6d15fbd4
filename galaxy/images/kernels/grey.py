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


def grey(image: Pixels, red_first: bool = True) -> Pixels:
    """A colour image in grey, as by `cv2.cvtColor`.

    Args:
        image: (H, W, 3) uint8.
        red_first: As `COLOR_RGB2GRAY` does; if not, as `COLOR_BGR2GRAY`.

    Returns:
        (H, W) uint8.
    """
    out = np.empty(image.shape[:2], np.uint8)
    (_from_rgb if red_first else _from_bgr)(*as_rows(image), out)
    return out


def _compiled(first_weight: int, last_weight: int) -> Callable[..., None]:
    """The conversion with the weights of the first and last colour as constants, which halves its time."""
    second, half, shift = np.int32(_GREEN), np.int32(2**14), np.int32(15)
    first, last = np.int32(first_weight), np.int32(last_weight)

    @compiled("void(uint8[::1], int64, uint8[:, ::1])")
    def convert(image, stride, out):
        width = out.shape[1]
        for y in range(out.shape[0]):
            row, pixels = image[y * stride : y * stride + 3 * width], out[y]
            for x in range(width):
                total = np.int32(row[3 * x]) * first + np.int32(row[3 * x + 1]) * second
                total += np.int32(row[3 * x + 2]) * last
                pixels[x] = np.uint8((total + half) >> shift)

    return convert


_from_rgb, _from_bgr = _compiled(_RED, _BLUE), _compiled(_BLUE, _RED)
