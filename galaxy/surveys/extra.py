"""Further columns of a survey's table, which are carried along with the galaxies."""

from __future__ import annotations

import logging
from collections.abc import Collection

import pandas as pd
from pandas.api.types import is_float_dtype, is_numeric_dtype

from galaxy.surveys.catalog import is_taken
from galaxy.surveys.ids import lost_digits
from galaxy.surveys.table_reader import Table
from galaxy.surveys.written_numbers import as_numbers
from galaxy.system.errors import UserError

# float64 holds every whole number below this.
_EXACT = 2**53
_LONGEST = 2**63
_log = logging.getLogger(__name__)


def read_extra(table: Table, names: list[str], index: pd.Index) -> pd.DataFrame:
    """Reads columns that may hold anything.

    A column is read as numbers if all its values in these rows are numbers, else as text. Marks for nothing,
    such as a dash, are missing values among numbers. The log names the columns of text, with the first value
    that is no number.

    Args:
        table: The table, which must have the columns.
        names: The columns.
        index: The lines or rows to return, as `Table.read` numbers them.

    Returns:
        The columns, with these rows in this order. Whole numbers are int64, or Int64 where some are missing.
        Missing text is None.

    Raises:
        UserError: The file cannot be read.
    """
    texts, numbers = table.read(names, []).loc[index], table.read([], names).loc[index]
    numbers = numbers.apply(as_numbers)  # a row that is left out may have made text of a column
    columns = {name: _typed(texts[name], numbers[name]) for name in names}
    of_text = [_first_word(texts[name]) for name, column in columns.items() if not is_numeric_dtype(column)]
    if of_text:
        _log.info("extra columns that are read as text: %s", ", ".join(of_text))
    if lossy := [name for name, column in columns.items() if _lost_digits(column)]:
        _log.warning(
            "%s: long whole numbers in %s were saved as floats, which have too few digits for ids",
            table.path,
            ", ".join(lossy),
        )
    return pd.DataFrame(columns, index=index).reset_index(drop=True)


def other_columns(table: Table, used: Collection[str | None]) -> list[str]:
    """Lists the columns that hold one value a row and have no other meaning."""
    names = [
        name
        for name in table.header
        if name and name not in used and not is_taken(name) and table.header.count(name) == 1
    ]
    if _are_readable(table, names):
        return names
    return [name for name in names if _are_readable(table, [name])]


def _are_readable(table: Table, names: list[str]) -> bool:
    try:
        table.read(names, [])
    except UserError:
        return False
    return True


def _lost_digits(column: pd.Series) -> bool:
    """Whether floats are all as large as the ids of surveys, and have lost digits."""
    known = column.dropna()
    if not is_float_dtype(column) or not ((known < _LONGEST) & (known % 1 == 0)).all():
        return False
    return lost_digits([int(number) for number in known.tolist()])


def _first_word(texts: pd.Series) -> str:
    """A column with its first value that is no number, for the log."""
    there = texts[texts != ""]
    words = there[pd.to_numeric(there, errors="coerce").isna()]
    example = next(iter(words if len(words) else there), None)
    return f"{texts.name} (empty)" if example is None else f"{texts.name} (as {example!r} is)"


def _typed(texts: pd.Series, numbers: pd.Series) -> pd.Series:
    """Returns the texts as numbers if nothing is lost by it."""
    text = texts.astype(object).where(texts != "", None)
    there = texts[numbers.notna()]
    if not is_numeric_dtype(numbers) or there.str.match(r"[+-]?0\d").any():  # 007 is a name
        return text
    if len(there) and there.str.fullmatch(r"[+-]?\d{1,19}").all() and there.map(int).abs().max() < 2**63:
        whole = there.astype("int64")
        return whole if len(whole) == len(texts) else whole.astype("Int64").reindex(texts.index)
    return text if (numbers.abs() >= _EXACT).any() and there.str.fullmatch(r"[+-]?\d{16,}").any() else numbers
