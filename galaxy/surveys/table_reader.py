"""Reading tables of galaxies, whoever wrote them. All surveys use this reader."""

from __future__ import annotations

import csv
import lzma
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype

from galaxy.surveys.binary_table import AstropyTable, FeatherTable, ParquetTable
from galaxy.surveys.packed import open_text
from galaxy.surveys.spreadsheet import SpreadsheetTable
from galaxy.surveys.text_table import SEPARATORS, TextStyle, TextTable
from galaxy.surveys.written_numbers import as_numbers
from galaxy.system.errors import UserError, listing, meant

PARQUET, _FEATHER = (".parquet", ".pq"), (".feather", ".arrow")
# The formats of astropy, as it calls them.
_ASTROPY = {
    ending + packed: kind
    for kind, endings in {
        "fits": (".fits", ".fit"),
        "votable": (".vot", ".votable", ".xml"),
        "ascii.ecsv": (".ecsv",),
        "ascii.ipac": (".ipac",),
        "ascii.cds": (".mrt", ".cds"),
    }.items()
    for ending in endings
    for packed in ("", ".gz", ".bz2")
}
_TEXT = tuple(
    kind + packed
    for kind in (".csv", ".tsv", ".psv", ".txt", ".dat", ".tab", ".tbl", ".asc")
    for packed in ("", ".gz", ".bz2", ".xz", ".zip")
)
_SPREADSHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
# A folder may hold other files with these endings: images, notes, logs.
OFTEN_NO_TABLE = tuple(
    kind + packed
    for kind in (".txt", ".dat", ".asc", ".xml", ".fits", ".fit")
    for packed in ("", ".gz", ".bz2")
)
TABLE_ENDINGS = (*_TEXT, *PARQUET, *_FEATHER, *_ASTROPY, *_SPREADSHEETS)
# The usual ones among these.
_NAMED = (
    ".csv, .tsv, .txt (also with .gz or .zip), .parquet, .feather, .fits, .vot, .ecsv, .tbl, .mrt, .xlsx "
    "or .ods"
)
# Text in two formats of astronomy. The second line of names in IPAC's is one of types.
_CDS = "Byte-by-byte Description of file"
_IPAC = re.compile(r"\|([\s-]*(char|int|long|float|double|real|date|[cilfdr])[\s-]*\|)+", re.IGNORECASE)
# Programs that write a column of row numbers call it so, or leave its name out.
_INDEX = re.compile(r"(unnamed: \d+|__index_level_\d+__)?", re.IGNORECASE)
# The most columns that an error lists. A survey's table may have hundreds.
_SHOWN = 30
# The errors of pandas and of Unicode are ValueErrors, but only some of Arrow's are.
_ERRORS = (ValueError, OSError, EOFError, zlib.error, lzma.LZMAError, csv.Error, pa.ArrowException)
# A fraction that a program computed may leave [0, 1] by this much.
ROUNDED = 1e-5


def is_table(name: str) -> bool:
    """Whether a file is a table, as its name tells."""
    return name.lower().endswith(TABLE_ENDINGS)


def is_index(name: str) -> bool:
    """Whether a column is one of row numbers that a program has added, as its name tells."""
    return _INDEX.fullmatch(name) is not None


class Table:
    """A table whose header has been read.

    Args:
        path: The file; a list of files are Parquet files that make one table.
        published: Whether the file is a published one, which nobody has edited. A text file that breaks off
            in its last line is then refused, and the advice is to download it again.
        style: How a text file is written.

    Attributes:
        path: The file, the first of several.
        name: How messages call the table.
        header: The names of the columns.

    Raises:
        UserError: The file is missing or cannot be read.
    """

    def __init__(
        self, path: Path | Sequence[Path], published: bool = False, style: TextStyle | None = None
    ) -> None:
        paths = [path] if isinstance(path, Path) else list(path)
        self.path = paths[0]
        self.name = self.path.name
        self._published = published
        self._advice = "\nDownload or unpack it again." if published else ""
        name = self.path.name.lower()
        self._kind = _kind(name)
        self._file: TextTable | ParquetTable | FeatherTable | AstropyTable | SpreadsheetTable
        try:
            if name.endswith(PARQUET):
                self._file = ParquetTable(paths)
            elif name.endswith(_FEATHER):
                self._file = FeatherTable(self.path)
            elif name.endswith(_SPREADSHEETS):
                self._file = SpreadsheetTable(self.path, None if style is None else style.header_line)
            elif (kind := _astropy_format(self.path)) is not None:
                self.path.open("rb").close()  # astropy's own words for a missing file are many
                self._kind = "table by astropy"
                self._file = AstropyTable(self.path, kind)
            elif name.endswith(_TEXT):
                self._file = TextTable(self.path, style or TextStyle(), published)
            else:
                raise UserError(
                    f"{self.path} is not a table that can be read: its name must end in {_NAMED}."
                )
        except _ERRORS as error:
            raise self._unreadable(error) from error
        self.header = self._file.header
        if not any(self.header):
            raise UserError(f"{self.path} is empty.{self._advice}")

    @property
    def parquet(self) -> ParquetTable | None:
        """The files, if they are Parquet."""
        return self._file if isinstance(self._file, ParquetTable) else None

    @property
    def picture_columns(self) -> list[str]:
        """The columns that hold pictures, which only Parquet files do."""
        return [] if self.parquet is None else self.parquet.picture_columns

    def check(self, wanted: Mapping[str, str], known: Collection[str] = ()) -> None:
        """Checks that the table has each of some columns once.

        Args:
            wanted: The names of the columns, each with the setting that asks for it, or with "".
            known: Names that are right as they are, and so no misspellings of a missing column.

        Raises:
            UserError: Columns are missing or come twice. The message names all of them, and the nearest names
                that the table has.
        """
        others = [name for name in self.header if name not in wanted and name not in known]
        problems = []
        for name, setting in wanted.items():
            asked = f"{name} ({setting})" if setting else name
            if name not in self.header:
                problems.append(f"no column {asked}{meant(name, others)}")
            elif self.header.count(name) > 1:
                problems.append(f"more than one column {asked}")
        if not problems:
            return
        unseparated = ""
        if len(self.header) == 1 and not self._published and isinstance(self._file, TextTable):
            words = " | ".join(SEPARATORS)
            unseparated = (
                f"\nIf these are several columns, say what separates them: data.catalog.separator={words}"
            )
        missing = [name for name in wanted if name not in self.header]
        line = self._file.line_with(missing) if missing else None
        advice = ": remove the lines above" if self._published else f": data.catalog.header_line={line}"
        raise UserError(
            f"{self.path} does not have the columns that are needed:\n{listing(problems)}\n"
            f"It has: {', '.join(map(_quoted, self.header[:_SHOWN]))}{', ...' * (len(self.header) > _SHOWN)}"
            + (f"\nLine {line} has them{advice}" if line else unseparated)
        )

    def read(self, text: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
        """Reads columns that `check` has passed. Rows that are blank in all columns are left out.

        Args:
            text: Columns of text. Their values are stripped of spaces, and "" where the file has none.
            numbers: Columns of numbers. Where a column holds anything else, its values are as in the file.

        Returns:
            The columns. The index counts the rows as the file does; its name is "line" or "row".

        Raises:
            UserError: The file cannot be read or has no rows.
        """
        try:
            frame = self._file.rows(text, numbers)
        except _ERRORS as error:
            raise self._unreadable(error) from error
        if not len(frame):
            raise UserError(f"{self.path} has a header and no rows.{self._advice}")
        values = {name: _numbers(frame[name]) for name in numbers} | {
            name: _texts(frame[name]) for name in text
        }
        return pd.DataFrame(values, index=frame.index)

    def _unreadable(self, error: BaseException) -> UserError:
        if isinstance(error, FileNotFoundError):
            return UserError(f"{self.path} does not exist.")
        if isinstance(error, UnicodeError):
            keys = "Say how it is written, such as data.catalog.encoding=cp1252 (Windows) or latin-1, or save"
            return UserError(  # the reader of a published file has no such keys
                f"{self.path} is no text in {getattr(error, 'encoding', 'UTF-8')}: {error}.\n"
                f"{'Save' if self._published else keys} it as UTF-8.{self._advice}"
            )
        return UserError(f"{self.path} cannot be read as a {self._kind}: {str(error).strip()}{self._advice}")


class Fractions(NamedTuple):
    """The values of a table of fractions.

    Attributes:
        values: (N, K) float64, NaN where there is no number in [0, 1].
        missing: (N, K) bool, whether there is no value.
        wrong: (N, K) bool, whether there is a value that is no number in [0, 1].
    """

    values: NDArray[np.float64]
    missing: NDArray[np.bool_]
    wrong: NDArray[np.bool_]


def fractions(table: pd.DataFrame, most: float = 1.0) -> Fractions:
    """The values of a table of numbers from 0 to `most`. What rounding put outside is clipped."""
    missing = table.isna().to_numpy(np.bool_)
    values = table.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64, copy=True)
    wrong = ~missing & ~((values >= -ROUNDED) & (values <= most + ROUNDED))  # NaN compares false
    values[wrong] = np.nan
    return Fractions(np.clip(values, 0, most), missing, wrong)


def _kind(name: str) -> str:
    if name.endswith(PARQUET):
        return "Parquet file"
    if name.endswith(_FEATHER):
        return "Feather file"
    return "spreadsheet" if name.endswith(_SPREADSHEETS) else "CSV file"


def _astropy_format(path: Path) -> str | None:
    """What astropy calls the format of a table that it has to read; None if it has not."""
    name = path.name.lower()
    if name.endswith(_TEXT):
        with open_text(path, "latin-1") as file:
            head = [line.rstrip() for line in islice(file, 200)]
        if any(line.startswith(_CDS) for line in head):
            return "ascii.cds"
        bars = [line for line in head if line.startswith("|")][:2]
        return "ascii.ipac" if len(bars) == 2 and _IPAC.fullmatch(bars[1]) else None
    return next((kind for ending, kind in _ASTROPY.items() if name.endswith(ending)), None)


def _quoted(name: str) -> str:
    """The name of a column, as a list on the command line holds it."""
    return f'"{name}"' if "," in name else name


def _numbers(values: pd.Series) -> pd.Series:
    return values if is_numeric_dtype(values) else as_numbers(values)


def _texts(values: pd.Series) -> list[str]:
    pairs = zip(values.tolist(), values.isna().tolist(), strict=True)
    return ["" if missing else str(value).strip() for value, missing in pairs]
