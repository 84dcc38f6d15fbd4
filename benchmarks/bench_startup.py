"""How long a command takes before it trains: `--help`, a warm start up to the first step, a sweep's next job.

`python -m benchmarks.bench_startup` measures `train.py` as people run it, at a terminal. Warm means that the
galaxies are there, their image cache, and what Numba compiles.
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

# What follows the first step is not measured.
SHORT = ("trainer.max_epochs=1", "trainer.limit_train_batches=1", "trainer.limit_val_batches=1")
TRIVIAL = ("model=mlp", "model.pixels=4", "model.hidden=[16]", "augment=none")


class Program:
    """Runs of `train.py` over the same galaxies.

    Args:
        folder: Of all that they write.
        jobs: Of a sweep.
    """

    def __init__(self, folder: Path, jobs: int) -> None:
        self.folder = folder
        self.times = folder / "times"
        self.jobs = jobs
        self.common = [f"data.root={folder / 'galaxies'}", f"data.cache={folder / 'cache'}", *SHORT]
        self.common += clock_overrides(self.times)

    def help(self) -> float:
        """Seconds of `--help`."""
        return run("train.py", "--help").seconds

    def start(self) -> float:
        """Seconds from the command to the start of the first step."""
        finished, first_steps = self._run("train.py", "hydra.run.dir={new}")
        return first_steps[0] - finished.started

    def imports(self) -> float:
        """Seconds of imports in the same; in a run of its own, for counting them takes time too."""
        finished, _ = self._run("-X", "importtime", "train.py", "hydra.run.dir={new}")
        return sum(map(int, re.findall(r"import time: +(\d+) \|", finished.output))) / 1e6

    def further_job(self) -> float:
        """Seconds from the first step of one job to that of the next."""
        seeds = ",".join(map(str, range(self.jobs)))
        _, first_steps = self._run("train.py", "-m", f"seed={seeds}", *TRIVIAL, "hydra.sweep.dir={new}")
        assert len(first_steps) == self.jobs
        return float(np.diff(first_steps).mean())

    def _run(self, *arguments: str) -> tuple[Finished, list[float]]:
        """Runs once; also says when each training made its first step."""
        self.times.unlink(missing_ok=True)
        with TemporaryDirectory(dir=self.folder) as new:
            finished = run(*(argument.replace("{new}", new) for argument in arguments), *self.common)
        return finished, [epochs[0][0] for epochs in read_times(self.times)]


def measure(options: argparse.Namespace, folder: Path) -> Report:
    """One row for each thing that one waits for."""
    report = Report(
        program="bench_startup",
        title="Seconds before train.py trains",
        columns=("from ... to", "seconds"),
        packages=("torch", "lightning", "hydra-core"),
        notes=[
            f"n = {options.repeats} interleaved repeats, mean (least..greatest), the files in the system's "
            "memory.",
            "The warm start is that of the default configuration: resnet18 on 2,000 simulated galaxies. Its "
            "imports are counted in a run of its own, with -X importtime, which makes them slower.",
            "From one job to the next all of a job happens, from composing its configuration to its scores, "
            f"with one step of a tiny network; the mean of {options.jobs - 1} in a sweep of {options.jobs}.",
        ],
    )
    program = Program(folder, options.jobs)
    program.start()  # simulates, decodes and compiles
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
    add_count(parser, "jobs", 5, "of the sweep", least=2)
    add_repeats(parser, 3)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        report = measure(options, Path(folder))
    report.publish()


if __name__ == "__main__":
    main()
