"""What is wrong with an image: a saturated star, a satellite's trail, a bad column, an edge of the mosaic."""

from __future__ import annotations

import math

import numpy as np

from galaxy.surveys.simulated.field import somewhere, star_colour
from galaxy.surveys.simulated.population import SimulatedGalaxy
from galaxy.surveys.simulated.profiles import HALF, Array, bell, rotated


def add_artefact(seen: Array, x: Array, y: Array, galaxy: SimulatedGalaxy, rng: np.random.Generator) -> None:
    """Spoils the image with the galaxy's artefact, in place; `seen` is (n, n, 3), after the seeing."""
    if galaxy.damage == 0:
        return
    damage, pixel = galaxy.damage, 2 * HALF / len(seen)
    match galaxy.artefact:
        case "saturated star":
            seen += (0.4 + damage) * _saturated_star(x, y, damage, pixel, rng)
        case "trail":
            # The bands are exposed one after another: a moving light leaves a line in one of them.
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
    """A star with a halo, the spikes of the mirror's supports, and charge that bled along the columns."""
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
