"""Draws the figures of an exploration with matplotlib, each for a light and for a dark page."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

# Figures are measured in the pixels of a page: 100 to the inch. They are saved with twice as many.
INCH = 100
# The width that fits on a phone. The letters have 9 or 10 pixels.
NARROW = 400
_LEFT, _LABEL, _SMALL = 140, 7.2, 6.5
# So many letters of a slanted name are written.
_SLANTED = 16
# More answers than these are not drawn, as nobody could read them.
MOST_BARS, MOST_CELLS = 100, 60
_BINS = np.linspace(0, 1, 21)


@dataclass(frozen=True)
class Palette:
    """The colours of a figure, which are those of the page."""

    ink: str
    soft: str
    rule: str
    paper: str
    bar: str
    below: str


LIGHT = Palette("#1c1f24", "#5c6470", "#d5d9df", "#ffffff", "#0072b2", "#d55e00")
DARK = Palette("#e6e8eb", "#a3abb6", "#3b424c", "#15181c", "#56b4e9", "#f28e4b")


@dataclass(frozen=True)
class Drawn:
    """A figure as files.

    Attributes:
        name: The name of the file, without ending.
        alt: What it shows, in words.
        width: Its width on the page in pixels.
        height: Its height.
        light: The PNG for a light page, and for use elsewhere.
        dark: The PNG for a dark page; None if `light` suits both.
    """

    name: str
    alt: str
    width: int
    height: int
    light: bytes
    dark: bytes | None


def drawn(name: str, alt: str, draw: Callable[[Palette], Figure]) -> Drawn:
    """Draws a figure in both palettes."""
    light = draw(LIGHT)
    width, height = (round(INCH * inches) for inches in light.get_size_inches())
    return Drawn(name, alt, width, height, png(light, 2 * INCH), png(draw(DARK), 2 * INCH))


def png(figure: Figure, dots: float) -> bytes:
    """Returns a figure as a PNG of so many dots an inch."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # They are drawn as boxes.
        figure.savefig(buffer, format="png", dpi=dots, facecolor=figure.get_facecolor())
    return buffer.getvalue()


def blank(width: float, height: float, paper: str) -> Figure:
    """Makes an empty figure, in pixels of the page. It is not pyplot's, so it needs no display."""
    return Figure(figsize=(width / INCH, height / INCH), facecolor=paper)


def axes_at(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Adds axes at a place in pixels from the upper left corner."""
    full_width, full_height = (INCH * inches for inches in figure.get_size_inches())
    bottom = full_height - top - height
    return figure.add_axes(
        (left / full_width, bottom / full_height, width / full_width, height / full_height)
    )


def bars(
    values: Sequence[float], names: Sequence[str], groups: Sequence[int], style: str, label: str
) -> Callable[[Palette], Figure]:
    """Draws a bar for each answer; answers of one question stand together.

    Args:
        values: The K lengths.
        names: The K words.
        groups: The K numbers of the questions.
        style: How the values are written.
        label: What they are.
    """
    shown = list(zip(values, names, groups, strict=True))[:MOST_BARS]
    places = [place + 0.6 * (group - shown[0][2]) for place, (_, _, group) in enumerate(shown)]
    height = 16 * (places[-1] + 1)

    def draw(palette: Palette) -> Figure:
        figure = blank(NARROW, height + 46, palette.paper)
        axes = axes_at(figure, _LEFT, 6, NARROW - _LEFT - 12, height)
        lengths = [0.0 if np.isnan(value) else value for value, _, _ in shown]
        drawn_bars = axes.barh(places, lengths, height=0.72, color=palette.bar)
        texts = ["unknown" if np.isnan(value) else style.format(value) for value, _, _ in shown]
        axes.bar_label(drawn_bars, texts, padding=3, fontsize=_SMALL, color=palette.ink)
        axes.set_yticks(places, [short(name) for _, name, _ in shown], parse_math=False)
        axes.set_ylim(places[-1] + 0.6, -0.6)
        axes.set_xlim(0, 1.25 * max(lengths) or 1)
        axes.set_xlabel(label, fontsize=_LABEL, color=palette.soft)
        _plain(axes, palette)
        return figure

    return draw


def heat_map(
    matrix: NDArray[np.float64], names: Sequence[str], groups: Sequence[int]
) -> Callable[[Palette], Figure]:
    """Draws correlations, from -1 to 1, with lines between the questions and numbers from 0.1 on."""
    shown = min(len(names), MOST_CELLS)
    side, top = 25 * shown, _slanted(names[:shown])

    def draw(palette: Palette) -> Figure:
        figure = blank(_LEFT + side + 60, top + side + 10, palette.paper)
        axes = axes_at(figure, _LEFT, top, side, side)
        _cells(axes, matrix[:shown, :shown], names[:shown], palette)
        for place in np.flatnonzero(np.diff(groups[:shown])).tolist():
            axes.axhline(place + 0.5, color=palette.ink, linewidth=0.6)
            axes.axvline(place + 0.5, color=palette.ink, linewidth=0.6)
        return figure

    return draw


def question_figure(
    values: NDArray[np.floating], matrix: NDArray[np.float64], names: Sequence[str]
) -> Callable[[Palette], Figure]:
    """Draws the histogram of each answer to a question, and below the correlations between them.

    Args:
        values: (N, A) fractions, NaN where they are unknown.
        matrix: (A, A) correlations.
        names: The A words.
    """
    tall = 36 * len(names)
    side = min(32 * len(names), NARROW - _LEFT - 20)
    head = tall + 50 + _slanted(names)
    below = head + side + 10 if len(names) > 1 else tall + 50

    def draw(palette: Palette) -> Figure:
        figure = blank(NARROW, below, palette.paper)
        _histograms(figure, list(zip(names, values.T, strict=True)), "fraction of the volunteers", palette)
        if len(names) > 1:
            _cells(axes_at(figure, _LEFT, head, side, side), matrix, names, palette)
        return figure

    return draw


def histograms(rows: Sequence[tuple[str, NDArray[np.floating]]], label: str) -> Callable[[Palette], Figure]:
    """Draws histograms of values from 0 to 1 below each other, on one logarithmic scale."""

    def draw(palette: Palette) -> Figure:
        figure = blank(NARROW, 36 * len(rows) + 50, palette.paper)
        _histograms(figure, rows, label, palette)
        return figure

    return draw


def _histograms(
    figure: Figure, rows: Sequence[tuple[str, NDArray[np.floating]]], label: str, palette: Palette
) -> None:
    """Draws the rows in one pair of axes, because each further pair takes a tenth of a second."""
    counts = [np.histogram(values, _BINS)[0] for _, values in rows]  # NaN is in no bin
    most = max(1, *(int(some.max()) for some in counts))
    axes = axes_at(figure, _LEFT, 6, NARROW - _LEFT - 20, 36 * len(rows))
    for place, some in enumerate(counts):
        # Half a galaxy has no height, so that one galaxy is seen.
        heights = 0.85 * np.log(2 * some.clip(0.5)) / np.log(2 * most)
        axes.bar(_BINS[:-1], heights, 0.046, bottom=-place - 1, align="edge", color=palette.bar)
        axes.axhline(-place - 1, color=palette.rule, linewidth=0.6)
    axes.set_yticks([-place - 0.6 for place in range(len(rows))])
    axes.set_yticklabels([short(name) for name, _ in rows], parse_math=False)
    axes.set(xlim=(0, 1), ylim=(-len(rows), 0))
    axes.set_xlabel(label, fontsize=_LABEL, color=palette.soft)
    _plain(axes, palette)


def _slanted(names: Sequence[str]) -> int:
    """Returns the height in pixels of slanted names above cells."""
    return 14 + round(4.8 * max(len(short(name, _SLANTED)) for name in names))


def _cells(axes: Axes, matrix: NDArray[np.float64], names: Sequence[str], palette: Palette) -> None:
    """Draws a square of correlations."""
    colours = LinearSegmentedColormap.from_list("correlation", [palette.below, palette.paper, palette.bar])
    axes.imshow(matrix, cmap=colours, vmin=-1, vmax=1)
    places = range(len(names))
    axes.set_xticks(
        places, [short(name, _SLANTED) for name in names], rotation=50, ha="left", parse_math=False
    )
    axes.set_yticks(places, [short(name) for name in names], parse_math=False)
    axes.xaxis.tick_top()
    for row, column in np.argwhere(np.abs(matrix) >= 0.1).tolist():
        if row != column:
            text = f"{matrix[row, column]:.2f}".replace("0.", ".", 1)
            axes.text(column, row, text, ha="center", va="center", fontsize=5.6, color=palette.ink)
    _plain(axes, palette)


def _plain(axes: Axes, palette: Palette) -> None:
    """Gives axes the colours of the page, and no frame."""
    axes.set_facecolor(palette.paper)
    axes.tick_params(labelsize=_LABEL, colors=palette.soft, labelcolor=palette.ink, length=2, pad=2)
    for spine in axes.spines.values():
        spine.set(color=palette.rule, linewidth=0.6)


def short(text: str, length: int = 24) -> str:
    """Cuts off the end of a text that is too long, and puts it into one line.

    The bytes of a file's name that are no text become question marks.
    """
    text = " ".join(text.split()).encode("utf-8", "replace").decode()
    return text if len(text) <= length else f"{text[: length - 1]}…"
