"""Tables that are written part by part, so that they may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from galaxy.runs.catalogue_files import write_catalogue
from galaxy.system.errors import UserError
from galaxy.system.files import replacing
from galaxy.system.machine import free_memory

# A table that astropy writes is in memory about so many times, with all that is made of it on the way.
_COPIES = 4
_BYTES_EACH = 4  # of a value


class TableStream(Protocol):
    """A table that is being written."""

    def write(self, part: pa.Table) -> None:
        """Adds rows."""

    def close(self, facts: Mapping[str, str]) -> None:
        """Ends the file, and says where the table comes from."""


@contextmanager
def streamed(path: Path, schema: pa.Schema, meanings: Mapping[str, str]) -> Iterator[TableStream]:
    """Yields a table that becomes a file, whole or not at all, if the block ends well.

    Parquet holds the meanings of the columns as the metadata of its fields, and the facts as those of the
    file. CSV holds neither. The formats of astropy are written at the end, from memory; see
    `check_size`.

    Args:
        path: The file; see `is_catalogue`.
        schema: The columns.
        meanings: What columns mean.
    """
    with replacing(path) as temporary:
        match path.suffix.lower():
            case ".parquet":
                yield _Parquet(temporary, schema)
            case ".csv":
                yield _Csv(temporary, schema)
            case _:
                yield _InMemory(temporary, schema, meanings)


def check_size(path: Path, rows: int, columns: int) -> None:
    """Refuses a table that does not fit into memory, in a format that is written from there.

    Raises:
        UserError: The message names the formats that are written part by part.
    """
    needed = _COPIES * _BYTES_EACH * rows * columns
    if path.suffix.lower() in (".parquet", ".csv") or needed <= free_memory():
        return
    raise UserError(
        f"out={path} is written from memory, and {rows:,} galaxies in {columns} columns take about "
        f"{needed / 1e9:,.0f} GB there: give a name that ends in .parquet or .csv, which need none, or make "
        "the catalogue in parts (shard=K/N)"
    )


class _Parquet:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pa.parquet.ParquetWriter(path, schema)

    def write(self, part: pa.Table) -> None:
        self._writer.write_table(part, row_group_size=len(part))

    def close(self, facts: Mapping[str, str]) -> None:
        self._writer.add_key_value_metadata(dict(facts))
        self._writer.close()


class _Csv:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pa.csv.CSVWriter(path, schema)

    def write(self, part: pa.Table) -> None:
        self._writer.write_table(part)

    def close(self, facts: Mapping[str, str]) -> None:
        self._writer.close()


class _InMemory:
    def __init__(self, path: Path, schema: pa.Schema, meanings: Mapping[str, str]) -> None:
        self._path, self._meanings = path, meanings
        self._parts = [schema.empty_table()]

    def write(self, part: pa.Table) -> None:
        self._parts.append(part)

    def close(self, facts: Mapping[str, str]) -> None:
        table: pd.DataFrame = pa.concat_tables(self._parts).to_pandas()
        write_catalogue(table, self._path, self._meanings, facts)
