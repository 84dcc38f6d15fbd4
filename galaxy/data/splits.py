"""Which galaxies train, validate and test: a pure function of their ids, stable when galaxies are added."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galaxy.system.errors import UserError, listing
from galaxy.system.files import replacing

SPLITS = ("train", "val", "test")
_TRAIN, _VAL, _TEST = range(3)


def unit_hash(ids: NDArray[np.int64], salt: str, seed: int = 0) -> NDArray[np.float64]:
    """Maps each id to a number in [0, 1), the same on every machine and in every release.

    Args:
        ids: (N,) int64.
        salt: Different salts give independent numbers.
        seed: And so do different seeds.

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

    The test split is the low end of the hash and the training split the high end, so that a larger
    validation split takes galaxies from training and none from test. With strata the hash is replaced by its
    rank among the galaxies of the same kind, and each kind is shared out to within one galaxy; galaxies that
    are added later may then move a few others that lie at the border of two splits.

    Args:
        ids: (N,) int64.
        val_fraction: Share of the galaxies that validate.
        test_fraction: Share of the galaxies that test.
        seed: Another one gives other splits.
        strata: (N,) int64 kinds, or None.
        groups: (N,) int64; a group goes where a galaxy of that id would go, whichever members it has. None
            where each galaxy stands alone.

    Returns:
        (N,) int8, indices of `SPLITS`.
    """
    if groups is not None:
        # A group is of the kind of its first galaxy, by id.
        order = np.argsort(ids, kind="stable")
        distinct, first = np.unique(groups[order], return_index=True)
        own = assign_splits(
            distinct, val_fraction, test_fraction, seed, None if strata is None else strata[order[first]]
        )
        return own[np.searchsorted(distinct, groups)]
    u = unit_hash(ids, "galaxy-split", seed)
    if strata is not None:
        u = _rank_within(u, strata, seed)
    return np.select([u < test_fraction, u < test_fraction + val_fraction], [_TEST, _VAL], _TRAIN).astype(
        np.int8
    )


def _rank_within(u: NDArray[np.float64], strata: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """The rank of each number among those of its stratum, over their count: (N,) in [0, 1)."""
    kinds, kind, counts = np.unique(strata, return_inverse=True, return_counts=True)
    order = np.lexsort((u, kind))
    rank = np.empty(len(u))
    rank[order] = np.arange(len(u)) - np.repeat(np.cumsum(counts) - counts, counts)
    # Where a share is no whole number, the hash of the stratum decides which way it is rounded: over many
    # small strata the shares come out right.
    return (rank + unit_hash(kinds, "galaxy-stratum", seed)[kind]) / counts[kind]


def read_splits(path: Path, identifiers: list[str]) -> NDArray[np.int8]:
    """Looks galaxies up in a file of splits.

    Args:
        path: A CSV or Parquet table with the columns id and split, such as the one in a run folder.
        identifiers: Of N galaxies, what their survey calls them.

    Returns:
        (N,) int8, indices of `SPLITS`; -1 for galaxies that the file does not list.

    Raises:
        UserError: The file cannot be read, lacks a column, lists a galaxy twice, or names another split.
    """
    path = path.expanduser()
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, dtype="string", keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"there is no data.split_file {path}") from None
    except (ValueError, OSError) as error:
        raise UserError(f"data.split_file {path} cannot be read: {str(error).strip()}") from error
    missing = [name for name in ("id", "split") if name not in table]
    if missing:
        raise UserError(f"data.split_file {path} has no column {' and no column '.join(missing)}")
    table = table[["id", "split"]].astype("string")
    known = table["id"].str.strip()
    unknown = ~table["split"].isin(SPLITS)
    if unknown.any():
        cases = [f"{row.id}: {row.split!r}" for row in table[unknown].itertuples()]
        raise UserError(
            f"data.split_file {path} has splits other than {', '.join(SPLITS)}:\n{listing(cases)}"
        )
    if known.duplicated().any():
        raise UserError(
            f"data.split_file {path} lists galaxies twice:\n{listing(known[known.duplicated()].tolist())}"
        )
    codes = table["split"].map({name: code for code, name in enumerate(SPLITS)}).astype(np.int8)
    looked_up = pd.Series(codes.to_numpy(), index=known.to_numpy()).reindex(identifiers)
    return looked_up.fillna(-1).to_numpy(np.int8)


def override_splits(
    splits: NDArray[np.int8],
    fixed: NDArray[np.int8],
    groups: NDArray[np.int64] | None,
    identifiers: list[str],
) -> NDArray[np.int8]:
    """Lets a file of splits go before the hash.

    Args:
        splits: (N,) as assigned.
        fixed: (N,) as read, -1 for galaxies that the file does not list; they join the listed galaxies of
            their group.
        groups: (N,) int64, or None.
        identifiers: For the error.

    Raises:
        UserError: The file tears a group apart.
    """
    if groups is not None:
        listed = np.flatnonzero(fixed >= 0)
        kinds, first = np.unique(groups[listed], return_index=True)
        place = np.searchsorted(kinds, groups)
        known = np.isin(groups, kinds)
        together = np.full(len(fixed), -1, np.int8)
        together[known] = fixed[listed[first]][place[known]]
        torn = listed[fixed[listed] != together[listed]]
        if len(torn):
            cases = [f"{identifiers[i]} is in {SPLITS[fixed[i]]}, others of its group are not" for i in torn]
            raise UserError(f"data.split_file tears groups of galaxies apart:\n{listing(cases)}")
        fixed = together
    return np.where(fixed >= 0, fixed, splits)


def write_splits(path: Path, identifiers: NDArray[np.generic], codes: NDArray[np.int8]) -> None:
    """Writes which galaxy is in which split, in the form that `read_splits` takes."""
    split = np.array(SPLITS, dtype=object)[codes]
    with replacing(path) as temporary:
        pd.DataFrame({"id": identifiers, "split": split}).to_parquet(temporary, index=False)


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
