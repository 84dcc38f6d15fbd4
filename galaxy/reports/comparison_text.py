"""A comparison of settings as text: in the terminal, as Markdown and as JSON."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from galaxy.config.trust import trust_arguments
from galaxy.reports.compare import TYPICAL_SPREAD, Group, Row, best_folder
from galaxy.reports.records import Record
from galaxy.reports.statistics import LEVEL
from galaxy.reports.tables import BASELINE_NAMES

# So many columns of a terminal have room for the figures that do not decide.
WIDE = 110
# What the first column says of a setting.
MARKS = {"best": "best", "alike": "alike", "worse": "worse", "unknown": "?"}


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
        console.print(Text(f"\n{_heading(group)}", style="bold"), soft_wrap=True)
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
        header, rows = _cells(group, test, wide)
        for name in header[:-1]:
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column(header[-1], overflow="fold")
        for cells, style in rows:
            table.add_row(*map(Text, cells), style=style)
        console.print(table)
        for line in [*conclusions(group), *([_of_searching()] if test else [])]:
            console.print(Text(line), soft_wrap=True)


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


def markdown(groups: Sequence[Group], test: bool = False) -> str:
    """Returns the tables as Markdown; see `print_groups` for the arguments."""
    parts = []
    for group in groups:
        header, rows = _cells(group, test, wide=True)
        titles = [name.replace("\n", " ") or "verdict" for name in header]
        rule = ["---:"] * (len(header) - 1) + ["---"]
        lines = [titles, rule, *([cell.replace("|", "\\|") for cell in cells] for cells, _ in rows)]
        parts.append(f"## {_heading(group)}\n")
        parts += [f"| {' | '.join(line)} |" for line in lines]
        parts += ["", *(f"- {line}" for line in conclusions(group)), ""]
    return "\n".join(parts)


def as_json(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Returns the comparison as plain values."""
    return [
        {
            "title": group.title,
            "metric": group.metric,
            "mode": group.mode,
            "galaxies": group.galaxies,
            "level": LEVEL,
            "detectable": group.detectable,
            "settling_runs": group.settling,
            "baselines": group.baselines,
            "settings": [_row_as_json(row, group) for row in group.rows],
        }
        for group in groups
    ]


def _row_as_json(row: Row, group: Group) -> dict[str, Any]:
    difference = row.difference
    return {
        "settings": row.settings,
        "verdict": row.verdict,
        "values": row.values.tolist(),
        "mean": row.mean,
        "spread": row.spread,
        "difference": None if difference is None else difference.value,
        "interval": None
        if difference is None or difference.low is None
        else [difference.low, difference.high],
        "test": row.test(group.test_metric).tolist() if group.test_metric else [],
        "runs": [{"folder": str(record.run.path), "status": record.result.status} for record in row.records],
    }


def conclusions(group: Group) -> list[str]:
    """Says in sentences what the table of a group shows."""
    best = group.best
    if best is None:
        return ["No run has finished."]
    compared = [row for row in group.rows if len(row.values)]
    lines = []
    if len(compared) > 1:
        lines.append(f"best: {best.settings}")
        lines += _certainty(group, compared)
    folder = best_folder(best, group.mode)
    lines.append(f"best run: {folder}" if len(best.values) > 1 or len(compared) > 1 else f"run: {folder}")
    lines += _test_lines(group, best)
    return lines


def _certainty(group: Group, compared: Sequence[Row]) -> list[str]:
    alike = [row for row in compared if row.verdict == "alike"]
    unknown = [row for row in compared if row.verdict == "unknown"]
    lines = []
    if alike:
        lines.append(f"{_count(len(alike), 'setting')} (alike) cannot be told from the best.")
    if unknown:
        reason = (
            "because the spread over seeds is known from two runs of a setting or more"
            if group.paired
            else f"because not all runs have saved predictions that tell {group.metric}"
        )
        lines.append(f"{_count(len(unknown), 'setting')} (?) cannot be judged, {reason}.")
    # For a metric such as R2, which may be 0, a spread of 1 % means nothing.
    guessed = not any(row.spread for row in compared)
    if group.settling is not None and not (guessed and group.mode == "max"):
        known = any(row.spread for row in compared)
        assumed = "" if known else f", if runs of one setting scatter by {TYPICAL_SPREAD:.0%}"
        lines.append(
            f"The first two would be told apart by about {group.settling} runs of each{assumed}. More seeds:"
        )
        for row in compared[:2]:
            seeds = _further_seeds(row, group.settling)
            words = ["galaxy", "train", "-m", f"like={best_folder(row, group.mode)}", f"seed={seeds}"]
            # A compared folder may be somebody else's, so only what is trusted already is named.
            lines += [f"  {shlex.join([*words, *trust_arguments()])}"] if seeds else []
    if group.detectable is not None:
        lines.append(f"These runs would show a difference of {group.detectable:.5f} with a chance of 80 %.")
    return lines


def _further_seeds(row: Row, runs: int) -> str:
    """Returns the seeds that a setting lacks, the next that it has no run of; at most five at a time."""
    used = {record.setting("seed") for record in row.records}
    missing = max(runs - len(row.values), 0)
    unused = (str(seed) for seed in range(len(used) + missing) if str(seed) not in used)
    return ",".join(islice(unused, min(missing, 5)))


def _test_lines(group: Group, best: Row) -> list[str]:
    metric = group.test_metric
    if metric is None or not len(found := best.test(metric)):
        return []
    shown = f"{found.mean():.5f}" + (f" ± {found.std(ddof=1):.5f}" if len(found) > 1 else "")
    others = [
        f"{BASELINE_NAMES.get(name, name)} {metrics[metric]:.5f}"
        for name, metrics in group.baselines.items()
        if metric in metrics
    ]
    return [f"On the test split, {metric} of the best setting is {shown}" + "".join(f"; {o}" for o in others)]


def _of_searching() -> str:
    return (
        "The test figures of several settings are for looking only: a setting that is chosen by them looks "
        "better than it is."
    )


def _heading(group: Group) -> str:
    runs = sum(len(row.records) for row in group.rows)
    counts = [_count(len(group.rows), "setting"), _count(runs, "run")]
    if group.galaxies is not None:
        counts.append(f"{group.galaxies:,} validation galaxies")
    return f"{group.title} ({', '.join(counts)})"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" + ("" if number == 1 else "s")


def _cells(group: Group, test: bool, wide: bool) -> tuple[list[str], list[tuple[list[str], str | None]]]:
    """Returns the heading and the rows of the table of a group, each row with its style."""
    judged = len([row for row in group.rows if len(row.values)]) > 1
    split, _, name = group.metric.partition("/")
    header = ["", f"{split}\n{name}", "±\nseeds", f"worse by\n± {LEVEL:.0%}", f"test\n{name}", "runs"]
    header += ["epochs", "seconds", "images\n/s", "settings"]
    shown = [judged, True, group.repeated, judged, test and group.test_metric is not None, True, *[wide] * 3]
    kept = [place for place, is_shown in enumerate([*shown, True]) if is_shown]
    ranked: list[tuple[float, list[str], str | None]] = []
    for row in group.rows:
        key = np.inf if row.mean is None else row.mean if group.mode == "min" else -row.mean
        style = "bold" if row.verdict == "best" and judged else None if len(row.values) else "red"
        if style == "red" and all(record.result.status == "pruned" for record in row.records):
            style = "yellow"  # a search has ended them on purpose
        ranked.append((float(key), _row_cells(group, row), style))
    for baseline, metrics in group.baselines.items():
        if group.metric in metrics:
            value = metrics[group.metric]
            text = f"baseline: {BASELINE_NAMES.get(baseline, baseline)}"
            cells = ["", f"{value:.5f}", *[""] * 7, text]
            ranked.append((value if group.mode == "min" else -value, cells, "dim"))
    ranked.sort(key=lambda row: row[0])
    return [header[place] for place in kept], [
        ([cells[place] for place in kept], style) for _, cells, style in ranked
    ]


def _row_cells(group: Group, row: Row) -> list[str]:
    found = row.test(group.test_metric) if group.test_metric else np.array([])
    return [
        MARKS[row.verdict] if len(row.values) else "",
        _figure(row.mean, ".5f"),
        _figure(row.spread, ".5f"),
        _difference(row),
        f"{found.mean():.5f}" if len(found) else "-",
        f"{len(row.counted)}",
        _figure(row.typical("epochs"), ".0f"),
        _figure(row.typical("seconds"), ".0f"),
        _figure(row.typical("images_per_second"), ",.0f"),
        _settings_and_status(row),
    ]


def _difference(row: Row) -> str:
    difference = row.difference
    if difference is None or row.verdict == "best":
        return ""
    half = "" if difference.high is None else f" ±{difference.high - difference.value:.4f}"
    return f"{difference.value:.4f}{half}"


def _settings_and_status(row: Row) -> str:
    """Returns the settings, behind what became of the runs that are not compared."""
    others = [record.result.status for record in row.records if record not in row.counted]
    states = [state if state != "done" else "again with the same seed" for state in others]
    counts = {state: states.count(state) for state in dict.fromkeys(states)}
    shown = ", ".join(state if len(row.records) == 1 else f"{n} {state}" for state, n in counts.items())
    return f"{shown}: {row.settings}" if shown else row.settings


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
