"""How a crowd would answer about a galaxy: a multinomial logit in its properties.

The logit of an answer is a constant plus what the galaxy's properties add to it, so that a galaxy between
two answers splits the vote and both answers change smoothly with the picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from galaxy.labels.tree import GALAXY_ZOO_2
from galaxy.surveys.simulated.population import ODD_FEATURES, SimulatedGalaxy

# Fitted, with the slopes below, to the mean and the standard deviation of each of the 37 columns of the
# Galaxy Challenge's labels (12,316 rows), given the population and 45 volunteers.
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
# Volunteers agree more about these than about what is merely disturbed, irregular or other.
_CLEAR = ("ring", "merger", "dust lane")
# The answer to "how many arms" that a count of arms stands for.
_ARM_ANSWERS = {1: 0, 2: 1, 3: 2, 4: 3, 6: 4}


def answer_probabilities(galaxy: SimulatedGalaxy) -> NDArray[np.float64]:
    """The chance of each answer among those who meet its question.

    Returns:
        (37,) float64 in Kaggle's column order; each question's answers sum to 1. The cumulative form is
        `GALAXY_ZOO_2.cumulative` of it.
    """
    added = _added(galaxy)
    parts = []
    for question in GALAXY_ZOO_2:
        logits = np.asarray(_CONSTANTS[question.key]) + added[question.key]
        weights = np.exp(logits - logits.max())
        parts.append(weights / weights.sum())
    return np.concatenate(parts)


def _added(galaxy: SimulatedGalaxy) -> dict[str, NDArray[np.float64]]:
    """What the galaxy's properties add to the logits of each question's answers."""
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
        # Ordered answers: each step up weighs the same.
        "q05": bulge * np.array([-1, 0, 1, 2]),
        "q06": np.array([slope["oddness"] * galaxy.oddness, 0]),
        "q07": roundness * np.array([1, 0, -1]),
        "q08": odd_features,
        "q09": edge_on_bulge * np.array([1, 1, 0])
        + slope["boxiness"] * galaxy.boxiness * np.array([0, 1, 0]),
        "q10": looseness * np.array([-1, 0, 1]),
        "q11": arm_counts,
    }
