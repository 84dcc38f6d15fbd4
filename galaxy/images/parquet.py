"""Reads image files that are stored in Parquet files."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from galaxy.images import BadImageError
from galaxy.images.reading import refuse_passing
from galaxy.surveys.catalog import ParquetImage

# A batch holds this many images; the threads that decode are this many batches apart at most.
_BATCH = 32
_KEPT = 64
_DAMAGED = (OSError, pa.ArrowException, ValueError, LookupError)


class ParquetFiles:
    """Reads images of Parquet files, best in the order of their rows. Threads may share an object.

    A row group may hold all images of a file, and Parquet finds no single row in it. So a file is read from
    the beginning of a row group on, and the latest batches are kept.
    """

    def __init__(self) -> None:
        self._columns: dict[tuple[Path, str], _Column] = {}
        self._lock = Lock()

    def read(self, source: ParquetImage) -> bytes:
        """Reads the bytes of one image; empty if there are none.

        Raises:
            BadImageError: The file or this part of it cannot be read.
            UserError: The disk or the system failed.
        """
        try:
            with self._lock:
                key = source.path, source.column
                if key not in self._columns:
                    self._columns[key] = _Column(*key)
                return self._columns[key].read(source.row)
        except _DAMAGED as error:
            refuse_passing(source.path, error)
            raise BadImageError(f"cannot be read ({error})") from error

    def close(self) -> None:
        """Closes all files."""
        for column in self._columns.values():
            column.close()
        self._columns.clear()


class _Column:
    """A column of bytes, of which the latest batches are kept."""

    def __init__(self, path: Path, column: str) -> None:
        # By default Arrow reads all images of a row group at once.
        self._file = pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False)
        self._column = column
        counts = [self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups)]
        self._starts = [sum(counts[:i]) for i in range(len(counts) + 1)]
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._batches: Iterator[Any] = iter(())
        self._next = -1

    def read(self, row: int) -> bytes:
        for start, values in self._kept.items():
            if start <= row < start + len(values):
                return _content(values, row - start)
        if not 0 <= row < self._starts[-1]:
            raise LookupError(f"it has no row {row}")
        group = next(i for i, end in enumerate(self._starts[1:]) if row < end)
        # Rows between the latest batch and a later one in the same group are read in any case.
        if row < self._next or self._starts[group] > self._next:
            groups = list(range(group, self._file.num_row_groups))
            self._batches = self._file.iter_batches(_BATCH, row_groups=groups, columns=[self._column])
            self._next = self._starts[group]
        for batch in self._batches:
            values = batch.column(0)
            if pa.types.is_struct(values.type):
                values = values.field(0)
            start, self._next = self._next, self._next + len(values)
            self._kept[start] = values
            self._kept.move_to_end(start)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            if row < self._next:
                return _content(values, row - start)
        raise LookupError(f"the rows before row {row} cannot be read")

    def close(self) -> None:
        self._file.close()


def _content(values: Any, row: int) -> bytes:
    return bytes(values[row].as_py() or b"")
