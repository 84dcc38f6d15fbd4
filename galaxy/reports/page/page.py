"""Writes the page of a comparison."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import numpy as np
import pandas as pd

from galaxy.reports.compare import Group, Row
from galaxy.reports.comparison_table import flat, lines_of, states_of, titles_of
from galaxy.reports.comparison_words import OF_SEARCHING, Sentence, conclusions, heading
from galaxy.reports.curves import read_curves
from galaxy.reports.effects import Effect, Level, effects
from galaxy.reports.page import charts
from galaxy.reports.page.charts import Bar, Chart
from galaxy.reports.page.environment import environment
from galaxy.reports.page.search import section_of
from galaxy.reports.records import Record
from galaxy.reports.search import Search
from galaxy.reports.statistics import LEVEL
from galaxy.system.files import write_text

# So many of the best settings have a colour in the learning curves; more are not told apart.
COLOURED = 6
# So many settings are drawn in grey behind them.
GREY = 100
# So many of the best settings are rows of the heat map.
ROWS = 40
# A message of a failed run is cut off here; its train.log has all of it.
LONGEST = 4000


@dataclass(frozen=True)
class Link:
    """A link to a run folder: the seed is its text, and the status says what became of the run."""

    address: str
    text: str
    status: str


@dataclass(frozen=True)
class TableRow:
    """A row of the table: the number of the setting, its cells, its bar and its runs.

    Baselines have neither number, bar nor runs.
    """

    number: int | None
    verdict: str
    settings: str
    cells: dict[str, str]
    states: str
    bar: Bar | None
    links: tuple[Link, ...]


@dataclass(frozen=True)
class Cell:
    """A cell of the heat map: its text, how deep its colour is, and whether it is the best of its column."""

    text: str
    depth: float
    best: bool


@dataclass(frozen=True)
class HeatMap:
    """The errors of settings by questions or answers.

    Attributes:
        what: What the columns are, "question" or "answer".
        columns: The words of each column.
        rows: The number and the settings of each row, with its cells.
        left_out: The number of settings that are not shown.
    """

    what: str
    columns: tuple[str, ...]
    rows: tuple[tuple[int, str, tuple[Cell, ...]], ...]
    left_out: int


@dataclass(frozen=True)
class Legend:
    """A coloured setting of the learning curves; its number is that of the colour, too."""

    number: int
    settings: str


@dataclass(frozen=True)
class Section:
    """What the page shows of a group."""

    title: str
    metric: str
    sentences: tuple[Sentence, ...]
    titles: dict[str, str]
    rows: tuple[TableRow, ...]
    curves: tuple[Chart, ...]
    legend: tuple[Legend, ...]
    grey: bool
    costs: tuple[Chart, ...]
    heat: HeatMap | None
    effects: tuple[tuple[Effect, tuple[tuple[Level, Bar], ...]], ...]


@dataclass(frozen=True)
class Failure:
    """A run that failed, and why."""

    link: Link
    path: str
    message: str


def write_page(
    path: Path,
    groups: Sequence[Group],
    searches: Sequence[Search],
    records: Sequence[Record],
    test: bool = False,
) -> None:
    """Writes the page, whole or not at all.

    Args:
        path: The file. Links to run folders are relative to it.
        groups: The groups of settings.
        searches: The searches.
        records: The runs of these groups.
        test: Whether to show the test split of every setting.

    Raises:
        UserError: The file cannot be written.
    """
    folder = path.absolute().parent
    failures = [
        Failure(_link(record, folder), str(record.run.path), record.result.error[:LONGEST])
        for record in records
        if record.result.error is not None
    ]
    text = (
        environment()
        .get_template("page.html")
        .render(
            sections=[_section(group, folder, test) for group in groups],
            searches=[section_of(search) for search in searches],
            failures=failures,
            searching=OF_SEARCHING if test else "",
            level=f"{LEVEL:.0%}",
            size=charts,
        )
    )
    write_text(path, text)


def _section(group: Group, folder: Path, test: bool) -> Section:
    measured = [row for row in group.rows if len(row.values)]
    titles = {name: flat(title) for name, title in titles_of(group, test, wide=True).items()}
    drawn, legend = _curves(group)
    found = effects(group)
    return Section(
        heading(group),
        group.metric,
        tuple(conclusions(group)),
        {name: title for name, title in titles.items() if name not in ("verdict", "settings")},
        tuple(_table_rows(group, folder, test)),
        drawn,
        legend,
        any(line.style == charts.GREY for chart in drawn for line in chart.lines),
        tuple(
            chart
            for chart in (
                _cost(group, "seconds"),
                _cost(group, "parameters"),
            )
            if chart is not None
        ),
        _heat_map(group, measured),
        tuple((effect, _level_bars(effect, found)) for effect in found),
    )


def _table_rows(group: Group, folder: Path, test: bool) -> list[TableRow]:
    numbers = {id(row): number for number, row in enumerate(group.rows, 1)}
    scale = _scale(group)
    rows = []
    for line in lines_of(group, test, wide=True):
        row = line.row
        cells = {name: text for name, text in line.cells.items() if name not in ("verdict", "settings")}
        if row is None:
            rows.append(TableRow(None, "", line.cells["settings"], cells, "", None, ()))
            continue
        verdict = line.cells.get("verdict", "")
        runs = sorted((run for record in row.records for run in record.parts), key=_by_seed)
        links = tuple(_link(run, folder) for run in runs)
        drawn = _difference_bar(row, scale)
        states = states_of(row) or "done"
        rows.append(TableRow(numbers[id(row)], verdict, row.settings, cells, states, drawn, links))
    return rows


def _scale(group: Group) -> tuple[float, float]:
    """Returns the ends of the scale of the bars. A setting that is far worse does not squeeze the others."""
    known = [row.difference for row in group.rows if row.difference is not None]
    ends = [difference.high for difference in known if difference.high is not None]
    lows = [difference.low for difference in known if difference.low is not None]
    if not ends:
        return 0.0, 0.0
    high = min(max(ends), 4 * float(np.median(ends)))
    return max(min(0.0, *lows), -high), high


def _difference_bar(row: Row, scale: tuple[float, float]) -> Bar | None:
    difference = row.difference
    if difference is None or difference.high is None:
        return None
    return charts.bar(difference.value, difference.high - difference.value, *scale, zero=0.0)


def _by_seed(record: Record) -> tuple[list[int], str]:
    known = (*record.seeds, record.setting("data.fold"))
    return [int(text) if text.isdecimal() else 0 for text in known], record.run.path.name


def _link(record: Record, folder: Path) -> Link:
    address = quote(Path(os.path.relpath(record.run.path.absolute(), folder)).as_posix())
    words = "run" if record.seed_text == "-" else record.seed_text
    words += "" if record.folds is None else f", fold {record.setting('data.fold')}"
    return Link(address, words, record.result.status)


def _curves(group: Group) -> tuple[tuple[Chart, ...], tuple[Legend, ...]]:
    """Draws the objective on the validation split, and the same metric in training, epoch by epoch."""
    split, _, name = group.metric.partition("/")
    metrics = [group.metric, f"train/{name}"] if split == "val" else [group.metric]
    found = []
    for number, row in enumerate(group.rows[: COLOURED + GREY], 1):
        records = [run for record in row.counted or row.records for run in record.parts]
        style = f"c{number}" if number <= COLOURED else charts.GREY
        found.append((number, row, style, [read_curves(record.run, metrics) for record in records]))
    drawn, seen = [], set()
    for metric, title in zip(metrics, ("Validation", "Training"), strict=False):
        curves = []
        for number, row, style, runs in reversed(found):
            known = [run[metric] for run in runs if run[metric]]
            if known:
                seen.add(number)
                curves.append(charts.Curves(f"{number}: {row.settings}", known, style))
        curves.sort(key=lambda one: one.style != charts.GREY)  # grey lines lie behind
        if chart := charts.line_chart(title, metric, curves):
            drawn.append(chart)
    legend = [
        Legend(number, row.settings)
        for number, row, style, _ in found
        if style != charts.GREY and number in seen
    ]
    return tuple(drawn), tuple(legend)


def _cost(group: Group, name: Literal["seconds", "parameters"]) -> Chart | None:
    label = "seconds of a run" if name == "seconds" else name
    marks = []
    for number, row in enumerate(group.rows, 1):
        cost = row.typical(name)
        if row.mean is not None and cost:
            text = f"{number}: {row.settings}: {row.mean:.5f}, {label} {cost:,.0f}"
            marks.append(charts.Mark(cost, row.mean, row.spread or 0.0, number, text, row.verdict))
    # One point has nothing to be compared with.
    several = len({(mark.cost, mark.value) for mark in marks}) > 1
    return charts.scatter_chart(label, group.metric, marks) if several else None


def _heat_map(group: Group, rows: Sequence[Row]) -> HeatMap | None:
    """Shows the error of each question, or of each answer where there is one question only."""
    shown = rows[:ROWS]
    questions = _means([[record.result.metrics for record in row.counted] for row in shown], "val/rmse/")
    what, errors = "question", questions
    if not questions:
        what = "answer"
        errors = _means([[record.score(group.metric).answers for record in row.counted] for row in shown])
    if not errors:
        return None
    words = _words(shown, what)
    columns = []
    worst = 1e-9
    for values in errors.values():
        best = min(value for value in values if value is not None)
        over = [None if value is None else value / best - 1 if best > 0 else 0.0 for value in values]
        worst = max(worst, *(excess for excess in over if excess is not None))
        columns.append(list(zip(values, over, strict=True)))
    table = []
    for place, row in enumerate(shown):
        cells = [_cell(*column[place], worst) for column in columns]
        table.append((place + 1, row.settings, tuple(cells)))
    return HeatMap(what, tuple(words.get(key, key) for key in errors), tuple(table), len(rows) - len(shown))


def _cell(value: float | None, over: float | None, worst: float) -> Cell:
    if value is None or over is None:
        return Cell("-", 0.0, False)
    return Cell(f"{value:.3f}", round(0.6 * math.sqrt(over / worst), 3), over == 0)


def _means(runs: Sequence[Sequence[dict[str, float]]], prefix: str = "") -> dict[str, list[float | None]]:
    """Returns the mean over the runs of each setting, of each figure whose name has the prefix.

    A figure that is no number, as of a question that nobody was asked, is null in a file.
    """
    names = {name: None for metrics in runs for one in metrics for name in one if name.startswith(prefix)}
    means: dict[str, list[float | None]] = {}
    for name in names:
        means[name.removeprefix(prefix)] = [
            float(np.mean([one[name] for one in metrics]))
            if all(one.get(name) is not None for one in metrics)
            else None
            for metrics in runs
        ]
    return {name: values for name, values in means.items() if any(value is not None for value in values)}


def _words(rows: Sequence[Row], what: str) -> dict[str, str]:
    """Returns the words of each question or answer, from the first run that has them."""
    for row in rows:
        for record in row.counted:
            try:
                table = pd.read_csv(record.run.columns_file, dtype=str, keep_default_na=False)
                keys = table["key" if what == "question" else "column"]
                return dict(zip(keys, table[what], strict=True))
            except (OSError, ValueError, KeyError):  # the file is missing or damaged
                continue
    return {}


def _level_bars(effect: Effect, every: Sequence[Effect]) -> tuple[tuple[Level, Bar], ...]:
    """Draws the levels of a choice on a scale that all choices share, so that their sizes compare."""
    ends = [level.mean + sign * (level.half or 0.0) for e in every for level in e.levels for sign in (-1, 1)]
    low, high = min(ends), max(ends)
    return tuple((level, charts.bar(level.mean, level.half, low, high)) for level in effect.levels)
