"""The ids of galaxies: whole numbers, or hashes of the names that a user gives."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galaxy.surveys.problems import Mistakes
from galaxy.system.errors import UserError

_ID = re.compile("0|[1-9][0-9]{0,18}")
# With this many ids, it is no chance if floats hold all of them exactly.
_SEVERAL = 5
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)


def is_id(text: str) -> bool:
    """Whether a text is an id: a whole number from 0, as it is usually written, that fits an int64."""
    return _ID.fullmatch(text) is not None and int(text) < 2**63


def is_float(text: str) -> bool:
    """Whether a text is a number with a decimal point or an exponent."""
    return _NUMBER.fullmatch(text) is not None and not text.lstrip("+-").isdigit()


def written(name: str) -> str:
    """Writes each accented letter as one character. macOS writes two into the names of files."""
    return unicodedata.normalize("NFC", name)


def id_of(name: str) -> int:
    """The id of a galaxy that has a name: 63 bits of the name's hash, the same on every machine.

    An accented letter may be written as one character or as two.
    """
    return int.from_bytes(blake2b(written(name).encode(), digest_size=8).digest(), "big") >> 1


def identify(names: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...] | None]:
    """The ids of galaxies that a user calls by these names.

    A name that is a whole number is the id itself. Any other name has the id of `id_of`. Each id depends on
    its own name alone, so galaxies stay in their splits when others are added.

    Returns:
        The ids (N,) int64, and the names if some are no numbers.
    """
    ids = np.array([int(name) if is_id(name) else id_of(name) for name in names], dtype=np.int64)
    return ids, None if all(map(is_id, names)) else tuple(names)


def refuse_floats(texts: Iterable[str], column: str, file: str, advice: str = "") -> None:
    """Refuses a table whose ids were all saved as floats, which have too few digits for the ids of surveys.

    Args:
        texts: The ids.
        column: Their column.
        file: The name of the file.
        advice: What else the user can do, in brackets after a space.

    Raises:
        UserError: All ids are floats.
    """
    present = [text for text in texts if text]
    if present and all(map(is_float, present)):
        raise UserError(
            f"{file}: the ids in {column} were saved as floats, such as {present[0]}, of which digits may be "
            f"lost.\nSave the table again from its source, with ids as text or whole numbers{advice}."
        )


def lost_digits(ids: Sequence[int]) -> bool:
    """Whether long ids were floats before they were whole numbers, and so are not those of their survey.

    All of them then end in the zeros of Excel, or in the bits that a float does not hold. The ids of SDSS's
    spectra end in ten bits of 0 by themselves.
    """
    if min(ids, default=0) < 2**56:  # a float holds one in 16 of these numbers, or fewer
        return False
    floats = len(ids) >= _SEVERAL and all(int(float(number)) == number for number in ids)
    return all(number % 1000 == 0 for number in ids) or (floats and any(number % 1024 for number in ids))


def check_ids(texts: pd.Series, file: str, unique: bool = True) -> tuple[pd.Series, Mistakes]:
    """Turns a column of ids that was read as text into numbers.

    Args:
        texts: The column, indexed by line number. Its name is that of the column in the file.
        file: The name of the file, for the report.
        unique: Whether an id that comes twice is a mistake.

    Returns:
        The usable ids, int64, indexed by line number, and the mistakes. Of an id that comes twice only the
        first row is usable if ids must be unique.

    Raises:
        UserError: There is no usable id.
    """
    column = str(texts.name)
    refuse_floats(texts.tolist(), column, file)
    valid = texts.map(is_id).astype(bool)
    if not valid.any():
        shown = repr(texts.iloc[0])
        raise UserError(f"No usable galaxy: no {column} in {file} is a whole number; the first is {shown}")
    ids = texts[valid].astype(np.int64)
    again = ids.duplicated() & unique
    cases = []
    for line, text in texts[~valid].items():
        hint = " (was the table saved with ids as floats?)" if is_float(text) else ""
        cases.append((line, f"{text!r} is not a whole number{hint}"))
    if again.any():
        first = dict(zip(ids[~again].tolist(), ids[~again].index.tolist(), strict=True))
        cases += [(line, f"{i} is already on line {first[i]}") for line, i in ids[again].items()]
    lines = [f"{file}, line {line}: {column} {case}" for line, case in sorted(cases)]
    return ids[~again], Mistakes(f"row(s) with an unusable {column}", lines)
