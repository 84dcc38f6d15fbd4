"""Splits that a user's table brings along, in a column or as a file for each of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from galaxy.surveys.problems import RowCheck

# The words that people use, and those of `Catalog.splits`.
WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
# The name of the column that is looked for, and of the one that files for each split make.
SPLIT = "split"
# Hugging Face writes the parts of a table as train-00000-of-00002.parquet and so on.
PART = re.compile(r"(?P<name>.+)-(?P<number>\d+)-of-(?P<count>\d+)(?P<ending>\.\w+)")


def split_of_file(name: str) -> str | None:
    """The split whose galaxies are in a file, such as "val" for valid.csv; None if its name says nothing."""
    part = PART.fullmatch(name)
    stem = name.partition(".")[0] if part is None else part["name"]
    return WORDS.get(stem.lower())


def splits_of_files(names: Iterable[str]) -> list[str]:
    """The split of each file of a table, if all their names say one and not the same; else none."""
    splits = [split_of_file(name) for name in names]
    told = [split for split in splits if split is not None]
    return told if len(told) == len(splits) and len(set(told)) > 1 else []


def read_splits_of(check: RowCheck, texts: Sequence[str], column: str) -> NDArray[np.str_]:
    """The split of each row, as `Catalog.splits` has it.

    Args:
        check: Where other words are reported.
        texts: The column, (N,), "" where it says nothing.
        column: The name of the column.
    """
    check.report(
        f"row(s) whose {column} is none of {', '.join(WORDS)} (data.catalog.split_column=null ignores the "
        "column)",
        [text != "" and text.lower() not in WORDS for text in texts],
        lambda row: f"{column} is {texts[row]}",
    )
    return np.array([WORDS.get(text.lower(), "") for text in texts], dtype=np.str_)
