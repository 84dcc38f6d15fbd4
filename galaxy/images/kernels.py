"""The slowest steps of cropping, compiled by Numba: OpenCV's answers to the last bit, in half the time.

Compiling takes two seconds, once on a machine: Numba keeps the result beside this file, or in
the user's cache. Imported where images are cropped, for a run whose images are cached needs none of it.
"""

from __future__ import annotations

from functools import cache
from math import ceil, floor

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from galaxy.images.crops.crop import Pixels

_Weights = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]


def shrink(image: Pixels, size: int) -> Pixels:
    """An image averaged by pixel area, as `cv2.resize` with `INTER_AREA` does.

    Args:
        image: (H, W) or (H, W, C) uint8, H and W at least `size`.
        size: Side of the result.

    Returns:
        (size, size, C) uint8, C being 1 for a grey image.
    """
    height, width = image.shape[:2]
    channels = image.size // (height * width)
    if not image[0].flags.c_contiguous:  # such as a mirrored view; a rectangle of a frame is fine
        image = np.ascontiguousarray(image)
    rows = np.lib.stride_tricks.as_strided(image, (height, width * channels), (image.strides[0], 1))
    out = np.empty((size, size * channels), np.uint8)
    _shrink(rows, out, channels, *_cover(height, size), *_cover(width, size))
    return out.reshape(size, size, channels)


@cache
def _cover(length: int, size: int) -> _Weights:
    """Which of `length` pixels each of `size` larger ones covers, computed as OpenCV does.

    Returns:
        The first of them and how many, (size,), and the share of each, (size, most of them).
    """
    scale = length / size
    first, count = np.zeros(size, np.int64), np.zeros(size, np.int64)
    shares = np.zeros((size, ceil(scale) + 2), np.float32)
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
        first[place], count[place] = parts[0][0], len(parts)
        shares[place, : len(parts)] = [share for _, share in parts]
    return first, count, shares


_COVER = "int64[::1], int64[::1], float32[:, ::1]"


@njit("uint8(uint8[:, :], int64, int64, int64, float32[::1], float32[::1])", nogil=True, cache=True)
def _in_order(rows, begin, channels, y_first, y_share, x_share):  # type: ignore[no-untyped-def]
    """One number of the result, summed as OpenCV does."""
    value = np.float32(0)
    for k in range(y_share.size):
        line = np.float32(0)
        for j in range(x_share.size):
            line += np.float32(rows[y_first + k, begin + j * channels]) * x_share[j]
        value += y_share[k] * line
    return np.uint8(np.rint(value))


@njit(f"void(uint8[:, :], uint8[:, ::1], int64, {_COVER}, {_COVER})", nogil=True, cache=True)
def _shrink(  # type: ignore[no-untyped-def]  # noqa: PLR0912  calls would cost more than they do
    rows, out, channels, y_first, y_count, y_share, x_first, x_count, x_share
):
    # OpenCV sums along rows first, pixel by pixel. Rows can be added up whole, which the processor does in
    # pieces of 16 numbers; the sums then differ in their last bits, and the few of them that could be rounded
    # to another integer are computed again in OpenCV's order.
    size = x_first.size
    # Each order errs by less than half of this, as weights add up to 1 and pixels end at 255.
    doubt = np.float32(255 * 2.0**-23 * (y_share.shape[1] + x_share.shape[1] + 2))
    total = np.empty(rows.shape[1], np.float32)
    value = np.empty(size * channels, np.float32)
    for y in range(size):
        row, weight = rows[y_first[y]], y_share[y, 0]
        for i in range(row.size):
            total[i] = weight * np.float32(row[i])
        for k in range(1, y_count[y]):
            row, weight = rows[y_first[y] + k], y_share[y, k]
            for i in range(row.size):
                total[i] += weight * np.float32(row[i])
        for x in range(size):
            at = x_first[x] * channels
            if channels == 3:  # three sums at a time
                red, green, blue = np.float32(0), np.float32(0), np.float32(0)
                for j in range(x_count[x]):
                    weight = x_share[x, j]
                    red += total[at] * weight
                    green += total[at + 1] * weight
                    blue += total[at + 2] * weight
                    at += 3
                value[3 * x], value[3 * x + 1], value[3 * x + 2] = red, green, blue
            else:
                grey = np.float32(0)
                for j in range(x_count[x]):
                    grey += total[at + j] * x_share[x, j]
                value[x] = grey
        doubtful, pixels = 0, out[y]
        for i in range(value.size):
            pixels[i] = np.uint8(np.rint(value[i]))
            doubtful += abs(value[i] - np.floor(value[i]) - np.float32(0.5)) < doubt
        if doubtful == 0:
            continue
        for i in range(value.size):
            if abs(value[i] - np.floor(value[i]) - np.float32(0.5)) < doubt:
                x, channel = i // channels, i % channels
                begin = x_first[x] * channels + channel
                pixels[i] = _in_order(
                    rows, begin, channels, y_first[y], y_share[y, : y_count[y]], x_share[x, : x_count[x]]
                )


def largest_box(bright: Pixels) -> tuple[int, int, int, int, int]:
    """The largest bounding box of a component of bright pixels that touch, corners included.

    Args:
        bright: (H, W) uint8, 0 where it is dark and 255 where it is bright.

    Returns:
        x, y, width, height, and how many boxes have that area; zeros if nothing is bright.
    """
    if bright.shape[1] % 8:
        bright = cv2.copyMakeBorder(bright, 0, 0, 0, -bright.shape[1] % 8, cv2.BORDER_CONSTANT)
    x, y, width, height, count = _largest_box(bright, bright.view(np.uint64)).tolist()
    return x, y, width, height, count


_NONE, _ALL = np.uint64(0), np.uint64(2**64 - 1)


@njit("int64[::1](uint8[:, ::1], uint64[:, ::1])", nogil=True, cache=True)
def _largest_box(bright, words):  # type: ignore[no-untyped-def]  # noqa: PLR0912, PLR0915  as above
    # A row's runs of bright pixels join the components of the runs above that they touch; a component is
    # known by its first run, and the box of what it has joined is kept there.
    height, width = bright.shape
    most = width // 2 + 1
    edges = np.empty(2 * most + 1, np.int64)
    above, here = np.empty((most, 3), np.int64), np.empty((most, 3), np.int64)  # begin, end, component
    parent = np.empty(height * most, np.int64)
    box = np.empty((height * most, 4), np.int64)  # left, top, right, bottom
    components = runs_above = 0
    for y in range(height):
        row, count, level = bright[y], 0, np.uint8(0)
        for word in range(words.shape[1]):  # eight pixels at once, most of which are alike
            if words[y, word] == (_ALL if level else _NONE):
                continue
            for i in range(8 * word, 8 * word + 8):  # without a branch, which the processor would guess wrong
                edges[count] = i
                count += row[i] != level
                level = row[i]
        if level:
            edges[count] = width
            count += 1
        runs, reach = count // 2, 0
        for run in range(runs):
            begin, end = edges[2 * run], edges[2 * run + 1]
            own = -1
            while reach < runs_above and above[reach, 1] < begin:
                reach += 1
            other = reach
            while other < runs_above and above[other, 0] <= end:
                root = above[other, 2]
                while parent[root] != root:
                    parent[root] = parent[parent[root]]
                    root = parent[root]
                if own < 0:
                    own = root
                elif root != own:
                    own, root = min(own, root), max(own, root)
                    parent[root] = own
                    box[own, 0] = min(box[own, 0], box[root, 0])
                    box[own, 1] = min(box[own, 1], box[root, 1])
                    box[own, 2] = max(box[own, 2], box[root, 2])
                other += 1
            if own < 0:
                own = components
                components += 1
                parent[own] = own
                box[own, 0], box[own, 1], box[own, 2] = begin, y, end
            else:
                box[own, 0], box[own, 2] = min(box[own, 0], begin), max(box[own, 2], end)
            box[own, 3] = y + 1
            here[run, 0], here[run, 1], here[run, 2] = begin, end, own
        above, here, runs_above = here, above, runs
    largest = np.zeros(5, np.int64)
    for component in range(components):
        if parent[component] != component:
            continue
        left, top, right, bottom = box[component]
        area = (right - left) * (bottom - top)
        if area > largest[2] * largest[3]:
            largest[0], largest[1], largest[2], largest[3] = left, top, right - left, bottom - top
            largest[4] = 1
        elif area == largest[2] * largest[3]:
            largest[4] += 1
    return largest
