"""A comparison of settings as text: in the terminal, as Markdown and as JSON."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from galaxy.config.trust import trust_arguments
from galaxy.reports.compare import TYPICAL_SPREAD, Group, Row, best_folders
from galaxy.reports.folds import FoldsRecord
from galaxy.reports.records import BASELINE_NAMES, Record
from galaxy.reports.statistics import LEVEL

# So many columns of a terminal have room for the figures that do not decide.
WIDE = 120
# Figures that are shown beside the metric: the median over the runs of a setting.
FIGURES: tuple[Literal["epochs", "seconds", "images_per_second", "parameters"], ...] = (
    "epochs",
    "seconds",
    "images_per_second",
    "parameters",
)
OF_SEARCHING = (
    "The test figures of several settings are for looking only: a setting that is chosen by them looks "
    "better than it is."
)
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
        console.print(Text(f"\n{heading(group)}", style="bold"), soft_wrap=True)
        console.print(table_of(group, test, wide))
        for sentence in [*conclusions(group), *([Sentence(OF_SEARCHING)] if test else [])]:
            for line in (sentence.text, *(f"  {command}" for command in sentence.commands)):
                console.print(Text(line), soft_wrap=True)


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
        titles = [flat(title) or "verdict" for title in titles_of(group, test, wide=True).values()]
        rule = ["---:"] * (len(titles) - 1) + ["---"]
        rows = [line.cells.values() for line in lines_of(group, test, wide=True)]
        lines = [titles, rule, *([cell.replace("|", "\\|") for cell in cells] for cells in rows)]
        parts.append(f"## {heading(group)}\n")
        parts += [f"| {' | '.join(line)} |" for line in lines]
        parts.append("")
        for sentence in conclusions(group):
            parts += [f"- {sentence.text}", *(f"  - `{command}`" for command in sentence.commands)]
        parts.append("")
    return "\n".join(parts)


def as_json(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Returns the comparison as plain values."""
    return [
        {
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


@dataclass(frozen=True)
class Sentence:
    """A sentence about a comparison, and the commands that it is followed by."""

    text: str
    commands: tuple[str, ...] = ()


def conclusions(group: Group) -> list[Sentence]:
    """Says in sentences what the table of a group shows."""
    best = group.best
    if best is None:
        nothing = "run has finished" if group.folds is None else "setting has finished all its folds"
        return [Sentence(f"No {nothing}.")]
    compared = [row for row in group.rows if len(row.values)]
    sentences = []
    if group.folds is not None and any(r.state != "done" for row in group.rows for r in row.records):
        sentences.append(Sentence("A setting is compared by the seeds of which all folds are done."))
    if len(compared) > 1:
        sentences += [Sentence(f"best: {best.settings}"), *_certainty(group, compared)]
    lines = []
    folders = ", ".join(map(str, best_folders(best, group.mode)))
    chosen = "best " if len(best.values) > 1 or len(compared) > 1 else ""
    lines.append(f"{chosen}run: {folders}" if group.folds is None else f"runs of its folds: {folders}")
    if group.folds is not None:
        lines += _fold_lines(group, best)
    lines += _test_lines(group, best)
    return [*sentences, *map(Sentence, lines)]


def _fold_lines(group: Group, best: Row) -> list[str]:
    """Says what the figures of folds are, and what they are not."""
    lines = []
    spreads = [r.spread_of_folds(group.metric) for r in best.counted if isinstance(r, FoldsRecord)]
    known = [spread for spread in spreads if spread is not None]
    lines.append(f"Each value is that of the predictions of all {group.folds} folds put together.")
    if known:
        lines.append(
            f"The folds of the best setting differ by {np.mean(known):.5f} (standard deviation), because "
            "their galaxies differ: this is not the spread over seeds."
        )
    return lines


def _certainty(group: Group, compared: Sequence[Row]) -> list[Sentence]:
    alike = [row for row in compared if row.verdict == "alike"]
    unknown = [row for row in compared if row.verdict == "unknown"]
    sentences = []
    if alike:
        sentences.append(Sentence(f"{_count(len(alike), 'setting')} (alike) cannot be told from the best."))
    if unknown:
        reason = (
            f"because the spread over seeds is known from two {_repeats(group)}s of a setting or more"
            if group.paired
            else f"because not all runs have saved predictions that tell {group.metric}{_problems(group)}"
        )
        sentences.append(Sentence(f"{_count(len(unknown), 'setting')} (?) cannot be judged, {reason}."))
    # For a metric such as R2, which may be 0, a spread of 1 % means nothing.
    guessed = not any(row.spread for row in compared)
    if group.settling is not None and not (guessed and group.mode == "max"):
        known = any(row.spread for row in compared)
        assumed = "" if known else f", if runs of one setting scatter by {TYPICAL_SPREAD:.0%}"
        text = f"The first two would be told apart by about {group.settling} {_repeats(group)}s of each"
        commands = []
        for row in compared[:2]:
            seeds = _further_seeds(row, group.settling)
            words = ["galaxy", "train", "-m", f"like={best_folders(row, group.mode)[0]}", f"seed={seeds}"]
            words += [] if group.folds is None else [f"data.fold={','.join(map(str, range(group.folds)))}"]
            # A compared folder may be somebody else's, so only what is trusted already is named.
            commands += [shlex.join([*words, *trust_arguments()])] if seeds else []
        sentences.append(Sentence(f"{text}{assumed}.{' More seeds:' if commands else ''}", tuple(commands)))
    if group.detectable is not None:
        text = f"These runs would show a difference of {group.detectable:.5f} with a chance of 80 %."
        sentences.append(Sentence(text))
    return sentences


def _repeats(group: Group) -> str:
    """Names what repeats a setting: a run, or the runs of all folds with one seed."""
    return "run" if group.folds is None else "seed"


def _problems(group: Group) -> str:
    """Says which file keeps a group from being judged."""
    if not group.problems:
        return ""
    more = f" (and {len(group.problems) - 1} more)" if len(group.problems) > 1 else ""
    return f": {group.problems[0]}{more}"


def _further_seeds(row: Row, runs: int) -> str:
    """Returns the seeds that a setting lacks, the next that it has no run of; at most five at a time.

    A model without randomness needs none.
    """
    if not row.records[0].seeded:
        return ""
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
        f"{baseline_name(name)} {metrics[metric]:.5f}"
        for name, metrics in group.baselines.items()
        if metric in metrics
    ]
    where = "test split" if group.folds is None else "test galaxies of all folds"
    lines = [f"On the {where}, {metric} of the best setting is {shown}" + "".join(f"; {o}" for o in others)]
    if group.folds is not None and len([row for row in group.rows if len(row.values)]) > 1:
        lines.append(
            "The same galaxies have validated other folds, and so have chosen the setting: on new galaxies "
            "it is a little worse."
        )
    return lines


def heading(group: Group) -> str:
    """Returns the title of a group with its numbers of settings, runs and galaxies."""
    runs = sum(len(record.parts) for row in group.rows for record in row.records)
    counts = [_count(len(group.rows), "setting"), _count(runs, "run")]
    counts += [] if group.folds is None else [f"{group.folds} folds"]
    if group.galaxies is not None:
        counts.append(f"{group.galaxies:,} validation galaxies")
    return f"{group.title} ({', '.join(counts)})"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" + ("" if number == 1 else "s")


@dataclass(frozen=True)
class Line:
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
        "runs": (f"{_repeats(group)}s", True),
        "epochs": ("epochs", wide),
        "seconds": ("seconds", wide),
        "speed": ("images\n/s", wide),
        "parameters": ("param-\neters", wide),
        "settings": ("settings", True),
    }
    return {name: title for name, (title, shown) in titles.items() if shown}


def lines_of(group: Group, test: bool, wide: bool) -> list[Line]:
    """Returns the settings and the baselines of a group, the best first, with the columns of `titles_of`."""
    shown = titles_of(group, test, wide)
    sign = 1 if group.mode == "min" else -1
    ranked: list[tuple[float, Line]] = []
    for row in group.rows:
        cells = _row_cells(group, row)
        key = np.inf if row.mean is None else sign * row.mean
        ranked.append((float(key), Line({name: cells[name] for name in shown}, row)))
    for baseline, metrics in group.baselines.items():
        if group.metric in metrics:
            value = metrics[group.metric]
            texts = {"value": f"{value:.5f}", "settings": f"baseline: {baseline_name(baseline)}"}
            ranked.append((sign * value, Line({name: texts.get(name, "") for name in shown})))
    return [line for _, line in sorted(ranked, key=lambda pair: pair[0])]


def _judged(group: Group) -> bool:
    return len([row for row in group.rows if len(row.values)]) > 1


def _style(group: Group, line: Line) -> str | None:
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


def baseline_name(name: str) -> str:
    """Returns what a simple predictor is, in words."""
    return BASELINE_NAMES.get(name, name)


def flat(title: str) -> str:
    """Returns the title of a column in one line."""
    return title.replace("-\n", "").replace("\n", " ")


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
