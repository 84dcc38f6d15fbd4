"""Columns of a user's table: a CSV or Parquet file, whoever wrote it."""

from __future__ import annotations

import csv
import gzip
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from galaxy.system.errors import UserError, listing, meant

ENDINGS = (".csv", ".csv.gz", ".tsv", ".parquet")
# What separates the columns of a CSV file: the one that the header has most of.
DELIMITERS = ",;\t|"
# How programs write that a number is missing; anything else that is no number is shown as it stands.
_MISSING = ["", "nan", "NaN", "NA", "null"]
# Columns that an error lists: a survey's table may have hundreds.
_SHOWN = 30


class Table:
    """A table whose header has been read.

    Args:
        path: The file. A CSV file is UTF-8, compressed or not, with its columns separated by one of
            `DELIMITERS`.

    Attributes:
        header: The names of its columns.

    Raises:
        UserError: The file is missing or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.name.lower().endswith(ENDINGS):
            raise UserError(f"{path} is not a table that can be read: its name must end in {_or(ENDINGS)}.")
        self._parquet = path.name.lower().endswith(".parquet")
        try:
            self.header = pq.read_schema(path).names if self._parquet else self._csv_header()
        except _ERRORS as error:
            raise self._unreadable(error) from error
        if not any(self.header):
            raise UserError(f"{path} is empty.")

    def check(self, wanted: Mapping[str, str]) -> None:
        """Checks that the table has columns, each once.

        Args:
            wanted: Their names, each with the key that asks for it.

        Raises:
            UserError: Naming all that are missing or come twice, and the nearest names there are.
        """
        problems = []
        for name, key in wanted.items():
            if name not in self.header:
                problems.append(f"no column {name} ({key}){meant(name, self.header)}")
            elif self.header.count(name) > 1:
                problems.append(f"more than one column {name} ({key})")
        if problems:
            raise UserError(
                f"{self.path} does not have the columns that are asked for:\n{listing(problems)}\n"
                f"It has: {', '.join(self.header[:_SHOWN])}{', ...' * (len(self.header) > _SHOWN)}"
            )

    def read(self, text: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
        """Reads columns that `check` has passed.

        Args:
            text: Columns whose values are wanted as the file has them, without spaces around them; "" where
                there is none.
            numbers: Columns of numbers, which may hold anything all the same.

        Returns:
            The columns. The index says where a row is in the file; its name is "line" or "row".

        Raises:
            UserError: The file cannot be read or has no rows.
        """
        try:
            frame = self._parquet_rows(text, numbers) if self._parquet else self._csv_rows(text)
        except _ERRORS as error:
            raise self._unreadable(error) from error
        if frame.empty:
            raise UserError(f"{self.path} has a header and no rows.")
        values = {name: frame[name] for name in numbers} | {name: _texts(frame[name]) for name in text}
        return pd.DataFrame(values, index=frame.index)

    def _csv_header(self) -> list[str]:
        opener = gzip.open if self.path.name.lower().endswith(".gz") else open
        with opener(self.path, "rt", encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            self._delimiter = max(DELIMITERS, key=first.count)
            file.seek(0)
            header = next(csv.reader(file, delimiter=self._delimiter), [])
        return [name.strip() for name in header]

    def _csv_rows(self, text: Sequence[str]) -> pd.DataFrame:
        # Numbers, for a header may name a column twice that nobody asks for.
        names = [str(i) for i in range(len(self.header))]
        strings = [str(self.header.index(name)) for name in text]
        with warnings.catch_warnings():
            # Where the first row has more fields than the header, pandas only warns.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                self.path,
                sep=self._delimiter,
                header=None,
                skiprows=1,
                names=names,
                index_col=False,
                dtype=dict.fromkeys(strings, str),
                keep_default_na=False,  # "NA" and "None" may be names of classes
                na_values={i: [""] if i in strings else _MISSING for i in names},
                skip_blank_lines=False,  # the index counts them; they are dropped below
                low_memory=False,
                encoding="utf-8-sig",
            )
        frame.columns = pd.Index(self.header)
        frame.index = pd.RangeIndex(2, len(frame) + 2, name="line")  # the header is line 1
        return frame.dropna(how="all")

    def _parquet_rows(self, text: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
        names = list(dict.fromkeys([*text, *numbers]))
        # Not `read_table`, which takes folders named like `split=1` for columns.
        table = pq.ParquetFile(self.path).read(columns=names)
        columns = {}
        for name in names:
            kind = table[name].type
            if pa.types.is_nested(kind):
                raise UserError(f"{self.path}: the column {name} holds {kind}, not one value a row.")
            is_float = pa.types.is_floating(kind)
            is_number = is_float or any(test(kind) for test in _NUMBERS)
            if name in text and is_float:  # not as Arrow writes them: an id of 123.0 is worth knowing
                columns[name] = table[name].to_pandas()
            elif name in text or not is_number:
                columns[name] = table[name].cast(pa.string()).to_pandas()
            else:
                columns[name] = table[name].cast(pa.float64(), safe=False).to_pandas()
        return pd.DataFrame(columns).set_axis(pd.RangeIndex(1, table.num_rows + 1, name="row"))

    def _unreadable(self, error: BaseException) -> UserError:
        if isinstance(error, FileNotFoundError):
            return UserError(f"{self.path} does not exist.")
        kind = "Parquet" if self._parquet else "UTF-8 CSV"
        return UserError(f"{self.path} cannot be read as a {kind} file: {str(error).strip()}")


# Errors of pandas and of Unicode are ValueErrors, those of Arrow partly.
_ERRORS = (ValueError, OSError, EOFError, zlib.error, csv.Error, pd.errors.ParserWarning, pa.ArrowException)

_NUMBERS = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_decimal)


def _texts(values: pd.Series) -> list[str]:
    pairs = zip(values.tolist(), values.isna().tolist(), strict=True)
    return ["" if missing else str(value).strip() for value, missing in pairs]


def _or(items: Sequence[str]) -> str:
    return f"{', '.join(items[:-1])} or {items[-1]}"
