"""Measures what the framework costs in each training step, compared with a raw loop.

`python -m benchmarks.bench_step` trains a tiny network in four ways: with `train.py` and everything that is
on by default, with plain Lightning, with Lightning and everything switched off that can be, and with a raw
loop. Each training runs in a process of its own, at a terminal.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from shutil import rmtree
from statistics import fmean, median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from benchmarks.clock import clock_overrides, read_times
from benchmarks.options import add_count, add_repeats
from benchmarks.programs import run
from benchmarks.table import Report, interleaved, ratios, spread
from galaxy.system.machine import best_precision

HERE = Path(__file__).parent
# With body_lr_factor=1 the optimizer has one group of weights, as in the loop. It takes groups one by one.
NETWORK = ("model=mlp", "model.pixels=4", "model.hidden=[16]", "model.body_lr_factor=1")
AUGMENTS = {"train.py": "none", "train.py, augment=affine": "affine"}
PLAIN = {
    "Lightning with its defaults": "lightning",
    "Lightning with barebones=True": "barebones",
    "raw loop": "loop",
}


class Step(NamedTuple):
    """The milliseconds of a step."""

    median: float
    mean: float


def ours(folder: Path, overrides: list[str]) -> Step:
    """Measures `train.py`."""
    rmtree(folder / "run", ignore_errors=True)
    return timed(folder, "train.py", *overrides, *clock_overrides(folder / "times"))


def plain(folder: Path, kind: str) -> Step:
    """Measures the network of the run before this, trained in another way."""
    return timed(folder, HERE / "plain_steps.py", kind, folder / "run", folder / "times")


def timed(folder: Path, *arguments: object) -> Step:
    """Runs a program that notes when its steps start.

    The first epoch and the time between two epochs are left out, because validation belongs to no step.
    """
    (folder / "times").unlink(missing_ok=True)
    run(*arguments)
    (epochs,) = read_times(folder / "times")
    steps = [1000 * seconds for seconds in chain.from_iterable(np.diff(epoch) for epoch in epochs[1:])]
    return Step(median(steps), fmean(steps))


def measure(options: argparse.Namespace, folder: Path) -> Report:
    """Measures each way to train, in one row of the table."""
    report = Report(
        program="bench_step",
        title="Milliseconds of a training step of a tiny network",
        columns=("program", "median step", "over the loop", "of Lightning's", "mean step", "over the loop"),
        packages=("torch", "lightning"),
        notes=[
            f"mlp with one layer of 16 on 4 x 4 pixels, batches of {options.batch_size}, on one thread, "
            f"precision {best_precision('cpu')}; {options.epochs} epochs, of which the first is left out; "
            f"n = {options.repeats} interleaved repeats, mean (least..greatest).",
            "A step lasts from its start to the start of the next step in the same epoch. The mean includes "
            "what happens in some steps only: logging, the progress bar, last.ckpt.",
            "`over the loop` is a step's time minus the loop's. `of Lightning's` divides it, for the median "
            "step, by the same difference of Lightning with its defaults.",
            "The loop gathers its batches from a tensor of floats, and train.py from bytes; Lightning has "
            "its batches ready. All rows but one have augment=none, because augmentation is work on images.",
        ],
    )
    common = [
        "data=simulated",
        f"data.root={folder / 'galaxies'}",
        f"data.cache={folder / 'cache'}",
        f"data.batch_size={options.batch_size}",
        "crop=center64",
        "crop.size=8",
        *NETWORK,
        "trainer=cpu",
        f"trainer.max_epochs={options.epochs}",
        f"callbacks.early_stopping.patience={options.epochs}",
        f"hydra.run.dir={folder / 'run'}",
    ]
    ways: dict[str, Callable[[], Step]] = {
        name: partial(ours, folder, [*common, f"augment={augment}"]) for name, augment in AUGMENTS.items()
    }
    ways |= {name: partial(plain, folder, kind) for name, kind in PLAIN.items()}
    ours(folder, [*common, "trainer.max_epochs=2"])  # simulates the galaxies and fills the cache
    figures = dict(zip(ways, interleaved(list(ways.values()), options.repeats), strict=True))
    loop = figures["raw loop"]
    lightning = zip(figures["Lightning with its defaults"], loop, strict=True)
    usual = [step.median - bare.median for step, bare in lightning]
    for name, steps in figures.items():
        medians = [step.median for step in steps]
        means = [step.mean for step in steps]
        if steps is loop:
            report.rows.append((name, spread(medians, ".3f"), "", "", spread(means, ".3f"), ""))
            continue
        over = [step.median - bare.median for step, bare in zip(steps, loop, strict=True)]
        mean_over = [step.mean - bare.mean for step, bare in zip(steps, loop, strict=True)]
        report.rows.append(
            (
                name,
                spread(medians, ".3f"),
                spread(over, ".3f"),
                spread(ratios(over, usual), ".2f"),
                spread(means, ".3f"),
                spread(mean_over, ".3f"),
            )
        )
    return report


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_count(parser, "epochs", 15, "epochs of 2,000 galaxies, a fifth of which do not train", least=2)
    add_count(parser, "batch-size", 8, "images in a step")
    add_repeats(parser, 3)
    options = parser.parse_args()
    # train.py hides the GPUs by itself. Without this, an optimizer looks for a GPU in every step, for 0.1 ms.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    # The network takes microseconds. With more threads, their waiting for each other would be measured.
    os.environ["OMP_NUM_THREADS"] = "1"
    with TemporaryDirectory() as folder:
        report = measure(options, Path(folder))
    report.publish()


if __name__ == "__main__":
    main()
