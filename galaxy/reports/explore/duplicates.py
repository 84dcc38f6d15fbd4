"""Finds galaxies whose pictures are the same, or nearly so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galaxy.data.splits import SPLITS
from galaxy.reports.explore.pictures import THUMBNAIL, Looked
from galaxy.surveys import Catalog
from galaxy.system.terminal import tracked

# Thumbnails that are closer are taken for copies. On 3,976 images of the Kaggle challenge no two galaxies
# were closer than 0.25 in any of eight orientations, on 700 of Galaxy Zoo 2 none than 0.33, and on 100 of
# Galaxy10 none than 0.29. Copies that were saved again as JPEG (quality 75), made four times smaller, a fifth
# brighter or grainier by 5 grey levels were at most 0.15 from the original. A shift by 4 of 424 pixels moves
# half of the copies beyond the threshold, and a turn by 10 degrees nearly all.
NEAR = 0.2
# So many pairs of near copies are shown; so many of the closest ones are shown in any case, to judge by.
_MOST_PAIRS, _LEAST_PAIRS = 16, 4


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


def equal_pictures(digests: Sequence[bytes]) -> list[list[int]]:
    """Returns the places of pictures with the same digest, for each digest that comes more than once."""
    together: dict[bytes, list[int]] = defaultdict(list)
    for place, digest in enumerate(digests):
        together[digest].append(place)
    return [places for places in together.values() if len(places) > 1]


def nearest_pairs(thumbnails: NDArray[np.float32], digests: Sequence[bytes]) -> list[Pair]:
    """Pairs each picture with the most similar one that is not equal, in any of eight orientations.

    Args:
        thumbnails: (N, THUMBNAIL**2) float32.
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
    squares = upright.reshape(-1, THUMBNAIL, THUMBNAIL)
    closest: dict[tuple[int, int], float] = {}
    orientations = [
        np.rot90(one, turns, (1, 2)) for one in (squares, squares[:, :, ::-1]) for turns in range(4)
    ]
    for turned in tracked(orientations, "Looking for copies"):
        distances, found = search.kneighbors(turned.reshape(len(places), -1))
        for one, (others, lengths) in enumerate(zip(found.tolist(), distances.tolist(), strict=True)):
            # A symmetrical picture is nearest to itself.
            place = 0 if others[0] != one else 1
            key = (min(one, others[place]), max(one, others[place]))
            closest[key] = min(closest.get(key, np.inf), lengths[place])
    pairs = [Pair(int(places[a]), int(places[b]), distance) for (a, b), distance in closest.items()]
    return sorted(pairs, key=lambda pair: (pair.distance, pair.first))


@dataclass(frozen=True)
class Copies:
    """What was found out about copies.

    Attributes:
        sentences: What was found, in words.
        pairs: A line for each pair that is shown.
        equal: A line for the galaxies of each case of equal pixels.
    """

    sentences: tuple[str, ...]
    pairs: tuple[str, ...]
    equal: tuple[str, ...]


def copies_among(catalog: Catalog, splits: NDArray[np.int8], looked: Looked) -> tuple[Copies, list[Pair]]:
    """Finds copies among the images that were looked at, and chooses the pairs to show."""
    if len(looked.rows) < 2:
        return Copies((), (), ()), []
    equal = equal_pictures(looked.digests)
    nearest = nearest_pairs(looked.thumbnails, looked.digests)
    near = [pair for pair in nearest if pair.distance < NEAR]
    split_of = splits[looked.rows]

    def across(places: Sequence[int]) -> bool:
        return len({int(split_of[place]) for place in places}) > 1

    torn = sum(across((pair.first, pair.second)) for pair in near)
    # Those across splits come first.
    near.sort(key=lambda pair: not across((pair.first, pair.second)))
    equal.sort(key=lambda group: not across(group))
    pairs = [Pair(group[0], group[1], 0.0) for group in equal[: _MOST_PAIRS // 2]] + near[:_MOST_PAIRS]
    pairs += nearest[len(near) : len(near) + max(_LEAST_PAIRS - len(near), 0)]
    names = catalog.identifiers[looked.rows]

    def named(places: Sequence[int]) -> str:
        return " and ".join(f"{names[place]} ({SPLITS[split_of[place]]})" for place in places)

    looked_at, total = len(looked.rows), len(catalog) - len(looked.bad)
    sentences = [
        f"{sum(map(len, equal)):,} of {looked_at:,} galaxies have exactly the pixels of another one, in "
        f"{sum(map(across, equal)):,} case(s) across splits."
        if equal
        else f"No two of {looked_at:,} galaxies have the same pixels.",
        f"{len(near):,} pair(s) of other pictures look nearly the same, {torn:,} of them across splits."
        if near
        else "No two other pictures look nearly the same.",
    ]
    if looked_at < total:
        chance = (looked_at / total) ** 2
        sentences.append(
            f"These are {looked_at:,} of {total:,} galaxies, which hold both of a given pair with a chance "
            f"of {chance:.2g}: pictures=null looks at all."
        )
    lines = tuple(
        f"{named((pair.first, pair.second))}: "
        f"{'equal' if not pair.distance else f'distance {pair.distance:.2f}'}"
        f"{'' if pair.distance < NEAR else ', not taken for copies'}"
        for pair in pairs
    )
    return Copies(tuple(sentences), lines, tuple(named(group) for group in equal)), pairs
