"""Measures how long one waits before a command trains.

`python -m benchmarks.bench_startup` measures `--help`, a warm start up to the first step, and the time
between two jobs of a sweep. It runs `train.py` as people do, at a terminal. A start is warm when the galaxies
and their image cache exist already.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.clock import clock_overrides, read_times
from benchmarks.options import add_count, add_repeats
from benchmarks.programs import Finished, run
from benchmarks.table import Report, interleaved, spread

# The runs are short, because only what comes before the first step is measured.
SHORT = ("trainer.max_epochs=1", "trainer.limit_train_batches=1", "trainer.limit_val_batches=1")
TRIVIAL = ("model=mlp", "model.pixels=4", "model.hidden=[16]", "augment=none")


class Program:
    """Runs of `train.py` over the same galaxies.

    Args:
        folder: The folder of everything that the runs write.
        jobs: The number of jobs of a sweep.
    """

    def __init__(self, folder: Path, jobs: int) -> None:
        self.folder = folder
        self.times = folder / "times"
        self.jobs = jobs
        self.common = [f"data.root={folder / 'galaxies'}", f"data.cache={folder / 'cache'}", *SHORT]
        self.common += clock_overrides(self.times)

    def help(self) -> float:
        """Returns the seconds of `--help`."""
        return run("train.py", "--help").seconds

    def start(self) -> float:
        """Returns the seconds from the command to the start of the first step."""
        finished, first_steps = self._run("train.py", "hydra.run.dir={new}")
        return first_steps[0] - finished.started

    def imports(self) -> float:
        """Returns the seconds of imports in another such run, because counting takes time itself."""
        finished, _ = self._run("-X", "importtime", "train.py", "hydra.run.dir={new}")
        return sum(map(int, re.findall(r"import time: +(\d+) \|", finished.output))) / 1e6

    def further_job(self) -> float:
        """Returns the mean seconds from the first step of one job to the first step of the next."""
        seeds = ",".join(map(str, range(self.jobs)))
        _, first_steps = self._run("train.py", "-m", f"seed={seeds}", *TRIVIAL, "hydra.sweep.dir={new}")
        assert len(first_steps) == self.jobs
        return float(np.diff(first_steps).mean())

    def _run(self, *arguments: str) -> tuple[Finished, list[float]]:
        """Runs once. Also returns when each training made its first step."""
        self.times.unlink(missing_ok=True)
        with TemporaryDirectory(dir=self.folder) as new:
            finished = run(*(argument.replace("{new}", new) for argument in arguments), *self.common)
        return finished, [epochs[0][0] for epochs in read_times(self.times)]


def measure(options: argparse.Namespace, folder: Path) -> Report:
    """Measures each thing that one waits for, in one row of the table."""
    report = Report(
        program="bench_startup",
        title="Seconds before train.py trains",
        columns=("from ... to", "seconds"),
        packages=("torch", "lightning", "hydra-core"),
        notes=[
            f"n = {options.repeats} interleaved repeats, mean (least..greatest). The files are in the "
            "system's memory.",
            "The warm start has the default configuration: resnet18 on 2,000 simulated galaxies. Its imports "
            "are counted in a run of its own with -X importtime, which makes them slower.",
            "Between two jobs lies a whole job, from composing its configuration to its scores, with one "
            f"step of a tiny network. The figure is the mean of {options.jobs - 1} in a sweep of "
            f"{options.jobs}.",
        ],
    )
    program = Program(folder, options.jobs)
    program.start()  # simulates the galaxies and fills the cache
    rows = {
        "`train.py --help`, all of it": program.help,
        "command to first step, warm": program.start,
        "... of which imports": program.imports,
        "a job of a sweep to the next": program.further_job,
    }
    for name, seconds in zip(rows, interleaved(list(rows.values()), options.repeats), strict=True):
        report.rows.append((name, spread(seconds, ".2f")))
    return report


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_count(parser, "jobs", 5, "jobs of the sweep", least=2)
    add_repeats(parser, 3)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        report = measure(options, Path(folder))
    report.publish()


if __name__ == "__main__":
    main()
