"""Assigns galaxies to splits by their ids alone, so that added galaxies move none."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")
# Their indices.
TRAIN, VAL, TEST = range(3)


def unit_hash(ids: NDArray[np.int64], salt: str, seed: int = 0) -> NDArray[np.float64]:
    """Maps each id to a number in [0, 1), the same on every machine and in every release.

    Args:
        ids: (N,) int64.
        salt: Different salts give independent numbers.
        seed: Different seeds give independent numbers as well.

    Returns:
        (N,) float64.
    """
    prefix = f"{seed}:" if seed else ""
    digests = b"".join(
        hashlib.blake2b(f"{prefix}{i}".encode(), digest_size=8, person=salt.encode()).digest()
        for i in ids.tolist()
    )
    return np.frombuffer(digests, dtype="<u8").astype(np.float64) / 2.0**64


def assign_splits(
    ids: NDArray[np.int64],
    val_fraction: float,
    test_fraction: float,
    seed: int = 0,
    strata: NDArray[np.int64] | None = None,
    groups: NDArray[np.int64] | None = None,
) -> NDArray[np.int8]:
    """Sends each galaxy to a split by the hash of its id.

    The test split is the low end of the hash and the training split is the high end. So a larger validation
    split takes galaxies from training and none from test. With strata, the rank of the hash among the
    galaxies of the same kind takes the place of the hash, and the shares of each kind are right to within one
    galaxy. Galaxies that are added later may then move a few others at the border of two splits.

    Args:
        ids: (N,) int64.
        val_fraction: The share of the galaxies that validate.
        test_fraction: The share of the galaxies that test.
        seed: Another seed gives other splits.
        strata: (N,) int64, the kind of each galaxy; None to ignore kinds.
        groups: (N,) int64, the group of each galaxy; None if each galaxy stands alone. A group goes where a
            galaxy with the group's number as its id would go, whichever members the group has.

    Returns:
        (N,) int8, indices of `SPLITS`.
    """
    u = _places(ids, seed, strata, groups)
    return np.select([u < test_fraction, u < test_fraction + val_fraction], [TEST, VAL], TRAIN).astype(
        np.int8
    )


def assign_folds(
    ids: NDArray[np.int64],
    folds: int,
    seed: int = 0,
    strata: NDArray[np.int64] | None = None,
    groups: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Sends each galaxy to a fold by the hash of its id: equal parts of the hash are the folds.

    Returns:
        (N,) int64, from 0 to `folds` - 1. See `assign_splits` for strata and groups.
    """
    # The largest hash may be rounded up to 1.
    return np.minimum((_places(ids, seed, strata, groups) * folds).astype(np.int64), folds - 1)


def splits_of_fold(folds: NDArray[np.int64], count: int, fold: int) -> NDArray[np.int8]:
    """Tests one fold, validates on the next one and trains on the others.

    Over the runs of all folds, each galaxy is tested once and validates once.

    Args:
        folds: (N,) int64, the fold of each galaxy.
        count: The number of folds.
        fold: The fold that tests.

    Returns:
        (N,) int8, indices of `SPLITS`.
    """
    return np.select([folds == fold, folds == (fold + 1) % count], [TEST, VAL], TRAIN).astype(np.int8)


def _places(
    ids: NDArray[np.int64],
    seed: int,
    strata: NDArray[np.int64] | None,
    groups: NDArray[np.int64] | None,
) -> NDArray[np.float64]:
    """Returns the number in [0, 1) that decides about each galaxy; see `assign_splits`."""
    if groups is not None:
        # The kind of a group is that of its galaxy with the smallest id.
        order = np.argsort(ids, kind="stable")
        distinct, first = np.unique(groups[order], return_index=True)
        own = _places(distinct, seed, None if strata is None else strata[order[first]], None)
        return own[np.searchsorted(distinct, groups)]
    u = unit_hash(ids, "galaxy-split", seed)
    return u if strata is None else _rank_within(u, strata, seed)


def _rank_within(u: NDArray[np.float64], strata: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """Divides the rank of each number within its stratum by the size of the stratum: (N,) in [0, 1)."""
    kinds, kind, counts = np.unique(strata, return_inverse=True, return_counts=True)
    order = np.lexsort((u, kind))
    rank = np.empty(len(u))
    rank[order] = np.arange(len(u)) - np.repeat(np.cumsum(counts) - counts, counts)
    # A share of a stratum is rarely a whole number of galaxies. The hash of the stratum decides which way it
    # is rounded, so that the shares of many small strata together come out right.
    return (rank + unit_hash(kinds, "galaxy-stratum", seed)[kind]) / counts[kind]


def sample_rows(ids: NDArray[np.int64], limit: int | None) -> NDArray[np.int64]:
    """Returns the rows of a sample, ascending; a larger sample contains every smaller one.

    Args:
        ids: (N,) int64.
        limit: The number of galaxies, 1 or more; None for all.
    """
    if limit is None or limit >= len(ids):
        return np.arange(len(ids))
    return np.sort(np.argsort(unit_hash(ids, "galaxy-limit"), kind="stable")[:limit])
