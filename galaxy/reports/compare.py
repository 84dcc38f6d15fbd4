"""Compares runs by their folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from galaxy.runs.folder import RESUMABLE_SETTINGS, Result, RunFolder
from galaxy.system.errors import UserError
from galaxy.system.files import replacing

# The printed figures, each with its heading and format. The CSV file has all figures.
FIGURES = {
    "val/rmse": ("val\nRMSE", ".5f"),
    "test/rmse": ("test\nRMSE", ".5f"),
    "test/accuracy": ("test\naccuracy", ".4f"),
    "epochs": ("epochs", ".0f"),
    "seconds": ("seconds", ".0f"),
    "images_per_second": ("images\n/s", ",.0f"),
}
# Only some runs have these figures. Their column is printed if any run has one.
OPTIONAL = ("test/accuracy",)
# These groups do not make one run better than another: one says where metrics go, the other names the jobs.
NOT_COMPARED = ("logger", "sweep")


@dataclass(frozen=True)
class _Record:
    """The content of a run folder: options, values and overrides by their keys, all as text."""

    run: RunFolder
    result: Result
    choices: dict[str, str]
    values: dict[str, str]
    given: dict[str, str]

    def setting(self, key: str) -> str:
        """Returns the value of a key, or the option of a group; "-" if the run has neither."""
        return self.values.get(key) or self.choices.get(key) or self.given.get(key) or "-"


def comparison(runs: list[RunFolder]) -> pd.DataFrame:
    """Returns one row for each run, in groups whose errors compare: the same data and labels of one meaning.

    In each group the best objective comes first. Runs without one come last.

    Returns:
        The columns are every option and value in which the runs differ; all metrics and baselines; epochs,
        seconds and images_per_second; objective, best and mode (the metric of the objective, its value and
        direction); labels (the meaning of the targets), status, error and run (the folder); group; and
        settings, a text that tells the runs of a group apart.
    """
    records = [_record(run) for run in runs]
    figures = pd.DataFrame([_figures(record) for record in records])
    table = pd.concat([_differing(records), figures], axis=1)
    table["group"] = _groups(records)
    several = table.groupby("group")["objective"].transform("nunique") > 1  # their bests do not compare
    table.loc[several, "group"] += "; by " + table["objective"].fillna("-")
    table["settings"] = ""
    for rows in table.groupby("group").groups.values():
        table.loc[rows, "settings"] = _settings([records[row] for row in rows])
    best = pd.to_numeric(table["best"])
    table["rank"] = best.where(table["mode"] != "max", -best)
    table = table.sort_values(["group", "rank"], na_position="last", kind="stable", ignore_index=True)
    return table.drop(columns="rank")


def never_trained(run: RunFolder) -> bool:
    """Whether a run failed before its first epoch was over and left no checkpoint, as a mistake makes it."""
    try:
        result = run.result()
    except UserError:  # it is shown as damaged
        return False
    return result.status == "failed" and result.epochs == 0 and not any(run.checkpoints.glob("*.ckpt"))


def print_comparison(table: pd.DataFrame) -> None:
    """Prints a table for each group, with the most important figures and the settings of each run."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 1000  # a file has no width, so no path has to be broken
    for group, rows in table.groupby("group"):
        ordered = len(rows) > 1 and rows["best"].notna().any()
        count = "1 run" if len(rows) == 1 else f"{len(rows)} runs"
        order = f", best {rows['objective'].iloc[0]} first" if ordered else ""
        console.print(Text(f"\n{group} ({count}{order})", style="bold"), soft_wrap=True)
        console.print(_rendered(rows))
        if ordered:
            console.print(Text(f"best: {rows['run'].iloc[0]}"), soft_wrap=True)


def print_errors(table: pd.DataFrame) -> None:
    """Prints a line for each failed run. The whole message is in its train.log."""
    console = Console()
    failed = table[table["error"].notna()]
    if len(failed):
        console.print()
    for row in failed.to_dict("records"):
        lines = str(row["error"]).split("\n")
        shown = " ".join(
            map(str.strip, lines[: 2 if lines[0].endswith(":") else 1])
        )  # the first item of a list
        console.print(Text(f"{row['run']}: {shown}"), soft_wrap=True)


def write_comparison(table: pd.DataFrame, path: Path) -> None:
    """Writes the whole table as CSV."""
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)


def _record(run: RunFolder) -> _Record:
    try:
        return _read(run)
    except UserError as error:  # one damaged folder must not hide the others
        return _Record(run, Result(status="failed", error=str(error)), {}, {}, {})


def _read(run: RunFolder) -> _Record:
    choices = {
        group: str(option)
        for group, option in run.choices().items()
        # Experiments and sweeps are collections of settings, not settings of a run.
        if not group.startswith(("hydra/", "experiment", *NOT_COMPARED)) and "@" not in group
    }
    given = {}
    for override in run.overrides():
        key, _, value = override.partition("=")
        given[key.lstrip("+~")] = "null" if key.startswith("~") else value
    return _Record(run, run.result(), choices, dict(_flat(run.config())), given)


def _figures(record: _Record) -> dict[str, Any]:
    result = record.result
    objective: dict[str, Any] = {"metric": None, "value": None, "mode": None, **(result.objective or {})}
    baselines = {
        f"baseline/{name}/{metric}": value
        for name, metrics in result.baselines.items()
        for metric, value in metrics.items()
    }
    return {
        "val/rmse": None,  # the column exists even if all runs of a sweep failed
        "test/rmse": None,
        "test/accuracy": None,
        **result.metrics,
        **baselines,
        "epochs": result.epochs,
        "seconds": result.seconds,
        "images_per_second": result.images_per_second,
        "objective": objective["metric"],
        "best": objective["value"],
        "mode": objective["mode"],
        "labels": result.labels,
        "status": result.status,
        "error": result.error,
        "run": str(record.run.path),
    }


def _groups(records: list[_Record]) -> list[str]:
    """Returns, for each run, the data and labels that its errors are on, and the folder if it matters."""
    surveys = [
        (
            record.choices.get("data", "-"),
            str(Path(record.values.get("data.root", "")).expanduser().resolve()),
        )
        for record in records
    ]
    known: dict[tuple[str, str], set[str]] = {survey: set() for survey in surveys}
    for survey, record in zip(surveys, records, strict=True):
        known[survey] |= {record.result.labels} if record.result.labels else set()
    folders = Counter(data for data, _ in known)
    groups = []
    for (data, root), record in zip(surveys, records, strict=True):
        labels = record.result.labels
        # A run that failed before it read its labels is put with the others of its data, if they agree.
        if labels is None and len(known[data, root]) == 1:
            labels = next(iter(known[data, root]))
        name = f"{data} at {root}" if folders[data] > 1 else data
        groups.append("labels: unknown" if labels is None else f"data: {name}; labels: {labels}")
    return groups


def _settings(records: list[_Record]) -> list[str]:
    """Returns a text that tells each run of a group from the others, by options and command-line settings.

    If nothing else tells two runs apart, settings that leave the results as they are (such as the residence
    of the images) are named too, and then the folder.
    """
    options = list(dict.fromkeys(key for record in records for key in record.choices))
    keys = list(dict.fromkeys([*options, *(key for record in records for key in record.given)]))
    differing = [
        key
        for key in keys
        if not key.startswith(NOT_COMPARED) and len({record.setting(key) for record in records}) > 1
    ]
    # Runs with unknown labels may be on any data.
    decisive = [key for key in differing if key not in RESUMABLE_SETTINGS or key == "data.root"]
    lines = _lines(records, decisive, keys)
    alike = Counter(lines)
    longer = _lines(records, differing, keys)
    lines = [long if alike[line] > 1 else line for line, long in zip(lines, longer, strict=True)]
    alike = Counter(lines)
    return [
        line if line and alike[line] == 1 < len(records) else f"{line} {record.run.path}".strip()
        for line, record in zip(lines, records, strict=True)
    ]


def _lines(records: list[_Record], differing: list[str], keys: list[str]) -> list[str]:
    """Returns the settings of each run, with keys as short as they can be without becoming ambiguous."""
    known = {*keys, *(key for record in records for key in record.values)}
    if "model" in differing or not differing:
        differing = ["model", *(key for key in differing if key != "model")]
    names = {key: _shortest(key, known) for key in differing}
    return [
        " ".join(
            f"{names[key]}={record.setting(key)}"
            for key in differing
            if key in record.choices or key in record.given
        )
        for record in records
    ]


def _shortest(key: str, keys: set[str]) -> str:
    """Returns the shortest end of a dotted key that no other key ends with."""
    parts = key.split(".")
    for start in range(len(parts) - 1, 0, -1):
        end = ".".join(parts[start:])
        if not any(other == end or other.endswith(f".{end}") for other in keys - {key}):
            return end
    return key


def _rendered(rows: pd.DataFrame) -> Table:
    figures = {
        name: figure for name, figure in FIGURES.items() if name not in OPTIONAL or rows[name].notna().any()
    }
    objective = rows["objective"].dropna().iloc[0] if rows["objective"].notna().any() else "val/rmse"
    if objective not in figures:
        figures = {"best": (objective.replace("/", "\n", 1), ".5f"), **figures}
    # A terminal of 80 columns has no room for edges.
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for name in figures:
        table.add_column(figures[name][0], justify="right", no_wrap=True)
    table.add_column("settings", overflow="fold")
    for row in rows.to_dict("records"):
        done = row["status"] == "done"
        cells = ["-" if pd.isna(row[name]) else format(row[name], figures[name][1]) for name in figures]
        settings = row["settings"] if done else f"{row['status']}: {row['settings']}"
        table.add_row(*cells, Text(settings), style=None if done else "red")
    return table


def _differing(records: list[_Record]) -> pd.DataFrame:
    """Returns the options and values in which the runs differ; the model if they differ in nothing.

    If runs took different options of a group, the values below it follow from those options. Of such values
    only those that a command line set are shown.
    """
    choices = pd.DataFrame([record.choices for record in records])
    values = pd.DataFrame([record.values for record in records])
    differing = [name for name in choices if choices[name].nunique(dropna=False) > 1]
    explained = tuple(f"{name}." for name in (*differing, *NOT_COMPARED))
    given = {key for record in records for key in record.given}
    differing_values = [
        name
        for name in map(str, values)
        if (name in given or not name.startswith(explained)) and values[name].nunique(dropna=False) > 1
    ]
    # `model.size`, for example, is a copy of `crop.size`, and the option of the crop tells it already.
    followed = {(_leaf(name), tuple(values[name])) for name in map(str, values) if name.startswith(explained)}
    differing_values = [
        name
        for name in differing_values
        if name in given or (_leaf(name), tuple(values[name])) not in followed
    ]
    table = pd.concat([choices[differing], values[differing_values]], axis=1)
    # Of a run that cannot be read not even the model is known.
    return table if len(table.columns) else choices.reindex(columns=["model"])


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _flat(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _word(value)


def _word(value: Any) -> str:
    """Returns a value as the command line takes it."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{','.join(map(_word, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
