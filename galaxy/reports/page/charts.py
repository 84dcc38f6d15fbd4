"""Charts in the coordinates of an SVG, which the template of the page draws.

The page draws them itself, because its colours follow the light or dark scheme of the reader, and lines and
points tell their names under the pointer. matplotlib places the ticks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from matplotlib.ticker import LogLocator, MaxNLocator

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 44
# The style of what lies behind the rest.
GREY = "grey"
# An axis is logarithmic if its values differ by more than this factor.
WIDE_RANGE = 8
# The size of a number beside a point, in units of the SVG.
_DIGIT, _LINE, RADIUS = 7, 12, 5

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Axis:
    """An axis of a chart.

    Attributes:
        label: What it shows.
        ticks: The place and the text of each tick.
        low: The value at the start.
        high: The value at the end.
        start: The coordinate of the start.
        end: The coordinate of the end.
        log: Whether it is logarithmic.
    """

    label: str
    ticks: tuple[tuple[float, str], ...]
    low: float
    high: float
    start: float
    end: float
    log: bool

    def place(self, value: float) -> float:
        """Returns the coordinate of a value; those beyond the ends lie at the ends."""
        value = min(max(value, self.low), self.high)  # a value at an end may have no logarithm
        low, high, at = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        share = (at - low) / (high - low)
        return round(self.start + share * (self.end - self.start), 1)


def axis(
    label: str,
    values: Iterable[float],
    start: float,
    end: float,
    whole: bool = False,
    log: bool | None = None,
) -> Axis:
    """Makes an axis with room for some values.

    Args:
        label: What it shows.
        values: One finite value or more.
        start: The coordinate of the start.
        end: The coordinate of the end.
        whole: Whether ticks are whole numbers only, and the axis is linear.
        log: Whether it is logarithmic; None decides by the values.
    """
    low, high = min(known := list(values)), max(known)
    if log is None:
        log = not whole and low > 0 and high / low > WIDE_RANGE
    if log:
        margin = (high / low) ** 0.05
        low, high = low / margin, high * margin
        subs = (1.0, 2.0, 5.0) if high / low < 100 else (1.0,)
        ticks = LogLocator(subs=subs, numticks=7).tick_values(low, high)
    else:
        margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        low, high = low - margin, high + margin
        ticks = MaxNLocator(5, integer=whole, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    empty = Axis(label, (), low, high, start, end, log)
    inside = [float(tick) for tick in ticks if low <= tick <= high]
    return Axis(label, tuple((empty.place(tick), short(tick)) for tick in inside), low, high, start, end, log)


def category_axis(label: str, names: Sequence[str], start: float, end: float) -> Axis:
    """Makes an axis whose values are the places of names in a list; names are cut off where room ends."""
    low, high = -0.5, len(names) - 0.5
    room = max(int((end - start) / len(names) / _DIGIT), 2)
    empty = Axis(label, (), low, high, start, end, log=False)
    texts = [name if len(name) <= room else f"{name[: room - 1]}…" for name in names]
    ticks = tuple((empty.place(place), text) for place, text in enumerate(texts))
    return replace(empty, ticks=ticks)


def short(value: float) -> str:
    """Writes a number with few characters, such as 11.2M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1000 if letter == 'k' else size):.3g}{letter}"
    return f"{value:.6g}"


@dataclass(frozen=True)
class Line:
    """A curve.

    Attributes:
        points: Its corners, as SVG writes them.
        band: The corners of the area between the least and the greatest of its runs; empty for one run.
        name: What it shows.
        style: Its class in page.css, such as "c1" or "grey".
    """

    points: str
    band: str
    name: str
    style: str


@dataclass(frozen=True)
class Point:
    """A point, with the spread of its value as a line through it.

    Attributes:
        x: Its coordinate.
        y: Its coordinate.
        top: The upper end of the spread.
        bottom: The lower end.
        name: What it shows.
        style: Its class in page.css, such as the verdict on the setting.
        label: The number beside it; empty where there is no room.
        label_x: The coordinate of the number's middle.
        label_y: The coordinate of the number's base line.
    """

    x: float
    y: float
    top: float
    bottom: float
    name: str
    style: str
    label: str = ""
    label_x: float = 0.0
    label_y: float = 0.0


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        title: What it shows.
        x: The horizontal axis.
        y: The vertical axis.
        lines: Its curves; those behind come first.
        points: Its points.
    """

    title: str
    x: Axis
    y: Axis
    lines: tuple[Line, ...] = ()
    points: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Curves:
    """The curves of a setting: one for each run, as values by their epochs; and the style of its line."""

    name: str
    runs: Sequence[dict[int, float]]
    style: str


def line_chart(
    title: str, label: str, curves: Sequence[Curves], shown: Iterable[float] | None = None
) -> Chart | None:
    """Draws a line for each setting, the mean over its runs; None if there is no value.

    Args:
        title: What the chart shows.
        label: What the values are.
        curves: The settings. Those behind come first.
        shown: The values that the axis has room for; None for all. Others lie at its ends.
    """
    means = []
    for one in curves:
        runs = [{epoch: value for epoch, value in run.items() if math.isfinite(value)} for run in one.runs]
        epochs = sorted(set.intersection(*map(set, runs))) if runs else []
        if epochs:
            of_epoch = [[run[epoch] for run in runs] for epoch in epochs]
            means.append((one, epochs, of_epoch))
    if not means:
        return None
    x = axis("epoch", [epoch for _, epochs, _ in means for epoch in epochs], LEFT, WIDTH - RIGHT, whole=True)
    every = [value for _, _, of_epoch in means for values in of_epoch for value in values]
    y = axis(label, every if shown is None else shown, HEIGHT - BOTTOM, TOP)
    lines = []
    for one, epochs, of_epoch in means:
        step = max(len(epochs) // 200, 1)  # more corners than this are not seen
        places = [*range(0, len(epochs) - 1, step), len(epochs) - 1]
        corners = [(x.place(epochs[i]), y.place(sum(of_epoch[i]) / len(of_epoch[i]))) for i in places]
        band = []
        if len(one.runs) > 1 and one.style != GREY:
            above = [(x.place(epochs[i]), y.place(max(of_epoch[i]))) for i in places]
            below = [(x.place(epochs[i]), y.place(min(of_epoch[i]))) for i in places]
            band = [*above, *reversed(below)]
        if len(corners) == 1:  # a line of one point would not be seen
            corners = [(corners[0][0] - 4, corners[0][1]), (corners[0][0] + 4, corners[0][1])]
        lines.append(Line(corners_of(corners), corners_of(band), one.name, one.style))
    return Chart(title, x, y, tuple(lines))


def corners_of(corners: Sequence[tuple[float, float]]) -> str:
    """Writes corners as SVG does."""
    return " ".join(f"{x:g},{y:g}" for x, y in corners)


@dataclass(frozen=True)
class Mark:
    """A setting in a scatter plot: its cost, its value, the spread of that, and what it is called."""

    cost: float
    value: float
    spread: float
    number: int
    name: str
    verdict: str


def scatter_chart(cost: str, label: str, marks: Sequence[Mark]) -> Chart:
    """Draws a point for each setting, of which there is one at least.

    Numbers stand beside the points where there is room, the first settings first.
    """
    x = axis(cost, [mark.cost for mark in marks], LEFT, WIDTH - RIGHT)
    ends = [mark.value + sign * mark.spread for mark in marks for sign in (-1, 1)]
    y = axis(label, ends, HEIGHT - BOTTOM, TOP)
    points = []
    for mark in marks:
        top, bottom = y.place(mark.value + mark.spread), y.place(mark.value - mark.spread)
        points.append(Point(x.place(mark.cost), y.place(mark.value), top, bottom, mark.name, mark.verdict))
    r = RADIUS
    taken = [(point.x - r, point.y - r, point.x + r, point.y + r) for point in points]
    taken += [(point.x - 1, point.top, point.x + 1, point.bottom) for point in points]
    placed = [_labelled(point, str(mark.number), taken) for point, mark in zip(points, marks, strict=True)]
    return Chart(cost, x, y, points=tuple(reversed(placed)))  # the best lies on top


def _labelled(point: Point, text: str, taken: list[Box]) -> Point:
    """Puts a number to the right of a point, to its left, above or below, wherever there is room first."""
    half = len(text) * _DIGIT / 2
    beside, over = RADIUS + 3 + half, RADIUS + 2 + _LINE / 2
    for dx, dy in ((beside, 0.0), (-beside, 0.0), (0.0, -over), (0.0, over)):
        x, y = point.x + dx, point.y + dy
        box = (x - half, y - _LINE / 2, x + half, y + _LINE / 2)
        if _free(box, taken):
            taken.append(box)
            return replace(point, label=text, label_x=round(x, 1), label_y=round(y + 4, 1))
    return point


def _free(box: Box, taken: Sequence[Box]) -> bool:
    """Whether a box lies within the chart and on nothing else."""
    left, top, right, bottom = box
    if left < LEFT or right > WIDTH or top < 0 or bottom > HEIGHT - BOTTOM:
        return False
    return all(left >= b[2] or right <= b[0] or top >= b[3] or bottom <= b[1] for b in taken)


@dataclass(frozen=True)
class Bar:
    """An interval as a small bar, whose whole width is 100.

    Attributes:
        left: The start of the interval.
        right: The end of the interval.
        middle: The value.
        zero: Where the reference lies; None if it is not shown.
    """

    left: float
    right: float
    middle: float
    zero: float | None


def bar(value: float, half: float | None, low: float, high: float, zero: float | None = None) -> Bar:
    """Places an interval on a scale from `low` to `high`; what lies beyond is cut off."""
    width = high - low or 1.0

    def place(at: float) -> float:
        return round(100 * min(max((at - low) / width, 0.0), 1.0), 1)

    reach = half or 0.0
    return Bar(
        place(value - reach), place(value + reach), place(value), None if zero is None else place(zero)
    )
