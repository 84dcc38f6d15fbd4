"""Which column of a table holds the names of the galaxies."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Sequence

from galaxy.surveys.ids import is_float
from galaxy.surveys.table_reader import Table, is_index
from galaxy.system.errors import UserError

# `reset_index` of pandas calls the row numbers so.
_RESET_INDEX = re.compile(r"index|level_\d+")
# So many columns behind one of row numbers are tried for one of words. Reading one among 240,000 rows takes
# half a second.
_CANDIDATES = 8
_log = logging.getLogger(__name__)


def name_column_of(table: Table, image_column: str | None, others: Collection[str | None], key: str) -> str:
    """Chooses the column of the galaxies' names, if the user does not say which it is.

    Whether the values differ does not decide, because a part of the table would then get other ids.

    Args:
        table: The table.
        image_column: The column of the images.
        others: Columns that have another meaning, such as those of the labels.
        key: The key of the catalog, for the messages.
    """
    first = next((name for name in table.header if not is_index(name)), table.header[0])
    if table.header.count(first) > 1:
        return first
    pictures = () if table.parquet is None else table.parquet.picture_columns
    following = table.header[table.header.index(first) + 1 :]
    candidates = [
        name
        for name in following
        if name not in others and name not in pictures and table.header.count(name) == 1
    ]
    if image_column is None and _RESET_INDEX.fullmatch(first):  # coordinates may stand before the names
        candidates = [name for name in candidates[:_CANDIDATES] if _are_words(_texts(table, name))]
    second = image_column or next(iter(candidates), None)
    if second is not None and first in others:
        return second
    if second is not None and _RESET_INDEX.fullmatch(first) and first != second:
        _log.warning(
            "%s: the galaxies have the names in the column %s, because %s is what pandas calls row numbers; "
            "%s.id_column chooses another column",
            table.path,
            second,
            first,
            key,
        )
        return second
    if first not in pictures and _counts(_texts(table, first)):
        _log.warning(
            "%s: the ids of the galaxies, in the column %s, are the numbers of the rows. If they change when "
            "rows are added or left out, galaxies that were trained on may be tested: give a column of names "
            "that stay, %s.id_column=%s",
            table.path,
            first,
            key,
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
