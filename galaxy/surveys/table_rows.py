"""The rows of a table, and the names of their galaxies."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import pandas as pd

from galaxy.surveys.files import is_image
from galaxy.surveys.ids import is_float, is_id, lost_digits, refuse_floats, written
from galaxy.surveys.names import file_names, names_by_path
from galaxy.surveys.problems import RowCheck
from galaxy.surveys.table_columns import Roles
from galaxy.surveys.table_reader import Table

_log = logging.getLogger(__name__)


class Rows(RowCheck):
    """The rows of a table, the names of their galaxies, and what is wrong with them.

    Args:
        file: The name of the table.
        frame: The columns that are needed.
        names: The names of the galaxies, as the table has them.
        are_paths: Which of the names are those of files.

    Attributes:
        names: The names of the galaxies; those of files without folder and ending.
        files: The file names of the galaxies, where some of them share one; None where none does.
    """

    def __init__(
        self, file: str, frame: pd.DataFrame, names: Sequence[str], are_paths: Sequence[bool]
    ) -> None:
        super().__init__(len(frame), self._where)
        self.file = file
        self.frame = frame
        paths = [name for name, is_path in zip(names, are_paths, strict=True) if is_path]
        shortened, of_files = iter(names_by_path(paths)), iter(file_names(paths))
        plain = [None if is_path else written(name) for name, is_path in zip(names, are_paths, strict=True)]
        self.names = tuple(next(shortened) if name is None else name for name in plain)
        files = tuple(next(of_files) if name is None else name for name in plain)
        self.files = None if files == self.names else files

    def place(self, row: int) -> str:
        """The place of a row in the file, such as "line 7"."""
        return f"{self.frame.index.name} {self.frame.index[row]}"

    def _where(self, row: int) -> str:
        return ", ".join(part for part in (self.file, self.place(row), self.names[row]) if part)


def read_rows(table: Table, roles: Roles, numbers: Mapping[str, str]) -> Rows:
    """Reads the columns that are needed.

    Args:
        table: The table.
        roles: The columns of text. Pictures are read later.
        numbers: The columns of numbers, each with the setting that asks for it.
    """
    text = {column: f"data.catalog.{role}" for role, column in asdict(roles).items() if column is not None}
    table.check({**numbers, **text})
    pictures = roles.image_column if roles.image_column in table.picture_columns else None
    frame = table.read([column for column in text if column != pictures], list(numbers))
    if table.parquet is not None and roles.id_column == pictures:
        names = table.parquet.picture_names(roles.id_column)
    else:
        names = frame[roles.id_column].tolist()
    # Without a column of images, the names are paths to them. With one, a name such as 4038/9 is no path.
    of_files = roles.image_column in (None, roles.id_column)
    return Rows(table.name, frame, names, [of_files or is_image(name) for name in names])


def check_names(rows: Rows, column: str, chosen: bool) -> None:
    """Reports galaxies without a name, or with the name of another; `chosen` says who chose the column."""
    names = rows.names
    advice = "" if chosen else " (another column may hold the names: data.catalog.id_column)"
    refuse_floats(names, column, rows.file, advice)
    if lost_digits([int(name) for name in names if is_id(name)]):
        _log.warning(
            "%s: the ids in %s seem to have lost their last digits, because a program took them for floats, "
            "such as %s. They are then not those of the survey: save the table again from its source",
            rows.file,
            column,
            names[0],
        )
    rows.report(f"row(s) without a {column}", [not name for name in names], lambda _: f"{column} is empty")
    # If all names are numbers, one with a decimal point or an exponent was a whole number before.
    numbers = all(name.lstrip("+-").isdigit() or is_float(name) for name in names if name)
    floats = [numbers and is_float(name) for name in names]
    rows.report(
        f"row(s) whose {column} is no whole number, as the others are or were",
        floats,
        lambda row: f"{column} is {names[row]} (was the table saved with ids as floats?)",
    )
    first = {name: row for row, name in reversed(list(enumerate(names)))}
    rows.report(
        f"row(s) whose {column} came before{advice}",
        [first[name] != row for row, name in enumerate(names)],
        lambda row: f"is already on {rows.place(first[names[row]])}",
    )
