"""Brightness profiles on a pixel grid. The unit of length is a galaxy's radius as it meets the eye."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]  # float32 from the grid to the picture

# The Galaxy Challenge's images are scaled to the galaxy's size. With this radius the galaxies cover as much
# of the frame above grey level 30 as the real ones do.
FRAME = 424
RADIUS = 94
HALF = FRAME / 2 / RADIUS  # half a side of the frame
# RGB of the youngest and the oldest galaxies, of about the same brightness.
_BLUE = np.array([0.88, 0.97, 1.2], np.float32)
_RED = np.array([1.34, 1.0, 0.54], np.float32)


def pixel_grid(resolution: int) -> tuple[Array, Array]:
    """The x and y of each pixel's centre, (resolution, resolution) each, 0 in the middle of the frame."""
    centres = (np.arange(resolution) + 0.5) / resolution
    line = (2 * centres - 1).astype(np.float32) * HALF
    x, y = np.meshgrid(line, line)
    return x, y


def rotated(x: Array, y: Array, angle: float) -> tuple[Array, Array]:
    """Coordinates along and across an axis that lies `angle` radians from x."""
    c, s = math.cos(angle), math.sin(angle)
    return c * x + s * y, c * y - s * x


def elliptical(u: Array, v: Array, axis_ratio: float, power: float = 2.0) -> Array:
    """The semi-major axis of the ellipse through each pixel; boxy where `power` is above 2."""
    if power == 2.0:
        return np.hypot(u, v / axis_ratio)
    return (np.abs(u) ** power + np.abs(v / axis_ratio) ** power) ** (1 / power)


def sersic(radius: Array, half_light: float, index: float, axis_ratio: float = 1.0) -> Array:
    """A Sérsic profile of total light 1 (Graham & Driver 2005, PASA 22, 118, equations 1 and 4)."""
    b = 2 * index - 1 / 3
    total = 2 * math.pi * half_light**2 * index * math.exp(b) * b ** (-2 * index) * math.gamma(2 * index)
    # The centre of a steep profile is steeper than a pixel; the point-spread function hides where it is cut.
    scaled = np.maximum(radius, 0.02) / half_light
    return np.exp(-b * (scaled ** (1 / index) - 1)) / (total * axis_ratio)


def bell(distance: Array, width: float) -> Array:
    """exp(-(d/w)²/2), 1 at distance 0."""
    return np.exp(-0.5 * np.square(distance / width))


def ramp(value: float, low: float, high: float) -> float:
    """0 below `low`, 1 above `high`, a straight line between."""
    return min(1.0, max(0.0, (value - low) / (high - low)))


def smooth_field(resolution: int, cells: int, rng: np.random.Generator) -> Array:
    """Random hills and valleys of about unit size, `cells` across the frame; (resolution, resolution)."""
    coarse = rng.standard_normal((cells, cells), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, (resolution, resolution), interpolation=cv2.INTER_CUBIC), np.float32)


def tinted(light: Array, redness: float) -> Array:
    """Gives light a colour: (n, n) to (n, n, 3) RGB, from young and blue (0) to old and red (1)."""
    return light[..., None] * (_BLUE + (_RED - _BLUE) * redness)
