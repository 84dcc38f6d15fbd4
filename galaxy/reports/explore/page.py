"""Writes the page of an exploration, with its figures inside."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galaxy.data.splits import SPLITS
from galaxy.reports.explore.duplicates import NEAR, Copies
from galaxy.reports.explore.figures import MOST_CELLS, Drawn
from galaxy.reports.explore.pictures import THUMBNAIL, CropRow, Looked, most_of
from galaxy.reports.explore.tables import CLEARLY, SLIGHTLY, AnswerRow, Tables, counts_in_words, sums_in_words
from galaxy.reports.page.charts import Bar
from galaxy.reports.page.environment import environment
from galaxy.surveys import Catalog

# So many bad images and copies are named on the page.
_MOST_LINES = 50


@dataclass(frozen=True)
class Card:
    """What the page shows of a question: its words, its figure, and the galaxies with the highest values."""

    title: str
    figure: Drawn | None
    highest: Drawn | None


@dataclass(frozen=True)
class Report:
    """All that a page shows."""

    catalog: Catalog
    tables: Tables | None
    looked: Looked
    crops: tuple[str, ...]
    answers: tuple[Drawn, ...]
    correlation: Drawn | None
    cards: tuple[Card, ...]
    galleries: tuple[Drawn, ...]
    mean: Drawn | None
    shares: Drawn | None
    copies: Copies
    alike: Drawn | None
    splits: NDArray[np.int8]

    @property
    def figures(self) -> list[Drawn]:
        """All figures, each of which is a file as well."""
        of_cards = [figure for card in self.cards for figure in (card.figure, card.highest)]
        others = [self.correlation, *of_cards, *self.galleries, self.mean, self.shares, self.alike]
        return [*self.answers, *(figure for figure in others if figure is not None)]


def page_of(report: Report) -> str:
    """Writes the page."""
    tables, looked = report.tables, report.looked
    counts = np.bincount(report.splits, minlength=len(SPLITS)).tolist()
    return (
        environment("galaxy.reports.explore")
        .get_template("explore.html")
        .render(
            report=report,
            tables=tables,
            looked=looked,
            source=_source,
            split_counts=list(zip(SPLITS, counts, strict=True)),
            counts="" if tables is None else counts_in_words(tables),
            sums="" if tables is None or not tables.sums else sums_in_words(tables),
            groups=[] if tables is None else _groups(tables),
            shapes=most_of(looked.shapes),
            crops=[(row, _share_bar(row)) for row in looked.crops] if len(looked.rows) else [],
            quantile=lambda row, share: float(np.quantile(row.shares, share)),
            most=_MOST_LINES,
            most_cells=MOST_CELLS,
            near=NEAR,
            thumbnail=THUMBNAIL,
            slightly=SLIGHTLY,
            clearly=CLEARLY,
        )
    )


def _source(png: bytes) -> str:
    """Returns a PNG as the address of an image inside the page."""
    return f"data:image/png;base64,{b64encode(png).decode()}"


def _groups(tables: Tables) -> list[tuple[str, list[tuple[AnswerRow, Bar | None]]]]:
    """Lists the answers by question, each with a bar from 0 to 1."""
    questions = tables.labels.questions
    groups = []
    for question, columns in zip(questions, questions.slices, strict=True):
        rows = [(row, _mean_bar(row)) for row in tables.answers[columns]]
        groups.append((question.text, rows))
    return groups


def _mean_bar(row: AnswerRow) -> Bar | None:
    if not row.known:
        return None
    ends = np.clip([row.mean - row.spread, row.mean + row.spread, row.mean], 0, 1)
    left, right, middle = (100 * ends).round(1).tolist()
    return Bar(left, right, middle, None)


def _share_bar(row: CropRow) -> Bar:
    left, middle, right = (100 * np.quantile(row.shares, (0.05, 0.5, 0.95))).round(1).tolist()
    return Bar(left, right, middle, None)
