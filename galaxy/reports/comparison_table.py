"""The table of a comparison: a line for each setting and each baseline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from galaxy.reports.compare import Group, Row
from galaxy.reports.comparison_words import baseline_name, repeats
from galaxy.reports.statistics import LEVEL

# So many columns of a terminal have room for the figures that do not decide.
WIDE = 120

# What the first column says of a setting.
MARKS = {"best": "best", "alike": "alike", "worse": "worse", "unknown": "?"}


def table_of(group: Group, test: bool, wide: bool) -> Table:
    """Returns the table of a group for a terminal."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    *titles, last = titles_of(group, test, wide).values()
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column(last, overflow="fold")
    for line in lines_of(group, test, wide):
        table.add_row(*map(Text, line.cells.values()), style=_style(group, line))
    return table


@dataclass(frozen=True)
class TableLine:
    """A line of the table of a group.

    Attributes:
        cells: The texts of the columns, by the names of `titles_of`.
        row: The setting; None for a baseline.
    """

    cells: dict[str, str]
    row: Row | None = None


def titles_of(group: Group, test: bool, wide: bool) -> dict[str, str]:
    """Returns the titles of the columns that the table of a group has, by names; they may have two lines."""
    split, _, name = group.metric.partition("/")
    several = _judged(group)
    titles = {
        "verdict": ("", several),
        "value": (f"{split}\n{name}", True),
        "spread": ("±\nseeds", group.repeated),
        "difference": (f"worse by\n± {LEVEL:.0%}", several),
        "test": (f"test\n{name}", test and group.test_metric is not None),
        "runs": (f"{repeats(group)}s", True),
        "epochs": ("epochs", wide),
        "seconds": ("seconds", wide),
        "speed": ("images\n/s", wide),
        "parameters": ("param-\neters", wide),
        "settings": ("settings", True),
    }
    return {name: title for name, (title, shown) in titles.items() if shown}


def lines_of(group: Group, test: bool, wide: bool) -> list[TableLine]:
    """Returns the settings and the baselines of a group, the best first, with the columns of `titles_of`."""
    shown = titles_of(group, test, wide)
    sign = 1 if group.mode == "min" else -1
    ranked: list[tuple[float, TableLine]] = []
    for row in group.rows:
        cells = _row_cells(group, row)
        key = np.inf if row.mean is None else sign * row.mean
        ranked.append((float(key), TableLine({name: cells[name] for name in shown}, row)))
    for baseline, metrics in group.baselines.items():
        if group.metric in metrics:
            value = metrics[group.metric]
            texts = {"value": f"{value:.5f}", "settings": f"baseline: {baseline_name(baseline)}"}
            ranked.append((sign * value, TableLine({name: texts.get(name, "") for name in shown})))
    return [line for _, line in sorted(ranked, key=lambda pair: pair[0])]


def _judged(group: Group) -> bool:
    return len([row for row in group.rows if len(row.values)]) > 1


def _style(group: Group, line: TableLine) -> str | None:
    if line.row is None:
        return "dim"
    if not len(line.row.values):
        failed = any(record.result.status in ("failed", "diverged") for record in line.row.records)
        return "red" if failed else "yellow"
    return "bold" if line.row.verdict == "best" and _judged(group) else None


def _row_cells(group: Group, row: Row) -> dict[str, str]:
    found = row.test(group.test_metric) if group.test_metric else np.array([])
    states = states_of(row)
    return {
        "verdict": MARKS[row.verdict] if len(row.values) else "",
        "value": _figure(row.mean, ".5f"),
        "spread": _figure(row.spread, ".5f"),
        "difference": _difference(row),
        "test": f"{found.mean():.5f}" if len(found) else "-",
        "runs": f"{len(row.counted)}",
        "epochs": _figure(row.typical("epochs"), ".0f"),
        "seconds": _figure(row.typical("seconds"), ".0f"),
        "speed": _figure(row.typical("images_per_second"), ",.0f"),
        "parameters": _figure(row.typical("parameters"), ",.0f"),
        "settings": f"{states}: {row.settings}" if states else row.settings,
    }


def _difference(row: Row) -> str:
    difference = row.difference
    if difference is None or row.verdict == "best":
        return ""
    half = "" if difference.high is None else f" ±{difference.high - difference.value:.4f}"
    return f"{difference.value:.4f}{half}"


def states_of(row: Row) -> str:
    """Says what became of the runs of a setting that are not compared."""
    others = [record.state for record in row.records if record not in row.counted]
    again = "again with the same seed" if row.records[0].seeded else "again without randomness"
    if not row.counted:
        again = "done without this metric"
    states = [state if state != "done" else again for state in others]
    counts = {state: states.count(state) for state in dict.fromkeys(states)}
    alone = len(row.records) == 1 or row.records[0].folds is not None  # the state of folds has the seed
    return ", ".join(state if alone else f"{n} {state}" for state, n in counts.items())


def flat(title: str) -> str:
    """Returns the title of a column in one line."""
    return title.replace("-\n", "").replace("\n", " ")


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
