"""Images turned, moved and zoomed: a batch of bytes to floats in one pass."""

# Numba reads no annotations.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from galaxy.images.kernels.compiled import FMA, compiled


def warped(images: NDArray[np.uint8], inverse: NDArray[np.float32], threads: int) -> NDArray[np.float32]:
    """Images resampled bilinearly, with their mirror images beyond their edges.

    As `torch.nn.functional.grid_sample` with `padding_mode="reflection"` and `align_corners=False`, up to the
    rounding of its grid; an image that is not moved stays as it is.

    Args:
        images: (B, S, S, C), C being 1 or 3.
        inverse: (B, 2, 3), where each point of a result lies in the image, both spanning [-1, 1].
        threads: How many work at it.

    Returns:
        (B, S, S, C) in [0, 1].
    """
    count, side, _, channels = images.shape
    out = np.empty((count, side * side * channels), np.float32)
    most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]  # which Numba sets as it starts
    numba.set_num_threads(min(threads, most))
    _warp_all(images.reshape(count, -1), inverse, out, side, channels)
    return out.reshape(images.shape)


@compiled("void(uint8[::1], uint64, uint64, uint32[:, ::1])")
def _pack(image, side, channels, words):
    """One word a pixel, so that a pixel is read at once; the last row and column are there twice."""
    three, eight, sixteen = np.uint64(3), np.uint32(8), np.uint32(16)
    for y in range(side):
        row, to = image[y * side * channels : (y + 1) * side * channels], words[y]
        if channels == three:
            for x in range(side):
                red, green, blue = row[three * x], row[three * x + 1], row[three * x + 2]
                to[x] = np.uint32(red) | np.uint32(green) << eight | np.uint32(blue) << sixteen
        else:
            for x in range(side):
                to[x] = np.uint32(row[x])
        to[side] = to[side - 1]
    words[side] = words[side - 1]


@compiled("void(float32, float32, float32[::1])", fastmath=FMA)
def _along(first, step, places):
    """Where the pixels of a row lie along one axis of the image, mirrored at its edges until they are in it.

    Args:
        first: The place of the first pixel from the image's edge.
        step: From one to the next.
        places: What is written: from the centre of the image's first pixel.
    """
    half, last = np.float32(0.5), np.float32(places.size - 1)
    twice = np.float32(2 * places.size)
    for x in range(places.size):
        place = abs(first + step * np.float32(np.int32(x)))
        place -= twice * np.floor(place / twice)
        places[x] = min(max(min(place, twice - place) - half, np.float32(0)), last)


@compiled("void(uint32[:, ::1], float32[::1], float32[::1], uint32[::1], uint32[:, ::1])")
def _gather(words, right, down, at, corners):
    """The four pixels around each place."""
    wide = np.uint32(words.shape[1])
    for x in range(at.size):
        at[x] = np.uint32(np.int32(down[x])) * wide + np.uint32(np.int32(right[x]))
    flat = words.reshape(-1)
    zero, one, two, three = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3)
    for x in range(np.uint64(at.size)):
        here = np.uint64(at[x])
        below = here + np.uint64(wide)
        corners[zero, x], corners[one, x] = flat[here], flat[here + one]
        corners[two, x], corners[three, x] = flat[below], flat[below + one]


@compiled("float32(uint32, uint32, uint32, uint32, uint32, float32, float32)", fastmath=FMA)
def _between(a, b, c, d, shift, right, down):
    """The level of one channel between the four pixels, in [0, 1]."""
    byte = np.uint32(255)
    here, beside = np.float32(np.int32(a >> shift & byte)), np.float32(np.int32(b >> shift & byte))
    below, across = np.float32(np.int32(c >> shift & byte)), np.float32(np.int32(d >> shift & byte))
    upper = here + right * (beside - here)
    lower = below + right * (across - below)
    return (upper + down * (lower - upper)) / np.float32(255)


@compiled("void(uint32[:, ::1], float32[::1], float32[::1], uint64, float32[::1])")
def _mix(corners, right, down, channels, out):
    """A row of the result."""
    a, b, c, d = corners[0], corners[1], corners[2], corners[3]
    for x in range(right.size):
        right[x], down[x] = right[x] - np.floor(right[x]), down[x] - np.floor(down[x])
    if channels == 3:
        for x in range(right.size):
            out[3 * x] = _between(a[x], b[x], c[x], d[x], np.uint32(0), right[x], down[x])
            out[3 * x + 1] = _between(a[x], b[x], c[x], d[x], np.uint32(8), right[x], down[x])
            out[3 * x + 2] = _between(a[x], b[x], c[x], d[x], np.uint32(16), right[x], down[x])
    else:
        for x in range(right.size):
            out[x] = _between(a[x], b[x], c[x], d[x], np.uint32(0), right[x], down[x])


@compiled("void(uint8[::1], float32[:, ::1], float32[::1], uint64, uint64)")
def _warp(image, inverse, out, side, channels):
    words = np.empty((side + 1, side + 1), np.uint32)
    right, down = np.empty(side, np.float32), np.empty(side, np.float32)
    at, corners = np.empty(side, np.uint32), np.empty((4, side), np.uint32)
    _pack(image, side, channels, words)
    half = np.float32(0.5) * np.float32(side)
    first = np.float32(0.5) - half  # from the middle of the image to the middle of its first pixel
    a, b = inverse[0], inverse[1]
    for y in range(side):
        line = first + np.float32(y)
        _along(a[0] * first + a[1] * line + (a[2] + 1) * half, a[0], right)
        _along(b[0] * first + b[1] * line + (b[2] + 1) * half, b[0], down)
        _gather(words, right, down, at, corners)
        _mix(corners, right, down, channels, out[y * side * channels : (y + 1) * side * channels])


@compiled("void(uint8[:, ::1], float32[:, :, ::1], float32[:, ::1], uint64, uint64)", parallel=True)
def _warp_all(images, inverse, out, side, channels):
    for number in prange(images.shape[0]):
        _warp(images[number], inverse[number], out[number], side, channels)
