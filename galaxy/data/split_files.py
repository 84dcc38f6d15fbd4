"""Files that say which galaxy trains, validates and tests."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galaxy.data.splits import SPLITS, TRAIN
from galaxy.surveys.files import is_image
from galaxy.surveys.ids import written
from galaxy.surveys.names import file_names
from galaxy.surveys.table_reader import Table
from galaxy.system.errors import UserError, listing
from galaxy.system.files import replacing


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
    return look_up(recorded_splits(path, identifiers)["split"], identifiers)


def training_ids(path: Path) -> frozenset[str]:
    """Returns the galaxies that a file of splits sends to the training split; errors as `read_splits`."""
    recorded = recorded_splits(path)["split"]
    return frozenset(recorded.index[recorded == TRAIN])


def look_up(table: pd.Series[Any], identifiers: list[str]) -> NDArray[np.int8]:
    """Returns the split of each galaxy; -1 for galaxies that a column of `recorded_splits` lacks."""
    return table.reindex(identifiers).fillna(-1).to_numpy().astype(np.int8)


def recorded_splits(path: Path, identifiers: Collection[str] | None = None) -> pd.DataFrame:
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
        rows = pd.DataFrame({"id": further, "split": SPLITS[TRAIN], "trained_before": True})
        own = table.astype({"id": str}).assign(trained_before=False)
        table = pd.concat([own, rows], ignore_index=True)
    with replacing(path) as temporary:
        table.to_parquet(temporary, index=False)
