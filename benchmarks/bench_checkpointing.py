"""Measures what it costs to be able to resume a run: the speed of training with last.ckpt and without."""

from __future__ import annotations

import argparse
import subprocess
import sys
from functools import partial
from itertools import count
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import pandas as pd

from benchmarks.options import add_count, add_repeats
from benchmarks.table import Report, interleaved, ratios, spread
from galaxy.runs.folder import RunFolder

PROJECT = Path(__file__).parent.parent
numbers = count()


def train(home: Path, model: str, epochs: int, more: tuple[str, ...]) -> float:
    """Trains in a process of its own.

    Returns:
        The mean images/s of all epochs but the first, which also does what is done only once.
    """
    run = RunFolder(home / str(next(numbers)))
    arguments = [
        f"model={model}",
        f"trainer.max_epochs={epochs}",
        "trainer.enable_progress_bar=false",
        f"data.root={home}/simulated",
        f"data.cache={home}/cache",
        f"hydra.run.dir={run.path}",
        *more,
    ]
    subprocess.run(
        [sys.executable, "train.py", *arguments], cwd=PROJECT, check=True, stdout=subprocess.DEVNULL
    )
    speeds = pd.read_csv(run.path / "metrics.csv")["images_per_second"].dropna()
    return fmean(speeds[1:])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["deep_cnn", "resnet18"], metavar="NAME")
    add_count(parser, "epochs", 6, "epochs; the first is left out", least=2)
    add_repeats(parser, 5)
    options = parser.parse_args()
    report = Report(
        program="bench_checkpointing",
        title="Images/s of train.py with last.ckpt, compared with train.py without it",
        columns=("model", "with", "without", "ratio"),
        packages=("torch", "lightning"),
        notes=[
            f"2,000 simulated galaxies, 64 px; {options.epochs} epochs, of which the first is left out; "
            f"n = {options.repeats} interleaved repeats, mean (least..greatest).",
            "The callback may write every 10 steps here, ten times as often as by default. "
            "max_overhead=0.01 is the default.",
        ],
    )
    with TemporaryDirectory() as folder:
        for model in options.models:
            run = partial(train, Path(folder), model, options.epochs)
            run(())  # simulates the galaxies and fills the cache
            ours, without = interleaved(
                [
                    partial(run, ("callbacks.last.every_n_train_steps=10",)),
                    partial(run, ("~callbacks.last",)),
                ],
                options.repeats,
            )
            report.rows.append(
                (model, spread(ours, ",.0f"), spread(without, ",.0f"), spread(ratios(ours, without), ".3f"))
            )
    report.publish()


if __name__ == "__main__":
    main()
