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
def blur_weights(side: int) -> NDArray[np.uint16]:
    """The kernel of `cv2.GaussianBlur` along one axis, in its units of 1/256: what a white pixel becomes.

    Args:
        side: Of the kernel, odd; its standard deviation is what OpenCV takes for a kernel of that side.

    Returns:
        (side,) uint16, 256 together.
    """
    white = np.zeros((1, 2 * side + 1), np.uint8)
    white[0, side] = 255
    smooth: NDArray[np.uint16] = cv2.GaussianBlur(white, (side, 1), 0)[0].astype(np.uint16)
    weights = smooth[side - side // 2 : side + side // 2 + 1].copy()
    weights[side // 2] += 256 - weights.sum()  # which white, of 255, takes from those above a half
    return weights


@compiled("UniTuple(int64[::1], 2)(uint64[:, ::1], int64, int64)")
def _spans(bits, width, margin):
    """The first column of each row that has something bright within reach, and the one after the last.

    The first is a multiple of eight; of rows without any the end is 0.
    """
    height, words = bits.shape
    zero, octet = np.uint64(0), np.uint64(255)
    begins, ends = np.full(height, width, np.int64), np.zeros(height, np.int64)
    for y in range(height):
        first, last = 0, words - 1
        while first < words and bits[y, first] == zero:
            first += 1
        if first == words:
            continue
        while bits[y, last] == zero:
            last -= 1
        begin, end = 64 * first, 64 * last + 64
        pixels = bits[y, first]
        while pixels & octet == zero:
            pixels >>= np.uint64(8)
            begin += 8
        pixels = bits[y, last]
        while pixels >> np.uint64(56) == zero:
            pixels <<= np.uint64(8)
            end -= 8
        begin, end = max(0, begin - margin) & ~7, min(width, end + margin)
        for near in range(max(0, y - margin), min(height, y + margin + 1)):
            begins[near], ends[near] = min(begins[near], begin), max(ends[near], end)
    return begins, ends


@compiled("int64(int64, int64)")
def _mirrored(place, length):
    """Where BORDER_REFLECT_101 finds the pixel for a place before or after a row of this length."""
    while length > 1 and not 0 <= place < length:
        place = -place if place < 0 else 2 * length - 2 - place
    return place if length > 1 else 0


@compiled("void(uint8[:, ::1], int64, int64, int64, uint16[::1], uint16[::1])")
def _add_rows(grey, y, begin, end, weights, total):
    """The weighted sums of the rows around one in these columns; what is beyond the image is mirrored."""
    height, width = grey.shape
    pixels, margin = grey.reshape(-1), weights.size // 2
    left, right = max(0, begin), min(width, end)
    to, count = np.uint64(left - begin), np.uint64(right - left)
    at, weight = np.uint64(y * width + left), weights[margin]
    for x in range(count):
        total[to + x] = np.uint16(weight * np.uint16(pixels[at + x]))
    for k in range(margin):  # two rows at a time, as far above as below
        weight = weights[k]
        at = np.uint64(_mirrored(y + k - margin, height) * width + left)
        other = np.uint64(_mirrored(y + margin - k, height) * width + left)
        for x in range(count):
            both = np.uint16(pixels[at + x]) + np.uint16(pixels[other + x])
            total[to + x] += np.uint16(weight * both)
    for x in range(begin, 0):
        total[x - begin] = total[_mirrored(x, width) - begin]
    for x in range(width, end):
        total[x - begin] = total[_mirrored(x, width) - begin]


@compiled("void(uint16[::1], uint16[::1], uint64, float32[::1])", fastmath=FMA)
def _add_along(rows, weights, count, total):
    """The weighted sums along a row."""
    for k in range(np.uint64(weights.size)):
        weight = np.float32(weights[k])
        if k == np.uint64(0):
            for x in range(count):
                total[x] = weight * np.float32(np.int32(rows[x]))
        else:
            for x in range(count):
                total[x] += weight * np.float32(np.int32(rows[k + x]))


@compiled("uint64[:, ::1](uint8[:, ::1], uint16[::1], int64)")
def brighter_after_blur(grey, weights, threshold):
    """Which pixels of an image are brighter than a grey level once `cv2.GaussianBlur` has smoothed it.

    Args:
        grey: (H, W) uint8.
        weights: (side,) uint16, of `blur_weights`.
        threshold: From 0 to 255.

    Returns:
        (H, words) uint64.
    """
    # A pixel can only be bright where one within reach was; the rest, most of an image, is passed over.
    bright = brighter(grey, threshold)
    if weights.size == 1:
        return bright
    # OpenCV's result is the sum of pixels times weights, divided by 2^16 and rounded. Sums stay below 2^16
    # over rows, and then below 2^24, where float32 counts exactly.
    least = np.float32((threshold + 1) * 2**16 - 2**15)
    height, width = grey.shape
    margin = weights.size // 2
    begins, ends = _spans(bright, width, margin)
    rows, total = np.empty(width + 2 * margin, np.uint16), np.empty(width, np.float32)
    out = np.zeros_like(bright)
    flags, octets = np.zeros(64 * out.shape[1], np.uint8), out.view(np.uint8)
    eights = flags.view(np.uint64)
    each, gather, top = np.uint64(0x8040201008040201), np.uint64(0x0101010101010101), np.uint64(56)
    for y in range(height):
        begin, end = begins[y], ends[y]
        if begin >= end:
            continue
        _add_rows(grey, y, begin - margin, end + margin, weights, rows)
        count, first, last = np.uint64(end - begin), begin // 8, (end + 7) // 8
        _add_along(rows, weights, count, total)
        for x in range(count):
            flags[x] = np.uint8(255) if total[x] >= least else np.uint8(0)
        flags[count : 8 * (last - first)] = 0
        bits = octets[y, first:last]
        for i in range(bits.size):  # as in `brighter`; a call of a function for each row takes longer
            bits[i] = np.uint8(((eights[i] & each) * gather) >> top)
    return out
