"""Distances between galaxies in the features of an encoder: the nearest galaxies, and the oddest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from galaxy.data.splits import sample_rows

Features = NDArray[np.float32]

# A galaxy is as odd as its distance to this neighbour (Sun et al. 2022, arXiv:2204.06507). The nearest one
# could be a copy of it.
NEIGHBOUR = 10
# Features may be thousands, of which most repeat each other.
_COMPONENTS = 64
# So many galaxies, drawn by their ids, stand for all. Every distance between 240,000 would take an hour.
_SAMPLE = 10_000


class Neighbourhood:
    """Places of galaxies, whose distances say how alike these are.

    The features are divided by their standard deviations, and turned onto their principal components. The
    distance is Euclidean, in units of the usual one: the median over all galaxies of `oddities`.

    Args:
        features: (N, F) features of the galaxies.
        ids: (N,) their ids, by which samples are drawn.

    Attributes:
        oddities: (N,) float64, the distance of each galaxy to the tenth nearest of a sample; 1 is usual.
        sampled: The number of galaxies in that sample; None where it has all.

    Raises:
        ValueError: There are too few galaxies, or all have the same features.
    """

    def __init__(self, features: Features, ids: NDArray[np.int64]) -> None:
        if len(features) <= NEIGHBOUR:
            raise ValueError(
                f"{len(features)} galaxies are too few to compare: {NEIGHBOUR + 1} or more are needed"
            )
        sample = sample_rows(ids, _SAMPLE)
        self.sampled = len(sample) if len(sample) < len(features) else None
        mean, std = features[sample].mean(axis=0), features[sample].std(axis=0)
        changing = std > 1e-6 * (1 + np.abs(mean))
        if not changing.any():
            raise ValueError("all galaxies have the same features, so none is nearer than another")
        self._changing, self._mean, self._std = changing, mean[changing], std[changing]
        scaled = self._scaled(features[sample])
        components = min(_COMPONENTS, *scaled.shape)
        self._analysis = PCA(components, svd_solver="randomized", random_state=0).fit(scaled)
        self._places = self._placed(features)
        # One more than the neighbours, because the sample holds some of the galaxies themselves.
        search = NearestNeighbors(n_neighbors=NEIGHBOUR + 1, algorithm="brute").fit(self._places[sample])
        distances = search.kneighbors(self._places)[0].astype(np.float64)
        within = np.isin(np.arange(len(features)), sample)
        tenth = np.where(within, distances[:, NEIGHBOUR], distances[:, NEIGHBOUR - 1])
        self._usual = float(np.median(tenth)) or 1.0
        self.oddities = tenth / self._usual

    def nearest(self, place: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Returns the places and the distances (count,) of the galaxies nearest to one, which is left out."""
        order, distances = self._around(self._places[place], count + 1)
        others = order != place
        return order[others][:count], distances[others][:count]

    def nearest_to(self, features: Features, count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Returns the same for a further galaxy with features (F,)."""
        return self._around(self._placed(features[None])[0], count)

    def _around(self, place: Features, count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        distances = np.linalg.norm(self._places - place, axis=1).astype(np.float64)
        order = np.argsort(distances, kind="stable")[:count]
        return order, distances[order] / self._usual

    def _placed(self, features: Features) -> Features:
        places: Features = self._analysis.transform(self._scaled(features)).astype(np.float32)
        return places

    def _scaled(self, features: Features) -> Features:
        scaled: Features = (features[:, self._changing] - self._mean) / self._std
        return scaled
