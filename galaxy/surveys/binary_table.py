"""Tables in binary files and in the formats of astronomy: Parquet, Feather, and all that astropy reads."""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.feather
import pyarrow.parquet as pq

from galaxy.surveys.catalog import ParquetImage
from galaxy.surveys.ids import written
from galaxy.surveys.ready_splits import SPLIT, splits_of_files
from galaxy.system.errors import UserError

_log = logging.getLogger(__name__)
# The first bytes of JPEG, PNG, GIF, TIFF (and BigTIFF), JPEG 2000, FITS, and FITS packed by gzip or bzip2.
_PICTURES = (
    *(b"\xff\xd8\xff", b"\x89PNG", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    *(b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51", b"SIMPLE  =", b"\x1f\x8b", b"BZh"),
)
_AVIF = (b"ftypavif", b"ftypavis", b"ftypmif1", b"ftypheic")
_NUMBERS = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_decimal)


class ArrowTable(ABC):
    """A table whose columns Arrow reads.

    Attributes:
        header: The names of the columns.
        place: The word for the place of a row.
        paths: The files.
        count: The number of rows, if it is known before they are read.
    """

    place = "row"
    count = 0
    header: list[str]
    paths: tuple[Path, ...]

    def rows(self, text: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
        """Reads columns; see `Table.read`."""
        names = list(dict.fromkeys([*text, *numbers]))
        table = self.read(names)
        columns = {}
        for name, column in zip(names, table.columns, strict=True):
            kind = column.type
            if pa.types.is_dictionary(kind):
                kind = kind.value_type
                column = column.cast(kind)  # noqa: PLW2901
            if _is_bytes(kind) and not any(map(_starts_a_picture, _first(column))):
                column = self._decoded(name, column)  # noqa: PLW2901
                kind = column.type
            if pa.types.is_nested(kind) or _is_bytes(kind):
                may_be_picture = _is_bytes(kind) or _has_bytes(kind)
                hint = "; give it as data.catalog.image_column if it holds pictures" * may_be_picture
                raise UserError(
                    f"{self.paths[0]}: the column {name} holds {kind}, not one value a row{hint}."
                )
            is_float = pa.types.is_floating(kind)
            is_number = is_float or any(test(kind) for test in _NUMBERS)
            if name in text and is_float:
                # Arrow would write 123.0 as 123, but an id of 123.0 is a mistake that has to be named.
                columns[name] = column.to_pandas()
            elif name in text or not is_number:
                columns[name] = column.cast(pa.string()).to_pandas()
            else:
                columns[name] = column.cast(pa.float64(), safe=False).to_pandas()
        # A table of no columns does not know how many rows it has.
        count = table.num_rows if names else self.count
        frame = pd.DataFrame(columns, index=None if columns else range(count))
        return frame.set_axis(pd.RangeIndex(1, count + 1, name=self.place))

    @abstractmethod
    def read(self, names: list[str]) -> pa.Table:
        """Reads columns, in this order."""

    def _decoded(self, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """The text of a column of bytes. Astropy and others write text so."""
        try:
            texts = column.cast(pa.binary()).cast(pa.string())
        except pa.ArrowInvalid as error:
            raise UserError(
                f"{self.paths[0]}: the column {name} holds bytes that are neither pictures nor text in UTF-8."
            ) from error
        return pc.utf8_rtrim(texts, "\0")  # NumPy fills texts up with zeros

    def line_with(self, names: Sequence[str]) -> int | None:
        """See `TextTable.line_with`; these files have no lines."""
        return None


class ParquetTable(ArrowTable):
    """A table in one Parquet file or in several of the same columns.

    Args:
        paths: The files, in order.

    Attributes:
        schema: The types of the columns.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self.schema = pq.read_schema(paths[0])
        for path in paths[1:]:
            if (other := pq.read_schema(path)) != self.schema:
                raise UserError(f"{path} has other columns than {paths[0]}:\n{other}")
        self.count = sum(pq.read_metadata(path).num_rows for path in paths)
        # pandas writes the index of a table last, although it comes first in the table.
        names = [name for name in _index_names(self.schema) if name in self.schema.names]
        self._names = names + [name for name in self.schema.names if name not in names]
        self.header = [_normal(name) for name in self._names]
        splits = splits_of_files(path.name for path in self.paths)
        self._splits = [] if SPLIT in self.header else splits
        if self._splits:
            self.header.append(SPLIT)

    def read(self, names: list[str]) -> pa.Table:
        """Reads columns, in this order."""
        own = [name for name in names if not (self._splits and name == SPLIT)]
        stored = [self._names[self.header.index(name)] for name in own]
        # `read_table` would take folders named like `split=1` for columns.
        parts = [pq.ParquetFile(path).read(columns=stored) for path in self.paths]
        table = self._with_class_names(pa.concat_tables(parts).select(stored))
        if len(own) == len(names):
            return table
        counts = [pq.read_metadata(path).num_rows for path in self.paths]
        columns = dict(zip(own, table.columns, strict=True))
        columns[SPLIT] = pa.array(np.repeat(self._splits, counts))
        return pa.table({name: columns[name] for name in names})

    def _with_class_names(self, table: pa.Table) -> pa.Table:
        """The names of classes where Hugging Face stores their numbers; missing ones below 0."""
        about = json.loads((self.schema.metadata or {}).get(b"huggingface", b"{}"))
        features = about.get("info", {}).get("features", {})
        for place, name in enumerate(table.column_names):
            feature = features.get(name)
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names"):
                numbers = table.column(place)
                known = pc.if_else(pc.greater_equal(numbers, 0), numbers, None)
                table = table.set_column(place, name, pc.take(pa.array(feature["names"]), known))
        return table

    @cached_property
    def picture_columns(self) -> list[str]:
        """The columns that hold the files of pictures, as Hugging Face stores them, or as plain bytes."""
        pairs = zip(self.header, self._names, strict=False)  # without the column of splits
        return [name for name, stored in pairs if self._is_picture(stored)]

    def _is_picture(self, stored: str) -> bool:
        kind = self.schema.field(stored).type
        if not _is_bytes(kind):
            return _has_bytes(kind)
        for path in self.paths:
            # By default Arrow reads all pictures of a row group at once.
            file = pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False)
            for batch in file.iter_batches(32, columns=[stored]):
                for value in _first(batch.column(0)):
                    return _starts_a_picture(value)
        return False

    def picture_names(self, column: str) -> list[str]:
        """The names of the files in a column of pictures; the numbers of the rows if they have none."""
        kind = self.schema.field(self._names[self.header.index(column)]).type
        texts: list[str | None] = [None] * self.count
        if pa.types.is_struct(kind) and kind.get_field_index("path") >= 0:
            stored = f"{self._names[self.header.index(column)]}.path"
            parts = [pq.ParquetFile(path).read(columns=[stored]).column(0) for path in self.paths]
            texts = [row["path"] for part in parts for row in part.to_pylist()]
        if all(texts):
            return [str(text) for text in texts]
        _log.warning(
            "%s: the pictures in %s have no file names, so the galaxies are called by their rows, and change "
            "their splits if the rows do; data.catalog.id_column names a column of names",
            self.paths[0],
            column,
        )
        return [str(row) for row in range(1, len(texts) + 1)]

    def pictures(self, column: str, white: float | None) -> list[ParquetImage]:
        """The pictures in a column, in the order of the rows; for `white` see `ParquetImage`."""
        stored = self._names[self.header.index(column)]
        if pa.types.is_struct(self.schema.field(stored).type):
            stored += ".bytes"
        return [
            ParquetImage(path, stored, row, white)
            for path in self.paths
            for row in range(pq.read_metadata(path).num_rows)
        ]


class FeatherTable(ArrowTable):
    """A table in a Feather file, which is a file of Arrow."""

    def __init__(self, path: Path) -> None:
        self.paths = (path,)
        with pa.OSFile(str(path)) as file:
            try:
                self._names = pa.ipc.open_file(file).schema.names
            except pa.ArrowInvalid as error:
                advice = "if save_to_disk of Hugging Face wrote it, write it with to_parquet"
                raise ValueError(f"{error} ({advice})") from error
        self.header = [_normal(name) for name in self._names]

    def read(self, names: list[str]) -> pa.Table:
        """Reads columns, in this order."""
        stored = [self._names[self.header.index(name)] for name in names]
        return pa.feather.read_table(self.paths[0], columns=stored).select(stored)


class AstropyTable(ArrowTable):
    """A table that astropy reads.

    Args:
        path: The file.
        kind: What astropy calls its format, such as "votable".
    """

    def __init__(self, path: Path, kind: str) -> None:
        self.paths = (path,)
        if importlib.util.find_spec("astropy") is None:
            raise UserError(
                f"{path}: astropy reads such tables and is not installed: "
                "pip install 'galaxy-morphology[fits]', or save the table as CSV or Parquet."
            )
        from astropy.table import Table  # noqa: PLC0415  few tables need it

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Astropy warns of a second table in the file, and reads the first.
            warnings.filterwarnings("error", ".*multiple tables.*")
            try:
                self._table: Any = Table.read(path, format=kind)
            except Warning as error:
                raise ValueError("it holds several tables; save one of them as a file of its own") from error
            except Exception as error:  # astropy's readers raise whatever comes up
                raise ValueError(f"{error}") from error
        self._names = list(self._table.colnames)
        self.header = [_normal(name) for name in self._names]

    def read(self, names: list[str]) -> pa.Table:
        """Reads columns, in this order."""
        stored = [self._names[self.header.index(name)] for name in names]
        for name, column in zip(names, stored, strict=True):
            # Times and coordinates are objects of their own.
            if not isinstance(self._table[column], self._table.Column):
                kind = type(self._table[column]).__name__
                raise UserError(f"{self.paths[0]}: the column {name} holds {kind}, not numbers or text.")
            if self._table[column].ndim > 1:
                raise UserError(f"{self.paths[0]}: the column {name} holds arrays, not one value a row.")
        table = self._table[stored]
        table.convert_bytestring_to_unicode()
        frame = table.to_pandas(index=False)
        return pa.Table.from_pandas(frame, preserve_index=False)


def _normal(name: str) -> str:
    return written(str(name).strip())


def _has_bytes(kind: pa.DataType) -> bool:
    """Whether a column of this type holds the files of pictures, as Hugging Face stores them."""
    return pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0


def _is_bytes(kind: pa.DataType) -> bool:
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    return any(test(kind) for test in tests)


def _first(column: pa.Array | pa.ChunkedArray) -> list[bytes]:
    """The first value of a column of bytes that is not empty, in a list; an empty list if there is none."""
    return next(([value] for scalar in column if (value := scalar.as_py())), [])


def _starts_a_picture(value: bytes) -> bool:
    """Whether bytes are those of a picture, as the first of them tell."""
    if value.startswith(b"BM"):  # a text may begin so, but has no zeros where a BMP file has some
        return value[6:10] == b"\0\0\0\0"
    if value.startswith(b"RIFF"):
        return value[8:12] == b"WEBP"
    return value.startswith(_PICTURES) or value[4:12] in _AVIF


def _index_names(schema: pa.Schema) -> list[str]:
    columns = (schema.pandas_metadata or {}).get("index_columns", [])
    # An index without a name is called `__index_level_0__`, and one that only counts is a mapping.
    return [name for name in columns if isinstance(name, str)]
