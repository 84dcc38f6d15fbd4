"""What the page shows of a search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from galaxy.config.objective import Direction
from galaxy.reports.page import charts
from galaxy.reports.page.charts import Axis, Chart, Line, Point
from galaxy.reports.search import FEW, Search, Searched, SearchReport, SearchTrial

# The style of a trial, by its status; others are grey. The best trial has its own.
STYLES = {"done": "done", "pruned": "pruned", "failed": "failed", "diverged": "failed"}
# Whoever is farther from the best than so many times the median trial lies at the end of the axis.
FARTHEST = 4.0


@dataclass(frozen=True)
class SearchSection:
    """What the page shows of a search.

    Attributes:
        folder: The folder of the search.
        sentences: What it has found.
        metric: The objective.
        shares: The importance of each setting, from 0 to 1.
        counted: The number of trials that these are from.
        few: Whether this number is small.
        history: The objective of each trial, and the best so far; None before the first value.
        curves: The objective of each trial by epoch; None before the first value.
        settings: The objective against each setting.
        beyond: Whether trials lie at the end of an axis, because they are far worse than most.
        styles: The styles of the trials that are shown, for the legend.
    """

    folder: str
    sentences: tuple[str, ...]
    metric: str = ""
    shares: tuple[tuple[str, float], ...] = ()
    counted: int = 0
    few: bool = False
    history: Chart | None = None
    curves: Chart | None = None
    settings: tuple[Chart, ...] = ()
    beyond: bool = False
    styles: frozenset[str] = frozenset()


def section_of(search: Search) -> SearchSection:
    """Draws a search."""
    report = search.report
    if report is None:
        return SearchSection(str(search.folder), search.sentences)
    values = [trial.value for trial in report.trials if trial.value is not None]
    shown = _shown(values, report.mode)
    # The most important setting comes first.
    order = sorted(report.searched, key=lambda one: -report.importance.get(one.key, 0.0))
    y = charts.axis(report.metric, shown, charts.HEIGHT - charts.BOTTOM, charts.TOP)
    return SearchSection(
        str(search.folder),
        search.sentences,
        report.metric,
        tuple(report.importance.items()),
        report.counted,
        report.counted < FEW,
        _history(report, y) if values else None,
        _curves(report),
        tuple(_against(searched, report, y) for searched in order) if values else (),
        bool(values) and shown != values,
        frozenset(
            _style(trial, report)
            for trial in report.trials
            if trial.value is not None or trial.validated or trial.status == "failed"
        ),
    )


def _shown(values: Sequence[float], mode: Direction) -> list[float]:
    """Returns the values that an axis has room for: one that is far worse does not squeeze the others."""
    if not values:
        return [0.0]
    best, sign = (min(values), 1) if mode == "min" else (max(values), -1)
    behind = [sign * (value - best) for value in values]
    farthest = FARTHEST * float(np.median(behind)) or math.inf
    end = best + sign * farthest
    return [value if far <= farthest else end for value, far in zip(values, behind, strict=True)]


def _style(trial: SearchTrial, report: SearchReport) -> str:
    if report.best is not None and trial.number == report.best.number:
        return "best"
    return STYLES.get(trial.status, charts.GREY)


def _points(report: SearchReport, x: Sequence[float | None], y: Axis) -> tuple[Point, ...]:
    """Places the trials that have ended; x holds their horizontal coordinates. The best lies on top."""
    worst = y.place(y.high if report.mode == "min" else y.low)
    points = []
    for trial, at in zip(report.trials, x, strict=True):
        style = _style(trial, report)
        if at is None or (trial.value is None and style != "failed"):
            continue
        height = worst if trial.value is None else y.place(trial.value)
        points.append(Point(at, height, height, height, _name(trial, report.metric), style))
    return tuple(sorted(points, key=lambda point: point.style == "best"))


def _name(trial: SearchTrial, metric: str) -> str:
    """Returns what a trial is called under the pointer."""
    ended = trial.status if trial.same_as is None else f"{trial.status}, repeats trial {trial.same_as}"
    value = "" if trial.value is None else f", {metric} {trial.value:.5f}"
    error = "" if trial.error is None else "\n" + trial.error.partition("\n")[0]
    settings = "\n".join(f"{key}={_text(setting)}" for key, setting in trial.settings.items())
    return f"trial {trial.number}: {ended}{value}\n{settings}{error}"


def _text(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _history(report: SearchReport, y: Axis) -> Chart:
    """Draws the objective of each trial, and the best so far as steps."""
    numbers = [trial.number for trial in report.trials]
    x = charts.axis("trial", numbers, charts.LEFT, charts.WIDTH - charts.RIGHT, whole=True)
    corners: list[tuple[float, float]] = []
    for trial in report.trials:
        if trial.best is not None:
            at, height = x.place(trial.number), y.place(trial.best)
            corners += [(at, corners[-1][1])] if corners else []
            corners.append((at, height))
    line = Line(charts.corners_of(corners), "", "the best so far", "best")
    points = _points(report, [x.place(number) for number in numbers], y)
    return Chart(f"{report.metric} of each trial", x, y, (line,) if corners else (), points)


def _curves(report: SearchReport) -> Chart | None:
    """Draws the objective of each trial by epoch. A pruned one ends with its mark."""
    order = {style: place for place, style in enumerate((charts.GREY, "done", "failed", "pruned", "best"))}
    shown = [trial for trial in report.trials if trial.validated and trial.same_as is None]
    shown.sort(key=lambda trial: order[_style(trial, report)])
    curves = [
        charts.Curves(_name(trial, report.metric), [trial.validated], _style(trial, report))
        for trial in shown
    ]
    values = [value for trial in shown for value in trial.validated.values() if math.isfinite(value)]
    title = f"{report.metric} of each trial by epoch"
    chart = charts.line_chart(title, report.metric, curves, _shown(values, report.mode))
    if chart is None:
        return None
    ends = []
    for trial in shown:
        last = max(trial.validated)
        if trial.status == "pruned" and math.isfinite(trial.validated[last]):
            at, height = chart.x.place(last), chart.y.place(trial.validated[last])
            ends.append(Point(at, height, height, height, _name(trial, report.metric), "pruned"))
    return replace(chart, points=tuple(ends))


def _against(searched: Searched, report: SearchReport, y: Axis) -> Chart:
    """Draws the objective against a setting."""
    start, end = charts.LEFT, charts.WIDTH - charts.RIGHT
    known = [trial.settings.get(searched.key) for trial in report.trials]
    if searched.choices:
        x = charts.category_axis(searched.key, searched.choices, start, end)
        # Trials with the same choice lie beside each other; multiples of the golden ratio are spread evenly.
        beside = [0.6 * (trial.number * 0.618 % 1 - 0.5) for trial in report.trials]
        at = [
            None if value is None else searched.choices.index(str(value)) + shift
            for value, shift in zip(known, beside, strict=True)
        ]
    else:
        whole = searched.whole and not searched.log
        x = charts.axis(searched.key, (searched.low, searched.high), start, end, whole, searched.log)
        at = [None if value is None else float(value) for value in known]
    places = [None if value is None else x.place(value) for value in at]
    return Chart(f"{report.metric} against {searched.key}", x, y, points=_points(report, places, y))
