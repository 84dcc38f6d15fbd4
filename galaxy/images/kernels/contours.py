"""Contours around what is bright."""

# Numba reads no annotations.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from galaxy.images.crops.crop import Pixels
from galaxy.images.kernels.bits import PLACE, SEQUENCE, grown
from galaxy.images.kernels.blur import blur_weights, brighter_after_blur
from galaxy.images.kernels.colours import grey_of_rgb
from galaxy.images.kernels.compiled import compiled
from galaxy.images.kernels.rows import as_rows


def central_contour(
    image: Pixels, blur: int, threshold: int, grow: int, min_area: float
) -> tuple[int, int, int, int] | None:
    """The bounding box of the contour whose centroid, in whole pixels, is nearest the centre of an image.

    Contours, their areas and centroids are those of `cv2.findContours` with `RETR_EXTERNAL` and of
    `cv2.moments`; of equally near ones the last in raster order is taken, which OpenCV lists first.

    Args:
        image: (H, W, 3) uint8 RGB.
        blur: Side of the kernel of `cv2.GaussianBlur`, odd.
        threshold: Grey level from 0 to 255 that the blurred image exceeds where it is bright.
        grow: How many pixels what is bright then grows by, in all directions.
        min_area: Smallest area of a contour, in square pixels; those without any area never count.

    Returns:
        x, y, width and height; None if there is no such contour.
    """
    rows, stride = as_rows(image)
    height, width = image.shape[:2]
    weights = blur_weights(blur)
    box = _central_contour(rows, stride, height, width, weights, threshold, grow, min_area)
    left, top, right, bottom = box
    return None if right == 0 else (left, top, right - left, bottom - top)


# The neighbours of a pixel, from the one on the right on, counterclockwise.
_X = np.array([1, 1, 0, -1, -1, -1, 0, 1])
_Y = np.array([0, -1, -1, -1, 0, 1, 1, 1])
# A pixel is dark or bright, and once a contour was followed along it an edge: a right one if dark follows.
_DARK, _BRIGHT, _EDGE, _RIGHT_EDGE = 0, 1, 2, 3

# The eight pixels of each byte of a mask.
_PIXELS = np.unpackbits(np.arange(256, dtype=np.uint8), bitorder="little").view(np.uint64)


_FOLLOW = "UniTuple(int64, 3)(uint8[::1], int64, int64[::1], int64, int64, int64[::1])"


@compiled(_FOLLOW)
def _follow(image, start, step, x, y, box):
    """Marks the outer border that begins at this pixel, and extends the box around it.

    Returns:
        Twice the area within, and six times its moments along x and y; negative if gone round clockwise.
    """
    area = moment_x = moment_y = np.int64(0)
    direction = 3  # clockwise from the left, which is dark, to the first that is not
    while direction != 4 and image[start + step[direction]] == _DARK:
        direction = (direction - 1) & 7
    if direction == 4:  # a single pixel
        image[start] = _RIGHT_EDGE
        return area, moment_x, moment_y
    last, here = start + step[direction], start
    while True:
        dark_right = False
        direction = (direction + 1) & 7
        while image[here + step[direction]] == _DARK:
            dark_right |= direction == 0
            direction = (direction + 1) & 7
        if dark_right:
            image[here] = _RIGHT_EDGE
        elif image[here] == _BRIGHT:
            image[here] = _EDGE
        next_x, next_y, beyond = x + _X[direction], y + _Y[direction], here + step[direction]
        cross = x * next_y - next_x * y
        area += cross
        moment_x += cross * (x + next_x)
        moment_y += cross * (y + next_y)
        if beyond == start and here == last:
            return area, moment_x, moment_y
        here, x, y = beyond, next_x, next_y
        box[0], box[1] = min(box[0], x), min(box[1], y)
        box[2], box[3] = max(box[2], x + 1), max(box[3], y + 1)
        direction = (direction + 4) & 7


@compiled("UniTuple(int64, 4)(uint64[:, ::1], int64, float64)")
def _central(bits, width, min_area):
    # Suzuki and Abe 1985, "Topological structural analysis of digitized binary images by border following",
    # algorithm 2: only the outermost borders are followed.
    height, words = bits.shape
    stride = 64 * words + 16  # a margin of eight pixels, so that a byte of the mask is a word here
    image = np.zeros((height + 2) * stride, np.uint8)
    eights, octets = image.view(np.uint64), bits.view(np.uint8)
    for y in range(height):
        for i in range(words):
            if bits[y, i]:
                for j in range(8 * i, 8 * i + 8):
                    eights[((y + 1) * stride >> 3) + 1 + j] = _PIXELS[octets[y, j]]
    step = _Y * stride + _X
    best, box, nearest = np.zeros(4, np.int64), np.empty(4, np.int64), np.int64(2**62)
    one, zero = np.uint64(1), np.uint64(0)
    for y in range(height):
        level = zero
        for i in range(words):
            begins = bits[y, i] & ~((bits[y, i] << one) | level)
            level = bits[y, i] >> np.uint64(63)
            while begins != zero:
                lowest = begins & (~begins + one)
                begins ^= lowest
                x = 64 * i + np.int64(PLACE[(lowest * np.uint64(SEQUENCE)) >> np.uint64(58)])
                start = (y + 1) * stride + 8 + x
                if image[start] != _BRIGHT:
                    continue
                before = start - 1  # the last edge before it in the row: within a contour, unless a right one
                while before > start - x and image[before] < _EDGE:
                    before -= 1
                if image[before] == _EDGE:
                    continue
                box[0], box[1], box[2], box[3] = x, y, x + 1, y + 1
                doubled, moment_x, moment_y = _follow(image, start, step, x, y, box)
                sign = 1 if doubled > 0 else -1
                area = 0.5 * (sign * doubled)
                if area == 0 or area < min_area:
                    continue
                # As OpenCV does, for what is next to a whole number.
                x_centre = np.int64(moment_x * (sign * (1 / 6)) / area)
                y_centre = np.int64(moment_y * (sign * (1 / 6)) / area)
                distance = (x_centre - width // 2) ** 2 + (y_centre - height // 2) ** 2
                if distance <= nearest:
                    nearest = distance
                    best[:] = box
    return best[0], best[1], best[2], best[3]


@compiled("UniTuple(int64, 4)(uint8[::1], int64, int64, int64, uint16[::1], int64, int64, float64)")
def _central_contour(image, stride, height, width, weights, threshold, grow, min_area):
    bits = brighter_after_blur(grey_of_rgb(image, stride, height, width), weights, threshold)
    return _central(grown(bits, width, grow), width, min_area)
