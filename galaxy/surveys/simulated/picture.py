"""The picture of a galaxy as SDSS would show it: other bodies in the field, seeing, artefacts and noise."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from galaxy.surveys.simulated.light import (
    FRAME,
    HALF,
    Array,
    bell,
    elliptical,
    paint_odd_galaxy,
    pixel_grid,
    rotated,
    sersic,
    tinted,
)
from galaxy.surveys.simulated.population import SimulatedGalaxy

# The non-linearity of the colour pictures of SDSS (Lupton et al. 2004, PASP 116, 133).
_SOFTENING = 2.25
# The median level and the scatter of each channel, fitted to the corners of 300 images of the Galaxy
# Challenge.
_SKY = np.array([0.016, 0.012, 0.006], np.float32)
_NOISE = 0.028 * np.array([1.0, 0.8, 1.1], np.float32)


def render(galaxy: SimulatedGalaxy, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Renders a galaxy and the field around it.

    The picture is drawn at the resolution of the telescope, about a quarter of the frame's, and enlarged. The
    SDSS cutouts of distant galaxies were enlarged as well, which is why they are blurred and their noise is
    coarse.

    Args:
        galaxy: The galaxy to show.
        rng: The generator that draws everything that the galaxy's properties leave open.

    Returns:
        (424, 424, 3) uint8 RGB.
    """
    x, y = pixel_grid(galaxy.resolution)
    # Without this, a disc seen edge-on would squeeze its light into too bright a band.
    brightness = 0.46 * math.exp(0.3 * rng.standard_normal()) * galaxy.axis_ratio**0.4
    light = brightness * paint_odd_galaxy(galaxy, x, y, rng)
    add_field(light, x, y, rng)
    seen = blur(light, rng)
    add_artefact(seen, x, y, galaxy, rng)
    return expose(seen, rng)


def add_field(light: Array, x: Array, y: Array, rng: np.random.Generator) -> None:
    """Adds faint galaxies and stars around the galaxy to `light` (n, n, 3), in place."""
    for _ in range(int(rng.poisson(5))):
        px, py = somewhere(rng)
        u, v = rotated(x - px, y - py, rng.uniform(0, math.pi))
        size, axis_ratio = 0.06 + 0.06 * rng.exponential(), rng.uniform(0.35, 1.0)
        body = sersic(elliptical(u, v, axis_ratio), size, 1.5, axis_ratio)
        light += tinted(0.4 * size**2 * rng.uniform(0.3, 3.0) * body, rng.uniform(0, 1.1))
    pixels = len(light) / (2 * HALF)  # in a unit of length
    for _ in range(int(rng.poisson(7))):
        # Faint stars are far more numerous than bright ones.
        brightness = min(0.0018 * (1 - rng.random()) ** -0.9, 0.3)
        px, py = somewhere(rng)
        # All light of a star falls into one pixel, so a smaller pixel is brighter.
        colour = brightness * pixels**2 * star_colour(rng)
        _add_point(light, (px + HALF) * pixels, (py + HALF) * pixels, colour)


def somewhere(rng: np.random.Generator) -> tuple[float, float]:
    """A random place in the frame away from the galaxy. The crowd would call a star on it odd."""
    while True:
        px, py = rng.uniform(-HALF, HALF), rng.uniform(-HALF, HALF)
        if math.hypot(px, py) > 1.15:
            return px, py


def star_colour(rng: np.random.Generator) -> Array:
    """A random colour, (3,) RGB, from blue-white to the deep red of the many cool dwarfs."""
    return np.exp(rng.normal(0.2, 0.5) * np.array([0.6, 0.0, -1.0], np.float32))


def _add_point(light: Array, column: float, row: float, colour: Array) -> None:
    """Adds the light of a point to the four nearest pixels, in place."""
    left, top = math.floor(column - 0.5), math.floor(row - 0.5)
    right_share, bottom_share = column - 0.5 - left, row - 0.5 - top
    for i, down in ((top, 1 - bottom_share), (top + 1, bottom_share)):
        for j, across in ((left, 1 - right_share), (left + 1, right_share)):
            if 0 <= i < len(light) and 0 <= j < len(light):
                light[i, j] += down * across * colour


def blur(light: Array, rng: np.random.Generator) -> Array:
    """Blurs (n, n, 3) light as the air does. The core has a standard deviation of 1.0 to 1.9 pixels."""
    seeing = min(1.9, max(1.0, 1.35 * math.exp(0.12 * rng.standard_normal())))
    core, wings = (cv2.GaussianBlur(light, (0, 0), width * seeing) for width in (1.0, 2.6))
    return 0.88 * core + 0.12 * wings


def expose(seen: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Adds noise to (n, n, 3) light, enlarges it and returns the picture, (424, 424, 3) uint8 RGB."""
    sky_noise = math.exp(0.25 * rng.standard_normal()) * _NOISE
    noise = np.sqrt(np.square(sky_noise) + 0.0006 * np.maximum(seen, 0))
    measured = seen + noise * rng.standard_normal(seen.shape, dtype=np.float32)
    measured += _SKY + 0.003 * rng.standard_normal(3, dtype=np.float32)
    picture = cv2.resize(_compress(measured), (FRAME, FRAME), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def _compress(light: Array) -> Array:
    """Compresses the brightness of (n, n, 3) light and keeps its colour; returns RGB from 0 to 255."""
    mean = np.maximum(light.mean(-1, keepdims=True), 1e-6)
    picture = light * (np.arcsinh(_SOFTENING * mean) / (_SOFTENING * mean))
    brightest = np.maximum(picture.max(-1, keepdims=True), 1.0)
    return np.clip(255 * picture / brightest, 0, 255)


def add_artefact(seen: Array, x: Array, y: Array, galaxy: SimulatedGalaxy, rng: np.random.Generator) -> None:
    """Adds the artefact of the galaxy to blurred light, `seen` (n, n, 3), in place."""
    if galaxy.damage == 0:
        return
    damage, pixel = galaxy.damage, 2 * HALF / len(seen)
    match galaxy.artefact:
        case "saturated star":
            seen += (0.4 + damage) * _saturated_star(x, y, damage, pixel, rng)
        case "trail":
            # The bands are exposed one after another, so a moving light leaves a line in one of them.
            _, across = rotated(x, y, rng.uniform(0, math.pi))
            line = bell(across - rng.uniform(-1.2, 1.2), 1.6 * pixel)
            seen[..., rng.integers(3)] += (0.1 + 0.5 * damage) * line
        case "bad column":
            _, across = rotated(x, y, rng.uniform(0, math.pi))
            line = bell(across - rng.uniform(-0.2, 0.2), pixel)
            seen *= 1 - (0.3 + 0.7 * damage) * line[..., None]
        case "colour offset":
            along, _ = rotated(x, y, rng.uniform(0, 2 * math.pi))
            beyond = 1 / (1 + np.exp(-8 * (along - rng.uniform(-0.4, 1.2))))
            seen[..., rng.integers(3)] += (0.03 + 0.12 * damage) * beyond


def _saturated_star(x: Array, y: Array, damage: float, pixel: float, rng: np.random.Generator) -> Array:
    """A star with a halo, the spikes of the mirror's supports, and charge that has bled along the columns."""
    px, py = somewhere(rng)
    dx, dy = x - px, y - py
    distance = np.hypot(dx, dy)
    light = 12 * bell(distance, 0.06 + 0.18 * damage)
    light += 1.2 / (1 + np.square(distance / (0.1 + 0.3 * damage)))
    for turn in (0.6, 0.6 + math.pi / 2):
        along, across = rotated(dx, dy, turn)
        light += bell(across, 0.6 * pixel) * np.exp(-np.abs(along) / (0.2 + 0.9 * damage))
    light += bell(dx, 0.5 * pixel) * np.exp(-np.abs(dy) / (0.3 + 1.3 * damage))
    return light[..., None] * star_colour(rng)
