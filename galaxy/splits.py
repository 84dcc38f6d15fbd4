"""Which galaxies train, validate and test: a pure function of their ids, stable when galaxies are added."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from galaxy.errors import UserError

SPLITS = ("train", "val", "test")


def unit_hash(ids: NDArray[np.int64], salt: str) -> NDArray[np.float64]:
    """Maps each id to a number in [0, 1), the same on every machine and in every release.

    Args:
        ids: (N,) int64.
        salt: Different salts give independent numbers.

    Returns:
        (N,) float64.
    """
    digests = b"".join(
        hashlib.blake2b(str(i).encode(), digest_size=8, person=salt.encode()).digest() for i in ids.tolist()
    )
    return np.frombuffer(digests, dtype="<u8").astype(np.float64) / 2.0**64


def split_rows(
    ids: NDArray[np.int64], val_fraction: float, test_fraction: float
) -> dict[str, NDArray[np.int64]]:
    """Sends each galaxy to a split by the hash of its id.

    The test split is the low end of the hash and the training split the high end, so that a larger
    validation split takes galaxies from training and none from test.

    Args:
        ids: (N,) int64.
        val_fraction: Share of the galaxies that validate.
        test_fraction: Share of the galaxies that test.

    Returns:
        The rows of "train", "val" and "test", each ascending.
    """
    u = unit_hash(ids, "galaxy-split")
    test = u < test_fraction
    val = ~test & (u < test_fraction + val_fraction)
    return {name: np.flatnonzero(mask) for name, mask in zip(SPLITS, (~test & ~val, val, test), strict=True)}


def sample_rows(ids: NDArray[np.int64], limit: int | None) -> NDArray[np.int64]:
    """A sample of `limit` galaxies, ascending rows; a larger limit contains a smaller one's sample.

    Raises:
        UserError: The limit is below 1.
    """
    if limit is not None and limit < 1:
        raise UserError(f"{limit} galaxies were asked for; it must be 1 or more")
    if limit is None or limit >= len(ids):
        return np.arange(len(ids))
    return np.sort(np.argsort(unit_hash(ids, "galaxy-limit"), kind="stable")[:limit])
