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
from matplotlib.figure import Figure

from benchmarks.programs import PROJECT, run
from benchmarks.table import Report
from galaxy.reports.scores import Score, arrays, score
from galaxy.runs.folder import RunFolder
from galaxy.system.files import write_text

# The half-width of a 95 % interval in standard deviations.
WIDTH = 1.96
# Every multiple of time is one of this recipe.
REFERENCE = "default"
# The errors whose time is asked for.
WANTED = (0.110, 0.100, 0.095, 0.090, 0.086)
PICTURE = PROJECT / "docs" / "images" / "time_to_accuracy.png"


@dataclass(frozen=True)
class Recipe:
    """One row of a table.

    Attributes:
        name: The name of the row, and of its folder.
        settings: What `train.py` is told beside the data.
        published: The published figure; empty if there is none.
        differs: What differs from the publication, or from the recipe that this one changes.
        views: Numbers of views that it predicts with beside those of the study.
        members: The names of the rows above that predict together; such a row is not trained.
        sweep: The sweep whose networks predict together; empty for a single network.
    """

    name: str
    settings: tuple[str, ...] = ()
    published: str = ""
    differs: str = ""
    views: tuple[int, ...] = ()
    members: tuple[str, ...] = ()
    sweep: str = ""


@dataclass(frozen=True)
class Study:
    """One table: recipes whose labels mean the same.

    Attributes:
        title: The title of the table.
        metric: What the recipes are scored by, on the test split.
        recipes: The rows.
        views: The numbers of views that each network predicts with, beside a single one.
        baseline: The recipe that the differences of an ablation are from; None for no such column.
    """

    title: str
    metric: str
    recipes: tuple[Recipe, ...]
    views: tuple[int, ...] = (8,)
    baseline: str | None = None


# What the recipes were before the cross-entropy and one learning rate for all weights.
_GENTLE = ("model.body_lr_factor=0.2", "trainer.max_epochs=32")
_FORMER = ("experiment=fast", "loss=mse", "model.body_lr_factor=0.2")


def _changed(name: str, change: str, differs: str) -> Recipe:
    return Recipe(name, (*_FORMER, *change.split()), differs=differs)


# The labels and splits of experiment=gz2_keras.
_GZ2 = (
    "data=gz2",
    "data.catalog.labels=debiased",
    "data.catalog.weights=null",
    "data.test_fraction=0.25",
    "data.val_fraction=0.075",
    "data.stratify=true",
    "head=sigmoid",
)
STUDIES = {
    "kaggle": Study(
        "Kaggle's 37 cumulative fractions: RMSE",
        "rmse",
        (
            Recipe("mean", ("data=kaggle", "model=mean"), "0.1639 (Speidell)"),
            Recipe("center_pixel", ("data=kaggle", "model=center_pixel"), "0.16194 (Kaggle's benchmark)"),
            Recipe(REFERENCE, ("data=kaggle",)),
            Recipe("sirressi", ("experiment=sirressi",), "0.22", "published: 8,000 of Kaggle's images"),
            Recipe("speidell", ("experiment=speidell",), "0.11025", "published: 61,578 images"),
            Recipe("fast", ("experiment=fast",)),
            Recipe("best_cpu", ("experiment=best_cpu",), views=(60,)),
            Recipe("gentle encoder", ("experiment=best_cpu", *_GENTLE),
                   differs="the encoder learns at a fifth of the rate, for 32 epochs", views=(60,)),
            Recipe("two together", differs="the mean of these two", members=("best_cpu", "gentle encoder")),
            Recipe("mse", ("experiment=best_cpu", "loss=mse", *_GENTLE),
                   differs="gentle encoder with loss=mse", views=(60,)),
            Recipe("mse, another seed", ("experiment=best_cpu", "loss=mse", "seed=1", *_GENTLE),
                   differs="the same with seed=1", views=(60,)),
            Recipe("mse, more epochs", ("experiment=best_cpu", "loss=mse", "seed=1", "crop.size=128",
                                        "model.input_size=64", "model.body_lr_factor=0.2",
                                        "trainer.max_epochs=48"),
                   differs="the same with 64 px and 48 epochs, which take as long", views=(60,)),
        ),
    ),
    "ablations": Study(
        "What choices in experiment=fast are worth: RMSE on Kaggle's fractions",
        "rmse",
        (
            Recipe("former", _FORMER, differs="fast with loss=mse model.body_lr_factor=0.2"),
            Recipe("fast", ("experiment=fast",), differs="the next two together"),
            _changed("one rate", "model.body_lr_factor=1", "the encoder learns as fast as the head"),
            _changed("cross entropy", "loss=cross_entropy", "the cross-entropy of each question"),
            Recipe("questions", _FORMER, differs="one network for each question", sweep="questions"),
            _changed("sigmoid head", "head=sigmoid", "each answer for itself, not a share of its question"),
            _changed("random weights", "model.weights=null model.normalisation=training", "no ImageNet"),
            _changed("crop of 64 px", "crop.size=64", "turned and zoomed at the size that the network sees"),
            _changed("seed 1", "seed=1", "only the draw of weights, order and augmentation"),
            _changed("no EMA", "callbacks.ema=null", "the weights of the last step"),
            _changed("colour", "augment=colour", "brightness and colour change too"),
            _changed("quarter turns", "augment=rotate90", "turns by 90 degrees and mirror images only"),
            _changed("progressive", "callbacks=progressive", "48 px at first, 64 px at the end"),
        ),
        views=(),
        baseline="former",
    ),
    "gz2": Study(
        "Galaxy Zoo 2's 37 debiased fractions (Hart et al. 2016): RMSE",
        "rmse",
        (
            Recipe("mean", ("experiment=gz2_keras", "model=mean")),
            Recipe("gz2_keras", ("experiment=gz2_keras", "data.batch_size=64"), "0.2265",
                   "published: 239,267 galaxies, batches of 2,000"),
            Recipe("default", _GZ2),
            Recipe("fast", (*_FORMER, *_GZ2, "trainer.max_epochs=20")),
        ),
    ),
    "question1": Study(
        "The first question as three classes: accuracy",
        "accuracy",
        (
            Recipe("mean", ("experiment=sirressi_question1", "model=mean")),
            Recipe("logistic", ("experiment=sirressi_question1", "model=logistic"), "72 %"),
            Recipe("sirressi_cnn", ("experiment=sirressi_question1",), "75 % of 100"),
            Recipe("resnet18", ("experiment=sirressi_question1", "model=resnet18", "crop.size=128",
                                "crop.fraction=0.5", "trainer.max_epochs=20"), "", "128 pixels, 20 epochs"),
            Recipe("fast", ("experiment=fast", "model.body_lr_factor=0.2", "target=question1",
                            "target.hard=true", "objective.metric=val/accuracy", "data.limit=1000"), "",
                   "the same 1,000 galaxies, 64 pixels"),
        ),
    ),
}  # fmt: skip


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
        data: Settings of the data, such as their root.
    """

    def __init__(self, study: Study, folder: Path, data: Sequence[str]) -> None:
        self.study = study
        self.folder = folder
        self.data = data

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
        folder = RunFolder(path)
        # A run that is done is not trained again.
        run("train.py", *recipe.settings, *self.data, f"hydra.run.dir={folder.path}", "resume=auto")
        result = folder.result()
        found = Outcome(
            {1: pd.read_parquet(folder.predictions_files["test"])},
            seconds=result.seconds - folder.meta()["reading_seconds"],
            epochs=result.epochs,
            parameters=result.parameters,
        )
        if found.parameters is not None:
            for views in (*self.study.views, *recipe.views):
                self._evaluate(found, views, str(folder.path), folder.path)
        return found

    def _together(self, recipe: Recipe, members: Sequence[Path], runs: str) -> Outcome:
        """Scores networks together, which are trained.

        Args:
            recipe: The row.
            members: The run folder of each network.
            runs: The same folders, as `run` of `evaluate.py`.
        """
        folders = [RunFolder(path) for path in members]
        found = Outcome(
            seconds=sum(one.result().seconds - one.meta()["reading_seconds"] for one in folders),
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
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
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
    axes.legend()
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
    data = (f"data.root={arguments.root}", f"data.cache={arguments.cache}")
    bench = Bench(study, arguments.runs / arguments.study, data)
    wanted = [recipe for recipe in study.recipes if not arguments.only or recipe.name in arguments.only]
    outcomes = {recipe.name: bench.outcome(recipe) for recipe in wanted}
    if arguments.only:
        return
    reference = RunFolder(arguments.runs / "kaggle" / REFERENCE)
    epoch = None
    if (reference.path / "result.json").exists():
        result = reference.result()
        epoch = (result.seconds - reference.meta()["reading_seconds"]) / result.epochs
    make_table(study, arguments.study, outcomes, epoch).publish()
    if epoch is not None and REFERENCE in outcomes and arguments.study == "kaggle":
        write_times(bench, outcomes, epoch)


if __name__ == "__main__":
    main()
