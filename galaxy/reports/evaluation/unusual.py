"""Galaxies that are unlike those that the model was trained on, by the features of its encoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.neighbors import NearestNeighbors

from galaxy.reports.evaluation.sample import Array, Mask

# Distances are to this neighbour among the training galaxies (Sun et al. 2022, arXiv:2204.06507).
NEIGHBOUR = 10
# This share of the validation galaxies, which are like the training galaxies, lies below the threshold.
USUAL = 0.99


@dataclass(frozen=True)
class Familiar:
    """The training galaxies that others are compared with.

    Attributes:
        features: (M, F) features of training galaxies, scaled.
        mean: (F,) the mean of the training features.
        std: (F,) their standard deviation.
        threshold: The distance beyond which a galaxy is unlike them.
    """

    features: Array
    mean: Array
    std: Array
    threshold: float

    def distances(self, features: Array) -> Array:
        """The distances (N,) of galaxies with features (N, F), in units of the threshold: above 1 is unusual."""
        return _distances(self.features, (features - self.mean) / self.std) / self.threshold

    def unusual(self, features: Array) -> Mask:
        """Which galaxies (N,) are unlike the training galaxies."""
        return self.distances(features) > 1


def fit_familiar(train: Array, validation: Array) -> Familiar | None:
    """Remembers training galaxies, and takes the threshold from validation galaxies.

    Args:
        train: (M, F) features of training galaxies.
        validation: (N, F) features of validation galaxies.

    Returns:
        None if there are too few galaxies, or all have the same features.
    """
    if len(train) <= NEIGHBOUR or not len(validation):
        return None
    mean, std = train.mean(axis=0), train.std(axis=0)
    std = np.where(std > 1e-9 * (1 + np.abs(mean)), std, np.inf)  # a feature that never changes tells nothing
    scaled = ((train - mean) / std).astype(np.float32)
    threshold = float(np.quantile(_distances(scaled, (validation - mean) / std), USUAL))
    return Familiar(scaled, mean, std, threshold) if threshold > 0 else None


def _distances(known: Array, features: Array) -> Array:
    search = NearestNeighbors(n_neighbors=min(NEIGHBOUR, len(known))).fit(known)
    distances, _ = search.kneighbors(features.astype(np.float32))
    return distances[:, -1].astype(np.float64)
