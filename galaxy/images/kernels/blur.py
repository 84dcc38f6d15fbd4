"""What is bright after a blur."""

# Numba reads no annotations.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from galaxy.images.crops.crop import Pixels
from galaxy.images.kernels.bits import Bits, brighter


def brighter_after_blur(grey: Pixels, side: int, threshold: int) -> Bits:
    """Which pixels of an image are brighter than a grey level once `cv2.GaussianBlur` has smoothed it.

    Args:
        grey: (H, W) uint8.
        side: Of the kernel, odd; its standard deviation is what OpenCV takes for a kernel of that side.
        threshold: From 0 to 255.

    Returns:
        (H, words) uint64.
    """
    if side == 1:
        return brighter(grey, threshold)
    # OpenCV's result is the sum of pixels times integer weights, divided by 2^16 and rounded.
    least = (threshold + 1) * 2**16 - 2**15
    return _brighter_after_blur(grey, brighter(grey, threshold), _weights(side), least)


@cache
def _weights(side: int) -> NDArray[np.float32]:
    """The kernel along one axis in OpenCV's units of 1/256: what a single white pixel becomes."""
    white = np.zeros((1, 2 * side + 1), np.uint8)
    white[0, side] = 255
    weights = cv2.GaussianBlur(white, (side, 1), 0)[0, side - side // 2 : side + side // 2 + 1].astype(np.float32)
    weights[side // 2] += 256 - weights.sum()  # which white, of 255, takes from those above a half
    return weights


@njit("uint64[:, ::1](uint64[:, ::1], int64)", nogil=True, cache=True)
def _widened(bits, margin):
    """What is bright, or is within reach of what is bright in its row. Beyond the image there may be bits, too."""
    height, words = bits.shape
    out = np.empty_like(bits)
    for y in range(height):
        row, to = bits[y], out[y]
        for i in range(words):
            to[i] = row[i]
        for step in range(1, (margin + 63) // 64 + 1):  # each word within reach; of the last, what is
            shift = np.uint64(max(0, 64 * step - margin))
            for i in range(step, words):
                to[i] |= row[i - step] >> shift
                to[i - step] |= row[i] << shift
    return out


@njit("int64(int64, int64)", nogil=True, cache=True)
def _mirrored(place, length):
    """Where in a row of this length a place before or after it is mirrored to, by OpenCV's BORDER_REFLECT_101."""
    while length > 1 and not 0 <= place < length:
        place = -place if place < 0 else 2 * length - 2 - place
    return place if length > 1 else 0


@njit(
    "uint64[:, ::1](uint8[:, ::1], uint64[:, ::1], float32[::1], float32)",
    nogil=True,
    cache=True,
    fastmath={"contract"},
)
def _brighter_after_blur(grey, bright, weights, least):
    # A pixel can only be bright where one within reach was; words without such a pixel, most of an image, are
    # passed over. Sums stay below 2^24, where float32 counts exactly.
    height, width = grey.shape
    words, margin = bright.shape[1], weights.size // 2
    near = _widened(bright, margin)
    out = np.zeros((height, words), np.uint64)
    pixels = grey.reshape(-1)
    # In numbers that the processor takes at once, so that none remain to be taken one by one.
    down = np.empty(64 + 32 * ((2 * margin + 31) // 32), np.float32)
    total = np.empty(64, np.float32)
    octets = np.zeros(64, np.uint8)
    eights = octets.view(np.uint64)
    each, gather, top = np.uint64(0x8040201008040201), np.uint64(0x0101010101010101), np.uint64(56)
    maybe = np.empty(words, np.uint64)
    for y in range(height):
        maybe[:] = near[y]
        for row in range(max(0, y - margin), min(height, y + margin + 1)):
            for i in range(words):
                maybe[i] |= near[row, i]
        for i in range(words):
            if maybe[i] == np.uint64(0):
                continue
            first = 64 * i - margin  # the column that `down` begins with; those beyond the image are mirrored
            begin, end = max(0, first), min(width, first + down.size)
            for x in range(down.size):
                down[x] = np.float32(0)
            for k in range(weights.size):
                row = _mirrored(y + k - margin, height)
                at, to, weight = np.uint64(row * width + begin), np.uint64(begin - first), weights[k]
                for x in range(end - begin):
                    down[to + np.uint64(x)] += weight * np.float32(pixels[at + np.uint64(x)])
            for x in range(first, 0):
                down[x - first] = down[_mirrored(x, width) - first]
            for x in range(width, min(first + down.size, width + margin)):
                down[x - first] = down[_mirrored(x, width) - first]
            for x in range(64):
                total[x] = np.float32(0)
            for k in range(np.uint64(weights.size)):
                weight = weights[k]
                for x in range(64):
                    total[x] += weight * down[k + np.uint64(x)]
            for x in range(64):
                octets[x] = np.uint8(255) if total[x] >= least and 64 * i + x < width else np.uint8(0)
            word = np.uint64(0)
            for x in range(8):
                word |= (((eights[x] & each) * gather) >> top) << np.uint64(8 * x)
            out[y, i] = word
    return out
