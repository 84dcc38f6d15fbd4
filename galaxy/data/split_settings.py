"""The settings that decide about the splits: shares or folds, ready-made splits of a survey, and a file."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galaxy.data.split_files import Listed, look_up, recorded_splits
from galaxy.data.splits import SPLITS, TEST, TRAIN, VAL, assign_folds, assign_splits, splits_of_fold
from galaxy.surveys import Catalog
from galaxy.system.errors import UserError, listing

log = logging.getLogger(__name__)


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
        table = recorded_splits(self.split_file, names)
        fixed = look_up(table["split"], names)
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


def check_amounts(batch_size: int, limit: int | None, workers: int | None) -> None:
    """Refuses amounts out of range; `galaxy.data.datamodule.GalaxyDataModule` says what they are.

    They are checked here because the data module needs torch, which takes seconds to import.

    Raises:
        ValueError: An amount is out of its range.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be 1 or more")
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it must be 1 or more, or null for all galaxies")
    if workers is not None and workers < 0:
        raise ValueError(f"workers is {workers}; it must be 0 or more, or null for one per core")


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
    for code in (VAL, TEST):
        taken = (own == TRAIN) & (splits == code)
        if code not in fixed and taken.any():
            log.info("%d of these training galaxies make the %s split", taken.sum(), SPLITS[code])
            own = np.where(taken, splits, own)
    return own
