"""Makes a report on a survey: its numbers, its pictures, and the files that show them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galaxy.data.splits import sample_rows
from galaxy.images.crops import Crop
from galaxy.images.sheet import contact_sheet
from galaxy.reports.explore import figures
from galaxy.reports.explore.duplicates import copies_among
from galaxy.reports.explore.figures import Drawn, drawn
from galaxy.reports.explore.folder import PAGE, write_folder
from galaxy.reports.explore.galleries import side_of
from galaxy.reports.explore.page import Card, Report, page_of
from galaxy.reports.explore.pictures import Looked, look_at, most_of
from galaxy.reports.explore.shown import Galleries, Highest, highest_of
from galaxy.reports.explore.tables import Tables, counts_in_words, distinct_words, tables_of
from galaxy.surveys import Catalog
from galaxy.system.errors import listing
from galaxy.system.files import check_writable

# The contact sheet of the folder.
SHEET = "crops.png"
# Galaxies of a random gallery.
_RANDOM = 24
# So many questions have a figure.
_MOST_QUESTIONS = 40


def write_report(
    catalog: Catalog,
    splits: NDArray[np.int8],
    crops: dict[str, Crop],
    count: int,
    pictures: int | None,
    workers: int | None,
    folder: Path,
) -> str:
    """Writes the page, its figures and the contact sheet.

    Images that cannot be read are named and left out, because a report is the place to learn of them.

    Args:
        catalog: The galaxies.
        splits: (N,) int8, the split of each.
        crops: The crops to show, by their names.
        count: The number of galaxies on the contact sheet.
        pictures: The number of images to look at; None for all.
        workers: How many threads decode; None for one per core.
        folder: The folder, which holds nothing or an earlier exploration.

    Returns:
        The counts in the layout of Speidell's notebook, what else was found, and where the page is.

    Raises:
        UserError: The folder cannot be written.
    """
    check_writable(folder)
    looked = look_at(sample_rows(catalog.ids, pictures), catalog.images, crops, workers)
    report = _gathered(catalog, splits, crops, looked)
    files = {_file_name(one.name): one.light for one in report.figures}
    sheet = looked.rows[sample_rows(catalog.ids[looked.rows], count)]
    if len(sheet):
        files[SHEET] = _sheet(catalog, sheet, crops)
    files[PAGE] = page_of(report).encode("utf-8", "replace")
    about = {"survey": catalog.name, "galaxies": len(catalog), "pictures": len(looked.rows)}
    write_folder(folder, {**about, "crops": list(crops)}, files)
    return _in_words(report, folder)


def _gathered(catalog: Catalog, splits: NDArray[np.int8], crops: dict[str, Crop], looked: Looked) -> Report:
    """Makes the numbers and the figures of the page."""
    tables = tables_of(catalog)
    copies, pairs = copies_among(catalog, splits, looked)
    shown = looked.rows[sample_rows(catalog.ids[looked.rows], _RANDOM)].tolist()
    highest = [] if tables is None else highest_of(catalog, tables)
    cells = (1 + len(crops)) * (len(shown) + len(highest)) + 2 * len(pairs) + len(crops) + 1
    wanted = [*shown, *(row for one in highest for row in one.rows[:1])]
    wanted += [int(looked.rows[place]) for pair in pairs for place in (pair.first, pair.second)]
    made = Galleries(catalog, crops, side_of(cells), wanted)
    return Report(
        catalog,
        tables,
        looked,
        tuple(crops),
        _answer_figures(tables),
        _correlation(tables),
        _cards(catalog, tables, made, highest),
        made.random(shown),
        made.mean(looked),
        _crop_figure(looked),
        copies,
        made.pairs(looked, pairs),
        splits,
    )


def _sheet(catalog: Catalog, rows: NDArray[np.int64], crops: dict[str, Crop]) -> bytes:
    """Draws the contact sheet outside of the folder, whose first file marks it as an exploration."""
    named = {str(catalog.identifiers[row]): catalog.images[row] for row in rows.tolist()}
    with tempfile.TemporaryDirectory() as elsewhere:
        contact_sheet(named, crops, Path(elsewhere) / SHEET, "skip")
        return (Path(elsewhere) / SHEET).read_bytes()


def _in_words(report: Report, folder: Path) -> str:
    """Says what was found, for the terminal."""
    tables, looked, catalog = report.tables, report.looked, report.catalog
    lines = [f"{len(catalog):,} galaxies of {catalog.name}, without labels"]
    if tables is not None:
        lines = [counts_in_words(tables), ""]
    if catalog.skipped:
        skipped = listing(catalog.skipped)
        lines.append(f"{len(catalog.skipped):,} rows or files of the survey left out:\n{skipped}")
    if looked.bad:
        lines.append(f"{len(looked.bad):,} image(s) cannot be used:\n{listing(looked.bad)}")
    if len(looked.rows):
        sizes = most_of(looked.shapes)
        lines.append(f"{len(looked.rows):,} of {len(catalog):,} images looked at (pictures=N): {sizes}")
    lines += [f"{row.name} kept the whole frame of {row.whole:,}" for row in looked.crops if row.searches]
    lines += report.copies.sentences
    lines.append(f"report: {folder / PAGE}")
    return "\n".join(lines)


def _file_name(name: str) -> str:
    """Returns the name of a figure's file, without signs of a question or a crop that a name may not have."""
    return re.sub(r"[^-.\w]+", "_", name)[:99] + ".png"


def _answer_figures(tables: Tables | None) -> tuple[Drawn, ...]:
    if tables is None:
        return ()
    groups = tables.labels.questions.question_of.tolist()
    texts = distinct_words(tables.labels)
    instances = [float(row.instances) for row in tables.answers]
    if tables.classes:
        draw = figures.bars(instances, texts, groups, "{:,.0f}", "galaxies")
        return (drawn("classes", "The number of galaxies of each class", draw),)
    means = figures.bars([row.mean for row in tables.answers], texts, groups, "{:.3f}", "mean fraction")
    half = figures.bars(instances, texts, groups, "{:,.0f}", "galaxies with a fraction of 0.5 or more")
    return (
        drawn("means", "The mean fraction of each answer", means),
        drawn("instances", "The number of galaxies with a fraction of 0.5 or more, of each answer", half),
    )


def _correlation(tables: Tables | None) -> Drawn | None:
    if tables is None or tables.correlation is None or len(tables.answers) < 2:
        return None
    labels = tables.labels
    draw = figures.heat_map(tables.correlation, distinct_words(labels), labels.questions.question_of.tolist())
    return drawn("correlation", "The correlation between all answers", draw)


def _cards(
    catalog: Catalog, tables: Tables | None, made: Galleries, highest: Sequence[Highest]
) -> tuple[Card, ...]:
    """Makes the figure and the gallery of each question."""
    values = catalog.known_targets
    if tables is None or values is None:
        return ()
    questions = tables.labels.questions
    cards = []
    for question, columns in list(zip(questions, questions.slices, strict=True))[:_MOST_QUESTIONS]:
        figure = None
        if tables.correlation is not None:
            draw = figures.question_figure(
                values[:, columns], tables.correlation[columns, columns], tables.labels.texts[columns]
            )
            alt = f"{question.text} Histograms of the answers, and the correlation between them"
            figure = drawn(f"question_{question.key}", alt, draw)
        of_question = [one for one in highest if columns.start <= one.column < columns.stop]
        cards.append(Card(question.text, figure, made.highest(question.key, tables, of_question)))
    return tuple(cards)


def _crop_figure(looked: Looked) -> Drawn | None:
    if not len(looked.rows) or not looked.crops:
        return None
    draw = figures.histograms([(row.name, row.shares) for row in looked.crops], "share of the frame's area")
    return drawn("crop_shares", "How much of the frame each crop keeps", draw)
