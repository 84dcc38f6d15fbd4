"""Masks of one bit a pixel, 64 pixels to a word.

The first pixel is the lowest bit; bits beyond the width are 0, and every row has some.
"""

# Numba reads no annotations.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from galaxy.images.kernels.compiled import compiled

# Where the one bit of a word is, by the highest 6 bits of the word times a number in which no 6 bits occur
# twice (Leiserson, Prokop and Randall 1998, "Using de Bruijn sequences to index a 1 in a computer word").
SEQUENCE = 0x03F79D71B4CB0A89
PLACE = np.zeros(64, np.uint64)
for _place in range(64):
    PLACE[(SEQUENCE << _place & 2**64 - 1) >> 58] = _place


@compiled("uint64[:, ::1](uint8[:, ::1], int64)")
def brighter(grey, threshold):
    """Which pixels are brighter than a grey level.

    Args:
        grey: (H, W) uint8.
        threshold: From 0 to 255.

    Returns:
        (H, words) uint64.
    """
    height, width = grey.shape
    out = np.empty((height, width // 64 + 1), np.uint64)
    octets = out.view(np.uint8)
    bright, level = np.zeros(64 * out.shape[1], np.uint8), np.uint8(threshold)
    eights = bright.view(np.uint64)
    each, gather, top = np.uint64(0x8040201008040201), np.uint64(0x0101010101010101), np.uint64(56)
    for y in range(height):
        row, bits = grey[y], octets[y]
        for x in range(width):
            bright[x] = np.uint8(255) if row[x] > level else np.uint8(0)
        for i in range(bits.size):  # one bit of each of eight bytes, and all of them into the highest byte
            bits[i] = np.uint8(((eights[i] & each) * gather) >> top)
    return out


@compiled("void(uint64[::1], uint64[::1], int64, int64)")
def _grow(bits, wide, words, width):
    """Lets the neighbours join, in place; `wide` is room for one row more at either end, which are dark.

    All words in one go: between two rows are dark bits, which take what would spill from one into the other.
    """
    one, most, last = np.uint64(1), np.uint64(63), np.uint64(bits.size - 1)
    middle = wide[words : words + bits.size]
    middle[0] = bits[0] | (bits[0] << one) | (bits[0] >> one)
    for i in range(one, last + one):
        middle[i] = bits[i] | (bits[i] << one) | (bits[i] >> one) | (bits[i - one] >> most)
    for i in range(last):
        middle[i] |= bits[i + one] << most
    inside = ~(~np.uint64(0) << np.uint64(width % 64))
    for i in range(words - 1, bits.size, words):
        middle[i] &= inside
    above, below = wide[: bits.size], wide[2 * words :]
    for i in range(np.uint64(bits.size)):
        bits[i] = above[i] | middle[i] | below[i]


@compiled("uint64[:, ::1](uint64[:, ::1], int64, int64)")
def grown(bits, width, times):
    """The mask after the neighbours of each pixel, corners included, joined it, so many times.

    Args:
        bits: (H, words) uint64.
        width: Of the image.
        times: Half the side, rounded down, of the square that `cv2.dilate` would be given.

    Returns:
        (H, words) uint64.
    """
    height, words = bits.shape
    out, wide = bits.copy(), np.zeros((height + 2) * words, np.uint64)
    for _ in range(times):
        _grow(out.reshape(-1), wide, words, width)
    return out
