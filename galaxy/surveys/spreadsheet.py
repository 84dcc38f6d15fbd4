"""Tables in spreadsheets of Excel and LibreOffice."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from datetime import datetime, time
from pathlib import Path
from typing import Any

import pandas as pd

from galaxy.surveys.ids import written
from galaxy.system.errors import UserError

# Spreadsheets keep 15 digits of a number. Longer ids have lost some.
_DIGITS = 15


class SpreadsheetTable:
    """The only sheet of a spreadsheet that is not empty. Its first row that is not empty names the columns.

    Args:
        path: The file.
        header_line: Another row that names the columns, from 1; those before it are ignored.

    Attributes:
        header: The names of the columns.
        place: The word for the place of a row.

    Raises:
        UserError: The package that reads spreadsheets is not installed.
        ValueError: The file is damaged, or holds several sheets.
    """

    place = "row"

    def __init__(self, path: Path, header_line: int | None = None) -> None:
        path.open("rb").close()
        if importlib.util.find_spec("python_calamine") is None:
            raise UserError(
                f"{path}: python-calamine reads spreadsheets and is not installed: "
                "pip install 'galaxy-morphology[excel]', or save the table as CSV UTF-8."
            )
        from python_calamine import CalamineError, CalamineWorkbook  # noqa: PLC0415  few tables need it

        try:
            book = CalamineWorkbook.from_path(path)
            sheets = {
                name: book.get_sheet_by_name(name).to_python(skip_empty_area=False)
                for name in book.sheet_names
            }
            filled = {name: sheet for name, sheet in sheets.items() if any(map(any, sheet))}
        except CalamineError as error:
            raise ValueError(f"{error}") from error
        if len(filled) > 1:
            raise ValueError(
                f"it holds several sheets ({', '.join(filled)}); save one of them as a file of its own"
            )
        self._rows: list[list[Any]] = next(iter(filled.values()), [])
        start = next((number for number, row in enumerate(self._rows) if any(row)), 0)
        self._start = start if header_line is None else header_line - 1
        if self._rows and self._start >= len(self._rows):
            raise ValueError(f"data.catalog.header_line is {header_line}, but it has {len(self._rows)} rows")
        self.header = self._names(self._start) if self._rows else []

    def rows(self, text: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
        """Reads columns, all as text; see `Table.read`."""
        places = {name: self.header.index(name) for name in dict.fromkeys([*text, *numbers])}
        below = range(self._start + 1, len(self._rows))
        kept = [row for row in below if any(_text(value) for value in self._rows[row])]
        columns = {
            name: [_text(self._rows[row][place]) or None for row in kept] for name, place in places.items()
        }
        index = pd.Index([row + 1 for row in kept], name=self.place)
        return pd.DataFrame(columns, index=index, dtype=object)

    def line_with(self, names: Sequence[str]) -> int | None:
        """See `TextTable.line_with`."""
        below = range(self._start + 1, len(self._rows))
        return next((row + 1 for row in below if set(names) <= set(self._names(row))), None)

    def _names(self, row: int) -> list[str]:
        return [written(_text(value)) for value in self._rows[row]]


def _text(value: Any) -> str:
    """A cell as text. A number that is too long to be exact has an exponent, as in 1.23764872069376e+18."""
    if isinstance(value, float) and value.is_integer():
        return f"{int(value)}" if abs(value) < 10**_DIGITS else f"{value:.{_DIGITS - 1}e}"
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    return str(value).strip()
