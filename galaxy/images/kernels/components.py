"""Components of bright pixels that touch, corners included."""

# Numba reads no annotations.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from galaxy.images.crops.crop import Pixels
from galaxy.images.kernels.bits import PLACE, SEQUENCE, brighter
from galaxy.images.kernels.colours import grey_of_bgr
from galaxy.images.kernels.compiled import compiled
from galaxy.images.kernels.rows import as_rows


def largest_box(image: Pixels, threshold: int) -> tuple[int, int, int, int, int]:
    """The largest bounding box of a component of what is bright in a colour image.

    Args:
        image: (H, W, 3) uint8 BGR.
        threshold: Grey level from 0 to 255 that bright pixels exceed.

    Returns:
        x, y, width, height, and how many boxes have that area; zeros if nothing is bright.
    """
    rows, stride = as_rows(image)
    height, width = image.shape[:2]
    box: tuple[int, int, int, int, int] = _largest_box(rows, stride, height, width, threshold)
    return box


_LEFT, _TOP, _RIGHT, _BOTTOM = np.arange(4, dtype=np.uint64)
_BEGIN, _END, _OWN = np.arange(3, dtype=np.uint64)


@compiled("uint64(uint64[::1], uint64[::1])")
def _edges(row, edges):
    """Writes where bright pixels begin and end in a row, and returns how many edges these are."""
    one, count, level = np.uint64(1), np.uint64(0), np.uint64(0)
    for word in range(np.uint64(row.size)):
        pixels = row[word]
        changes = pixels ^ ((pixels << one) | level)
        level = pixels >> np.uint64(63)
        while changes != np.uint64(0):
            lowest = changes & (~changes + one)
            edges[count] = word * np.uint64(64) + PLACE[(lowest * np.uint64(SEQUENCE)) >> np.uint64(58)]
            count += one
            changes ^= lowest
    return count


@compiled("uint64(uint64[::1], uint64)")
def _root(parent, component):
    while parent[component] != component:
        parent[component] = parent[parent[component]]
        component = parent[component]
    return component


@compiled("uint64(uint64[::1], uint64[:, ::1], uint64, uint64)")
def _joined(parent, box, one, other):
    """Two components become one, whose number is returned."""
    if one == other:
        return one
    own, gone = min(one, other), max(one, other)
    parent[gone] = own
    box[own, _LEFT] = min(box[own, _LEFT], box[gone, _LEFT])
    box[own, _TOP] = min(box[own, _TOP], box[gone, _TOP])
    box[own, _RIGHT] = max(box[own, _RIGHT], box[gone, _RIGHT])
    return own


@compiled("Tuple((uint64[::1], uint64[:, ::1]))(uint64[:, ::1], uint64)")
def _components(bits, width):
    """A row's runs of bright pixels join the components of the runs above that they touch.

    A component is known by its first run.

    Returns:
        The component that each joined, (N,), itself if none; and the box of what it holds, (N, 4): left, top,
        right, bottom.
    """
    zero, one = np.uint64(0), np.uint64(1)
    height, most = np.uint64(bits.shape[0]), width // np.uint64(2) + one
    edges = np.empty(most + most + one, np.uint64)
    above, here = np.empty((most, 3), np.uint64), np.empty((most, 3), np.uint64)
    # Two runs that begin a component never share a square of 2 x 2 pixels: they would touch.
    room = (height + one) // np.uint64(2) * most
    parent, box = np.empty(room, np.uint64), np.empty((room, 4), np.uint64)
    components = runs_above = zero
    for y in range(height):
        runs, reach = _edges(bits[y], edges) // np.uint64(2), zero
        for run in range(runs):
            begin, end = edges[run + run], edges[run + run + one]
            while reach < runs_above and above[reach, _END] < begin:
                reach += one
            if reach < runs_above and above[reach, _BEGIN] <= end:
                own = _root(parent, above[reach, _OWN])
                other = reach + one
                while other < runs_above and above[other, _BEGIN] <= end:
                    own = _joined(parent, box, own, _root(parent, above[other, _OWN]))
                    other += one
                box[own, _LEFT] = min(box[own, _LEFT], begin)
                box[own, _RIGHT] = max(box[own, _RIGHT], end)
            else:
                own = components
                components += one
                parent[own] = own
                box[own, _LEFT], box[own, _TOP], box[own, _RIGHT] = begin, y, end
            box[own, _BOTTOM] = y + one
            here[run, _BEGIN], here[run, _END], here[run, _OWN] = begin, end, own
        above, here, runs_above = here, above, runs
    return parent[:components], box[:components]


@compiled("UniTuple(int64, 5)(uint8[::1], int64, int64, int64, int64)")
def _largest_box(image, stride, height, width, threshold):
    bits = brighter(grey_of_bgr(image, stride, height, width), threshold)
    parent, box = _components(bits, np.uint64(width))
    best = area = count = np.int64(0)
    for component in range(parent.size):
        if parent[component] != np.uint64(component):
            continue
        left, top, right, bottom = box[component]
        size = np.int64((right - left) * (bottom - top))
        if size > area:
            best, area, count = np.int64(component), size, np.int64(1)
        elif size == area:
            count += 1
    if count == 0:
        return 0, 0, 0, 0, 0
    left, top, right, bottom = box[best]
    return np.int64(left), np.int64(top), np.int64(right - left), np.int64(bottom - top), count
