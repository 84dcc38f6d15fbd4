"""Draws galleries: galaxies side by side, each frame beside its crops, on black for light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from galaxy.images.crops import Pixels
from galaxy.reports.explore.figures import DARK, INCH, Drawn, axes_at, blank, png, short

# The side of a picture on the page, and the height of the line of text above it, in pixels.
SIDE, LINE = 92, 16
# All pictures of a page have at most so many pixels together, so that it stays below 20 MB: a PNG of noise
# needs 3 bytes a pixel, and base64 a third more. Few pictures are saved with up to twice as many dots.
_BUDGET = 3.5e6
# So many letters fit above a picture.
_LETTERS = 17


@dataclass(frozen=True)
class Strip:
    """Pictures side by side.

    Attributes:
        captions: The text above each picture, or one text above all.
        pictures: The pictures, (side, side, 3) uint8 each.
    """

    captions: tuple[str, ...]
    pictures: tuple[Pixels, ...]


def side_of(pictures: int) -> int:
    """Returns the side in pixels that each of so many pictures is saved with."""
    return min(2 * SIDE, int(math.sqrt(_BUDGET / max(pictures, 1))))


def gallery(name: str, alt: str, strips: Sequence[Strip], titles: Sequence[str] = ()) -> Drawn:
    """Draws strips below each other.

    Args:
        name: The name of the file, without ending.
        alt: What it shows, in words.
        strips: The strips, one or more, of pictures with the same side.
        titles: The heads of the columns, if there are any.
    """
    columns = max(len(strip.pictures) for strip in strips)
    side = len(strips[0].pictures[0])
    head = LINE if titles else 0
    width, height = columns * SIDE, head + len(strips) * (SIDE + LINE)
    figure = blank(width, height, DARK.paper)
    texts = axes_at(figure, 0, 0, width, height)
    texts.set(xlim=(0, width), ylim=(height, 0))
    texts.axis("off")
    for column, title in enumerate(titles):
        _write(texts, column * SIDE, 0, short(title, _LETTERS), DARK.soft)
    for number, strip in enumerate(strips):
        top = head + number * (SIDE + LINE)
        letters = _LETTERS if len(strip.captions) > 1 else _LETTERS * columns
        for column, caption in enumerate(strip.captions):
            _write(texts, column * SIDE, top, short(caption, letters), DARK.ink)
        joined = np.full((side, columns * side, 3), 0, np.uint8)
        for column, picture in enumerate(strip.pictures):
            joined[:, column * side : (column + 1) * side] = picture
        axes = axes_at(figure, 0, top + LINE, width, SIDE)
        axes.imshow(joined, interpolation="nearest", aspect="auto")
        axes.axis("off")
        for column in range(1, columns):
            axes.axvline(column * side - 0.5, color=DARK.paper, linewidth=1)
    return Drawn(name, alt, width, height, png(figure, INCH * side / SIDE), None)


def _write(axes: Axes, left: float, top: float, text: str, colour: str) -> None:
    axes.text(left + 2, top + LINE / 2, text, fontsize=7, color=colour, va="center", parse_math=False)
