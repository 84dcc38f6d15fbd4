"""A table that lies in several files, such as one for each split."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from galaxy.surveys.ready_splits import SPLIT, splits_of_files
from galaxy.surveys.table_reader import PARQUET, Table
from galaxy.surveys.text_table import TextStyle
from galaxy.system.errors import UserError


def open_table(paths: Sequence[Path], style: TextStyle) -> Table:
    """Opens the files of a table: one, the parts of a Parquet table, or several tables that are read as one.

    If several files are named after splits, and there is no column `split`, the table gets one. It says which
    galaxy is in which file.

    Raises:
        UserError: A file is missing or cannot be read.
    """
    if len(paths) == 1 or all(path.name.lower().endswith(PARQUET) for path in paths):
        return Table(paths, style=style)
    return SeveralTables(paths, style)


class SeveralTables(Table):
    """Several tables of the same columns, which are read as one; see `Table`.

    Args:
        paths: The files.
        style: How those are written that are text.
    """

    parquet = None

    def __init__(self, paths: Sequence[Path], style: TextStyle) -> None:
        self._tables = [Table(path, style=style) for path in paths]
        self.path = paths[0]
        folder = os.path.commonpath([path.absolute().parent for path in paths])
        self.name = f"{os.path.basename(folder)}/"  # noqa: PTH119
        # Files of one name may lie in several folders.
        self._names = [os.path.relpath(path, folder) for path in paths]
        self.header = list(self._tables[0].header)
        self._splits = splits_of_files(path.name for path in paths)
        self._adds = bool(self._splits) and all(SPLIT not in table.header for table in self._tables)
        if self._adds:
            self.header.append(SPLIT)

    def check(self, wanted: Mapping[str, str], known: Collection[str] = ()) -> None:
        """Checks that each table has each of some columns once; see `Table.check`."""
        own = {name: setting for name, setting in wanted.items() if not self._is_added(name)}
        try:
            for table in self._tables:
                table.check(own, known)
        except UserError as error:
            raise UserError(
                f"{error}\n{', '.join(self._names)} are read as one table; data.catalog.file chooses one."
            ) from error

    def read(self, text: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
        """Reads columns; see `Table.read`. The index says in which file each line or row is."""
        own_text = [name for name in text if not self._is_added(name)]
        own_numbers = [name for name in numbers if not self._is_added(name)]
        if not own_text and not own_numbers:
            own_text = self.header[:1]  # it counts the rows
        frames, places = [], set()
        for number, (where, table) in enumerate(zip(self._names, self._tables, strict=True)):
            frame = table.read(own_text, own_numbers)
            places.add(str(frame.index.name))
            frame.index = pd.Index([f"{row} of {where}" for row in frame.index])
            if self._adds:
                frame[SPLIT] = self._splits[number]
            frames.append(frame)
        whole = pd.concat(frames)[[*numbers, *text]]
        return whole.rename_axis(index=" or ".join(sorted(places)))  # text files have lines, others have rows

    def _is_added(self, name: str) -> bool:
        return self._adds and name == SPLIT
