"""Measures how near a recipe comes to the noise floor as its training set grows.

`python -m benchmarks.noise_floor` trains `experiment=fast loss=mse model.body_lr_factor=0.2` on 1,000, 4,000
and 16,000 simulated galaxies and scores each network on the same new galaxies. A simulated survey knows the
probabilities that its votes were drawn from. So it knows the error of a perfect model, which is due to the
small number of volunteers alone.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.options import add_count
from benchmarks.programs import PROJECT, run
from benchmarks.studies import FORMER
from benchmarks.table import Report
from galaxy.surveys.simulated.survey import read_simulated

PICTURE = PROJECT / "docs" / "images" / "noise_floor.png"
# A tenth of the galaxies validates, and the new galaxies test.
TRAINED = 0.9
# Another seed than that of the training galaxies.
SEED = 1


@dataclass(frozen=True)
class Point:
    """One training set.

    Attributes:
        galaxies: The number of training galaxies.
        epochs: The number of epochs.
        rmse: The error on the new galaxies.
        mean: The error of the training galaxies' mean.
        floor: The error of a perfect model.
    """

    galaxies: int
    epochs: int
    rmse: float
    mean: float
    floor: float


def measure(galaxies: int, epochs: int, new: int, views: int, folder: Path, data: Path) -> Point:
    """Trains on so many galaxies, and scores on new ones.

    Args:
        galaxies: The number of training galaxies, nearly.
        epochs: The number of epochs.
        new: The number of new galaxies.
        views: The number of views of each new galaxy.
        folder: Where the run goes.
        data: Where the simulated surveys and the cache of their images go.
    """
    count = round(galaxies / TRAINED)
    where = ("data=simulated", f"data.root={data}", f"data.cache={data / 'cache'}")
    run("train.py", *FORMER, *where, f"data.catalog.count={count}",
        "data.test_fraction=0", f"trainer.max_epochs={epochs}", f"hydra.run.dir={folder}",
        "resume=auto")  # fmt: skip
    out = folder / "evaluation" / "new"
    run("evaluate.py", f"run={folder}", *where, f"data.catalog.seed={SEED}", f"data.catalog.count={new}",
        "split=all", f"tta={views}", f"out={out}")  # fmt: skip
    survey, known = read_simulated(data, count=new, seed=SEED), read_simulated(data, count=count)
    true, trained = survey.known_targets, known.known_targets
    assert true is not None
    assert trained is not None
    assert survey.expected is not None
    return Point(
        galaxies,
        epochs,
        rmse=json.loads((out / "metrics.json").read_text())["metrics"]["rmse"],
        mean=_rmse(trained.mean(axis=0), true),
        floor=_rmse(survey.expected, true),
    )


def _rmse(predicted: NDArray[np.float32], true: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.square(predicted - true).mean()))


def draw(points: list[Point], file: Path) -> None:
    """Draws the errors against the number of training galaxies."""
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.add_subplot()
    counts = [point.galaxies for point in points]
    axes.plot(
        counts, [point.mean for point in points], "s:", color="0.4", label="mean of the training labels"
    )
    axes.plot(counts, [point.rmse for point in points], "o-", color="#0072b2", label="network")
    axes.plot(counts, [point.floor for point in points], "--", color="#d55e00", label="noise floor")
    axes.set(xscale="log", xlabel="training galaxies", ylabel="RMSE on new galaxies", ylim=(0, None))
    axes.set_xticks(counts, [f"{count:,}" for count in counts], minor=False)
    axes.minorticks_off()
    figure.legend(loc="outside upper center", ncols=3)
    figure.savefig(file, dpi=120)


def main() -> None:
    """Trains on each number of galaxies, and publishes the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    counts = [1000, 4000, 16000]
    parser.add_argument("--counts", type=int, nargs="+", default=counts, help="numbers of training galaxies")
    add_count(parser, "seen", 40_000, "images that each training sees, at least")
    add_count(parser, "epochs", 8, "epochs of each training, at least")
    add_count(parser, "new", 2000, "new galaxies")
    add_count(parser, "views", 8, "views of each new galaxy")
    parser.add_argument("--runs", type=Path, default=Path("runs/noise_floor"), help="where the runs go")
    parser.add_argument("--data", type=Path, default=Path("data/simulated"), help="where the galaxies go")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="the picture")
    given = parser.parse_args()
    points = []
    for galaxies in given.counts:
        print(f"{galaxies:,} galaxies ...", flush=True)
        folder = given.runs / str(galaxies)
        epochs = max(given.epochs, round(given.seen / galaxies))
        points.append(measure(galaxies, epochs, given.new, given.views, folder, given.data))
    draw(points, given.picture)
    report = Report(
        "noise_floor",
        "How near a recipe comes to the noise floor of simulated galaxies: RMSE",
        ("training galaxies", "epochs", "mean of the labels", "network", "noise floor", "network / floor"),
        ("torch", "lightning", "timm"),
        [
            f"Trained with {' '.join(FORMER)}. Scored on {given.new:,} new galaxies with tta={given.views}. "
            "One seed.",
            "The noise floor is the error of the probabilities that the votes were drawn from.",
        ],
    )
    for point in points:
        figures = (point.mean, point.rmse, point.floor)
        cells = (f"{point.galaxies:,}", str(point.epochs), *(f"{x:.4f}" for x in figures))
        report.rows.append((*cells, f"{point.rmse / point.floor:.2f}"))
    report.publish()


if __name__ == "__main__":
    main()
