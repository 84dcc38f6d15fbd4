"""What a person should know about the images of a run before believing its figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from galaxy.data.cache import CachedImages
from galaxy.data.splits import SPLITS
from galaxy.images.crops import Crop
from galaxy.system.errors import listing

# A caution about crops needs this share of the images. A few odd ones are in every survey.
_MANY = 0.1


def crop_cautions(images: CachedImages, crop: Crop) -> list[str]:
    """Says what a crop does to many of the images that its settings may not mean."""
    total, found = len(images.row), []
    if crop.searches and images.whole > _MANY * total:
        found.append(
            f"the crop keeps the whole frame of {images.whole:,} of {total:,} images, because it found no "
            "galaxy or one that fills the frame: look at them with galaxy explore, or use a center crop"
        )
    if images.enlarged > _MANY * total:
        found.append(
            f"the crop enlarges {images.enlarged:,} of {total:,} images: the part of the frame that it keeps "
            f"has fewer pixels than crop.size={crop.size}"
        )
    return found


def copies(
    images: CachedImages, names: Sequence[str], splits: NDArray[np.int8], may_group: bool
) -> tuple[str, bool]:
    """Finds images whose files have the same content.

    Args:
        images: The images.
        names: The names of the galaxies.
        splits: (N,) int8, the split of each galaxy; see `galaxy.data.splits`.
        may_group: Whether the catalog has the setting `group_column`.

    Returns:
        What was found, in words, empty if all differ; and whether copies are in different splits.
    """
    place = images.shard * (images.row.max() + 1) + images.row
    _, which, counts = np.unique(place, return_inverse=True, return_counts=True)
    together: dict[int, list[int]] = defaultdict(list)
    for row in np.flatnonzero(counts[which] > 1).tolist():
        together[int(which[row])].append(row)
    if not together:
        return "", False
    across = [rows for rows in together.values() if len({int(splits[row]) for row in rows}) > 1]
    shown = [" and ".join(f"{names[row]} ({SPLITS[splits[row]]})" for row in rows) for rows in across]
    text = f"{sum(map(len, together.values())):,} galaxies have the image of another one"
    if not across:
        return f"{text}, in the same split", False
    advice = "give them one group (data.catalog.group_column), or remove" if may_group else "remove"
    return (
        f"{text}, in {len(across):,} case(s) across splits, where a galaxy is tested that was trained on: "
        f"{advice} all but one:\n{listing(shown)}",
        True,
    )
