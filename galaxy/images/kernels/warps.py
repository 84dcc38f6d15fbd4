"""Images turned, moved and zoomed: a batch of bytes to floats in one pass."""

# Numba reads no annotations.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
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

    Raises:
        ValueError: The arrays have other shapes.
    """
    count, side, width, channels = images.shape
    if width != side or channels not in (1, 3) or inverse.shape != (count, 2, 3):
        raise ValueError(f"images of {images.shape} cannot be warped by {inverse.shape}")
    numbers = images.reshape(count, side * side * channels)
    floats = np.empty(numbers.shape, np.float32)

    def warp(part: slice) -> None:
        _warp_all(numbers[part], inverse[part], floats[part], side, channels)

    share = max(1, math.ceil(count / threads))
    parts = [slice(begin, begin + share) for begin in range(0, count, share)]
    if len(parts) == 1:
        warp(parts[0])
    else:
        # Not by Numba's own threads: they change how many torch has, and end processes that were forked.
        list(_pool(threads, os.getpid()).map(warp, parts))
    return floats.reshape(images.shape)


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads of this process: one that was forked from another has none of the other's."""
    return ThreadPoolExecutor(threads, thread_name_prefix="warp")


@compiled("void(uint8[::1], uint64, uint64, uint32[:, ::1])")
def _pack(image, side, channels, words):
    """One word a pixel, so that a pixel is read at once; the last row and column are there twice."""
    eight, sixteen = np.uint32(8), np.uint32(16)
    for y in range(side):
        row, to = image[y * side * channels : (y + 1) * side * channels], words[y]
        if channels == 3:
            for x in range(side):
                red, green, blue = row[3 * x], row[3 * x + 1], row[3 * x + 2]
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
        place = min(place, twice - place) - half
        place = place if place > np.float32(0) else np.float32(0)  # and of what is no number
        places[x] = place if place < last else last


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
def _level(a, b, c, d, shift, right, down):
    """The level of one channel between four pixels, in [0, 1]."""
    byte = np.uint32(255)
    here, beside = np.float32(np.int32(a >> shift & byte)), np.float32(np.int32(b >> shift & byte))
    below, across = np.float32(np.int32(c >> shift & byte)), np.float32(np.int32(d >> shift & byte))
    upper = here + right * (beside - here)
    lower = below + right * (across - below)
    return (upper + down * (lower - upper)) / np.float32(255)


@compiled("void(uint32[:, ::1], float32[::1], float32[::1], uint64, float32[::1])")
def _mix(corners, right, down, channels, out):
    """A row of the result, from the four pixels around each of these places."""
    red, green, blue = np.uint32(0), np.uint32(8), np.uint32(16)
    a, b, c, d = corners[0], corners[1], corners[2], corners[3]
    for x in range(right.size):
        u, v = right[x] - np.floor(right[x]), down[x] - np.floor(down[x])
        if channels == 3:
            out[3 * x] = _level(a[x], b[x], c[x], d[x], red, u, v)
            out[3 * x + 1] = _level(a[x], b[x], c[x], d[x], green, u, v)
            out[3 * x + 2] = _level(a[x], b[x], c[x], d[x], blue, u, v)
        else:
            out[x] = _level(a[x], b[x], c[x], d[x], red, u, v)


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


@compiled("void(uint8[:, ::1], float32[:, :, ::1], float32[:, ::1], uint64, uint64)")
def _warp_all(images, inverse, out, side, channels):
    for number in range(images.shape[0]):
        _warp(images[number], inverse[number], out[number], side, channels)
