"""Numbers as people and programs write them into text: missing ones, decimal commas, true and false."""

from __future__ import annotations

import math
import re
from typing import Any, Literal

import pandas as pd

# Programs write missing numbers in these ways. `is_nothing` knows more of them.
MISSING = ["", "nan", "NaN", "NAN", "NA", "N/A", "n/a", "null", "NULL", "None", "-", "--", "---", "...", "…"]
# Dashes of any length, points, question marks, and words.
_NOTHING = re.compile(r"[-\u2013\u2014]*|\.+|…+|\?+|[#<]?n/?a>?|-?nan|nat|null|none", re.IGNORECASE)
NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)(e[+-]?\d+)?|nan|", re.IGNORECASE | re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+", re.ASCII)
_TRUTH = {"true": "1", "false": "0"}
Decimal = Literal["point", "comma"]


def is_nothing(text: str) -> bool:
    """Whether a text in a column of numbers stands for a missing one."""
    return _NOTHING.fullmatch(text.strip()) is not None


def as_numbers(column: pd.Series) -> pd.Series:
    """A column of text as numbers, if all its values are numbers or marks for nothing.

    If not, the marks become NaN and the other values stay as they are. In a column without numbers, true and
    false become 1 and 0, as pandas reads a column of nothing else.
    """
    if pd.to_numeric(column, errors="coerce").isna().all():
        column = column.map(lambda value: _TRUTH.get(_text(value).lower(), value))
    numbers = pd.to_numeric(column, errors="coerce")
    others = column[numbers.isna()]
    nothing = others.map(lambda value: is_nothing(_text(value))).astype(bool)
    return numbers if nothing.all() else column.mask(nothing.reindex(column.index, fill_value=False))


def with_points(table: pd.DataFrame, decimal: Decimal | None) -> tuple[pd.DataFrame, Decimal | None]:
    """Numbers that were read as text, with points in place of decimal commas.

    A file has decimal commas if it has commas and no points in its numbers, and if not all the commas can
    stand behind thousands, as in 1,234. The first numbers that show it decide for all columns.

    Args:
        table: The columns.
        decimal: What stands before the decimals; None if it is to be found out.

    Returns:
        The columns, and what stands before the decimals if that is known now.
    """
    columns = {name: [_text(value) for value in table[name].tolist()] for name in table}
    if decimal is None:
        values = [value for column in columns.values() for value in column if NUMBER.fullmatch(value)]
        if any("." in value for value in values):
            decimal = "point"
        elif any("," in value and not _THOUSANDS.fullmatch(value) for value in values):
            decimal = "comma"
    if decimal != "comma":
        return table, decimal
    return pd.DataFrame(
        {name: [_with_point(value) for value in column] for name, column in columns.items()},
        index=table.index,
    ), decimal


def _text(value: Any) -> str:
    return "" if pd.isna(value) else str(value).strip()


def _with_point(value: str) -> str | float:
    """A number with a decimal comma as one with a point; NaN for nothing."""
    if is_nothing(value):
        return math.nan
    if "." in value:  # it must not pass for a number
        return f"{value} (with a point, where the decimal sign is a comma)"
    return value.replace(",", ".") if _DECIMAL_COMMA.fullmatch(value) else value
