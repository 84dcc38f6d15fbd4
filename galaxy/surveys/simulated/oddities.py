"""The seven odd features: what each does to a galaxy's coordinates and to its light."""

from __future__ import annotations

import math

import numpy as np

from galaxy.surveys.simulated.morphology import paint_galaxy
from galaxy.surveys.simulated.population import SimulatedGalaxy
from galaxy.surveys.simulated.profiles import (
    Array,
    bell,
    elliptical,
    ramp,
    rotated,
    sersic,
    smooth_field,
    tinted,
)


def paint_odd_galaxy(galaxy: SimulatedGalaxy, x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Paints a galaxy with its odd feature, if that is strong enough to be seen.

    Args:
        galaxy: What to paint.
        x: (n, n) coordinate of each pixel along the frame.
        y: (n, n) coordinate down the frame.
        rng: Draws what no question asks about.

    Returns:
        (n, n, 3) float32 RGB, of total light about 1.
    """
    u, v = rotated(x, y, galaxy.position_angle)
    strength = ramp(galaxy.oddness, 0.25, 0.95) ** 1.3
    # Streams of their own: what is odd about a galaxy leaves the rest of it as it is.
    plain, rng = rng.spawn(2)
    if galaxy.odd_feature == "disturbed":
        u, v = _bent(u, v, strength, rng)
    light = paint_galaxy(galaxy, u, v, plain)
    if strength == 0:
        return light
    match galaxy.odd_feature:
        case "ring":
            light = _with_ring(light, galaxy, np.hypot(u, v / galaxy.axis_ratio), strength, rng)
        case "arc":
            light += _arc(x, y, strength, rng)
        case "disturbed":
            light += tinted(0.18 * strength * _tail(u, v, rng), galaxy.redness)
        case "irregular":
            light = _clumpy(light, u, v / galaxy.axis_ratio, strength, rng)
        case "other":
            light += _blobs(x, y, strength, rng)
        case "merger":
            light += _companion(galaxy, x, y, strength, rng)
        case "dust lane":
            light *= _dust(u, v, galaxy.axis_ratio, strength)
    return light


def _with_ring(
    light: Array, galaxy: SimulatedGalaxy, radius: Array, strength: float, rng: np.random.Generator
) -> Array:
    gap = 1 - 0.8 * strength * bell(radius - 0.55, 0.16)
    ring = (0.35 * strength / galaxy.axis_ratio**0.7) * bell(radius - 0.9, 0.085)
    ring = ring * np.exp(0.4 * smooth_field(len(radius), 16, rng))
    return light * gap[..., None] + tinted(ring, 0.7 * galaxy.redness)


def _arc(x: Array, y: Array, strength: float, rng: np.random.Generator) -> Array:
    """A thin blue stretch of a circle around the galaxy, as a lens makes of a galaxy behind it."""
    u, v = rotated(x, y, rng.uniform(0, 2 * math.pi))
    radius, angle = np.hypot(u, v), np.arctan2(v, u)
    arc = bell(radius - rng.uniform(0.85, 1.15), 0.06) * bell(angle, rng.uniform(0.35, 0.6))
    return tinted(0.75 * strength * arc, rng.uniform(-0.4, 0.3))


def _bent(u: Array, v: Array, strength: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Coordinates of a disc whose two sides are pulled the same way, and unequally."""
    way = strength * float(rng.choice([-1, 1]))
    bent_u = u + way * 0.18 * u * np.abs(u) + way * 0.25 * v
    bent_v = v + way * 0.45 * (np.square(u) - 0.15)
    return bent_u, bent_v


def _tail(u: Array, v: Array, rng: np.random.Generator) -> Array:
    """A tidal tail: a wide, fading arc that leaves the galaxy on one side."""
    side, turn = rng.choice([-1.0, 1.0], size=2).tolist()
    reach = np.maximum(side * u, 0)
    centre_line = 0.45 * turn * np.square(reach)
    return bell(v - centre_line, 0.13) * bell(reach - 0.75, 0.35) * (reach > 0)


def _clumpy(light: Array, u: Array, across: Array, strength: float, rng: np.random.Generator) -> Array:
    """Breaks a galaxy into pieces, with young clumps off its centre."""
    pieces = np.exp(0.9 * strength * smooth_field(len(u), 26, rng) - 0.3 * strength)
    faded = 1 - 0.6 * strength * bell(np.hypot(u, across), 0.3)
    light = light * (pieces * faded)[..., None]
    for _ in range(int(rng.integers(2, 6))):
        px, py = _beside(0.2, 0.75, rng)
        clump = bell(np.hypot(u - px, across - py), rng.uniform(0.08, 0.2))
        light += tinted(strength * rng.uniform(0.3, 0.9) * clump, rng.uniform(-0.3, 0.3))
    return light


def _blobs(x: Array, y: Array, strength: float, rng: np.random.Generator) -> Array:
    """Small bodies on or about the galaxy that it may or may not have to do with."""
    light = np.zeros((*x.shape, 3), np.float32)
    for _ in range(int(rng.integers(2, 5))):
        px, py = _beside(0.3, 1.0, rng)
        blob = bell(np.hypot(x - px, y - py), rng.uniform(0.05, 0.1))
        light += tinted(strength * rng.uniform(0.8, 2.2) * blob, rng.uniform(0.6, 1.3))
    return light


def _companion(
    galaxy: SimulatedGalaxy, x: Array, y: Array, strength: float, rng: np.random.Generator
) -> Array:
    """A second galaxy that touches the first, and the tail that it has drawn from it."""
    px, py = _beside(0.55, 1.1, rng)
    u, v = rotated(x - px, y - py, rng.uniform(0, math.pi))
    size, axis_ratio = rng.uniform(0.22, 0.4), rng.uniform(0.4, 1.0)
    body = sersic(elliptical(u, v, axis_ratio), size, 1.8, axis_ratio)
    along, across = rotated(x, y, math.atan2(py, px))
    redness = float(np.clip(galaxy.redness + 0.2 * rng.standard_normal(), 0, 1))
    share = strength * rng.uniform(0.3, 0.7)
    tail = 0.22 * strength * _tail(-along, across, rng)
    return tinted(share * body, redness) + tinted(tail, galaxy.redness)


def _dust(u: Array, v: Array, axis_ratio: float, strength: float) -> Array:
    """What is left of the light behind a lane of dust on the major axis; blue light suffers most."""
    lane = bell(v - 0.15 * axis_ratio, 0.05 + 0.1 * axis_ratio) * bell(u, 0.7)
    depth = strength * np.array([0.75, 0.88, 0.97], np.float32)
    return 1 - lane[..., None] * depth


def _beside(nearest: float, farthest: float, rng: np.random.Generator) -> tuple[float, float]:
    """A place on or about the galaxy."""
    distance, angle = rng.uniform(nearest, farthest), rng.uniform(0, 2 * math.pi)
    return distance * math.cos(angle), distance * math.sin(angle)
