"""What galaxies there are: the properties that both their pictures and the crowd's answers follow from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

OddFeature = Literal["ring", "arc", "disturbed", "irregular", "other", "merger", "dust lane"]
Artefact = Literal["saturated star", "trail", "bad column", "colour offset"]

ODD_FEATURES: tuple[OddFeature, ...] = get_args(OddFeature)  # in the order of the answers of question 8
ARTEFACTS: tuple[Artefact, ...] = get_args(Artefact)

# The shares of the answers to question 8 in the Galaxy Challenge: mean of the answer over that of Class6.1.
_ODD_SHARES = np.array([0.14, 0.06, 0.15, 0.18, 0.27, 0.18, 0.02])
# By eye, from the images of the Galaxy Challenge with the largest Class1.3.
_ARTEFACT_SHARES = [0.6, 0.15, 0.15, 0.1]
# Two thirds of the Galaxy Challenge's votes that give a number say two.
_ARM_SHARES = {1: 0.12, 2: 0.60, 3: 0.13, 4: 0.08, 6: 0.07}


@dataclass(frozen=True)
class SimulatedGalaxy:
    """The properties of one galaxy; those without a unit run from 0 (none) to 1 (as much as there can be).

    Attributes:
        structure: How much of a disc with features, as against a smooth spheroid.
        axis_ratio: Minor over major axis as seen, 0.1 (a thin disc edge-on) to 1 (round).
        bulge: Prominence of the bulge.
        boxiness: How square the bulge is, seen edge-on.
        bar: Strength of the bar.
        arms: Contrast of the spiral arms.
        arm_count: 1, 2, 3, 4 or 6.
        clarity: How well the arms can be counted; flocculent arms are unclear.
        looseness: 0 for arms wound tightly (pitch 8 degrees) to 1 for open ones (38 degrees).
        odd_feature: The odd thing about the galaxy, if it is strong enough to be seen.
        oddness: The strength of the odd feature.
        artefact: What is wrong with the image, if it is strong enough to be seen.
        damage: The strength of the artefact; 0 for most.
        redness: Colour, from young and blue to old and red.
        resolution: Pixels of the telescope across the frame, where SDSS cutouts have 80 to 240.
        position_angle: Direction of the major axis, radians.
        handedness: 1 or -1, the sense in which the arms wind.
    """

    structure: float
    axis_ratio: float
    bulge: float
    boxiness: float
    bar: float
    arms: float
    arm_count: int
    clarity: float
    looseness: float
    odd_feature: OddFeature
    oddness: float
    artefact: Artefact
    damage: float
    redness: float
    resolution: int
    position_angle: float
    handedness: int


def draw_galaxy(rng: np.random.Generator) -> SimulatedGalaxy:
    """Draws a galaxy from the population.

    The properties hang together as in the sky: discs are thin, blue, better resolved, and have the arms;
    spheroids are round and red; dust lanes are seen in discs edge-on.
    """
    structure = rng.random()
    # Seen from a random direction: a disc of axial ratio 0.12, a spheroid of 0.55, or anything between.
    thickness = 0.12 + 0.43 * (1 - structure) ** 1.5
    axis_ratio = float(np.hypot(thickness, np.sqrt(1 - thickness**2) * rng.random()))
    bulge = float(np.clip(0.5 + 0.24 * rng.standard_normal(), 0, 1))
    arms = 0.45 * structure + 0.55 * rng.random()
    looseness = float(np.clip(rng.beta(1.6, 2.2) + 0.25 * (0.5 - bulge), 0, 1))
    redness = float(
        np.clip(1.08 - 0.75 * structure + 0.35 * (bulge - 0.5) + 0.16 * rng.standard_normal(), 0, 1)
    )
    # Featured galaxies are mostly those near enough to show it.
    resolution = int(np.clip(115 * np.exp(0.5 * (structure - 0.5) + 0.22 * rng.standard_normal()), 80, 240))
    return SimulatedGalaxy(
        structure=structure,
        axis_ratio=axis_ratio,
        bulge=bulge,
        boxiness=rng.random() ** 2,
        bar=rng.random(),
        arms=arms,
        arm_count=int(rng.choice(list(_ARM_SHARES), p=list(_ARM_SHARES.values()))),
        clarity=rng.random(),
        looseness=looseness,
        odd_feature=_draw_odd_feature(structure, axis_ratio, rng),
        oddness=rng.random() ** 1.5,
        artefact=ARTEFACTS[rng.choice(len(ARTEFACTS), p=_ARTEFACT_SHARES)],
        damage=max(0.0, 1 - rng.random() / 0.12),  # most images have no artefact to speak of
        redness=redness,
        resolution=resolution,
        position_angle=rng.uniform(0, np.pi),
        handedness=int(rng.choice([-1, 1])),
    )


def _draw_odd_feature(structure: float, axis_ratio: float, rng: np.random.Generator) -> OddFeature:
    shares = _ODD_SHARES.copy()
    edge_on = structure > 0.4 and axis_ratio < 0.35
    shares[ODD_FEATURES.index("ring")] *= 0.0 if edge_on else 1.3
    shares[ODD_FEATURES.index("irregular")] *= 0.4 + 1.2 * structure
    shares[ODD_FEATURES.index("other")] *= 1.5 - structure
    shares[ODD_FEATURES.index("dust lane")] *= 5.0 if edge_on else 0.3
    return ODD_FEATURES[rng.choice(len(ODD_FEATURES), p=shares / shares.sum())]
