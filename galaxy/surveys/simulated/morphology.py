"""The light of a galaxy: spheroid, disc, bulge, bar and spiral arms."""

from __future__ import annotations

import math

import numpy as np

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

# Half of the light lies within this radius, in that of the galaxy.
_HALF_LIGHT = 0.52
_BAR_LENGTH = 0.42


def paint_galaxy(galaxy: SimulatedGalaxy, u: Array, v: Array, rng: np.random.Generator) -> Array:
    """Paints a galaxy of total light 1, bar and arms apart.

    Args:
        galaxy: What to paint.
        u: (n, n) coordinate of each pixel along the galaxy's major axis.
        v: (n, n) coordinate across it.
        rng: Draws what no question asks about: the bar's angle, the texture of the disc.

    Returns:
        (n, n, 3) float32 RGB.
    """
    discness = ramp(galaxy.structure, 0.05, 0.6)
    light = np.zeros((*u.shape, 3), np.float32)
    if discness < 1:
        index = 1.6 + 2.2 * galaxy.bulge
        spheroid = sersic(elliptical(u, v, galaxy.axis_ratio), _HALF_LIGHT, index, galaxy.axis_ratio)
        light += tinted((1 - discness) * spheroid, galaxy.redness)
    if discness > 0:
        bulge_share = 0.5 * ramp(galaxy.bulge, 0.15, 1.0) ** 1.3
        light += tinted(discness * bulge_share * _bulge(galaxy, u, v), 0.4 + 0.6 * galaxy.redness)
        light += discness * (1 - bulge_share) * _disc(galaxy, u, v, rng)
    return light


def _edge_on(galaxy: SimulatedGalaxy) -> float:
    """How nearly the disc is seen from its side, 0 to 1."""
    return ramp(0.42 - galaxy.axis_ratio, 0.0, 0.17)


def _bulge(galaxy: SimulatedGalaxy, u: Array, v: Array) -> Array:
    size = 0.09 + 0.13 * galaxy.bulge
    # A bulge is a ball with flattened poles, and so stands out of a disc seen edge-on.
    axis_ratio = math.hypot(0.68, 0.73 * galaxy.axis_ratio)
    power = 2 + 4 * galaxy.boxiness * _edge_on(galaxy)
    return sersic(elliptical(u, v, axis_ratio, power), size, 1.6, axis_ratio)


def _disc(galaxy: SimulatedGalaxy, u: Array, v: Array, rng: np.random.Generator) -> Array:
    """The disc of total light 1 with its bar, arms and texture, (n, n, 3)."""
    across = v / galaxy.axis_ratio
    radius = np.hypot(u, across)
    bar_angle = rng.uniform(0, math.pi)
    bar = 0.9 * ramp(galaxy.bar, 0.45, 1.0) * (1 - _edge_on(galaxy))
    arms = ramp(galaxy.arms, 0.3, 0.8) * ramp(galaxy.structure, 0.0, 0.5)

    disc = sersic(radius, 1.05 * _HALF_LIGHT, 1.0, galaxy.axis_ratio)
    texture = smooth_field(len(u), 44, rng)
    disc = disc * np.exp(0.3 * galaxy.structure * texture)
    # A bar sweeps up the disc that it turns in.
    disc = disc * (1 - 0.6 * bar * bell(radius, 0.75 * _BAR_LENGTH))
    ridges = _arm_ridges(galaxy, u, across, bar_angle, rng)
    # The disc between the arms darkens, and the arms reach further out than it.
    between = disc * (1 - 0.7 * arms * (1 - bell(radius, 0.15)))
    outer = sersic(radius, 1.25 * _HALF_LIGHT, 0.7, galaxy.axis_ratio)
    light = tinted(between, galaxy.redness)
    light += tinted(2.0 * arms * ridges * outer, max(0.0, galaxy.redness - 0.25))
    if bar > 0:
        along, aside = rotated(u, across, bar_angle)
        shape = np.exp(-((elliptical(along, aside, 0.26, 3.0) / _BAR_LENGTH) ** 4))
        strength = 2.0 * bar / galaxy.axis_ratio
        light += tinted(strength * shape, 0.3 + 0.6 * galaxy.redness)
    return light


def _arm_ridges(
    galaxy: SimulatedGalaxy, u: Array, across: Array, bar_angle: float, rng: np.random.Generator
) -> Array:
    """1 on the crest of a logarithmic spiral arm, towards 0 between arms and in the centre."""
    radius = np.maximum(np.hypot(u, across), 0.03)
    pitch = math.radians(8 + 30 * galaxy.looseness)
    # The arms start at the ends of the bar.
    turned = np.arctan2(across, u) - bar_angle
    wound = np.log(radius / _BAR_LENGTH) / math.tan(pitch)
    # Arms that cannot be counted are broken: their phase wanders.
    wander = (2.6 * (1 - galaxy.clarity) ** 1.5) * smooth_field(len(u), 22, rng)
    phase = galaxy.arm_count * (turned - galaxy.handedness * wound) + wander
    sharpness = 3.0 if galaxy.arm_count > 1 else 1.6
    return np.exp(sharpness * (np.cos(phase) - 1)) * (1 - bell(radius, 0.16))
