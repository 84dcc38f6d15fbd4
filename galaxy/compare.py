"""Compares runs by their folders: `python -m galaxy.compare FOLDER [FOLDER ...]`."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import pandas as pd
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from galaxy.errors import UserError
from galaxy.files import replacing
from galaxy.runs import RunFolder, find_runs

FIGURES = {
    "val/rmse": ".5f",
    "test/rmse": ".5f",
    "test/r2": ".4f",
    "baseline/mean_rmse": ".5f",
    "epochs": ".0f",
    "seconds": ".0f",
    "images_per_second": ".0f",
}
# Where files go and when to stop looking is not what makes one run better than another.
NOT_COMPARED = ("hydra.", "data.root", "data.cache", "callbacks", "logger", "experiment", "sweep")


def comparison(runs: list[RunFolder]) -> pd.DataFrame:
    """One row a run, the best validation RMSE first and the runs without one last.

    Returns:
        Columns: run, every group option and override in which the runs differ, the figures, the labels
        that the RMSE is on, status and error.
    """
    settings = pd.DataFrame([_settings(run) for run in runs])
    varying = [name for name in settings.columns if settings[name].fillna("").nunique() > 1]
    rows = []
    for run in runs:
        result = run.result()
        figures: dict[str, Any] = {
            **result.metrics,
            "baseline/mean_rmse": result.baselines.get("mean"),
            "epochs": result.epochs,
            "seconds": result.seconds,
            "images_per_second": result.images_per_second,
        }
        rows.append(
            {name: figures.get(name) for name in FIGURES}
            | {"labels": result.labels, "status": result.status, "error": result.error}
        )
    table = pd.concat([settings[varying or ["data", "model", "loss"]], pd.DataFrame(rows)], axis=1)
    table.insert(0, "run", [str(run.path) for run in runs])
    return table.sort_values("val/rmse", na_position="last", kind="stable", ignore_index=True)


def write_comparison(folder: Path, console: Console) -> pd.DataFrame:
    """Compares every run below a folder, prints the table and writes it to `comparison.csv`."""
    table = comparison(find_runs(folder))
    with replacing(folder / "comparison.csv") as temporary:
        table.to_csv(temporary, index=False)
    table["run"] = [str(Path(run).relative_to(folder)) for run in table["run"]]
    console.print(_rendered(table, f"{len(table)} runs in {folder}, best validation RMSE first"))
    return table


class SweepTable(Callback):
    """Ends a sweep with the table of its jobs, and with exit status 1 if one of them failed."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Hydra calls this when the last job has ended."""
        table = write_comparison(Path(config.hydra.sweep.dir), Console())
        failed = int((table["status"] != "done").sum())
        if failed:
            print(f"{failed} of {len(table)} jobs did not finish; each has a train.log in its folder")
            raise SystemExit(1)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m galaxy.compare", description=main.__doc__)
    parser.description = "Compare every run below one or more folders, and write comparison.csv in each."
    parser.add_argument("folders", nargs="+", type=Path, help="run folders, sweep folders or any above them")
    console = Console()
    try:
        for folder in parser.parse_args(arguments).folders:
            write_comparison(folder, console)
    except UserError as error:
        Console(stderr=True).print(str(error), markup=False)
        return 1
    return 0


def _settings(run: RunFolder) -> dict[str, str]:
    choices = {group: option for group, option in run.choices().items() if not group.startswith("hydra/")}
    values = dict(override.lstrip("+~").partition("=")[::2] for override in run.overrides())
    merged = {**choices, **values, **choices}
    return {name: str(value) for name, value in merged.items() if not name.startswith(NOT_COMPARED)}


def _rendered(table: pd.DataFrame, title: str) -> Table:
    shown = table.drop(columns=[name for name in ("labels", "error") if table[name].isna().all()])
    rendered = Table(title=title, title_justify="left")
    for name in shown.columns:
        rendered.add_column(str(name), justify="right" if name in FIGURES else "left", overflow="fold")
    for row in shown.to_dict("records"):
        rendered.add_row(*(_cell(str(name), value) for name, value in row.items()))
    return rendered


def _cell(name: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return format(value, FIGURES[name]) if name in FIGURES else str(value)


if __name__ == "__main__":
    raise SystemExit(main())
