"""What readers of surveys share: ids, tables, folders of images, and the report of what is wrong in them."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galaxy.labels.labels import Labels
from galaxy.system.errors import UserError, listing, meant

OnBad = Literal["error", "skip"]
log = logging.getLogger(__name__)
_ID = re.compile("0|[1-9][0-9]{0,18}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_ADVICE = "Mend the files, or leave these galaxies out with data.on_bad=skip."


class Problem(NamedTuple):
    """One kind of mistake, and a line for each row or file that makes it."""

    what: str
    cases: list[str]


def settle(problems: Iterable[Problem], on_bad: OnBad, owner: str) -> tuple[str, ...]:
    """Stops at what is wrong, or lets it pass.

    Args:
        problems: Found in the files; those without a case are none.
        on_bad: "error" or "skip".
        owner: Whose data they are, such as "The Kaggle data in DIR".

    Returns:
        With "skip", a line for each case.

    Raises:
        UserError: With "error", if there is any case; all are listed.
    """
    found = [problem for problem in problems if problem.cases]
    if found and on_bad == "error":
        text = "\n".join(f"{len(p.cases):,} {p.what}:\n{listing(p.cases)}" for p in found)
        raise UserError(f"{owner} cannot be used as they are.\n{text}\n{_ADVICE}")
    return tuple(chain.from_iterable(problem.cases for problem in found))


def is_id(text: str) -> bool:
    """Whether a text is an id: a whole number from 0, as it is usually written, that fits an int64."""
    return _ID.fullmatch(text) is not None and int(text) < 2**63


def is_float(text: str) -> bool:
    """Whether a text is a number with a decimal point or an exponent."""
    return _NUMBER.fullmatch(text) is not None and not text.lstrip("+-").isdigit()


def refuse_floats(texts: Iterable[str], column: str, file: str) -> None:
    """Says once that a program saved all ids as floats, which have too few digits for those of surveys."""
    present = [text for text in texts if text]
    if present and all(map(is_float, present)):
        raise UserError(
            f"{file}: the ids in {column} were saved as floats, such as {present[0]}, of which digits may be "
            "lost.\nSave the table again from its source, with ids as text or whole numbers."
        )


def check_ids(texts: pd.Series, file: str, column: str, unique: bool = True) -> tuple[pd.Series, Problem]:
    """Turns ids that were read as text into numbers.

    Args:
        texts: Of the id column, indexed by line number.
        file: Its name, for the report.
        column: The name of the id column, likewise.
        unique: Whether an id that comes twice is a mistake.

    Returns:
        The usable ids, int64, indexed by line number, of an id that comes twice only the first if they must
        be unique; and the rest.

    Raises:
        UserError: There is no usable id.
    """
    texts = texts.fillna("").str.strip()
    refuse_floats(texts.tolist(), column, file)
    valid = texts.map(is_id).astype(bool)
    if not valid.any():
        shown = repr(texts.iloc[0])
        raise UserError(f"No usable galaxy: no {column} in {file} is a whole number; the first is {shown}")
    ids = texts[valid].astype(np.int64)
    again = ids.duplicated() & unique
    bad = zip(texts[~valid].index.tolist(), texts[~valid].tolist(), strict=True)
    cases = [(line, f"{text!r} is not a whole number{_float_hint(text)}") for line, text in bad]
    if again.any():
        first = dict(zip(ids[~again].tolist(), ids[~again].index.tolist(), strict=True))
        repeats = zip(ids[again].tolist(), ids[again].index.tolist(), strict=True)
        cases += [(line, f"{i} is already on line {first[i]}") for i, line in repeats]
    lines = [f"{file}, line {line}: {column} {case}" for line, case in sorted(cases)]
    return ids[~again], Problem(f"row(s) with an unusable {column}", lines)


def check_header(path: Path, header: Sequence[str], ids: Sequence[str], columns: Sequence[str]) -> None:
    """Checks that a table has one id column and the columns that are needed, each once.

    Args:
        path: Of the table.
        header: Its column names.
        ids: The names that the id column may have.
        columns: Those that it must have beside.

    Raises:
        UserError: Naming every column that is missing or comes twice, and the nearest name there is.
    """
    if not header:
        raise UserError(f"{path} is empty.\nDownload or unpack it again.")
    problems = [] if set(header) & set(ids) else ["missing: " + " or ".join(ids)]
    extra = [name for name in header if name not in columns and name not in ids]
    problems += [f"missing: {name}{meant(name, extra)}" for name in columns if name not in header]
    needed = {*columns, *ids}
    problems += [
        f"twice: {name}" for name in dict.fromkeys(header) if name in needed and header.count(name) > 1
    ]
    if len(set(ids) & set(header)) > 1:
        problems.append("twice: " + " and ".join(ids))
    if problems:
        shown = ", ".join([ids[0], *columns[:2], *(["...", columns[-1]] if len(columns) > 2 else [])])
        raise UserError(f"{path} has the wrong columns:\n{listing(problems)}\nExpected: {shown}.")


def images_in(
    folder: Path, id_name: str, endings: Sequence[str] = (".jpg",), layout: str = ""
) -> tuple[dict[int, Path], Problem]:
    """The image of each id in a folder of files named by their ids.

    Files with other endings, and hidden ones (macOS), are none of ours.

    Args:
        folder: Where the images are.
        id_name: What the survey calls its ids.
        endings: Of their names, with the dot.
        layout: What the survey's folder must hold, for the error.

    Raises:
        UserError: The folder is missing or a file.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {what}.\n{layout}".rstrip())
    images: dict[int, Path] = {}
    strangers = []
    with os.scandir(folder) as entries:
        for name in (entry.name for entry in entries):
            stem, ending = os.path.splitext(name)  # noqa: PTH122  a Path for each of 240,000 names takes a second
            if ending not in endings or name.startswith("."):
                continue
            if is_id(stem):
                images[int(stem)] = folder / name
            else:
                strangers.append(f"{folder.name}/{name}: the name is not a {id_name}")
    return images, Problem(f"image file name(s) that are not a {id_name}", sorted(strangers))


def lines(
    what: str, bad: NDArray[np.bool_], where: Callable[[int], str], describe: Callable[[int], str]
) -> Problem:
    """A problem with a case for each bad row: `where(row)` and what is wrong there.

    Raises:
        UserError: All rows are bad, and there are several; see `refuse_all`.
    """
    refuse_all(what, bad, where, describe)
    return Problem(what, [f"{where(row)}: {describe(row)}" for row in np.flatnonzero(bad).tolist()])


def refuse_all(
    what: str, bad: NDArray[np.bool_], where: Callable[[int], str], describe: Callable[[int], str]
) -> None:
    """Says once what is wrong with every row: a list of them all helps no one, nor does leaving them out."""
    if len(bad) > 1 and bad.all():
        example = f"{where(0)}: {describe(0)}"
        raise UserError(f"No usable galaxy: all {len(bad):,} are {what}, such as\n  {example}")


def fractions(table: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The values of a table of fractions, NaN where they are none.

    Returns:
        (N, K) float64, and (N, K) whether the value is missing, no number or outside [0, 1].
    """
    numbers = table.apply(pd.to_numeric, errors="coerce")
    values = numbers.to_numpy(np.float64, copy=True)
    bad = ~((values >= 0) & (values <= 1))  # NaN compares false
    values[bad] = np.nan
    return values, bad


def describe_fractions(row: pd.Series, bad: NDArray[np.bool_]) -> str:
    """The first bad fraction of a row as the file has it, and how many more there are."""
    names = [str(name) for name, is_bad in zip(row.index, bad, strict=True) if is_bad]
    value = row[names[0]]
    text = "empty or NaN" if pd.isna(value) or not f"{value}".strip() else f"{value}"
    return f"{names[0]} is {text}" + (f" (and {len(names) - 1} more columns)" if len(names) > 1 else "")


def warn_of_rare(labels: Labels, classes: NDArray[np.int64]) -> None:
    """Warns of classes that are too small to be in every split.

    Args:
        labels: Of the K classes.
        classes: (N,) the class of each galaxy, from 0.
    """
    numbers = np.bincount(classes, minlength=len(labels.columns)).tolist()
    few = zip(labels.columns, numbers, strict=True)
    rare = [f"{name}: {number}" for name, number in few if 0 < number < 3]
    if rare:
        log.warning("classes of too few galaxies to be trained, validated and tested on:\n%s", listing(rare))


def describe_tree(labels: Labels, values: NDArray[np.float64], off: NDArray[np.bool_]) -> str:
    """The questions of a row that do not sum to their parent's value.

    Args:
        labels: Of the columns.
        values: (K,) fractions of the row.
        off: (questions,) which they are.
    """
    parts = []
    for q in np.flatnonzero(off).tolist():
        parent = labels.questions.parents[q]
        of = "1" if parent is None else f"{labels.columns[parent]} = {values[parent]:.6f}"
        total = values[labels.questions.slices[q]].sum()
        parts.append(f"{labels.questions.questions[q].key} sums to {total:.6f}, not {of}")
    return "; ".join(parts)


def _float_hint(text: str) -> str:
    return " (was the table saved with ids as floats?)" if is_float(text) else ""
