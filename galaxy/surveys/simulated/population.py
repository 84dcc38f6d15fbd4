"""The simulated galaxies: their properties, and how likely each answer of the crowd is.

Both the picture of a galaxy and the answers about it follow from its properties. The probabilities are a
multinomial logit: the logit of an answer is a constant plus what the galaxy's properties add to it. A galaxy
between two answers therefore splits the vote, and both answers change smoothly with the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2

OddFeature = Literal["ring", "arc", "disturbed", "irregular", "other", "merger", "dust lane"]
Artefact = Literal["saturated star", "trail", "bad column", "colour offset"]

ODD_FEATURES: tuple[OddFeature, ...] = get_args(OddFeature)  # in the order of the answers to question 8
ARTEFACTS: tuple[Artefact, ...] = get_args(Artefact)

# The shares of the answers to question 8 in the Galaxy Challenge: the mean of each over the mean of Class6.1.
_ODD_SHARES = np.array([0.14, 0.06, 0.15, 0.18, 0.27, 0.18, 0.02])
# Estimated by eye from the images of the Galaxy Challenge with the largest Class1.3.
_ARTEFACT_SHARES = [0.6, 0.15, 0.15, 0.1]
# In the Galaxy Challenge, two thirds of the votes that give a number of arms say two.
_ARM_SHARES = {1: 0.12, 2: 0.60, 3: 0.13, 4: 0.08, 6: 0.07}
# The constants and the slopes below are fitted to the mean and the standard deviation of each of the 37
# columns of the Galaxy Challenge's labels (12,316 rows), for this population and 45 volunteers.
_CONSTANTS: dict[str, list[float]] = {
    "q01": [0, -2.4, -3.14],
    "q02": [5.15, 0],
    "q03": [-6.89, 0],
    "q04": [-7.74, 0],
    "q05": [1.46, 0.5, -3.74, -11.43],
    "q06": [-3.6, 0],
    "q07": [-10.19, 0, 5.24],
    "q08": [-0.79, -0.75, -0.07, 0.2, 0.5, -0.5, -2.64],
    "q09": [-2.47, -5.83, 0],
    "q10": [3.48, 1.0, -3.78],
    "q11": [-2.71, -1.39, -2.35, -3.44, -3.22, 0],
}
_SLOPES = {
    "structure": 5.5,
    "damage": 2.4,
    "edge-on": 16.9,
    "bar": 8.8,
    "arms": 13.8,
    "bulge": 8.4,
    "oddness": 4.8,
    "roundness": 14.8,
    "clear odd feature": 5.0,
    "vague odd feature": 1.6,
    "edge-on bulge": 7.2,
    "boxiness": 3.5,
    "looseness": 6.8,
    "clarity": 5.2,
}
# Volunteers agree more about these features than about disturbed, irregular and other galaxies.
_CLEAR = ("ring", "merger", "dust lane")
# The index of the answer to "how many arms" for each number of arms.
_ARM_ANSWERS = {1: 0, 2: 1, 3: 2, 4: 3, 6: 4}


@dataclass(frozen=True)
class SimulatedGalaxy:
    """The properties of one galaxy. Numbers without a unit run from 0 (none) to 1 (the most there can be).

    Attributes:
        structure: How much the galaxy is a disc with features (1) rather than a smooth spheroid (0).
        axis_ratio: The minor over the major axis as seen, from 0.1 (a thin disc edge-on) to 1 (round).
        bulge: The prominence of the bulge.
        boxiness: How square the bulge looks when seen edge-on.
        bar: The strength of the bar.
        arms: The contrast of the spiral arms.
        arm_count: The number of arms: 1, 2, 3, 4 or 6.
        clarity: How well the arms can be counted. Flocculent arms are unclear.
        looseness: How open the arms are, from 0 (wound tightly, a pitch of 8 degrees) to 1 (38 degrees).
        odd_feature: The odd thing about the galaxy. It is seen only if it is strong enough.
        oddness: The strength of the odd feature.
        artefact: What is wrong with the image. It is seen only if it is strong enough.
        damage: The strength of the artefact. It is 0 for most galaxies.
        redness: The colour, from young and blue to old and red.
        resolution: The number of the telescope's pixels across the frame. SDSS cutouts have 80 to 240.
        position_angle: The direction of the major axis, in radians.
        handedness: The sense in which the arms wind: 1 or -1.
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

    The properties are related as they are in the sky. Discs are thin, blue and better resolved, and have
    arms. Spheroids are round and red. Dust lanes are seen in edge-on discs.
    """
    structure = rng.random()
    # The true axial ratio lies between 0.12 (disc) and 0.55 (spheroid). The viewing direction is random.
    thickness = 0.12 + 0.43 * (1 - structure) ** 1.5
    axis_ratio = float(np.hypot(thickness, np.sqrt(1 - thickness**2) * rng.random()))
    bulge = float(np.clip(0.5 + 0.24 * rng.standard_normal(), 0, 1))
    arms = 0.45 * structure + 0.55 * rng.random()
    looseness = float(np.clip(rng.beta(1.6, 2.2) + 0.25 * (0.5 - bulge), 0, 1))
    redness = float(
        np.clip(1.08 - 0.75 * structure + 0.35 * (bulge - 0.5) + 0.16 * rng.standard_normal(), 0, 1)
    )
    # Features are seen mostly in galaxies that are near, and so well resolved.
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
        damage=max(0.0, 1 - rng.random() / 0.12),  # most images have no visible artefact
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


def answer_probabilities(galaxy: SimulatedGalaxy) -> NDArray[np.float64]:
    """The probability of each answer among the volunteers who meet its question.

    Returns:
        (37,) float64 in the order of the Kaggle columns. The answers of each question sum to 1;
        `GALAXY_ZOO_2.cumulative` makes the cumulative form of them.
    """
    added = _added(galaxy)
    parts = []
    for question in GALAXY_ZOO_2:
        logits = np.asarray(_CONSTANTS[question.key]) + added[question.key]
        weights = np.exp(logits - logits.max())
        parts.append(weights / weights.sum())
    return np.concatenate(parts)


def _added(galaxy: SimulatedGalaxy) -> dict[str, NDArray[np.float64]]:
    """The amounts that the properties of a galaxy add to the logits of each question's answers."""
    slope = _SLOPES
    bulge = slope["bulge"] * galaxy.bulge
    edge_on_bulge = slope["edge-on bulge"] * galaxy.bulge
    roundness = slope["roundness"] * galaxy.axis_ratio
    looseness = slope["looseness"] * galaxy.looseness
    odd_slope = slope["clear odd feature" if galaxy.odd_feature in _CLEAR else "vague odd feature"]
    odd_features = np.zeros(len(ODD_FEATURES))
    odd_features[ODD_FEATURES.index(galaxy.odd_feature)] = odd_slope * galaxy.oddness
    arm_counts = np.zeros(6)
    arm_counts[_ARM_ANSWERS[galaxy.arm_count]] = slope["clarity"] * galaxy.clarity
    return {
        "q01": np.array([0, slope["structure"] * galaxy.structure, slope["damage"] * galaxy.damage]),
        "q02": np.array([-slope["edge-on"] * galaxy.axis_ratio, 0]),
        "q03": np.array([slope["bar"] * galaxy.bar, 0]),
        "q04": np.array([slope["arms"] * galaxy.arms, 0]),
        # The answers are ordered, and each step up weighs the same.
        "q05": bulge * np.array([-1, 0, 1, 2]),
        "q06": np.array([slope["oddness"] * galaxy.oddness, 0]),
        "q07": roundness * np.array([1, 0, -1]),
        "q08": odd_features,
        "q09": edge_on_bulge * np.array([1, 1, 0])
        + slope["boxiness"] * galaxy.boxiness * np.array([0, 1, 0]),
        "q10": looseness * np.array([-1, 0, 1]),
        "q11": arm_counts,
    }
