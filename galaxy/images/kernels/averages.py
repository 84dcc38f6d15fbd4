"""Averages by pixel area."""

# Numba reads no annotations.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from functools import cache
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from galaxy.images.crops.crop import Pixels
from galaxy.images.kernels.compiled import FMA, compiled
from galaxy.images.kernels.rows import as_rows


def shrink(image: Pixels, out: Pixels) -> None:
    """Averages an image by pixel area, as `cv2.resize` with `INTER_AREA` does.

    Args:
        image: (H, W) or (H, W, C) uint8, H and W at least the side of `out`.
        out: (size, size, C) uint8, contiguous: where the result goes; C is 1 for a grey image.
    """
    height, width = image.shape[:2]
    size, _, channels = out.shape
    rows = out.reshape(size, size * channels)
    _shrink(*as_rows(image), width * channels, rows, channels, *_cover(height, size), *_cover(width, size))


@cache
def _cover(length: int, size: int) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    """Which of `length` pixels each of `size` larger ones covers, computed as OpenCV does.

    Returns:
        The first of them, (size,), and the share of each, (size, most of them), zeros after the last.
    """
    scale = length / size
    first = np.zeros(size, np.uint64)
    shares: list[list[float]] = []
    for place in range(size):
        begin = place * scale
        end, whole = begin + scale, min(scale, length - begin)
        inner_end = min(floor(end), length - 1)
        inner_begin = min(ceil(begin), inner_end)
        parts = [(pixel, 1 / whole) for pixel in range(inner_begin, inner_end)]
        if inner_begin - begin > 1e-3:
            parts.insert(0, (inner_begin - 1, (inner_begin - begin) / whole))
        if end - inner_end > 1e-3:
            parts.append((inner_end, min(end - inner_end, 1.0, whole) / whole))
        first[place] = parts[0][0]
        shares.append([share for _, share in parts])
    most = max(map(len, shares))
    return first, np.array([row + [0.0] * (most - len(row)) for row in shares], np.float32)


_COVER = "uint64[::1], float32[:, ::1]"


@compiled("uint8(uint8[::1], uint64, uint64, uint64, float32[::1], float32[::1])")
def _in_order(image, stride, begin, channels, y_share, x_share):
    """One number of the result, summed as OpenCV does."""
    value = np.float32(0)
    for k in range(np.uint64(y_share.size)):
        if y_share[k] == 0:
            break
        line = np.float32(0)
        for j in range(np.uint64(x_share.size)):
            if x_share[j] == 0:
                break
            line += np.float32(image[begin + k * stride + j * channels]) * x_share[j]
        value += y_share[k] * line
    return np.uint8(np.rint(value))


@compiled("void(uint8[::1], int64, int64, float32[::1], float32[::1])", fastmath=FMA)
def _add_rows(image, begin, stride, shares, total):
    """The sum of the rows that begin there, by their shares."""
    for k in range(shares.size):
        weight = shares[k]
        if weight == 0:
            break
        row = image[begin + k * stride : begin + k * stride + total.size]
        if k == 0:
            for i in range(total.size):
                total[i] = weight * np.float32(row[i])
        else:
            for i in range(total.size):
                total[i] += weight * np.float32(row[i])


@compiled("void(float32[::1], uint64, uint64[::1], float32[:, ::1], float32[::1])", fastmath=FMA)
def _add_along(total, channels, first, shares, value):
    """The sums along a row, by the shares of its pixels; those of no share are read as well."""
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    for x in range(np.uint64(first.size)):
        at, to = first[x] * channels, x * channels
        if channels == three:  # three sums at a time
            red, green, blue = np.float32(0), np.float32(0), np.float32(0)
            for j in range(np.uint64(shares.shape[1])):
                weight = shares[x, j]
                red += total[at] * weight
                green += total[at + one] * weight
                blue += total[at + two] * weight
                at += three
            value[to], value[to + one], value[to + two] = red, green, blue
        else:
            level = np.float32(0)
            for j in range(np.uint64(shares.shape[1])):
                level += total[at + j] * shares[x, j]
            value[to] = level


@compiled(f"void(uint8[::1], int64, int64, uint8[:, ::1], uint64, {_COVER}, {_COVER})")
def _shrink(image, stride, width, out, channels, y_first, y_share, x_first, x_share):
    # OpenCV sums along rows first, pixel by pixel. Rows can be added up whole, which the processor does in
    # pieces of 16 numbers; the sums then differ in their last bits, and the few of them that could be rounded
    # to another integer are computed again in OpenCV's order.
    # Each order errs by less than half of this share of the sum, as nothing that is added is negative.
    doubt = np.float32(2.0**-23 * (y_share.shape[1] + x_share.shape[1] + 2))
    total = np.zeros(width + x_share.shape[1] * np.int64(channels), np.float32)
    value = np.empty(out.shape[1], np.float32)
    for y in range(out.shape[0]):
        _add_rows(image, np.int64(y_first[y]) * stride, stride, y_share[y], total[:width])
        _add_along(total, channels, x_first, x_share, value)
        doubtful, pixels = 0, out[y]
        for i in range(value.size):
            pixels[i] = np.uint8(np.rint(value[i]))
            doubtful += abs(value[i] - np.floor(value[i]) - np.float32(0.5)) < doubt * value[i]
        if doubtful == 0:
            continue
        for i in range(np.uint64(value.size)):
            if abs(value[i] - np.floor(value[i]) - np.float32(0.5)) < doubt * value[i]:
                x, channel = i // channels, i % channels
                corner = y_first[y] * np.uint64(stride) + x_first[x] * channels + channel
                pixels[i] = _in_order(image, np.uint64(stride), corner, channels, y_share[y], x_share[x])
