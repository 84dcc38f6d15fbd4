"""Compares runs by their folders: `python -m galaxy.compare FOLDER [FOLDER ...]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from galaxy.errors import UserError
from galaxy.files import replacing
from galaxy.runs import RunFolder, find_runs

# Figures that are printed, and how; the CSV file has them all.
FORMATS = {"val/rmse": ".5f", "test/rmse": ".5f", "test/accuracy": ".4f", "epochs": ".0f", "seconds": ".0f"}
# What only some runs have; no column is printed where none of them does.
OPTIONAL = ("test/accuracy",)
# What is looked at is not what makes one run better than another.
NOT_COMPARED = ("logger",)


def comparison(runs: list[RunFolder]) -> pd.DataFrame:
    """One row a run, the best validation RMSE first and the runs without one last.

    Where the runs are on different data or labels, each kind has its own order: their errors do not compare.

    Returns:
        Columns: every option and value in which the runs differ; all metrics and baselines; epochs,
        seconds, images_per_second; labels (what the targets mean), status, error and run (the folder).
    """
    table = pd.concat([_settings(runs), pd.DataFrame([_figures(run) for run in runs])], axis=1)
    kinds = [name for name in ("data", "labels") if name in table and table[name].nunique() > 1]
    return table.sort_values([*kinds, "val/rmse"], na_position="last", kind="stable", ignore_index=True)


def print_comparison(table: pd.DataFrame, title: str) -> None:
    """Prints what tells the runs apart and the figures that matter most."""
    settings = list(table.columns[: table.columns.get_loc("val/rmse")])
    if table[settings].duplicated().any():
        settings = ["run", *settings]
    labels = ", ".join(str(label) for label in table["labels"].dropna().unique())
    figures = {
        name: form for name, form in FORMATS.items() if name not in OPTIONAL or table[name].notna().any()
    }
    rendered = Table(title=f"{title}; {labels or 'no'} labels", title_justify="left", box=SIMPLE_HEAD)
    rendered.pad_edge, rendered.collapse_padding = False, True  # 80 columns are few
    # Many narrow columns cannot be read on a terminal; one wide one can.
    together = len(settings) > 2
    for name in ["run"] if together else settings:
        rendered.add_column(name, overflow="fold")
    for name in figures:
        rendered.add_column(name, justify="right", min_width=max(len(name), 7))
    rendered.add_column("status", min_width=8)
    for row in table.to_dict("records"):
        cells = [_cell(row[name], "") for name in settings]
        if together:
            cells = [" ".join(f"{name}={cell}" for name, cell in zip(settings, cells, strict=True))]
        cells += [_cell(row[name], form) for name, form in figures.items()]
        rendered.add_row(*cells, row["status"], style=None if row["status"] == "done" else "red")
    console = Console()
    console.print(rendered)
    for row in table[table["error"].notna()].to_dict("records"):
        console.print(f"{row['run']}: {row['error']}", markup=False, highlight=False, soft_wrap=True)


def write_comparison(table: pd.DataFrame, path: Path) -> None:
    """Writes the whole table as CSV."""
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m galaxy.compare", description="Compares every run at or below these folders."
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the whole table there too")
    options = parser.parse_args(arguments)
    try:
        table = comparison([run for folder in options.folders for run in find_runs(folder)])
        print_comparison(table, f"{len(table)} runs, best validation RMSE first")
        if options.csv:
            write_comparison(table, options.csv)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _figures(run: RunFolder) -> dict[str, Any]:
    result = run.result()
    baselines = {f"baseline/{name}": value for name, value in result.baselines.items()}
    return {
        "val/rmse": None,  # a failed run has none, and a sweep may hold nothing but failed runs
        "test/rmse": None,
        "test/accuracy": None,
        **result.metrics,
        **baselines,
        "epochs": result.epochs,
        "seconds": result.seconds,
        "images_per_second": result.images_per_second,
        "labels": result.labels,
        "status": result.status,
        "error": result.error,
        "run": str(run.path),
    }


def _settings(runs: list[RunFolder]) -> pd.DataFrame:
    """The options and values in which runs differ, a row each; the model if they differ in nothing.

    Below a group in which they took different options the values follow from those, and only what the command
    line set is shown.
    """
    choices = pd.DataFrame([_named(run.choices()) for run in runs])
    values = pd.DataFrame([dict(_flat(run.config())) for run in runs])
    differing = [name for name in choices if choices[name].nunique(dropna=False) > 1]
    explained = tuple(f"{name}." for name in (*differing, *NOT_COMPARED))
    given = {override.partition("=")[0].lstrip("+") for run in runs for override in run.overrides()}
    differing_values = [
        name
        for name in map(str, values)
        if (name in given or not name.startswith(explained)) and values[name].nunique(dropna=False) > 1
    ]
    # `model.size` is a copy of `crop.size`, which the option of the crop already tells.
    followed = {(_leaf(name), tuple(values[name])) for name in map(str, values) if name.startswith(explained)}
    differing_values = [
        name
        for name in differing_values
        if name in given or (_leaf(name), tuple(values[name])) not in followed
    ]
    table = pd.concat([choices[differing], values[differing_values]], axis=1)
    return table if len(table.columns) else choices[["model"]]


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _named(choices: dict[str, str]) -> dict[str, str]:
    """The options of the groups of conf/ that are settings of a run, not collections of settings."""
    return {
        group: str(option)
        for group, option in choices.items()
        if not group.startswith(("hydra/", "experiment", "sweep", *NOT_COMPARED)) and "@" not in group
    }


def _flat(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def _cell(value: Any, form: str) -> str:
    return "-" if pd.isna(value) else format(value, form)


if __name__ == "__main__":
    raise SystemExit(main())
