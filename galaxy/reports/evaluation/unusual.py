"""Galaxies that are unlike those that the model was trained on, by the features of its encoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from galaxy.reports.evaluation.sample import Array

Features = NDArray[np.float32]

# Distances are to this neighbour among the training galaxies (Sun et al. 2022, arXiv:2204.06507).
NEIGHBOUR = 10
# This share of the validation galaxies, which are like the training galaxies, lies below the threshold.
USUAL = 0.99
# Features may be thousands, which would make a large file and slow distances.
_COMPONENTS = 64


@dataclass(frozen=True)
class Familiar:
    """The training galaxies that others are compared with.

    Attributes:
        mean: (F,) the mean of the training features.
        std: (F,) their standard deviation; infinite for a feature that never changes.
        components: (P, F) the principal components of the scaled features.
        known: (M, P + 1) training galaxies: their components, and the length of what these leave out.
        threshold: The distance beyond which a galaxy is unlike them.
    """

    mean: Features
    std: Features
    components: Features
    known: Features
    threshold: float

    def distances(self, features: Features) -> Array:
        """The distances (N,) of galaxies with features (N, F): above 1, a galaxy is unlike the training's."""
        places = _places(features, self.mean, self.std, self.components)
        return _distances(self.known, places) / self.threshold


def fit_familiar(train: Features, validation: Features) -> Familiar | None:
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
    std = np.where(std > 1e-6 * (1 + np.abs(mean)), std, np.float32(np.inf))
    if not np.isfinite(std).any():
        return None
    scaled = (train - mean) / std
    analysis = PCA(min(_COMPONENTS, *scaled.shape), svd_solver="randomized", random_state=0).fit(scaled)
    components = analysis.components_.astype(np.float32)
    known = _places(train, mean, std, components)
    distances = _distances(known, _places(validation, mean, std, components))
    threshold = float(np.quantile(distances, USUAL))
    return Familiar(mean, std, components, known, threshold) if threshold > 0 else None


def _places(features: Features, mean: Features, std: Features, components: Features) -> Features:
    scaled = (features - mean) / std
    along = scaled @ components.T
    rest = np.square(scaled).sum(axis=1) - np.square(along).sum(axis=1)
    return np.concatenate([along, np.sqrt(np.maximum(rest, 0))[:, None]], axis=1).astype(np.float32)


def _distances(known: Features, places: Features) -> Array:
    distances, _ = NearestNeighbors(n_neighbors=NEIGHBOUR).fit(known).kneighbors(places)
    return distances[:, -1].astype(np.float64)
