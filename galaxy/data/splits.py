"""Assigns galaxies to splits by their ids alone, so that added galaxies move none."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galaxy.surveys import Catalog
from galaxy.surveys.files import is_image, written
from galaxy.surveys.names import file_names
from galaxy.surveys.table_reader import Table
from galaxy.system.errors import UserError, listing
from galaxy.system.files import replacing

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
_TRAIN, _VAL, _TEST = range(3)


class Listed(NamedTuple):
    """The galaxies of a catalog and those that a file of splits lists.

    Attributes:
        found: The number of galaxies in both.
        new: The names of the galaxies that the file does not list.
        gone: The names in the file that the catalog does not have, without those that only the starting
            weights of a run were trained on.
    """

    found: int
    new: tuple[str, ...]
    gone: tuple[str, ...]

    def words(self) -> str:
        """Returns how many galaxies are new, and how many are listed."""
        if not self.found:
            return f"{len(self.new):,} new galaxies, none of which is listed in the file of splits"
        if not self.new:
            return f"all {self.found:,} galaxies are listed in the file of splits"
        return f"{self.found:,} galaxies are listed in the file of splits, {len(self.new):,} are new"


@dataclass(frozen=True)
class SplitSettings:
    """Splits the galaxies of a catalog into those that train, validate and test.

    Attributes:
        val_fraction: The share of the galaxies that validate.
        test_fraction: The share of the galaxies that test.
        split_seed: Another seed gives other splits.
        stratify: Whether each kind of galaxy is split in these shares, if the survey knows kinds.
        split_file: A table that fixes the splits of the galaxies it lists; see `read_splits`.
        folds: The number of folds, which take the place of the two shares; None for one split by shares.
        fold: Which of the folds tests, from 0. The next one validates, and the others train.

    Raises:
        ValueError: A share, the seed, the number of folds or the fold is out of its range.
    """

    val_fraction: float
    test_fraction: float
    split_seed: int
    stratify: bool
    split_file: Path | None
    folds: int | None = None
    fold: int | None = None

    def __post_init__(self) -> None:
        if min(self.val_fraction, self.test_fraction) < 0 or self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"val_fraction is {self.val_fraction} and test_fraction is {self.test_fraction}; they must "
                "not be negative, and together leave galaxies to train on (less than 1)"
            )
        if self.split_seed < 0:
            raise ValueError(f"split_seed is {self.split_seed}; it must be 0 or more")
        if self.folds is None:
            if self.fold is not None:
                raise ValueError(f"fold is {self.fold}, but folds is null; give both, or leave out both")
            return
        if self.folds < 3:
            raise ValueError(
                f"folds is {self.folds}; it must be 3 or more, because one fold tests, one validates and the "
                "others train (null: one split by shares)"
            )
        if self.fold is None or not 0 <= self.fold < self.folds:
            given = "null" if self.fold is None else self.fold
            raise ValueError(
                f"fold is {given}; it must be from 0 to {self.folds - 1}, because data.folds is {self.folds} "
                f"(-m 'data.fold=range({self.folds})' trains a run for each)"
            )

    def split(self, catalog: Catalog) -> tuple[NDArray[np.int8], Listed | None]:
        """Splits a catalog.

        Returns:
            (N,) int8, indices of `SPLITS`; and which galaxies the file of splits lists, if there is one.

        Raises:
            UserError: The file of splits cannot be used, or the survey brings splits beside the folds.
        """
        names = [str(name) for name in catalog.identifiers.tolist()]
        folds = self.folds_of(catalog)
        if folds is not None and self.folds is not None and self.fold is not None:
            if catalog.splits is not None and self.split_file is None:
                raise UserError(
                    f"data.folds is {self.folds}, but the table says the splits of its galaxies: "
                    "data.catalog.split_column=null leaves them to the folds"
                )
            splits = splits_of_fold(folds, self.folds, self.fold)
        else:
            strata = catalog.strata if self.stratify else None
            splits = assign_splits(
                catalog.ids, self.val_fraction, self.test_fraction, self.split_seed, strata, catalog.groups
            )
            if catalog.splits is not None:
                splits = ready_made(catalog.splits, splits, catalog.groups, names)
        if self.split_file is None:
            return splits, None
        table = _recorded(self.split_file, names)
        fixed = _look_up(table["split"], names)
        new = tuple(name for name, code in zip(names, fixed.tolist(), strict=True) if code < 0)
        gone = tuple(table.index[~table.index.isin(names) & ~table["trained_before"]].tolist())
        listed = Listed(len(names) - len(new), new, gone)
        log.info("%s (%s)", listed.words(), self.split_file)
        return override_splits(splits, fixed, catalog.groups, names, "data.split_file"), listed

    def folds_of(self, catalog: Catalog) -> NDArray[np.int64] | None:
        """Returns the fold of each galaxy, (N,) int64 from 0; None without folds."""
        if self.folds is None:
            return None
        strata = catalog.strata if self.stratify else None
        return assign_folds(catalog.ids, self.folds, self.split_seed, strata, catalog.groups)


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
    return np.select([u < test_fraction, u < test_fraction + val_fraction], [_TEST, _VAL], _TRAIN).astype(
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
    return np.select([folds == fold, folds == (fold + 1) % count], [_TEST, _VAL], _TRAIN).astype(np.int8)


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


def read_splits(path: Path, identifiers: list[str]) -> NDArray[np.int8]:
    """Looks galaxies up in a file of splits.

    Args:
        path: A table with the columns id and split, such as the one in a run folder. Like a catalog, it may
            have the names of files as ids.
        identifiers: The names that the survey gives N galaxies.

    Returns:
        (N,) int8, indices of `SPLITS`; -1 for galaxies that the file does not list.

    Raises:
        UserError: The file cannot be read, lacks a column, lists a galaxy twice, or names another split.
    """
    return _look_up(_recorded(path, identifiers)["split"], identifiers)


def training_ids(path: Path) -> frozenset[str]:
    """Returns the galaxies that a file of splits sends to the training split; errors as `read_splits`."""
    recorded = _recorded(path)["split"]
    return frozenset(recorded.index[recorded == _TRAIN])


def _look_up(table: pd.Series[Any], identifiers: list[str]) -> NDArray[np.int8]:
    return table.reindex(identifiers).fillna(-1).to_numpy().astype(np.int8)


def _recorded(path: Path, identifiers: Collection[str] | None = None) -> pd.DataFrame:
    """Reads a file of splits, by the names of the galaxies.

    With identifiers, a file name that is none of them is the name of its galaxy, without folder and ending.

    Returns:
        The columns split (int8, indices of `SPLITS`) and trained_before (bool, see `write_splits`; false
        where the file does not say it).
    """
    path = path.expanduser()
    if not path.exists():
        raise UserError(f"there is no data.split_file {path}")
    try:
        file = Table(path)
        missing = [name for name in ("id", "split") if name not in file.header]
        if missing:
            there = ", ".join(file.header[:30])
            raise UserError(f"{path} has no column {' and no column '.join(missing)}; it has {there}")
        further = [name for name in ("trained_before",) if name in file.header]
        table = file.read(["id", "split", *further], [])
    except UserError as error:
        if isinstance(error.__cause__, UnicodeError):
            raise UserError(f"data.split_file {path} is no text in UTF-8; save it as CSV UTF-8.") from error
        raise UserError(f"data.split_file: {error}") from error
    names: list[str] = table["id"].tolist()
    if identifiers is not None:
        known_names = set(identifiers)  # `Series.isin` takes a second among 240,000 names
        names = [name if name in known_names else written(name) for name in names]
        names = [
            file_names([name])[0] if name not in known_names and is_image(name) else name for name in names
        ]
    known = pd.Series(names, index=table.index)
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
    before = table["trained_before"].str.lower().eq("true").to_numpy(bool) if further else False
    return pd.DataFrame({"split": codes.to_numpy(), "trained_before": before}, index=known.to_numpy())


def override_splits(
    splits: NDArray[np.int8],
    fixed: NDArray[np.int8],
    groups: NDArray[np.int64] | None,
    identifiers: list[str],
    key: str,
) -> NDArray[np.int8]:
    """Replaces assigned splits by those that a file fixes.

    A galaxy that the file does not list goes where the listed galaxies of its group go. If there are none, it
    keeps the split that it was assigned.

    Args:
        splits: (N,) int8, the assigned splits.
        fixed: (N,) int8, the splits in the file; -1 for galaxies that the file does not list.
        groups: (N,) int64, the group of each galaxy; None if each galaxy stands alone.
        identifiers: The names that the survey gives the galaxies, for the error message.
        key: The key that names the file, or the column, for the error message.

    Returns:
        (N,) int8, indices of `SPLITS`.

    Raises:
        UserError: The file puts galaxies of one group into different splits.
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
            raise UserError(f"{key} tears groups of galaxies apart:\n{listing(cases)}")
        fixed = together
    return np.where(fixed >= 0, fixed, splits)


def ready_made(
    words: NDArray[np.str_],
    splits: NDArray[np.int8],
    groups: NDArray[np.int64] | None,
    identifiers: list[str],
) -> NDArray[np.int8]:
    """Replaces assigned splits by those that a survey has fixed.

    If the survey has no galaxies that validate, or none that test, those of its training galaxies do that
    were assigned to that split.

    Args:
        words: (N,) text; see `Catalog.splits`.
        splits: (N,) int8, the assigned splits.
        groups: As for `override_splits`.
        identifiers: As for `override_splits`.

    Returns:
        (N,) int8, indices of `SPLITS`.

    Raises:
        UserError: The survey puts galaxies of one group into different splits.
    """
    fixed = np.full(len(words), -1, np.int8)
    for code, name in enumerate(SPLITS):
        fixed[words == name] = code
    counts = ", ".join(f"{name} {(fixed == code).sum():,}" for code, name in enumerate(SPLITS))
    log.info(
        "the table says the splits of its galaxies: %s of %d (data.catalog.split_column=null ignores it)",
        counts,
        len(words),
    )
    own = override_splits(splits, fixed, groups, identifiers, "data.catalog.split_column")
    for code in (_VAL, _TEST):
        taken = (own == _TRAIN) & (splits == code)
        if code not in fixed and taken.any():
            log.info("%d of these training galaxies make the %s split", taken.sum(), SPLITS[code])
            own = np.where(taken, splits, own)
    return own


def write_splits(
    path: Path,
    identifiers: NDArray[np.generic],
    codes: NDArray[np.int8],
    trained_before: Collection[str] = (),
) -> None:
    """Writes the split of each galaxy in the form that `read_splits` reads.

    Args:
        path: The Parquet file.
        identifiers: (N,) the names of the galaxies.
        codes: (N,) int8, indices of `SPLITS`.
        trained_before: Galaxies that the starting weights were trained on. Those that are not among the run's
            own are written as well: as training galaxies, and true in a further column trained_before.
    """
    table = pd.DataFrame({"id": identifiers, "split": np.array(SPLITS, dtype=object)[codes]})
    further = sorted(set(trained_before).difference(map(str, identifiers.tolist())))
    if further:
        rows = pd.DataFrame({"id": further, "split": SPLITS[_TRAIN], "trained_before": True})
        own = table.astype({"id": str}).assign(trained_before=False)
        table = pd.concat([own, rows], ignore_index=True)
    with replacing(path) as temporary:
        table.to_parquet(temporary, index=False)


def sample_rows(ids: NDArray[np.int64], limit: int | None) -> NDArray[np.int64]:
    """Returns the rows of a sample, ascending; a larger sample contains every smaller one.

    Args:
        ids: (N,) int64.
        limit: The number of galaxies, 1 or more; None for all.
    """
    if limit is None or limit >= len(ids):
        return np.arange(len(ids))
    return np.sort(np.argsort(unit_hash(ids, "galaxy-limit"), kind="stable")[:limit])
