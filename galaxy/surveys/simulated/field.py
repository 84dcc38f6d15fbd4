"""What else is in the frame: faint galaxies and stars."""

from __future__ import annotations

import math

import numpy as np

from galaxy.surveys.simulated.profiles import HALF, Array, elliptical, rotated, sersic, tinted


def add_field(light: Array, x: Array, y: Array, rng: np.random.Generator) -> None:
    """Adds faint galaxies and stars around the galaxy, in place; `light` is (n, n, 3)."""
    for _ in range(int(rng.poisson(5))):
        px, py = somewhere(rng)
        u, v = rotated(x - px, y - py, rng.uniform(0, math.pi))
        size, axis_ratio = 0.06 + 0.06 * rng.exponential(), rng.uniform(0.35, 1.0)
        body = sersic(elliptical(u, v, axis_ratio), size, 1.5, axis_ratio)
        light += tinted(0.4 * size**2 * rng.uniform(0.3, 3.0) * body, rng.uniform(0, 1.1))
    pixels = len(light) / (2 * HALF)  # to the unit of length
    for _ in range(int(rng.poisson(7))):
        # Counts of stars rise steeply towards the faint end.
        brightness = min(0.0018 * (1 - rng.random()) ** -0.9, 0.3)
        px, py = somewhere(rng)
        # The light of a point that falls into one pixel is the brighter the smaller the pixel.
        colour = brightness * pixels**2 * star_colour(rng)
        _add_point(light, (px + HALF) * pixels, (py + HALF) * pixels, colour)


def somewhere(rng: np.random.Generator) -> tuple[float, float]:
    """A place in the frame that is clear of the galaxy, or the crowd would call that odd."""
    while True:
        px, py = rng.uniform(-HALF, HALF), rng.uniform(-HALF, HALF)
        if math.hypot(px, py) > 1.15:
            return px, py


def star_colour(rng: np.random.Generator) -> Array:
    """(3,) RGB, from blue-white to the deep red of the many cool dwarfs."""
    return np.exp(rng.normal(0.2, 0.5) * np.array([0.6, 0.0, -1.0], np.float32))


def _add_point(light: Array, column: float, row: float, colour: Array) -> None:
    """Adds a point's light to the four pixels about it, in place."""
    left, top = math.floor(column - 0.5), math.floor(row - 0.5)
    right_share, bottom_share = column - 0.5 - left, row - 0.5 - top
    for i, down in ((top, 1 - bottom_share), (top + 1, bottom_share)):
        for j, across in ((left, 1 - right_share), (left + 1, right_share)):
            if 0 <= i < len(light) and 0 <= j < len(light):
                light[i, j] += down * across * colour
