"""The targets of a user's table: fractions with unknown answers, votes, or classes."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galaxy.labels.labels import Labels, class_labels
from galaxy.surveys.problems import RowCheck, describe_fractions, describe_tree
from galaxy.surveys.table_reader import fractions
from galaxy.surveys.table_rows import Rows
from galaxy.surveys.written_numbers import is_nothing
from galaxy.system.errors import UserError, listing, meant

# The largest error of a fraction that is rounded to two decimals. The sum of a question's answers differs
# from the parent by no more than all their errors together. Conditional fractions that are given as
# cumulative ones differ by far more.
ROUNDING = 0.005
# A column with more values than this, or with more than FEW_CLASSES and a new one in every other row, does
# not hold classes.
MAX_CLASSES = 1000
FEW_CLASSES = 20
# The largest number of votes: float32 holds every whole number up to 2^24.
MOST_VOTES = 2**24
Scale = Literal["fractions", "percent", "votes"]
# The largest number of each scale, from 0, and how messages call numbers that are not of it.
_SCALES: dict[Scale, tuple[float, str]] = {
    "fractions": (1, "labels that are not fractions in [0, 1]"),
    "percent": (100, "labels that are not in [0, 100] percent"),
    "votes": (MOST_VOTES, "votes that are no whole numbers from 0"),
}
_log = logging.getLogger(__name__)


class Targets(NamedTuple):
    """The targets of N rows; those of bad rows are arbitrary.

    Attributes:
        values: (N, K) float32 fractions, 0 where they are unknown.
        weights: (N, K) float32 in [0, 1], 0 where they are unknown; None if all are known.
        counts: (N, K) float32, the votes; None if the table has fractions.
    """

    values: NDArray[np.float32]
    weights: NDArray[np.float32] | None = None
    counts: NDArray[np.float32] | None = None


def read_targets(rows: Rows, labels: Labels, scale: Scale) -> Targets:
    """Turns columns of numbers into targets.

    An empty number is an unknown answer. A row is bad if it has no known answer, or only some answers of a
    question: those left out may be 0 or unknown.

    Args:
        rows: The rows, where mistakes are reported.
        labels: The K labels, which have a column each.
        scale: Whether the columns are fractions, percent or votes.

    Raises:
        UserError: The numbers are of another scale, or a column is empty.
    """
    values, missing = _numbers(rows, rows.frame[list(labels.columns)], scale)
    _report_halves(rows, missing, labels)
    if empty := [labels.columns[column] for column in np.flatnonzero(missing.all(axis=0)).tolist()]:
        raise UserError(
            f"{rows.file}: no row has a number in the column(s) {', '.join(empty)}; leave them out of "
            "data.catalog.columns or data.catalog.questions."
        )
    if missing[~rows.bad].any():
        _log.info("%s", _unknown(missing[~rows.bad], labels, scale))
    if scale == "votes":
        return _of_votes(np.where(np.isnan(values), 0, values), labels)
    if scale == "percent":
        if np.nanmax(values) <= 1:
            _log.warning(
                "%s: no number is above 1, although data.catalog.percent=true says percent; if the numbers "
                "are fractions, leave it out",
                rows.file,
            )
        values /= 100
    _check_tree(rows, values, labels)
    known = ~np.isnan(values)
    weights = None if known[~rows.bad].all() else known.astype(np.float32)
    return Targets(np.where(known, values, 0).astype(np.float32), weights)


def _numbers(
    check: RowCheck, table: pd.DataFrame, scale: Scale
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The numbers (N, K), NaN where there is none of the scale, and whether each is missing (N, K)."""
    most, others = _SCALES[scale]
    values, missing, wrong = fractions(table, most)
    if scale == "votes":
        wrong |= ~missing & (values != np.floor(values))
    check.report(
        f"row(s) with {others}{_hint(table, scale)}",
        wrong.any(axis=1),
        lambda row: describe_fractions(table.iloc[row], wrong[row]),
    )
    values[wrong] = np.nan
    nobody = missing.all(axis=1) | ((scale == "votes") & (np.nansum(values, axis=1) == 0))
    check.report(
        "row(s) without any answer",
        nobody,
        lambda row: describe_fractions(table.iloc[row], np.ones(table.shape[1], dtype=bool)),
    )
    return values, missing


def _hint(table: pd.DataFrame, scale: Scale) -> str:
    """What the numbers may be instead, and the key that says so; "" if they give no sign of it."""
    numbers = table.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    known = numbers[np.isfinite(numbers)]
    below = set(known[known <= -1].tolist())
    if len(below) == 1:
        return f" (if {min(below):g} stands for a missing value, empty these cells)"
    texts = [str(value) for value in table.select_dtypes(exclude="number").to_numpy().ravel().tolist()]
    if any(re.fullmatch(r"\s*[\d.]+\s*%\s*", text) for text in texts):
        return " (take away the % signs; data.catalog.percent=true reads percent)"
    commas = [text for text in texts if re.fullmatch(r"\s*\d+(,\d+)+\s*", text)]
    if scale == "votes" and commas and all(re.fullmatch(r"\s*\d{1,3}(,\d{3})+\s*", t) for t in commas):
        return " (write 1,000 as 1000, without a sign between the thousands)"
    if any(text.count(",") == 1 for text in commas):
        return " (commas: are they decimal signs? data.catalog.decimal=comma)"
    if scale != "fractions" or not len(known) or known.max() <= 1 or known.min() < 0:
        return ""
    hints = ["votes? data.catalog.votes=true"] if (known == np.floor(known)).all() else []
    hints += ["percent? data.catalog.percent=true"] if known.max() <= 100 else []
    return f" (are they {' or '.join(hints)})" if hints else ""


def _report_halves(check: RowCheck, missing: NDArray[np.bool_], labels: Labels) -> None:
    questions = labels.questions
    half = np.stack(
        [missing[:, columns].any(axis=1) & ~missing[:, columns].all(axis=1) for columns in questions.slices],
        axis=1,
    )

    def describe(row: int) -> str:
        q = int(np.flatnonzero(half[row])[0])
        names = labels.columns[questions.slices[q]]
        gone = [name for name, empty in zip(names, missing[row, questions.slices[q]], strict=True) if empty]
        return f"{', '.join(gone)} empty, the other answers of {questions.questions[q].key} are not"

    check.report(
        "row(s) with some answers of a question only (write 0 where no volunteer gave an answer, or empty "
        "the whole question where it is unknown)",
        half.any(axis=1),
        describe,
    )


def _unknown(missing: NDArray[np.bool_], labels: Labels, scale: Scale) -> str:
    numbers = missing.sum(axis=0).tolist()
    lines = [f"{name}: {n:,}" for name, n in zip(labels.columns, numbers, strict=True) if n]
    of = "votes count as 0" if scale == "votes" else "fractions have the weight 0"
    return f"{missing.sum():,} of {missing.size:,} answers are empty; these {of}:\n{listing(lines)}"


def _of_votes(votes: NDArray[np.float64], labels: Labels) -> Targets:
    """The shares of the votes. The weight of a question follows the number of its votes."""
    questions = labels.questions
    shares, met = questions.conditional(votes)
    if any(parent is not None for parent in questions.parents):
        # Cumulative fractions of rarely asked questions are small by themselves.
        values = questions.cumulative(shares)
        weights = questions.known(shares, met).astype(np.float64)
    else:
        values = shares
        totals = np.stack([votes[:, columns].sum(axis=1) for columns in questions.slices], axis=1)
        weights = totals / np.maximum(totals.max(axis=1, keepdims=True), 1)
    of_answers = None if (weights == 1).all() else weights[:, questions.question_of].astype(np.float32)
    return Targets(values.astype(np.float32), of_answers, votes.astype(np.float32))


def _check_tree(check: RowCheck, values: NDArray[np.float64], labels: Labels) -> None:
    residuals = labels.questions.residuals(values)
    # Without any parent, fractions may have any sum.
    cumulative = any(parent is not None for parent in labels.questions.parents)
    # A single answer is a part of its parent's fraction. The rest of that fraction has no column.
    sizes = np.array(labels.questions.sizes)
    tolerance = ROUNDING * (sizes + 1) + 1e-9
    off = cumulative & (np.where(sizes == 1, residuals, np.abs(residuals)) > tolerance)  # NaN compares false
    check.report(
        "row(s) with answers that do not sum to their parent's value, or 1, within rounding to two decimals",
        off.any(axis=1),
        lambda row: describe_tree(labels, values[row], off[row]),
    )


def report_missing_words(check: RowCheck, texts: Sequence[str], column: str) -> None:
    """Reports classes that may be missing values.

    Args:
        check: Where they are reported.
        texts: The class of each galaxy, (N,).
        column: The column of the classes.
    """
    check.report(
        f"row(s) whose {column} may be a missing value (empty these cells, or name all classes with "
        f"data.catalog.classes if it is one of them)",
        # People write none for a class, and Python writes None for a missing value.
        [text not in ("", "none") and is_nothing(text) for text in texts],
        lambda row: f"{column} is {texts[row]}",
    )


def classes_of(
    check: RowCheck,
    texts: Sequence[str],
    column: str,
    classes: Sequence[str] | Sequence[int] | None,
    where: str,
) -> tuple[Labels, NDArray[np.int64]]:
    """Makes labels of the class of each galaxy.

    Args:
        check: Where mistakes are reported.
        texts: The class of each galaxy, (N,), "" where there is none.
        column: The question that the classes answer, such as the column of a table.
        classes: All classes, in order; None for those in `texts`, without the rows that are bad.
        where: Where the classes come from, for the messages.

    Returns:
        The labels, and the number of each row's class (N,), which is 0 in bad rows.

    Raises:
        UserError: There are fewer than two classes, far too many, or two that may be one.
    """
    texts = [class_name(text) for text in texts]
    kept = [text for text, bad in zip(texts, check.bad.tolist(), strict=True) if text and not bad]
    found = set(kept)
    names = tuple(sorted(found, key=_natural) if classes is None else (class_name(str(c)) for c in classes))
    if len(set(names)) < max(2, len(names)):
        source = f"{where} holds" if classes is None else "data.catalog.classes is"
        what = ", ".join(names) or "nothing"
        cases = [case for mistake in check.mistakes for case in mistake.cases] if classes is None else []
        without = f" (without the rows that cannot be used:\n{listing(cases)})" if cases else ""
        raise UserError(f"{source} {what}; there must be two classes or more, each once{without}")
    if classes is None:
        if len(names) > MAX_CLASSES or (len(names) > FEW_CLASSES and 2 * len(names) > len(kept)):
            raise UserError(
                f"{where} has {len(names):,} different values in {len(kept):,} rows: that is no column of "
                f"classes. For fractions, give data.catalog.columns"
            )
        _refuse_twins(kept, names, where)
    number = {name: i for i, name in enumerate(names)}
    check.report(f"row(s) without a {column}", [not text for text in texts], lambda _: f"{column} is empty")
    check.report(
        f"row(s) whose {column} is none of data.catalog.classes",
        [text not in number for text in texts],
        lambda row: f"{column} is {texts[row]}{meant(texts[row], names)}",
    )
    try:
        labels = class_labels(names, column)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error
    return labels, np.array([number.get(text, 0) for text in texts], dtype=np.int64)


def _refuse_twins(texts: Sequence[str], names: Sequence[str], where: str) -> None:
    """Refuses classes whose names differ in capitals, spaces, hyphens or underscores only.

    Args:
        texts: The class of each galaxy.
        names: The classes.
        where: Where they come from.

    Raises:
        UserError: There are some.
    """
    twins: dict[str, list[str]] = defaultdict(list)
    for name in names:
        twins[re.sub(r"(?<=\w)[\s_-]+(?=\w)", " ", name.casefold()).strip()].append(name)
    numbers = pd.Series(list(texts)).value_counts()
    cases = [
        " and ".join(
            f"{name!r} ({numbers[name]:,} galaxies)" for name in sorted(same, key=lambda name: -numbers[name])
        )
        for same in twins.values()
        if len(same) > 1
    ]
    if cases:
        quoted = ",".join(name if re.fullmatch(r"[\w.+-]+", name) else f'"{name}"' for name in names)
        raise UserError(
            f"{where} has classes that may be one, written in two ways:\n{listing(cases)}\n"
            "Mend the spelling. If they are different classes, name all of them: "
            f"'data.catalog.classes=[{quoted}]'"
        )


def class_name(text: str) -> str:
    """The name of a class. A column of whole numbers with gaps is often saved as 1.0, 2.0."""
    return re.sub(r"^(-?\d+)\.0+$", r"\1", text)


def _natural(text: str) -> tuple[list[str | int], str]:
    """A key that sorts Sa2 before Sa10, and ignores case."""
    # Words and numbers alternate, so that like is compared with like. Python refuses to read thousands of
    # digits.
    parts = re.split(r"([0-9]{1,18})", text)
    return [int(part) if i % 2 else part.casefold() for i, part in enumerate(parts)], text
