"""Measures how often `galaxy compare` calls equal settings different, and unequal ones alike.

`python -m benchmarks.bench_comparison` trains one network and rigs runs out of its predictions. The runs of a
setting differ by nothing but their seeds: each has the errors of the network, scaled at random so that the
RMSE scatters over seeds by 1 %, and with noise of its own on each answer. The validation galaxies are drawn
anew, with replacement, for each comparison.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.options import add_count
from benchmarks.programs import run
from benchmarks.table import Report
from galaxy.reports.scores import score
from galaxy.reports.statistics import Setting, compare

# The standard deviation of the RMSE over seeds, as a share of it.
SPREAD = 0.01
# The noise of each answer of each seed, as a share of the error of the network.
NOISE = 0.3

Array = NDArray[np.float64]


def predictions_of(folder: Path, galaxies: int) -> tuple[Array, Array]:
    """Trains a network, and returns its predictions and the targets of the validation split, (N, K) each."""
    run("train.py", f"hydra.run.dir={folder}", "model=small_cnn", f"data.catalog.count={galaxies}",
        "trainer=cpu", "trainer.max_epochs=3", f"data.cache={folder / 'cache'}")  # fmt: skip
    table = pd.read_parquet(folder / "predictions_val.parquet")
    names = [name for name in table if f"true/{name}" in table]
    true = table[[f"true/{name}" for name in names]]
    return table[names].to_numpy(np.float64), true.to_numpy(np.float64)


def rigged(rng: np.random.Generator, errors: Array, true: Array, worse: float, seeds: int) -> Setting:
    """Makes the runs of a setting.

    Args:
        rng: Draws the seeds.
        errors: (N, K) the errors of the network.
        true: (N, K) the targets.
        worse: How much larger the RMSE of this setting is, as a share.
        seeds: The number of runs.
    """
    values, influences = [], []
    for _ in range(seeds):
        noisy = errors + NOISE * np.abs(errors) * rng.normal(size=errors.shape)
        size = np.sqrt(np.square(errors).mean() / np.square(noisy).mean())
        scaled = noisy * size * (1 + worse) * (1 + SPREAD * rng.normal())
        scored = score("rmse", true + scaled, true, {})
        assert scored is not None
        values.append(scored.value)
        influences.append(scored.influence)
    return Setting(np.array(values), np.mean(influences, axis=0))


def share_told(
    rng: np.random.Generator,
    errors: Array,
    true: Array,
    settings: Sequence[float],
    options: argparse.Namespace,
    repeats: int,
) -> float:
    """Returns the share of comparisons in which a setting is called worse than the best one."""
    told = 0
    for _ in range(repeats):
        rows = rng.integers(len(errors), size=len(errors))
        made = [rigged(rng, errors[rows], true[rows], worse, options.seeds) for worse in settings]
        told += any(difference.worse for difference in compare(made, larger_is_better=False).differences)
    return told / repeats


def measure(options: argparse.Namespace, folder: Path) -> Report:
    """Measures the rates, one kind of comparison in each row."""
    predicted, true = predictions_of(folder / "run", options.galaxies)
    rng = np.random.default_rng(0)
    report = Report(
        program="bench_comparison",
        title="How often `galaxy compare` calls settings different",
        columns=("settings", "comparisons", "called different", "goal"),
        packages=("numpy", "scipy"),
        notes=[
            f"{options.seeds} seeds a setting, whose RMSE scatters by {SPREAD:.0%}; {len(true):,} validation "
            f"galaxies with {true.shape[1]} answers each, drawn anew for each comparison."
        ],
    )
    kinds = {
        "two that are equal": ([0.0, 0.0], options.repeats, "at most 8 %"),
        "two of which one is 5 % worse": ([0.0, 0.05], options.repeats, "at least 80 %"),
        "twenty that are equal": ([0.0] * 20, (options.repeats + 1) // 2, "at most 5 %"),
    }
    for name, (settings, repeats, goal) in kinds.items():
        told = share_told(rng, predicted - true, true, settings, options, repeats)
        report.rows.append((name, f"{repeats}", f"{told:.1%}", goal))
    return report


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_count(parser, "galaxies", 2000, "simulated galaxies, a tenth of which validate", least=50)
    add_count(parser, "seeds", 3, "runs of each setting", least=2)
    add_count(parser, "repeats", 200, "comparisons of two settings, and twice as many as of twenty settings")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        report = measure(options, Path(folder))
    report.publish()


if __name__ == "__main__":
    main()
