"""Kinds of galaxies from `gz2_class`, coarse enough that each is well filled."""

from __future__ import annotations

import re
from collections import Counter

import pandas as pd

# Validation and test splits are a tenth of the galaxies each by default: of 100 galaxies, ten. Rounding ten
# to a whole galaxy changes a kind's share by 5 % at most, about what chance does to its labels anyway.
LEAST = 100
OTHER = "other"
# What a class is made of, from the general to the special: one character each, and the odd feature.
_PART = re.compile(r"\([^)]*\)|.")


def class_reduced(classes: pd.Series, least: int = LEAST) -> pd.Series:
    """Shortens rare classes until each has enough galaxies, for splits with the same share of each.

    A class of Galaxy Zoo 2 says the general first: `SBc+l(m)` is a spiral (S), barred (B), with a just
    noticeable bulge (c), more than four (+) loose (l) arms, and merging (m) (Willett et al. 2013, appendix).
    Of 818 classes, 421 have fewer than 12 galaxies. The galaxies of a class with fewer than `least` join
    those of the class without its last part (`SBc+l`, `SBc+`, `SBc`, `SB`, `S`), the most special classes
    first; those that even one letter does not gather become "other". So nothing common loses a distinction
    for something rare, and the result depends on the column alone, not on the order of its rows.

    The Keras project on Galaxy Zoo 2 has the idea and the name; it merged classes of fewer than 8.

    Args:
        classes: Values of `gz2_class`; empty ones become "other".
        least: Number of galaxies that a class needs to stay.

    Returns:
        The reduced classes, str, with the index of `classes`. All but "other" have at least `least` galaxies.
    """
    numbers = classes.value_counts()
    parts = {str(name): tuple(_PART.findall(str(name).strip())) for name in numbers.index}
    sizes: Counter[tuple[str, ...]] = Counter()
    for name, number in numbers.items():
        sizes[parts[str(name)]] += int(number)
    for length in range(max(map(len, sizes), default=0), 0, -1):
        for kind in [kind for kind, size in sizes.items() if len(kind) == length and size < least]:
            sizes[kind[:-1]] += sizes.pop(kind)
    reduced = {}
    for name, kind in parts.items():
        lengths = range(len(kind), 0, -1)
        reduced[name] = next(("".join(kind[:length]) for length in lengths if kind[:length] in sizes), OTHER)
    return classes.map(reduced).fillna(OTHER).astype(str)
