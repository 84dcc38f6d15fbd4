"""Reporting what is wrong in the files of a survey: all of it at once, with file and line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from galaxy.labels.labels import Labels
from galaxy.system.errors import UserError, listing

OnBad = Literal["error", "skip"]
_log = logging.getLogger(__name__)
_ADVICE = "Mend the files, or leave these galaxies out with data.on_bad=skip."


class Mistakes(NamedTuple):
    """One kind of mistake, and a line for each row or file that has it."""

    what: str
    cases: list[str]


class RowCheck:
    """Collects the mistakes in the rows of a table. Each row is reported once, mostly for its first mistake.

    Args:
        count: The number of rows, N.
        where: Says where a row is, such as "labels.csv, line 7, 100008".

    Attributes:
        bad: (N,) bool, whether a mistake was found in each row.
        mistakes: The mistakes, in the order in which they were reported.
    """

    def __init__(self, count: int, where: Callable[[int], str]) -> None:
        self.where = where
        self.bad: NDArray[np.bool_] = np.zeros(count, dtype=bool)
        self.mistakes: list[Mistakes] = []
        # The list that holds the line about a row, and the place of the line in it.
        self._cases: dict[int, tuple[list[str], int]] = {}

    def report(self, what: str, bad: ArrayLike, describe: Callable[[int], str], anyway: bool = False) -> int:
        """Reports a kind of mistake.

        Args:
            what: The kind, such as "row(s) without an image".
            bad: (N,) bool, the rows with the mistake. Rows that were reported before are passed over.
            describe: Says what is wrong in a row.
            anyway: Whether to add this mistake to the line of a row that already has another one.

        Returns:
            The number of rows that are bad for this mistake.

        Raises:
            UserError: All of several rows have the mistake. A list of them would not help, nor would leaving
                them out.
        """
        bad = np.array(bad, dtype=bool)
        if len(bad) > 1 and bad.all():
            example = f"{self.where(0)}: {describe(0)}"
            raise UserError(f"No usable galaxy: all {len(bad):,} are {what}, such as\n  {example}")
        rows = np.flatnonzero(bad & ~self.bad).tolist()
        if anyway:
            for row in np.flatnonzero(bad & self.bad).tolist():
                cases, place = self._cases[row]
                cases[place] += f"; {describe(row)}"
        self.bad |= bad
        cases = [f"{self.where(row)}: {describe(row)}" for row in rows]
        self._cases |= {row: (cases, place) for place, row in enumerate(rows)}
        self.mistakes.append(Mistakes(what, cases))
        return len(rows)


def raise_or_list(mistakes: Iterable[Mistakes], on_bad: OnBad, owner: str, note: str = "") -> tuple[str, ...]:
    """Raises an error about the mistakes, or lists them.

    Args:
        mistakes: The mistakes that were looked for. Those without a case are ignored.
        on_bad: "error" or "skip".
        owner: The data in question, such as "The Kaggle data in DIR".
        note: A sentence to end the error with.

    Returns:
        With "skip", a line for each case.

    Raises:
        UserError: With "error", if there is any case. The message lists all kinds of mistakes.
    """
    found = [mistake for mistake in mistakes if mistake.cases]
    if found and on_bad == "error":
        text = "\n".join(f"{len(m.cases):,} {m.what}:\n{listing(m.cases)}" for m in found)
        raise UserError(f"{owner} cannot be used as they are.\n{text}\n{_ADVICE}{note and f' {note}'}")
    return tuple(chain.from_iterable(mistake.cases for mistake in found))


def describe_fractions(row: pd.Series, bad: NDArray[np.bool_]) -> str:
    """Describes the first bad fraction of a row as the file has it, and counts the others.

    Args:
        row: (K,) values of the row, indexed by column.
        bad: (K,) bool, the bad ones.
    """
    names = [str(name) for name, is_bad in zip(row.index, bad, strict=True) if is_bad]
    value = row[names[0]]
    text = "empty or NaN" if pd.isna(value) or not f"{value}".strip() else f"{value}"
    return f"{names[0]} is {text}" + (f" (and {len(names) - 1} more columns)" if len(names) > 1 else "")


def describe_tree(labels: Labels, values: NDArray[np.float64], off: NDArray[np.bool_]) -> str:
    """Describes the questions of a row that do not sum to the value of their parent.

    Args:
        labels: The labels of the K columns.
        values: (K,) fractions of the row.
        off: (questions,) bool, the questions to describe.
    """
    parts = []
    for q in np.flatnonzero(off).tolist():
        parent = labels.questions.parents[q]
        of = "1" if parent is None else f"{labels.columns[parent]} = {values[parent]:.6f}"
        total = values[labels.questions.slices[q]].sum()
        parts.append(f"{labels.questions.questions[q].key} sums to {total:.6f}, not {of}")
    return "; ".join(parts)


def warn_of_rare(labels: Labels, classes: NDArray[np.int64]) -> None:
    """Warns of classes that have too few galaxies to be in every split.

    Args:
        labels: The labels of the K classes.
        classes: (N,) the class of each galaxy, from 0.
    """
    numbers = np.bincount(classes, minlength=len(labels.columns)).tolist()
    few = zip(labels.columns, numbers, strict=True)
    rare = [f"{name}: {number}" for name, number in few if number < 3]
    if rare:
        _log.warning("classes of too few galaxies to be trained, validated and tested on:\n%s", listing(rare))
