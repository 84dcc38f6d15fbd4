"""Measures how often 90 % intervals hold the true fractions: of one run, of several views, of an ensemble.

`python -m benchmarks.bench_coverage` trains networks that differ by their seeds alone, on simulated galaxies.
Then each network, and all together, predict the validation and the test galaxies, from one view and from
eight. It fits the intervals on the former as `galaxy evaluate report=true` does, and counts how often they
hold the fractions of the latter.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.options import add_count, add_repeats
from benchmarks.programs import run
from benchmarks.table import Report, spread
from galaxy.reports.evaluation.errors import bootstrap, root_mean_square
from galaxy.reports.evaluation.intervals import fit_intervals, held
from galaxy.reports.evaluation.sample import Sample
from galaxy.runs.galaxies import Split
from galaxy.runs.members import Member
from galaxy.runs.request import Request

VAL, TEST = 0.14, 0.5  # shares of the galaxies
VIEWS = 8


@dataclass(frozen=True)
class Measured:
    """What intervals did on the test galaxies.

    Attributes:
        error: The RMSE of the predictions.
        share: The share of the fractions that are in their intervals.
        scatter: Half of the range that holds 95 % of the shares of samples of these galaxies.
        width: The mean width of the intervals.
    """

    error: float
    share: float
    scatter: float
    width: float


def train(folder: Path, seed: int, options: argparse.Namespace) -> Path:
    """Trains a network, and returns its checkpoint."""
    trained = folder / f"run{seed}"
    run(
        "train.py",
        f"data.root={folder / 'survey'}",
        f"data.cache={folder / 'cache'}",
        f"data.catalog.count={options.galaxies}",
        f"data.val_fraction={VAL}",
        f"data.test_fraction={TEST}",
        f"model={options.model}",
        f"trainer.max_epochs={options.epochs}",
        f"seed={seed}",
        "pictures=0",
        f"hydra.run.dir={trained}",
    )
    return trained / "checkpoints" / "best.ckpt"


def predicted(checkpoint: Path, split: Split) -> tuple[Sample, Sample]:
    """Predicts a split by one network: from one view, and from `VIEWS`."""
    member = Member(checkpoint)
    data = member.config["data"] | member.split_settings()
    request = Request([checkpoint], data, "simulated", split, VIEWS)
    found = request.ensemble.predict(request.galaxies, request.data, VIEWS, request.device)
    assert found.one_view is not None
    return Sample.of(found.one_view), Sample.of(found.predictions)


def together(samples: list[Sample]) -> Sample:
    """Puts the predictions of several networks together as `galaxy evaluate 'run=[A,B]'` does."""
    return replace(samples[0], predicted=np.mean([one.predicted for one in samples], axis=0))


def judged(known: Sample, test: Sample) -> Measured:
    """Fits intervals on some galaxies, and counts on others."""
    low, high = fit_intervals(known.predicted, known.true).of(test.predicted)
    # The errors of the fractions of one galaxy go together, so galaxies are drawn and not fractions.
    shares = held(low, high, test.true).mean(axis=1, keepdims=True)
    value, least, greatest = bootstrap(shares, lambda total: total / len(test))
    scatter = float(greatest[0] - least[0]) / 2
    error = root_mean_square(test.predicted, test.true)
    return Measured(error, float(value[0]), scatter, float((high - low).mean()))


def measure(checkpoints: list[Path], what: str) -> Report:
    """Measures each way to predict, in a row of the table each.

    Args:
        checkpoints: The networks.
        what: What they are, in words.
    """
    known, test = ([predicted(file, split) for file in checkpoints] for split in ("val", "test"))
    report = Report(
        program="bench_coverage",
        title="How often 90 % intervals hold the true fraction",
        columns=("predicted by", "views", "n", "RMSE", "held", "scatter", "mean width"),
        packages=("torch", "numpy"),
        notes=[
            f"{what}, crop=center64, simulated galaxies. The intervals are fitted on {len(known[0][0]):,} "
            f"validation galaxies, and counted on 37 fractions of each of {len(test[0][0]):,} test galaxies.",
            "Held is the share of the fractions that are in their intervals: the mean (least..greatest) of n "
            "networks or ensembles. The scatter is half of the range that holds 95 % of samples of these "
            "test galaxies.",
        ],
    )
    several = len(checkpoints) > 1
    for place, views in enumerate((1, VIEWS)):
        pairs = [(fitted[place], counted[place]) for fitted, counted in zip(known, test, strict=True)]
        ways = {"one network": [judged(*pair) for pair in pairs]}
        if several:
            fitted, counted = (together(list(samples)) for samples in zip(*pairs, strict=True))
            ways[f"{len(checkpoints)} networks together"] = [judged(fitted, counted)]
        for name, found in ways.items():
            report.rows.append((name, str(views), str(len(found)), *_cells(found)))
    return report


def _cells(found: list[Measured]) -> tuple[str, ...]:
    return (
        spread([one.error for one in found], ".4f"),
        spread([one.share for one in found], ".1%"),
        f"{max(one.scatter for one in found):.1%}",
        spread([one.width for one in found], ".4f"),
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_count(parser, "galaxies", 8400, "simulated galaxies, of which 14 % validate and half test", least=200)
    add_count(parser, "epochs", 6, "epochs of each training")
    add_repeats(parser, 3)
    parser.add_argument("--model", default="deep_cnn", help="an option of conf/model (default deep_cnn)")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        checkpoints = [train(Path(folder), seed, options) for seed in range(options.repeats)]
        report = measure(checkpoints, f"model={options.model}, {options.epochs} epochs")
    report.publish()


if __name__ == "__main__":
    main()
