"""Which column of a table is for what, where the user does not say it."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from galaxy.surveys.ids import is_float
from galaxy.surveys.ready_splits import SPLIT
from galaxy.surveys.table_reader import Table, is_index
from galaxy.system.errors import UserError

# `reset_index` of pandas calls the row numbers so.
_RESET_INDEX = re.compile(r"index|level_\d+")
# Behind a first column of row numbers, a column of words is looked for among so many that follow. Reading one
# of 240,000 rows takes half a second.
_CANDIDATES = 8
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Roles:
    """Which column of a table is for what. The attributes are settings of `data.catalog`; None is no column.

    Attributes:
        id_column: The names of the galaxies; "" if they are to be found.
        image_column: The files of the images, or pictures.
        class_column: The classes.
        group_column: The groups that share a split.
        split_column: The ready-made splits; "auto" if they are to be found.
    """

    id_column: str
    image_column: str | None
    class_column: str | None
    group_column: str | None
    split_column: str | None

    def found_in(self, table: Table, numbers: Collection[str]) -> Roles:
        """Finds the columns that the user has not named. Those of numbers are none of them.

        Raises:
            UserError: Several columns hold pictures.
        """
        images, splits = self.image_column or _only_picture(table), self.split_column
        others = {self.class_column, self.group_column, *numbers}
        if splits == "auto":
            free = [name for name in table.header if name not in {self.id_column, images, *others}]
            splits = next((name for name in free if name.lower() == SPLIT), None)
        names = self.id_column or name_column_of(table, images, {*others, splits})
        return replace(self, id_column=names, image_column=images, split_column=splits)


def _only_picture(table: Table) -> str | None:
    columns = table.picture_columns
    if len(columns) > 1:
        raise UserError(
            f"{table.path} holds pictures in the columns {' and '.join(columns)}: choose one with "
            "data.catalog.image_column"
        )
    return columns[0] if columns else None


def name_column_of(table: Table, image_column: str | None, others: Collection[str | None]) -> str:
    """Chooses the column of the galaxies' names, if the user does not say which it is.

    The choice does not ask whether each value comes once: a part of the table would then get other ids.

    Args:
        table: The table.
        image_column: The column of the images.
        others: Columns that have another meaning, such as those of the labels.
    """
    first = next((name for name in table.header if not is_index(name)), table.header[0])
    if table.header.count(first) > 1:
        return first
    following = table.header[table.header.index(first) + 1 :]
    candidates = [
        name
        for name in following
        if name not in others and name not in table.picture_columns and table.header.count(name) == 1
    ]
    if image_column is None and _RESET_INDEX.fullmatch(first):  # coordinates may stand before the names
        candidates = [name for name in candidates[:_CANDIDATES] if _are_words(_texts(table, name))]
    second = image_column or next(iter(candidates), None)
    if second is not None and first in others:
        return second
    if second is not None and _RESET_INDEX.fullmatch(first) and first != second:
        _log.warning(
            "%s: the galaxies have the names in the column %s, because %s is what pandas calls row numbers; "
            "data.catalog.id_column chooses another column",
            table.path,
            second,
            first,
        )
        return second
    if first not in table.picture_columns and _counts(_texts(table, first)):
        _log.warning(
            "%s: the ids of the galaxies, in the column %s, are the numbers of the rows. If they change when "
            "rows are added or left out, galaxies that were trained on may be tested: give a column of names "
            "that stay, data.catalog.id_column=%s",
            table.path,
            first,
            second or "...",
        )
    return first


def _texts(table: Table, column: str) -> list[str]:
    """The values of a column; none if it does not hold one value a row."""
    try:
        values: list[str] = table.read([column], [])[column].tolist()
    except UserError:
        return []
    return values


def _counts(texts: Sequence[str]) -> bool:
    """Whether a column counts its rows, from 0 or 1."""
    if len(texts) < 2 or texts[0] not in ("0", "1"):
        return False
    start = int(texts[0])
    return list(texts) == [str(row) for row in range(start, start + len(texts))]


def _are_words(texts: Sequence[str]) -> bool:
    """Whether a column holds more than numbers."""
    return not all(text.lstrip("+-").isdigit() or is_float(text) for text in texts if text)
