"""A galaxy's picture, as SDSS would show it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from galaxy.surveys.simulated.artefacts import add_artefact
from galaxy.surveys.simulated.field import add_field
from galaxy.surveys.simulated.observation import blur, expose
from galaxy.surveys.simulated.oddities import paint_odd_galaxy
from galaxy.surveys.simulated.population import SimulatedGalaxy
from galaxy.surveys.simulated.profiles import pixel_grid


def render(galaxy: SimulatedGalaxy, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Renders a galaxy and the field around it.

    It is drawn at the telescope's resolution, a quarter of the frame's, and enlarged: SDSS's cutouts of
    distant galaxies are blurred, and their noise is coarse, for that reason.

    Args:
        galaxy: What to show.
        rng: Draws everything that the galaxy's properties leave open.

    Returns:
        (424, 424, 3) uint8 RGB.
    """
    x, y = pixel_grid(galaxy.resolution)
    # A disc seen from its side would crowd its light into too bright a band.
    brightness = 0.46 * math.exp(0.3 * rng.standard_normal()) * galaxy.axis_ratio**0.4
    light = brightness * paint_odd_galaxy(galaxy, x, y, rng)
    add_field(light, x, y, rng)
    seen = blur(light, rng)
    add_artefact(seen, x, y, galaxy, rng)
    return expose(seen, rng)
