"""Components of bright pixels that touch, corners included."""

# Numba reads no annotations.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from numba import njit

from galaxy.images.kernels.bits import PLACE, SEQUENCE, Bits


def largest_box(bits: Bits, width: int) -> tuple[int, int, int, int, int]:
    """The largest bounding box of a component.

    Args:
        bits: (H, words) uint64, a mask.
        width: Of the image.

    Returns:
        x, y, width, height, and how many boxes have that area; zeros if nothing is bright.
    """
    x, y, box_width, box_height, count = _largest(*_components(bits, width)).tolist()
    return x, y, box_width, box_height, count


@njit("Tuple((uint64[::1], uint64[:, ::1]))(uint64[:, ::1], uint64)", nogil=True, cache=True)
def _components(bits, width):  # noqa: PLR0912  calls would cost more than they do
    """A row's runs of bright pixels join the components of the runs above that they touch.

    A component is known by its first run.

    Returns:
        The component that each joined, (N,), itself if none; and the box of what it holds, (N, 4): left, top,
        right, bottom.
    """
    height, words = bits.shape
    zero, one, sequence, top = np.uint64(0), np.uint64(1), np.uint64(SEQUENCE), np.uint64(58)
    left_, top_, right_, bottom_ = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3)
    most = width // np.uint64(2) + one
    edges = np.empty(np.uint64(2) * most + one, np.uint64)
    above, here = np.empty((most, 3), np.uint64), np.empty((most, 3), np.uint64)  # begin, end, component
    parent = np.empty(np.uint64(height) * most, np.uint64)
    box = np.empty((np.uint64(height) * most, 4), np.uint64)
    components = runs_above = zero
    for y in range(np.uint64(height)):
        count = level = zero
        for word in range(np.uint64(words)):
            pixels = bits[y, word]
            changes = pixels ^ ((pixels << one) | level)
            level = pixels >> np.uint64(63)
            while changes != zero:
                lowest = changes & (~changes + one)
                edges[count] = word * np.uint64(64) + PLACE[(lowest * sequence) >> top]
                count += one
                changes ^= lowest
        if level:
            edges[count] = width
            count += one
        runs, reach = count >> one, zero
        for run in range(runs):
            begin, end = edges[run + run], edges[run + run + one]
            while reach < runs_above and above[reach, 1] < begin:
                reach += one
            if reach < runs_above and above[reach, 0] <= end:
                own = above[reach, 2]
                while parent[own] != own:
                    parent[own] = parent[parent[own]]
                    own = parent[own]
                other = reach + one
                while other < runs_above and above[other, 0] <= end:
                    root = above[other, 2]
                    while parent[root] != root:
                        parent[root] = parent[parent[root]]
                        root = parent[root]
                    if root != own:
                        own, root = min(own, root), max(own, root)
                        parent[root] = own
                        box[own, left_] = min(box[own, left_], box[root, left_])
                        box[own, top_] = min(box[own, top_], box[root, top_])
                        box[own, right_] = max(box[own, right_], box[root, right_])
                    other += one
                box[own, left_] = min(box[own, left_], begin)
                box[own, right_] = max(box[own, right_], end)
            else:
                own = components
                components += one
                parent[own] = own
                box[own, left_], box[own, top_], box[own, right_] = begin, y, end
            box[own, bottom_] = y + one
            here[run, 0], here[run, 1], here[run, 2] = begin, end, own
        above, here, runs_above = here, above, runs
    return parent[:components], box[:components]


@njit("int64[::1](uint64[::1], uint64[:, ::1])", nogil=True, cache=True)
def _largest(parent, box):
    largest = np.zeros(5, np.int64)
    for component in range(parent.size):
        if parent[component] != np.uint64(component):
            continue
        left, top, right, bottom = box[component]
        width, height = np.int64(right - left), np.int64(bottom - top)
        if width * height > largest[2] * largest[3]:
            largest[0], largest[1], largest[2], largest[3] = left, top, width, height
            largest[4] = 1
        elif width * height == largest[2] * largest[3]:
            largest[4] += 1
    return largest
