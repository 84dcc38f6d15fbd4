"""Chooses the galaxies that a report shows, and draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from galaxy.data.splits import unit_hash
from galaxy.images.crops import Crop, Pixels
from galaxy.reports.explore.duplicates import Pair
from galaxy.reports.explore.figures import Drawn
from galaxy.reports.explore.galleries import Strip, gallery
from galaxy.reports.explore.pictures import Looked, fitted, pictures_of
from galaxy.reports.explore.tables import Tables
from galaxy.surveys import Catalog

# Galaxies stand in rows of so many: four pictures fit on a phone.
_ACROSS = 4
# So many answers have a picture of the galaxy with the highest value.
_MOST_ANSWERS = 40
# So many candidates are tried until an image can be read.
_TRIES = 5


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


def highest_of(catalog: Catalog, tables: Tables) -> list[Highest]:
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


class Galleries:
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
            alt = "Whole frames" if not place else f"The same under crop={title}"
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
        """Draws the galaxies with the highest values of the answers to a question, and each crop of them."""
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
