"""The light of a galaxy before a telescope sees it: spheroid, disc, bulge, bar, arms and odd features.

The unit of length is the radius at which a galaxy seems to end.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from galaxy.surveys.simulated.population import SimulatedGalaxy

Array = NDArray[np.floating]  # float32 from the grid to the picture

# The images of the Galaxy Challenge are scaled to the size of the galaxy. With this radius (in pixels), the
# simulated galaxies cover as much of the frame above grey level 30 as the real ones do.
FRAME = 424
RADIUS = 94
HALF = FRAME / 2 / RADIUS  # half a side of the frame
# The radius of half the light of a galaxy.
_HALF_LIGHT = 0.52
_BAR_LENGTH = 0.42
# The colours (RGB) of the youngest and the oldest galaxies. Both are about equally bright.
_BLUE = np.array([0.88, 0.97, 1.2], np.float32)
_RED = np.array([1.34, 1.0, 0.54], np.float32)


def pixel_grid(resolution: int) -> tuple[Array, Array]:
    """The x and y of each pixel's centre, (resolution, resolution) each. 0 is the middle of the frame."""
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
    # The profile is cut where it is steeper than a pixel. The point-spread function hides the cut.
    scaled = np.maximum(radius, 0.02) / half_light
    return np.exp(-b * (scaled ** (1 / index) - 1)) / (total * axis_ratio)


def bell(distance: Array, width: float) -> Array:
    """A Gaussian, exp(-(d/w)²/2), which is 1 at distance 0."""
    return np.exp(-0.5 * np.square(distance / width))


def ramp(value: float, low: float, high: float) -> float:
    """Returns 0 below `low`, 1 above `high`, and rises linearly between them."""
    return min(1.0, max(0.0, (value - low) / (high - low)))


def smooth_field(resolution: int, cells: int, rng: np.random.Generator) -> Array:
    """Random hills and valleys of about unit size, `cells` across the frame; (resolution, resolution)."""
    coarse = rng.standard_normal((cells, cells), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, (resolution, resolution), interpolation=cv2.INTER_CUBIC), np.float32)


def tinted(light: Array, redness: float) -> Array:
    """Colours light: (n, n) to (n, n, 3) RGB, from young and blue (redness 0) to old and red (1)."""
    return light[..., None] * (_BLUE + (_RED - _BLUE) * redness)


def paint_galaxy(galaxy: SimulatedGalaxy, u: Array, v: Array, rng: np.random.Generator) -> Array:
    """Paints a galaxy. Its total light is 1, without bar and arms.

    Args:
        galaxy: What to paint.
        u: (n, n) coordinate of each pixel along the galaxy's major axis.
        v: (n, n) coordinate across it.
        rng: The generator that draws what no question asks about: the angle of the bar, the texture of the
            disc.

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
    """How close the view is to edge-on, from 0 to 1."""
    return ramp(0.42 - galaxy.axis_ratio, 0.0, 0.17)


def _bulge(galaxy: SimulatedGalaxy, u: Array, v: Array) -> Array:
    size = 0.09 + 0.13 * galaxy.bulge
    # A bulge is a flattened ball. It therefore stands out of a disc that is seen edge-on.
    axis_ratio = math.hypot(0.68, 0.73 * galaxy.axis_ratio)
    power = 2 + 4 * galaxy.boxiness * _edge_on(galaxy)
    return sersic(elliptical(u, v, axis_ratio, power), size, 1.6, axis_ratio)


def _disc(galaxy: SimulatedGalaxy, u: Array, v: Array, rng: np.random.Generator) -> Array:
    """The disc with its bar, arms and texture, (n, n, 3). The total light of the bare disc is 1."""
    across = v / galaxy.axis_ratio
    radius = np.hypot(u, across)
    bar_angle = rng.uniform(0, math.pi)
    bar = 0.9 * ramp(galaxy.bar, 0.45, 1.0) * (1 - _edge_on(galaxy))
    arms = ramp(galaxy.arms, 0.3, 0.8) * ramp(galaxy.structure, 0.0, 0.5)

    disc = sersic(radius, 1.05 * _HALF_LIGHT, 1.0, galaxy.axis_ratio)
    texture = smooth_field(len(u), 44, rng)
    disc = disc * np.exp(0.3 * galaxy.structure * texture)
    # A bar sweeps up the disc around it.
    disc = disc * (1 - 0.6 * bar * bell(radius, 0.75 * _BAR_LENGTH))
    ridges = _arm_ridges(galaxy, u, across, bar_angle, rng)
    # The disc darkens between the arms, and the arms reach further out than the disc.
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
    """The strength of logarithmic spiral arms: 1 on the crest, towards 0 between arms and in the centre."""
    radius = np.maximum(np.hypot(u, across), 0.03)
    pitch = math.radians(8 + 30 * galaxy.looseness)
    # The arms start at the ends of the bar.
    turned = np.arctan2(across, u) - bar_angle
    wound = np.log(radius / _BAR_LENGTH) / math.tan(pitch)
    # The phase of unclear arms wanders, so that the arms are broken and cannot be counted.
    wander = (2.6 * (1 - galaxy.clarity) ** 1.5) * smooth_field(len(u), 22, rng)
    phase = galaxy.arm_count * (turned - galaxy.handedness * wound) + wander
    sharpness = 3.0 if galaxy.arm_count > 1 else 1.6
    return np.exp(sharpness * (np.cos(phase) - 1)) * (1 - bell(radius, 0.16))


def paint_odd_galaxy(galaxy: SimulatedGalaxy, x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Paints a galaxy with its odd feature, if the feature is strong enough to be seen.

    Args:
        galaxy: What to paint.
        x: (n, n) coordinate of each pixel along the frame.
        y: (n, n) coordinate down the frame.
        rng: The generator that draws what no question asks about.

    Returns:
        (n, n, 3) float32 RGB, of total light about 1.
    """
    u, v = rotated(x, y, galaxy.position_angle)
    strength = ramp(galaxy.oddness, 0.25, 0.95) ** 1.3
    # Two streams of random numbers: the odd feature does not change the rest of the galaxy.
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
    """A thin blue arc of a circle around the galaxy: a distant galaxy seen through a gravitational lens."""
    u, v = rotated(x, y, rng.uniform(0, 2 * math.pi))
    radius, angle = np.hypot(u, v), np.arctan2(v, u)
    arc = bell(radius - rng.uniform(0.85, 1.15), 0.06) * bell(angle, rng.uniform(0.35, 0.6))
    return tinted(0.75 * strength * arc, rng.uniform(-0.4, 0.3))


def _bent(u: Array, v: Array, strength: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """The coordinates of a disc that is bent to one side, unequally on its two sides."""
    way = strength * float(rng.choice([-1, 1]))
    bent_u = u + way * 0.18 * u * np.abs(u) + way * 0.25 * v
    bent_v = v + way * 0.45 * (np.square(u) - 0.15)
    return bent_u, bent_v


def _tail(u: Array, v: Array, rng: np.random.Generator) -> Array:
    """A tidal tail, which is a wide, fading arc that leaves the galaxy on one side."""
    side, turn = rng.choice([-1.0, 1.0], size=2).tolist()
    reach = np.maximum(side * u, 0)
    centre_line = 0.45 * turn * np.square(reach)
    return bell(v - centre_line, 0.13) * bell(reach - 0.75, 0.35) * (reach > 0)


def _clumpy(light: Array, u: Array, across: Array, strength: float, rng: np.random.Generator) -> Array:
    """Breaks a galaxy into pieces and adds young clumps off its centre."""
    pieces = np.exp(0.9 * strength * smooth_field(len(u), 26, rng) - 0.3 * strength)
    faded = 1 - 0.6 * strength * bell(np.hypot(u, across), 0.3)
    light = light * (pieces * faded)[..., None]
    for _ in range(int(rng.integers(2, 6))):
        px, py = _beside(0.2, 0.75, rng)
        clump = bell(np.hypot(u - px, across - py), rng.uniform(0.08, 0.2))
        light += tinted(strength * rng.uniform(0.3, 0.9) * clump, rng.uniform(-0.3, 0.3))
    return light


def _blobs(x: Array, y: Array, strength: float, rng: np.random.Generator) -> Array:
    """Small bodies on or near the galaxy, which may or may not belong to it."""
    light = np.zeros((*x.shape, 3), np.float32)
    for _ in range(int(rng.integers(2, 5))):
        px, py = _beside(0.3, 1.0, rng)
        blob = bell(np.hypot(x - px, y - py), rng.uniform(0.05, 0.1))
        light += tinted(strength * rng.uniform(0.8, 2.2) * blob, rng.uniform(0.6, 1.3))
    return light


def _companion(
    galaxy: SimulatedGalaxy, x: Array, y: Array, strength: float, rng: np.random.Generator
) -> Array:
    """A second galaxy that touches the first, and the tail that it has pulled out of it."""
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
    """The share of light that passes a lane of dust on the major axis. Blue light is dimmed most."""
    lane = bell(v - 0.15 * axis_ratio, 0.05 + 0.1 * axis_ratio) * bell(u, 0.7)
    depth = strength * np.array([0.75, 0.88, 0.97], np.float32)
    return 1 - lane[..., None] * depth


def _beside(nearest: float, farthest: float, rng: np.random.Generator) -> tuple[float, float]:
    """A random place on or near the galaxy."""
    distance, angle = rng.uniform(nearest, farthest), rng.uniform(0, 2 * math.pi)
    return distance * math.cos(angle), distance * math.sin(angle)
