"""A table with a row for each run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from galaxy.reports.naming import group_titles, setting_texts
from galaxy.reports.records import NOT_COMPARED, Record
from galaxy.system.files import replacing


def run_table(records: Sequence[Record]) -> pd.DataFrame:
    """Returns one row for each run, in groups whose errors compare; see `group_titles`.

    In each group the best objective comes first. Runs without one come last.

    Returns:
        The columns are every option and value in which the runs differ; all metrics and baselines; epochs,
        seconds, images_per_second and parameters; objective, best and mode (the metric of the objective, its
        value and direction); labels (the meaning of the targets), status, error and run (the folder); group;
        and settings, a text that tells the runs of a group apart.
    """
    figures = pd.DataFrame([_figures(record) for record in records])
    table = pd.concat([_differing(records), figures], axis=1)
    table["group"] = group_titles(records)
    table["settings"] = ""
    for rows in table.groupby("group").groups.values():
        table.loc[rows, "settings"] = setting_texts([records[row] for row in rows])
    best = pd.to_numeric(table["best"])
    table["rank"] = best.where(table["mode"] != "max", -best)
    table = table.sort_values(["group", "rank"], na_position="last", kind="stable", ignore_index=True)
    return table.drop(columns="rank")


def write_run_table(table: pd.DataFrame, path: Path) -> None:
    """Writes the whole table as CSV."""
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)


def _figures(record: Record) -> dict[str, Any]:
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
        "parameters": result.parameters,
        "objective": objective["metric"],
        "best": objective["value"],
        "mode": objective["mode"],
        "labels": result.labels,
        "status": result.status,
        "error": result.error,
        "run": str(record.run.path),
    }


def _differing(records: Sequence[Record]) -> pd.DataFrame:
    """Returns the options and values in which the runs differ; the model if they differ in nothing.

    If runs took different options of a group, the values below it follow from those options. Of such values
    only those that a command line set are shown.
    """
    choices = pd.DataFrame([record.choices for record in records])
    values = pd.DataFrame([record.values for record in records])

    def differs(frame: pd.DataFrame, name: str) -> bool:
        reading = [not record.ignores(name) for record in records]
        return frame.loc[reading, name].nunique(dropna=False) > 1

    differing = [name for name in map(str, choices) if differs(choices, name)]
    explained = tuple(f"{name}." for name in (*differing, *NOT_COMPARED))
    given = {key for record in records for key in record.given}
    differing_values = [
        name
        for name in map(str, values)
        if (name in given or not name.startswith(explained)) and differs(values, name)
    ]
    # `model.size`, for example, is a copy of `crop.size`, and the option of the crop tells it already.
    followed = {(_leaf(name), tuple(values[name])) for name in map(str, values) if name.startswith(explained)}
    differing_values = [
        name
        for name in differing_values
        if name in given or (_leaf(name), tuple(values[name])) not in followed
    ]
    table = pd.concat([choices[differing], values[differing_values]], axis=1)
    for name in table:
        table.loc[[record.ignores(str(name)) for record in records], name] = None
    # Of a run that cannot be read not even the model is known.
    return table if len(table.columns) else choices.reindex(columns=["model"])


def _leaf(name: str) -> str:
    return name.rpartition(".")[2].removeprefix("input_")
