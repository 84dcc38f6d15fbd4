"""Reading tables of galaxies, CSV or Parquet, whoever wrote them. All surveys use this reader."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from galaxy.system.errors import UserError, listing, meant

TABLE_ENDINGS = (".csv", ".csv.gz", ".tsv", ".parquet")
# The columns of a CSV file are separated by the one of these that is most frequent in the header.
DELIMITERS = ",;\t|"
# Programs write missing numbers in these ways. Any other text that is no number is shown as it stands.
_MISSING = ["", "nan", "NaN", "NA", "null"]
# The most columns that an error lists. A survey's table may have hundreds.
_SHOWN = 30
# The errors of pandas and of Unicode are ValueErrors, but only some of Arrow's are.
_ERRORS = (ValueError, OSError, EOFError, zlib.error, csv.Error, pa.ArrowException)
_ARROW_NUMBERS = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_decimal)


class Table:
    """A table whose header has been read.

    Args:
        path: The file. A CSV file is UTF-8, compressed or not, with its columns separated by one of
            `DELIMITERS`.
        published: Whether the file is a published one, which nobody has edited. All its lines must then have
            as many values as the header, and the advice is to download it again.

    Attributes:
        path: The file.
        header: The names of the columns.

    Raises:
        UserError: The file is missing or cannot be read.
    """

    def __init__(self, path: Path, published: bool = False) -> None:
        self.path = path
        self._published = published
        self._advice = "\nDownload or unpack it again." if published else ""
        if not path.name.lower().endswith(TABLE_ENDINGS):
            endings = f"{', '.join(TABLE_ENDINGS[:-1])} or {TABLE_ENDINGS[-1]}"
            raise UserError(f"{path} is not a table that can be read: its name must end in {endings}.")
        self._parquet = path.name.lower().endswith(".parquet")
        try:
            self.header = pq.read_schema(path).names if self._parquet else self._csv_header()
        except _ERRORS as error:
            raise self._unreadable(error) from error
        if not any(self.header):
            raise UserError(f"{path} is empty.{self._advice}")

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
        if problems:
            raise UserError(
                f"{self.path} does not have the columns that are needed:\n{listing(problems)}\n"
                f"It has: {', '.join(self.header[:_SHOWN])}{', ...' * (len(self.header) > _SHOWN)}"
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
            frame = self._parquet_rows(text, numbers) if self._parquet else self._csv_rows(text, numbers)
        except _ERRORS as error:
            raise self._unreadable(error) from error
        if frame.empty:
            raise UserError(f"{self.path} has a header and no rows.{self._advice}")
        values = {name: frame[name] for name in numbers} | {name: _texts(frame[name]) for name in text}
        return pd.DataFrame(values, index=frame.index)

    def _open(self) -> IO[str]:
        opener = gzip.open if self.path.name.lower().endswith(".gz") else open
        return opener(self.path, "rt", encoding="utf-8-sig", newline="")

    def _csv_header(self) -> list[str]:
        with self._open() as file:
            first = file.readline()
            self._delimiter = max(DELIMITERS, key=first.count)
            file.seek(0)
            header = next(csv.reader(file, delimiter=self._delimiter), [])
        return [name.strip() for name in header]

    def _csv_rows(self, text: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
        self._check_lengths()
        places = {self.header.index(name): name in text for name in dict.fromkeys([*text, *numbers])}
        try:
            frame = self._parse(places, as_floats=True)
        except ValueError:
            # A value is no number, and its row will be named. A file that is no CSV file fails again.
            frame = self._parse(places, as_floats=False)
        blank = frame.isna().all(axis=1)
        if blank.any():  # but a blank row is empty in the other columns, too
            everything = self._parse(dict.fromkeys(range(len(self.header)), True), as_floats=False)
            blank &= everything.isna().all(axis=1)
        frame.columns = pd.Index([self.header[int(place)] for place in frame.columns])
        frame.index = pd.RangeIndex(2, len(frame) + 2, name="line")  # the header is line 1
        return frame[~blank.to_numpy()]

    def _parse(self, places: Mapping[int, bool], as_floats: bool) -> pd.DataFrame:
        """Some columns of a CSV file, named by their places, "0", "1" and so on.

        Args:
            places: The place of each column, and whether it is text.
            as_floats: Whether all other columns must hold numbers. Otherwise their types are inferred.
        """
        # The columns are named by their places because names that nobody asks for may come twice.
        is_text = {str(place): is_text for place, is_text in places.items()}
        return pd.read_csv(
            self.path,
            sep=self._delimiter,
            header=None,
            skiprows=1,
            names=[str(place) for place in range(len(self.header))],
            usecols=list(is_text),
            index_col=False,
            dtype={name: str if text else float for name, text in is_text.items() if text or as_floats},
            keep_default_na=False,  # "NA" and "None" may be names of classes
            na_values={place: [""] if text else _MISSING for place, text in is_text.items()},
            skip_blank_lines=False,  # the index counts them
            low_memory=as_floats,  # types must not be inferred for each piece of the file
            encoding="utf-8-sig",
        )

    def _check_lengths(self) -> None:
        """Refuses lines with too many values, which pandas accepts when it reads some of the columns only.

        Lines with too few values are refused in published files, which may have been cut short. In a user's
        file the values are missing: some programs do not write the last ones of a line if they are empty.
        """
        columns = len(self.header)
        with self._open() as file:
            for number, line in enumerate(file, 1):
                if line.count(self._delimiter) == columns - 1:
                    continue
                values = len(next(csv.reader([line], delimiter=self._delimiter), []))
                if values > columns or (self._published and 0 < values < columns):
                    raise ValueError(f"line {number} has {values} values, and the header has {columns}")

    def _parquet_rows(self, text: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
        names = list(dict.fromkeys([*text, *numbers]))
        # `read_table` would take folders named like `split=1` for columns.
        table = pq.ParquetFile(self.path).read(columns=names)
        columns = {}
        for name in names:
            kind = table[name].type
            if pa.types.is_nested(kind):
                raise UserError(f"{self.path}: the column {name} holds {kind}, not one value a row.")
            is_float = pa.types.is_floating(kind)
            is_number = is_float or any(test(kind) for test in _ARROW_NUMBERS)
            if name in text and is_float:
                # Arrow would write 123.0 as 123, but an id of 123.0 is a mistake that has to be named.
                columns[name] = table[name].to_pandas()
            elif name in text or not is_number:
                columns[name] = table[name].cast(pa.string()).to_pandas()
            else:
                columns[name] = table[name].cast(pa.float64(), safe=False).to_pandas()
        return pd.DataFrame(columns).set_axis(pd.RangeIndex(1, table.num_rows + 1, name="row"))

    def _unreadable(self, error: BaseException) -> UserError:
        if isinstance(error, FileNotFoundError):
            return UserError(f"{self.path} does not exist.")
        kind = "Parquet file" if self._parquet else "CSV file in UTF-8"
        return UserError(f"{self.path} cannot be read as a {kind}: {str(error).strip()}{self._advice}")


def fractions(table: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The values of a table of fractions.

    Returns:
        The values (N, K) float64, NaN where they are no fractions, and (N, K) bool, whether the value is
        missing, no number or outside [0, 1].
    """
    numbers = table.apply(pd.to_numeric, errors="coerce")
    values = numbers.to_numpy(np.float64, copy=True)
    bad = ~((values >= 0) & (values <= 1))  # NaN compares false
    values[bad] = np.nan
    return values, bad


def _texts(values: pd.Series) -> list[str]:
    pairs = zip(values.tolist(), values.isna().tolist(), strict=True)
    return ["" if missing else str(value).strip() for value, missing in pairs]
