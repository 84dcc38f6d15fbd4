"""Makes a report on a survey: its numbers, its pictures, and the files that show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galaxy.data.splits import SPLITS, sample_rows, unit_hash
from galaxy.images.crops import Crop, Pixels
from galaxy.images.sheet import contact_sheet
from galaxy.reports.explore import figures
from galaxy.reports.explore.duplicates import NEAR, Pair, equal_pictures, nearest_pairs
from galaxy.reports.explore.figures import Drawn, drawn
from galaxy.reports.explore.folder import PAGE, write_folder
from galaxy.reports.explore.galleries import Strip, gallery, side_of
from galaxy.reports.explore.page import Card, Copies, Report, page_of
from galaxy.reports.explore.pictures import Looked, fitted, look_at, most_of, pictures_of
from galaxy.reports.explore.tables import Tables, counts_in_words, tables_of
from galaxy.surveys import Catalog
from galaxy.system.errors import listing
from galaxy.system.files import check_writable

# The contact sheet of the folder.
SHEET = "crops.png"
# Galaxies of a random gallery, in rows of so many: four pictures fit on a phone.
_RANDOM, _ACROSS = 24, 4
# So many answers have a picture of the galaxy with the highest value, and so many questions a figure.
_MOST_ANSWERS, _MOST_QUESTIONS = 40, 40
# So many candidates are tried until an image can be read.
_TRIES = 5
# So many pairs of near copies are shown; so many of the closest ones are shown in any case, to judge by.
_MOST_PAIRS, _LEAST_PAIRS = 16, 4


@dataclass(frozen=True)
class Highest:
    """The galaxy with the highest value of an answer.

    Attributes:
        column: The column of the answer.
        value: The value.
        ties: How many galaxies have it.
        rows: Its row, and those that take its place if its image cannot be read.
    """

    column: int
    value: float
    ties: int
    rows: tuple[int, ...]


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
    tables = tables_of(catalog)
    looked = look_at(sample_rows(catalog.ids, pictures), catalog.images, crops, workers)
    copies, pairs = _copies(catalog, splits, looked)
    shown = looked.rows[sample_rows(catalog.ids[looked.rows], _RANDOM)].tolist()
    highest = [] if tables is None else _highest(catalog, tables)
    cells = (1 + len(crops)) * (len(shown) + len(highest)) + 2 * len(pairs) + len(crops) + 1
    wanted = [*shown, *(row for one in highest for row in one.rows[:1])]
    wanted += [int(looked.rows[place]) for pair in pairs for place in (pair.first, pair.second)]
    made = _Gallery(catalog, crops, side_of(cells), wanted)
    report = Report(
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
    files = {f"{one.name}.png": one.light for one in report.figures}
    sheet = looked.rows[sample_rows(catalog.ids[looked.rows], count)].tolist()
    if sheet:
        named = {str(catalog.identifiers[row]): catalog.images[row] for row in sheet}
        contact_sheet(named, crops, folder / SHEET, "skip")
        files[SHEET] = (folder / SHEET).read_bytes()
    files[PAGE] = page_of(report).encode("utf-8", "replace")
    about = {"survey": catalog.name, "galaxies": len(catalog), "pictures": len(looked.rows)}
    write_folder(folder, {**about, "crops": list(crops)}, files)
    return _in_words(report, folder)


def _in_words(report: Report, folder: Path) -> str:
    """Says what was found, for the terminal."""
    tables, looked, catalog = report.tables, report.looked, report.catalog
    lines = [f"{len(catalog):,} galaxies of {catalog.name} without labels"]
    if tables is not None:
        lines = [counts_in_words(tables), ""]
    if catalog.skipped:
        lines.append(
            f"{len(catalog.skipped):,} rows or files of the survey left out:\n{listing(list(catalog.skipped))}"
        )
    if looked.bad:
        lines.append(f"{len(looked.bad):,} image(s) cannot be used:\n{listing(list(looked.bad))}")
    if len(looked.rows):
        sizes = most_of(looked.shapes)
        lines.append(f"{len(looked.rows):,} of {len(catalog):,} images looked at (pictures=N), {sizes} pixels")
    lines += [f"{row.name} kept the whole frame of {row.whole:,}" for row in looked.crops if row.searches]
    lines += [sentence for sentence in report.copies.sentences if len(looked.rows)]
    lines.append(f"report: {folder / PAGE}")
    return "\n".join(lines)


def _answer_figures(tables: Tables | None) -> tuple[Drawn, ...]:
    if tables is None:
        return ()
    groups = tables.labels.questions.question_of.tolist()
    texts = tables.labels.texts
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
    draw = figures.heat_map(tables.correlation, labels.texts, labels.questions.question_of.tolist())
    return drawn("correlation", "The correlation between all answers", draw)


def _cards(
    catalog: Catalog, tables: Tables | None, made: _Gallery, highest: Sequence[Highest]
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


def _highest(catalog: Catalog, tables: Tables) -> list[Highest]:
    """Finds the galaxies with the highest value of each answer; a hash decides between equal ones."""
    values = catalog.known_targets
    assert values is not None
    instances = np.array([row.instances for row in tables.answers])
    columns = np.sort(np.argsort(-instances, kind="stable")[:_MOST_ANSWERS])
    order = unit_hash(catalog.ids, "galaxy-limit")
    found = []
    for column in columns.tolist():
        known = np.where(np.isnan(values[:, column]), -1, values[:, column])
        value = float(known.max())
        if value > 0:
            rows = np.lexsort((order, -known))[:_TRIES]
            found.append(Highest(column, value, int((known == value).sum()), tuple(rows.tolist())))
    return found


def _crop_figure(looked: Looked) -> Drawn | None:
    if not len(looked.rows) or not looked.crops:
        return None
    draw = figures.histograms([(row.name, row.shares) for row in looked.crops], "share of the frame's area")
    return drawn("crop_shares", "How much of the frame each crop keeps", draw)


def _copies(catalog: Catalog, splits: NDArray[np.int8], looked: Looked) -> tuple[Copies, list[Pair]]:
    """Finds copies among the images that were looked at, and chooses the pairs to show."""
    equal = equal_pictures(looked.digests)
    nearest = nearest_pairs(looked.thumbnails, looked.digests)
    near = [pair for pair in nearest if pair.distance < NEAR]
    split_of = splits[looked.rows]

    def across(places: Sequence[int]) -> bool:
        return len({int(split_of[place]) for place in places}) > 1

    torn = [pair for pair in near if across((pair.first, pair.second))]
    chosen = sorted(near, key=lambda pair: pair not in torn)[:_MOST_PAIRS]
    chosen += nearest[len(near) : max(_LEAST_PAIRS, len(near))][: max(_LEAST_PAIRS - len(chosen), 0)]
    pairs = [Pair(group[0], group[1], 0.0) for group in sorted(equal, key=lambda group: not across(group))]
    pairs = [*pairs[: _MOST_PAIRS // 2], *chosen]
    names = catalog.identifiers[looked.rows]

    def named(places: Sequence[int]) -> str:
        return " and ".join(f"{names[place]} ({SPLITS[split_of[place]]})" for place in places)

    looked_at, total = len(looked.rows), len(catalog)
    sentences = [
        f"{sum(map(len, equal)):,} of {looked_at:,} galaxies have exactly the pixels of another one, in "
        f"{sum(map(across, equal)):,} case(s) across splits.",
        f"{len(near):,} further pairs look nearly the same, {len(torn):,} of them across splits.",
    ]
    if looked_at < total:
        chance = (looked_at / total) ** 2
        sentences.append(
            f"These are {looked_at:,} of {total:,} galaxies, which hold both of a given pair with a chance of "
            f"{chance:.2g}: pictures=null looks at all."
        )
    lines = tuple(
        f"{named((pair.first, pair.second))}: "
        f"{'equal' if not pair.distance else f'distance {pair.distance:.2f}'}"
        f"{'' if pair.distance < NEAR else ', not taken for copies'}"
        for pair in pairs
    )
    return Copies(tuple(sentences), lines, tuple(named(group) for group in equal)), pairs


class _Gallery:
    """Draws the galleries of a report.

    Args:
        catalog: The galaxies.
        crops: The crops.
        side: The side of each picture in pixels.
        rows: The rows of the galaxies that will be shown.
    """

    def __init__(self, catalog: Catalog, crops: dict[str, Crop], side: int, rows: Sequence[int]) -> None:
        self.catalog = catalog
        self.crops = crops
        self.side = side
        self.titles = ("frame", *crops)
        self.pictures = pictures_of(rows, catalog.images, crops, side)

    def name(self, row: int) -> str:
        """Returns the name of a galaxy."""
        return str(self.catalog.identifiers[row])

    def random(self, rows: Sequence[int]) -> tuple[Drawn, ...]:
        """Draws the same galaxies as frames, and as each crop."""
        rows = [row for row in rows if row in self.pictures]
        drawn_galleries = []
        for place, title in enumerate(self.titles if rows else ()):
            strips = []
            for start in range(0, len(rows), _ACROSS):
                part = rows[start : start + _ACROSS]
                pictures = tuple(self.pictures[row][place] for row in part)
                strips.append(Strip(tuple(map(self.name, part)), pictures))
            alt = "Whole frames" if not place else f"The same galaxies under crop={title}"
            drawn_galleries.append(gallery(f"gallery_{title}", alt, strips))
        return tuple(drawn_galleries)

    def mean(self, looked: Looked) -> Drawn | None:
        """Draws the mean frame, and the mean of each crop."""
        if not len(looked.rows):
            return None
        means: list[Pixels] = [looked.mean, *(row.mean for row in looked.crops)]
        means = [fitted(mean, self.side) for mean in means]
        strips = [
            Strip(self.titles[start : start + _ACROSS], tuple(means[start : start + _ACROSS]))
            for start in range(0, len(means), _ACROSS)
        ]
        return gallery("mean_image", f"The mean of {len(looked.rows):,} images", strips)

    def highest(self, key: str, tables: Tables, found: Sequence[Highest]) -> Drawn | None:
        """Draws the galaxy with the highest value of each answer to a question, before and after each crop."""
        strips = []
        for one in found:
            if not (rows := self._readable(one.rows)):
                continue
            ties = f", one of {one.ties:,}" if one.ties > 1 else ""
            caption = f"{tables.labels.texts[one.column]} {one.value:.2f}: {self.name(rows[0])}{ties}"
            strips.append(Strip((caption,), tuple(self.pictures[rows[0]])))
        if not strips:
            return None
        alt = "The galaxy with the highest value of each answer, before and after each crop"
        return gallery(f"highest_{key}", alt, strips, self.titles)

    def _readable(self, rows: Sequence[int]) -> list[int]:
        """Returns the first of some galaxies whose image can be read, in a list, or none."""
        for row in rows:
            if row not in self.pictures:
                self.pictures |= pictures_of([row], self.catalog.images, self.crops, self.side)
            if row in self.pictures:
                return [row]
        return []

    def pairs(self, looked: Looked, pairs: Sequence[Pair]) -> Drawn | None:
        """Draws pairs of galaxies that look alike, two beside each other."""
        cells = []
        for number, pair in enumerate(pairs, 1):
            rows = [int(looked.rows[place]) for place in (pair.first, pair.second)]
            if all(row in self.pictures for row in rows):
                captions = (f"{number}: {pair.distance:.2f}", "")
                cells.append((captions, tuple(self.pictures[row][0] for row in rows)))
        strips = [
            Strip(
                sum((captions for captions, _ in cells[start : start + 2]), ()),
                sum((pictures for _, pictures in cells[start : start + 2]), ()),
            )
            for start in range(0, len(cells), 2)
        ]
        alt = "Pairs of galaxies whose pictures are alike"
        return gallery("alike", alt, strips) if strips else None
