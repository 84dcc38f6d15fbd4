"""Prints a comparison, and writes it as Markdown and as JSON."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

from galaxy.reports.compare import Group, Row
from galaxy.reports.comparison_table import WIDE, flat, lines_of, table_of, titles_of
from galaxy.reports.comparison_words import OF_SEARCHING, Sentence, conclusions, heading
from galaxy.reports.records import Record
from galaxy.reports.search import Search, SearchReport
from galaxy.reports.statistics import LEVEL

# Figures that are shown beside the metric: the median over the runs of a setting.
FIGURES: tuple[Literal["epochs", "seconds", "images_per_second", "parameters"], ...] = (
    "epochs",
    "seconds",
    "images_per_second",
    "parameters",
)


def print_groups(groups: Sequence[Group], test: bool = False) -> None:
    """Prints a table for each group, and what follows from it.

    Args:
        groups: The groups.
        test: Whether to show the test split of every setting.
    """
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 1000  # a file has no width, so no path has to be broken
    # A terminal of 80 columns has room for neither edges nor all figures.
    wide = console.width >= WIDE
    for group in groups:
        console.print(Text(f"\n{heading(group)}", style="bold"), soft_wrap=True)
        console.print(table_of(group, test, wide))
        for sentence in _sentences(group, test):
            text = sentence.text
            if console.is_terminal:  # A path or a command is never broken, so that it can be copied.
                text = textwrap.fill(text, console.width, break_long_words=False, break_on_hyphens=False)
            for line in (text, *(f"  {command}" for command in sentence.commands)):
                console.print(Text(line), soft_wrap=True)


def print_searches(searches: Sequence[Search]) -> None:
    """Prints what searches have found."""
    console = Console()
    for search in searches:
        console.print(Text(f"\nSearch in {search.folder}", style="bold"), soft_wrap=True)
        for sentence in search.sentences:
            console.print(Text(sentence), soft_wrap=True)


def print_errors(records: Sequence[Record]) -> None:
    """Prints a line for each failed run. The whole message is in its train.log."""
    console = Console()
    failed = [record for record in records if record.result.error is not None]
    if failed:
        console.print()
    for record in failed:
        lines = str(record.result.error).split("\n")
        # Of a list, the first item says enough.
        shown = " ".join(map(str.strip, lines[: 2 if lines[0].endswith(":") else 1]))
        console.print(Text(f"{record.run.path}: {shown}"), soft_wrap=True)


def markdown(groups: Sequence[Group], searches: Sequence[Search] = (), test: bool = False) -> str:
    """Returns the comparison as Markdown.

    Args:
        groups: The groups, a table each.
        searches: The searches.
        test: Whether to show the test split of every setting.
    """
    parts = []
    for group in groups:
        titles = [flat(title) or "verdict" for title in titles_of(group, test, wide=True).values()]
        rule = ["---:"] * (len(titles) - 1) + ["---"]
        rows = [line.cells.values() for line in lines_of(group, test, wide=True)]
        lines = [titles, rule, *([cell.replace("|", "\\|") for cell in cells] for cells in rows)]
        parts.append(f"## {heading(group)}\n")
        parts += [f"| {' | '.join(line)} |" for line in lines]
        parts.append("")
        for sentence in _sentences(group, test):
            parts += [f"- {sentence.text}", *(f"  - `{command}`" for command in sentence.commands)]
        parts.append("")
    for search in searches:
        parts += [f"## Search in {search.folder}\n", *(f"- {line}" for line in search.sentences), ""]
    return "\n".join(parts)


def as_json(groups: Sequence[Group], searches: Sequence[Search]) -> dict[str, Any]:
    """Returns the comparison as plain values."""
    return {
        "groups": [_group_as_json(group) for group in groups],
        "searches": [
            {
                "folder": str(search.folder),
                "problem": search.problem or None,
                **({} if search.report is None else _search_as_json(search.report)),
            }
            for search in searches
        ],
    }


def _sentences(group: Group, test: bool) -> list[Sentence]:
    """Says what follows from a table, and what does not follow from its test figures."""
    return [*conclusions(group), *([Sentence(OF_SEARCHING)] if test else [])]


def _search_as_json(report: SearchReport) -> dict[str, Any]:
    return {
        "metric": report.metric,
        "mode": report.mode,
        "best": None if report.best is None else report.best.number,
        "importance": report.importance,
        "importance_trials": report.counted,
        "trials": [asdict(trial) for trial in report.trials],
    }


def _group_as_json(group: Group) -> dict[str, Any]:
    return {
        "title": group.title,
        "metric": group.metric,
        "mode": group.mode,
        "galaxies": group.galaxies,
        "folds": group.folds,
        "level": LEVEL,
        "detectable": group.detectable,
        "settling_runs": group.settling,
        "baselines": group.baselines,
        "settings": [_row_as_json(row, group) for row in group.rows],
    }


def _row_as_json(row: Row, group: Group) -> dict[str, Any]:
    difference = row.difference
    return {
        "settings": row.settings,
        "verdict": row.verdict,
        "values": row.values.tolist(),
        "mean": row.mean,
        "spread": row.spread,
        **{name: row.typical(name) for name in FIGURES},
        "difference": None if difference is None else difference.value,
        "interval": None
        if difference is None or difference.low is None
        else [difference.low, difference.high],
        "test": row.test(group.test_metric).tolist() if group.test_metric else [],
        "runs": [
            {"folder": str(run.run.path), "status": run.result.status}
            for record in row.records
            for run in record.parts
        ],
    }
