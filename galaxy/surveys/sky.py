"""Galaxies that are neighbours on the sky."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def sky_groups(
    ids: NDArray[np.int64], ra: NDArray[np.float64], dec: NDArray[np.float64], separation: float
) -> NDArray[np.int64]:
    """Groups galaxies that are connected by steps of at most `separation`.

    Args:
        ids: (N,).
        ra: (N,) right ascension in degrees.
        dec: (N,) declination in degrees.
        separation: In seconds of arc, above 0.

    Returns:
        (N,) the smallest id in each galaxy's group, which is its own where it stands alone.
    """
    from sklearn.cluster import DBSCAN  # noqa: PLC0415  takes a second to import

    # Where one point makes a cluster, clusters are the connected components.
    steps = DBSCAN(
        eps=np.radians(separation / 3600), min_samples=1, metric="haversine", algorithm="ball_tree"
    )
    cluster = steps.fit_predict(np.radians(np.column_stack([dec, ra])))
    smallest = np.full(len(ids), np.iinfo(np.int64).max)
    np.minimum.at(smallest, cluster, ids)
    return smallest[cluster]
