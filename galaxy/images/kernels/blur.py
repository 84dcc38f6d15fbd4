"""What is bright after a blur."""

# Numba reads no annotations.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from galaxy.images.kernels.bits import brighter
from galaxy.images.kernels.compiled import FMA, compiled


@cache
def blur_weights(side: int) -> NDArray[np.float32]:
    """The kernel of `cv2.GaussianBlur` along one axis, in its units of 1/256: what a white pixel becomes.

    Args:
        side: Of the kernel, odd; its standard deviation is what OpenCV takes for a kernel of that side.

    Returns:
        (side,) float32, whole numbers.
    """
    white = np.zeros((1, 2 * side + 1), np.uint8)
    white[0, side] = 255
    smooth: NDArray[np.float32] = cv2.GaussianBlur(white, (side, 1), 0)[0].astype(np.float32)
    weights = smooth[side - side // 2 : side + side // 2 + 1].copy()
    weights[side // 2] += 256 - weights.sum()  # which white, of 255, takes from those above a half
    return weights


@compiled("uint64[:, ::1](uint64[:, ::1], int64)")
def _within_reach(bits, margin):
    """Words that are not 0 where anything as near as this to one of their pixels, up or along, is bright."""
    height, words = bits.shape
    wide = np.empty_like(bits)
    for y in range(height):
        row, to = bits[y], wide[y]
        for i in range(words):
            to[i] = row[i]
        for step in range(1, (margin + 63) // 64 + 1):  # each word within reach; of the last, what is
            shift = np.uint64(max(0, 64 * step - margin))
            for i in range(step, words):
                to[i] |= row[i - step] >> shift
                to[i - step] |= row[i] << shift
    out = wide.copy()
    every, near = wide.reshape(-1), out.reshape(-1)
    for distance in range(1, min(margin, height - 1) + 1):  # all rows at once
        below = every[distance * words :]
        for i in range(below.size):
            near[i] |= below[i]
        above, to = every[: below.size], near[distance * words :]
        for i in range(above.size):
            to[i] |= above[i]
    return out


@compiled("int64(int64, int64)")
def _mirrored(place, length):
    """Where BORDER_REFLECT_101 finds the pixel for a place before or after a row of this length."""
    while length > 1 and not 0 <= place < length:
        place = -place if place < 0 else 2 * length - 2 - place
    return place if length > 1 else 0


@compiled("void(uint8[:, ::1], int64, int64, float32[::1], float32[::1])", fastmath=FMA)
def _add_rows(grey, y, first, weights, total):
    """The weighted sum of the rows around one, from this column on; what is beyond the image is mirrored."""
    height, width = grey.shape
    pixels, margin = grey.reshape(-1), weights.size // 2
    begin, end = max(0, first), min(width, first + total.size)
    for x in range(total.size):
        total[x] = np.float32(0)
    for k in range(weights.size):
        row = _mirrored(y + k - margin, height)
        at, to, weight = np.uint64(row * width + begin), np.uint64(begin - first), weights[k]
        for x in range(end - begin):
            total[to + np.uint64(x)] += weight * np.float32(pixels[at + np.uint64(x)])
    for x in range(first, 0):
        total[x - first] = total[_mirrored(x, width) - first]
    for x in range(width, min(first + total.size, width + margin)):
        total[x - first] = total[_mirrored(x, width) - first]


@compiled("uint64(float32[::1], float32[::1], float32[::1], float32)", fastmath=FMA)
def _word(rows, weights, total, least):
    """Which of 64 weighted sums along a row are large enough."""
    for x in range(64):
        total[x] = np.float32(0)
    for k in range(np.uint64(weights.size)):
        weight = weights[k]
        for x in range(64):
            total[x] += weight * rows[k + np.uint64(x)]
    word = np.uint64(0)
    for x in range(64):
        word |= np.uint64(total[x] >= least) << np.uint64(x)
    return word


@compiled("uint64[:, ::1](uint8[:, ::1], float32[::1], int64)")
def brighter_after_blur(grey, weights, threshold):
    """Which pixels of an image are brighter than a grey level once `cv2.GaussianBlur` has smoothed it.

    Args:
        grey: (H, W) uint8.
        weights: (side,) float32, of `blur_weights`.
        threshold: From 0 to 255.

    Returns:
        (H, words) uint64.
    """
    # A pixel can only be bright where one within reach was; words without such a pixel, most of an image, are
    # passed over. Sums stay below 2^24, where float32 counts exactly.
    bright = brighter(grey, threshold)
    if weights.size == 1:
        return bright
    # OpenCV's result is the sum of pixels times weights, divided by 2^16 and rounded.
    least = np.float32((threshold + 1) * 2**16 - 2**15)
    height, width = grey.shape
    words, margin = bright.shape[1], weights.size // 2
    near = _within_reach(bright, margin)
    # As long as a multiple of what the processor takes at once.
    rows, total = np.empty(64 + 32 * ((2 * margin + 31) // 32), np.float32), np.empty(64, np.float32)
    out = np.zeros((height, words), np.uint64)
    inside = np.uint64(2**64 - 1) >> np.uint64(64 * words - width)
    for y in range(height):
        for i in range(words):
            if near[y, i] != np.uint64(0):
                _add_rows(grey, y, 64 * i - margin, weights, rows)
                out[y, i] = _word(rows, weights, total, least)
        out[y, words - 1] &= inside
    return out
