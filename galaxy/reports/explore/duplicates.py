"""Finds galaxies whose pictures are the same, or nearly so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from galaxy.images.crops import Pixels

# The side of a thumbnail in pixels. Its sky holds neighbours, whose places no other galaxy has.
SIDE = 16
# Thumbnails that are closer are taken for copies. On 3,976 images of the Kaggle challenge no two galaxies were
# closer than 0.25 in any of eight orientations, on 700 of Galaxy Zoo 2 than 0.33, on 100 of Galaxy10 than 0.29.
# Copies that were saved again as JPEG (quality 75), made four times smaller, a fifth brighter or grainier by
# 5 grey levels were at most 0.15 from the original. A shift by 4 of 424 pixels moves half of the copies beyond
# the threshold, and a turn by 10 degrees nearly all.
NEAR = 0.2


@dataclass(frozen=True)
class Pair:
    """Two galaxies with like pictures.

    Attributes:
        first: The place of one of them.
        second: The place of the other, which is larger.
        distance: The distance of their thumbnails; 0 if all pixels are equal.
    """

    first: int
    second: int
    distance: float


def thumbnail(image: Pixels) -> NDArray[np.float32]:
    """Makes the vector that tells copies: the logarithm of the grey levels, with mean 0 and length 1.

    The logarithm gives the sky a say beside the galaxy, which would outshine it.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (SIDE * SIDE,) float32, all 0 for an image without any detail.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    small = np.log1p(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)).ravel()
    small -= small.mean()
    length = float(np.linalg.norm(small))
    return small / length if length > 1e-3 else np.zeros_like(small)


def equal_pictures(digests: Sequence[bytes]) -> list[list[int]]:
    """Returns the places of pictures with the same digest, for each digest that comes more than once."""
    together: dict[bytes, list[int]] = defaultdict(list)
    for place, digest in enumerate(digests):
        together[digest].append(place)
    return [places for places in together.values() if len(places) > 1]


def nearest_pairs(thumbnails: NDArray[np.float32], digests: Sequence[bytes]) -> list[Pair]:
    """Pairs each picture with the most similar one that is not equal, in any of eight orientations.

    Args:
        thumbnails: (N, SIDE * SIDE) float32.
        digests: The N digests of the pixels.

    Returns:
        Each pair once, the closest first. Pictures that are blank have none.
    """
    from sklearn.neighbors import NearestNeighbors  # noqa: PLC0415  it takes a second to import

    # Of equal pictures the first stands for all.
    first = {digest: place for place, digest in reversed(list(enumerate(digests)))}
    places = np.array(sorted(place for place in first.values() if thumbnails[place].any()), dtype=np.int64)
    if len(places) < 2:
        return []
    upright = thumbnails[places]
    search = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(upright)
    squares = upright.reshape(-1, SIDE, SIDE)
    closest: dict[tuple[int, int], float] = {}
    for mirrored in (squares, squares[:, :, ::-1]):
        for turns in range(4):
            turned = np.rot90(mirrored, turns, axes=(1, 2)).reshape(len(places), -1)
            distances, found = search.kneighbors(turned)
            for one, (others, lengths) in enumerate(zip(found.tolist(), distances.tolist(), strict=True)):
                # A symmetrical picture is nearest to itself.
                place = 0 if others[0] != one else 1
                key = (min(one, others[place]), max(one, others[place]))
                closest[key] = min(closest.get(key, np.inf), lengths[place])
    pairs = [Pair(int(places[a]), int(places[b]), distance) for (a, b), distance in closest.items()]
    return sorted(pairs, key=lambda pair: (pair.distance, pair.first))
