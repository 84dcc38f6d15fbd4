"""The numbers of an exploration that need no image: counts, means, sums in the tree, correlations."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galaxy.labels.galaxy_zoo_2 import NEXT_QUESTION, NOT_ODD, ODD, is_galaxy_zoo_2
from galaxy.labels.labels import Labels
from galaxy.surveys import Catalog

# A fraction from here on counts as an instance of the answer.
HALF = 0.5
# Sums of a question's answers that differ by more count as off. The first is above what rounding to several
# decimals can do; only sums of numbers with two decimals differ by as much as the second.
SLIGHTLY, CLEARLY = 0.001, 0.02


@dataclass(frozen=True)
class AnswerRow:
    """The numbers of one answer.

    Attributes:
        column: The name of its column.
        text: Its words.
        known: The number of galaxies whose fraction is known.
        mean: The mean of the known fractions; NaN if none is known.
        spread: Their standard deviation.
        instances: The number of galaxies with a fraction of `HALF` or more.
        zeros: The share of the known fractions that are exactly 0.
    """

    column: str
    text: str
    known: int
    mean: float
    spread: float
    instances: int
    zeros: float


@dataclass(frozen=True)
class Sums:
    """How the answers of a question sum.

    Attributes:
        question: The words of the question.
        rule: What they should sum to: "1", or the words of the parent.
        checked: The number of galaxies that were checked.
        unasked: The number of galaxies that were not, because nobody was asked or the answers are unknown.
        slightly: The number of galaxies whose sum is off by more than `SLIGHTLY`.
        clearly: The number of galaxies whose sum is off by more than `CLEARLY`.
        mean: The mean of the sum minus what it should be.
        largest: The largest difference, without its sign.
    """

    question: str
    rule: str
    checked: int
    unasked: int
    slightly: int
    clearly: int
    mean: float
    largest: float


@dataclass(frozen=True)
class Tables:
    """All numbers of a catalog with labels.

    Attributes:
        labels: What the targets mean.
        galaxies: The number of galaxies.
        labelled: The number of galaxies for which an answer is known.
        classes: Whether each galaxy has one class, known for sure.
        answers: The numbers of each answer, K of them.
        terminal: The columns of the answers after which a volunteer is done.
        odd: The columns of the answers odd and not odd; None for other trees than that of Galaxy Zoo 2.
        sums: How the answers of each question sum; empty for classes.
        correlation: (K, K) between the known fractions, NaN where there is none; None for classes.
    """

    labels: Labels
    galaxies: int
    labelled: int
    classes: bool
    answers: tuple[AnswerRow, ...]
    terminal: tuple[int, ...]
    odd: tuple[int, int] | None
    sums: tuple[Sums, ...]
    correlation: NDArray[np.float64] | None


def tables_of(catalog: Catalog) -> Tables | None:
    """Counts the labels of a catalog; None if it has none."""
    labels, values = catalog.labels, catalog.known_targets
    if labels is None or values is None:
        return None
    sure = labels.kind == "classes" and bool(np.isin(values, (0, 1)).all())
    return Tables(
        labels,
        len(catalog),
        int((~np.isnan(values)).any(axis=1).sum()),
        sure,
        _answer_rows(labels, values),
        _terminal(labels),
        (ODD, NOT_ODD) if is_galaxy_zoo_2(labels.questions) else None,
        () if sure else _sums(labels, values),
        None if sure else pd.DataFrame(values).corr(min_periods=3).to_numpy(),
    )


def distinct_words(labels: Labels) -> list[str]:
    """Returns the words of each answer, with the column where several questions have such an answer."""
    often = {text for text, count in Counter(labels.texts).items() if count > 1}
    pairs = zip(labels.texts, labels.columns, strict=True)
    return [f"{text} ({column})" if text in often else text for text, column in pairs]


def _terminal(labels: Labels) -> tuple[int, ...]:
    """Returns the columns after which a volunteer is done; of a tree without parents all columns."""
    if is_galaxy_zoo_2(labels.questions):
        return tuple(column for column, following in enumerate(NEXT_QUESTION) if following is None)
    parents = set(labels.questions.parents)
    return tuple(column for column in range(labels.questions.size) if column not in parents)


def _answer_rows(labels: Labels, values: NDArray[np.float32]) -> tuple[AnswerRow, ...]:
    rows = []
    for place, (column, text) in enumerate(zip(labels.columns, labels.texts, strict=True)):
        known = values[:, place].astype(np.float64)
        known = known[~np.isnan(known)]
        mean, spread, zeros = (
            (known.mean(), known.std(), (known == 0).mean()) if len(known) else (np.nan,) * 3
        )
        instances = int((known >= HALF).sum())
        rows.append(AnswerRow(column, text, len(known), float(mean), float(spread), instances, float(zeros)))
    return tuple(rows)


def _sums(labels: Labels, values: NDArray[np.float32]) -> tuple[Sums, ...]:
    """Compares the sum of each question's answers with 1, or with its parent's fraction.

    A question with one answer may sum to less, as the rest of its parent's fraction has no column.
    """
    questions, words = labels.questions, distinct_words(labels)
    cumulative = any(parent is not None for parent in questions.parents)
    residuals = questions.residuals(values)
    found = []
    for place, (question, columns) in enumerate(zip(questions, questions.slices, strict=True)):
        parent = questions.parents[place]
        single = len(question.answers) == 1
        if single and parent is None:
            continue
        off = residuals[:, place]
        asked = ~np.isnan(off)
        if not cumulative:  # the sum is 0 where nobody was asked
            asked &= values[:, columns].sum(axis=1) > 0
        off = off[asked].clip(0) if single else off[asked]
        if not len(off):
            off = np.zeros(1)
        rule = "1" if parent is None else f"{'at most ' * single}{words[parent]}"
        size = np.abs(off)
        found.append(
            Sums(
                question.text,
                rule,
                int(asked.sum()),
                int((~asked).sum()),
                int((size > SLIGHTLY).sum()),
                int((size > CLEARLY).sum()),
                float(off.mean()),
                float(size.max()),
            )
        )
    return tuple(found)


def sums_in_words(tables: Tables) -> str:
    """Says what the answers of these labels should sum to, and whether they do."""
    meaning = tables.labels.meaning
    if any(parent is not None for parent in tables.labels.questions.parents):
        text = (
            "These labels are cumulative: the answers of a question sum to their parent's fraction, or to 1."
        )
    else:
        text = (
            f"These labels ({meaning}) have no parents: where each fraction is of the volunteers who "
            "were asked, the answers of a question sum to 1."
        )
    if meaning == "debiased":
        text += " Hart et al. (2016) corrected each answer by itself and did not make them sum to 1."
    off, count = sum(sums.clearly > 0 for sums in tables.sums), len(tables.sums)
    if not off:
        return f"{text} All sums are right to {CLEARLY:g}."
    return f"{text} In {off} of {count} questions some sums are off by more than {CLEARLY:g}."


def counts_in_words(tables: Tables) -> str:
    """Writes the counts as Speidell's notebook prints them; its "above 0.5" includes 0.5."""
    lines = [
        f"There are {tables.galaxies:,} images in the dataset.",
        f"There are {tables.labelled:,} truth values.",
        f"There are {len(tables.answers):,} categories for classification.",
        "",
    ]
    counts = [row.instances for row in tables.answers]
    if tables.classes:
        lines += ["Instances of each class.", ""]
    else:
        which = "terminal" if len(tables.terminal) < len(counts) else "all"
        lines += [f"Sum of instances of {which} classes where the confidence level is above 0.5.", ""]
    lines += [f"{tables.labels.columns[column]}: {counts[column]}" for column in tables.terminal]
    if tables.odd is not None:
        odd, even = (counts[column] for column in tables.odd)
        every = max(odd + even, 1)
        lines += ["", f"Odd: {odd:,} or {100 * odd / every:0.1f}%"]
        lines += [f"Not Odd: {even:,} or {100 * even / every:0.1f}%"]
    return "\n".join(lines)
