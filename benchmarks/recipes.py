"""Trains published recipes and Galaxy's own on the same galaxies, and puts their errors side by side.

`python -m benchmarks.recipes kaggle --root DIR` trains every recipe of one table that is not trained yet,
scores each on the same test split, and writes the table to `benchmarks/results`. The runs stay in `--runs`:
a table is written again in seconds, and a new recipe costs only its own training.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from benchmarks.programs import PROJECT, run
from benchmarks.studies import REFERENCE, STUDIES, Recipe, Study
from benchmarks.table import Report
from galaxy.reports.scores import Score, arrays, score
from galaxy.runs.folder import RunFolder
from galaxy.system.files import write_text

# The half-width of a 95 % interval in standard deviations.
WIDTH = 1.96
# The errors whose time is asked for.
WANTED = (0.110, 0.100, 0.095, 0.090, 0.086)
PICTURE = PROJECT / "docs" / "images" / "time_to_accuracy.png"


@dataclass
class Outcome:
    """What a recipe has come to.

    Attributes:
        tables: The predictions of the test galaxies, by the number of views.
        seconds: The time of training, validation and scoring, without that of reading the images into the
            cache.
        views_seconds: The time of predicting with more views, by their number.
        epochs: The number of epochs.
        parameters: The number of weights.
    """

    tables: dict[int, pd.DataFrame] = field(default_factory=dict)
    seconds: float = 0.0
    views_seconds: dict[int, float] = field(default_factory=dict)
    epochs: int = 0
    parameters: int | None = None


class Bench:
    """Trains and scores the recipes of a study in one folder.

    Args:
        study: The table to make.
        folder: Where the runs go.
        root: The folder of the survey.
        cache: The folder of the image cache.
    """

    def __init__(self, study: Study, folder: Path, root: str, cache: str) -> None:
        self.study = study
        self.folder = folder
        self.cache = f"data.cache={cache}"
        self.data = (f"data.root={root}", self.cache)

    def outcome(self, recipe: Recipe) -> Outcome:
        """Trains a recipe unless that is done, and scores it."""
        print(f"{recipe.name} ...", flush=True)
        path = self.folder / _folder_name(recipe.name)
        if recipe.members:
            members = [self.folder / _folder_name(name) for name in recipe.members]
            return self._together(recipe, members, f"[{','.join(map(str, members))}]")
        if recipe.sweep:
            sweep = (f"sweep={recipe.sweep}", f"hydra.sweep.dir={path}")
            run("train.py", *recipe.settings, *self.data, *sweep, "resume=auto")
            return self._together(
                recipe, [result.parent for result in path.glob("*/result.json")], f"[{path}]"
            )
        settings, seconds = [*recipe.settings, *self.data], 0.0
        if recipe.before:
            before = self._trained(path.with_name(f"{path.name}-before"), [*recipe.before, self.cache])
            settings.append(f"model.weights={before.path}")
            seconds = _seconds(before)
        folder = self._trained(path, settings)
        result = folder.result()
        found = Outcome(
            {1: pd.read_parquet(folder.predictions_files["test"])},
            seconds=seconds + _seconds(folder),
            epochs=result.epochs,
            parameters=result.parameters,
        )
        if found.parameters is not None:
            for views in (*self.study.views, *recipe.views):
                self._evaluate(found, views, str(folder.path), folder.path)
        return found

    def _trained(self, path: Path, settings: Sequence[str]) -> RunFolder:
        """Trains a network unless that is done."""
        run("train.py", *settings, f"hydra.run.dir={path}", "resume=auto")
        return RunFolder(path)

    def _together(self, recipe: Recipe, members: Sequence[Path], runs: str) -> Outcome:
        """Scores networks together, which are trained.

        Args:
            recipe: The row.
            members: The run folder of each network.
            runs: The same folders, as `run` of `evaluate.py`.
        """
        folders = [RunFolder(path) for path in members]
        found = Outcome(
            seconds=sum(map(_seconds, folders)),
            epochs=sum(one.result().epochs for one in folders),
            parameters=sum(one.result().parameters or 0 for one in folders),
        )
        for views in (1, *self.study.views, *recipe.views):
            self._evaluate(found, views, runs, self.folder / _folder_name(recipe.name))
        return found

    def _evaluate(self, found: Outcome, views: int, runs: str, folder: Path) -> None:
        """Predicts the test galaxies with several views, unless that is done."""
        out = folder.with_name(f"{folder.name}-tta{views}")
        clock = out / "seconds.json"
        if not clock.exists():
            done = run("evaluate.py", f"run={runs}", f"tta={views}", f"out={out}", *self.data)
            write_text(clock, json.dumps(done.seconds))
        found.views_seconds[views] = json.loads(clock.read_text())
        found.tables[views] = pd.read_parquet(out / "predictions.parquet")


def _seconds(folder: RunFolder) -> float:
    """Returns what a run took, without reading its images into the cache."""
    seconds: float = folder.result().seconds - folder.meta()["reading_seconds"]
    return seconds


def _folder_name(name: str) -> str:
    return name.replace(", ", "-").replace(" ", "_")


def _scored(table: pd.DataFrame, metric: str) -> Score:
    predicted, true = arrays(table)
    scored = score(metric, predicted, true, {})
    assert scored is not None
    return scored


def _half_width(influence: np.ndarray) -> float:
    return WIDTH * float(np.sqrt(np.square(influence).sum()))


def _with_interval(scored: Score) -> str:
    half = _half_width(scored.influence)
    return f"{scored.value:.4f} ({scored.value - half:.4f}..{scored.value + half:.4f})"


def _difference(table: pd.DataFrame, baseline: pd.DataFrame, metric: str) -> str:
    """Compares two recipes on the same galaxies, each of which is as hard for one as for the other."""
    both = table.index.intersection(baseline.index)
    ours, other = _scored(table.loc[both], metric), _scored(baseline.loc[both], metric)
    change, half = ours.value - other.value, _half_width(ours.influence - other.influence)
    return f"{change:+.4f} ({change - half:+.4f}..{change + half:+.4f})"


def make_table(study: Study, name: str, outcomes: dict[str, Outcome], epoch: float | None) -> Report:
    """Makes the table of a study.

    Args:
        study: The study.
        name: The name of its file.
        outcomes: What each recipe has come to, by its name.
        epoch: The seconds of an epoch of the default recipe; None if it was not trained here.
    """
    views = sorted({*study.views, *(count for recipe in study.recipes for count in recipe.views)})
    columns = ["recipe", "one view", *(f"tta={count}" for count in views)]
    columns += ["difference"] if study.baseline else []
    published = any(recipe.published for recipe in study.recipes)
    columns += ["seconds", "default epochs", "weights", *["published"] * published, "what differs"]
    galaxies = {len(outcome.tables[1]) for outcome in outcomes.values()}
    notes = [
        f"Scored on {galaxies.pop():,} test galaxies; in brackets the 95 % interval over galaxies. One seed.",
        "Seconds: training, validation and scoring with one view; building the cache of images is left out. "
        "A default epoch is one of `galaxy train data=kaggle` on the same machine, validation included. "
        "Other programs ran beside these, so times are good to a third.",
    ]
    last = outcomes[study.recipes[-1].name]
    notes += [
        f"{count} views: {seconds:,.0f} s for the last row, with the start of the program."
        for count, seconds in last.views_seconds.items()
        if count > 1
    ]
    report = Report(f"recipes_{name}", study.title, tuple(columns), ("torch", "lightning", "timm"), notes)
    for recipe in study.recipes:
        found = outcomes[recipe.name]
        tables = {count: table.set_index("id") for count, table in found.tables.items()}
        cells = [recipe.name, *(_with_interval(_scored(tables[n], study.metric)) if n in tables else ""
                                for n in (1, *views))]  # fmt: skip
        if study.baseline:
            baseline = outcomes[study.baseline].tables[1].set_index("id")
            same = recipe.name == study.baseline
            cells.append("" if same else _difference(tables[1], baseline, study.metric))
        cells += [f"{found.seconds:,.0f}", "" if epoch is None else f"{found.seconds / epoch:.2f}"]
        cells += ["" if found.parameters is None else f"{found.parameters:,}"]
        cells += [recipe.published] if published else []
        report.rows.append((*cells, recipe.differs))
    return report


def write_times(bench: Bench, outcomes: dict[str, Outcome], epoch: float) -> None:
    """Writes when the networks of a study reach some errors, as a table and as a picture.

    Args:
        bench: The study with its runs.
        outcomes: What each recipe has come to, by its name.
        epoch: The seconds of an epoch of the default recipe.
    """
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    axes = figure.add_subplot()
    # The ten strong colours first, then the ten pale ones.
    axes.set_prop_cycle(color=[colormaps["tab20"](n) for n in (*range(0, 20, 2), *range(1, 20, 2))])
    report = Report(
        "time_to_accuracy",
        "Time to a validation RMSE on Kaggle's fractions, in epochs of the default recipe",
        ("recipe", "epochs", *(f"{error:.3f}" for error in WANTED), "best"),
        ("torch", "lightning", "timm"),
        ["One view of each validation galaxy, after each epoch. An empty cell: never reached. One seed."],
    )
    for recipe in bench.study.recipes:
        found = outcomes[recipe.name]
        if found.parameters is None or recipe.members or recipe.sweep:
            continue
        metrics = pd.read_csv(bench.folder / _folder_name(recipe.name) / "metrics.csv")
        errors = metrics.dropna(subset="val/rmse").groupby("epoch")["val/rmse"].last()
        times = (errors.index.to_numpy() + 1) * found.seconds / found.epochs / epoch
        reached = [times[errors.to_numpy() <= error][:1] for error in WANTED]
        cells = ("" if not len(time) else f"{time[0]:.1f}" for time in reached)
        report.rows.append((recipe.name, str(found.epochs), *cells, f"{errors.min():.4f}"))
        axes.plot(times, errors, ".-", label=f"{recipe.name} ({found.epochs} epochs)")
    for error in WANTED:
        axes.axhline(error, color="0.85", linewidth=0.8, zorder=0)
    axes.set(
        xscale="log",
        xlabel="time in epochs of the default recipe",
        ylabel="validation RMSE",
        ylim=(None, 0.15),
    )
    axes.xaxis.set_major_formatter("{x:g}")
    figure.legend(loc="outside right upper")
    figure.savefig(PICTURE, dpi=120)
    report.publish()


def main() -> None:
    """Trains the recipes of one table and writes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=STUDIES, help="the table to make")
    parser.add_argument("--root", help="the folder of the survey, as data.root of train.py", required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/recipes"), help="where the runs go")
    parser.add_argument("--cache", default="cache", help="the folder of the image cache, as data.cache")
    parser.add_argument("--only", nargs="+", help="the names of the rows to make, without writing the table")
    arguments = parser.parse_args()
    study = STUDIES[arguments.study]
    bench = Bench(study, arguments.runs / arguments.study, arguments.root, arguments.cache)
    wanted = [recipe for recipe in study.recipes if not arguments.only or recipe.name in arguments.only]
    outcomes = {recipe.name: bench.outcome(recipe) for recipe in wanted}
    if arguments.only:
        return
    reference = RunFolder(arguments.runs / "kaggle" / REFERENCE)
    epoch = None
    if (reference.path / "result.json").exists():
        epoch = _seconds(reference) / reference.result().epochs
    make_table(study, arguments.study, outcomes, epoch).publish()
    if epoch is not None and REFERENCE in outcomes and arguments.study == "kaggle":
        write_times(bench, outcomes, epoch)


if __name__ == "__main__":
    main()
