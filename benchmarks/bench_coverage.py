"""Measures how often 90 % intervals hold the true fractions: of one run, of several views, of an ensemble.

`python -m benchmarks.bench_coverage` trains networks that differ by their seeds alone, on simulated galaxies.
Then each network, and all together, predict the validation and the test galaxies, from one view and from
eight. It fits the intervals on the former as `galaxy evaluate report=true` does, and counts how often they
hold the fractions of the latter.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.options import add_count, add_repeats
from benchmarks.programs import run
from benchmarks.table import Report, spread
from galaxy.reports.evaluation.errors import bootstrap, root_mean_square
from galaxy.reports.evaluation.intervals import fit_intervals, held
from galaxy.reports.evaluation.sample import Sample
from galaxy.runs.galaxies import Split
from galaxy.runs.members import Member
from galaxy.runs.request import Request

VAL, TEST = 0.15, 0.45  # shares of the galaxies
VIEWS = 8
SIZE = 32  # pixels


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
        f"crop.size={SIZE}",
        f"trainer.max_epochs={options.epochs}",
        f"seed={seed}",
        "pictures=0",
        f"hydra.run.dir={trained}",
    )
    return trained / "checkpoints" / "best.ckpt"


def predicted(checkpoints: list[Path], split: Split) -> tuple[Sample, Sample]:
    """Predicts a split by one network or several together: from one view, and from `VIEWS`."""
    first = Member(checkpoints[0])
    data = first.config["data"] | first.split_settings()
    request = Request(checkpoints, data, "simulated", split, VIEWS)
    found = request.ensemble.predict(request.galaxies, request.data, VIEWS, request.device)
    assert found.one_view is not None
    return Sample.of(found.one_view), Sample.of(found.predictions)


def judged(known: Sample, test: Sample) -> Measured:
    """Fits intervals on some galaxies, and counts on others."""
    low, high = fit_intervals(known.predicted, known.true).of(test.predicted)
    # The errors of the fractions of one galaxy go together, so galaxies are drawn and not fractions.
    shares = held(low, high, test.true).mean(axis=1, keepdims=True)
    value, least, greatest = bootstrap(shares, lambda total: total / len(test))
    scatter = float(greatest[0] - least[0]) / 2
    error = root_mean_square(test.predicted, test.true)
    return Measured(error, float(value[0]), scatter, float((high - low).mean()))


def measure(options: argparse.Namespace, folder: Path) -> Report:
    """Measures each way to predict, in a row of the table each."""
    checkpoints = [train(folder, seed, options) for seed in range(options.repeats)]
    ensembles = {"one network": [[file] for file in checkpoints]}
    if options.repeats > 1:
        ensembles[f"{options.repeats} networks together"] = [checkpoints]
    report = Report(
        program="bench_coverage",
        title="How often 90 % intervals hold the true fraction",
        columns=("predicted by", "views", "n", "RMSE", "in their intervals", "scatter", "mean width"),
        packages=("torch", "numpy"),
        notes=[],
    )
    sizes: tuple[int, int] = (0, 0)
    for name, several in ensembles.items():
        pairs = [(predicted(files, "val"), predicted(files, "test")) for files in several]
        sizes = (len(pairs[0][0][0]), len(pairs[0][1][0]))
        for place, views in enumerate((1, VIEWS)):
            found = [judged(known[place], test[place]) for known, test in pairs]
            report.rows.append(
                (
                    name,
                    str(views),
                    str(len(found)),
                    spread([one.error for one in found], ".4f"),
                    spread([one.share for one in found], ".1%"),
                    f"{max(one.scatter for one in found):.1%}",
                    spread([one.width for one in found], ".4f"),
                )
            )
    report.notes += [
        f"model={options.model}, crop.size={SIZE}, {options.epochs} epochs, simulated galaxies. "
        f"Intervals are fitted on {sizes[0]:,} validation galaxies, and counted on 37 fractions of each "
        f"of {sizes[1]:,} test galaxies.",
        "n networks, or ensembles of them: mean (least..greatest). The scatter is half of the range that "
        "holds 95 % of the samples of these test galaxies.",
    ]
    return report


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_count(parser, "galaxies", 9200, "simulated galaxies, of which 15 % validate and 45 % test", least=200)
    add_count(parser, "epochs", 5, "epochs of each training")
    add_repeats(parser, 3)
    parser.add_argument("--model", default="small_cnn", help="an option of conf/model (default small_cnn)")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        report = measure(options, Path(folder))
    report.publish()


if __name__ == "__main__":
    main()
