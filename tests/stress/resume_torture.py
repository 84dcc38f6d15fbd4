"""Kills runs at random moments, resumes them, and compares them bit by bit with runs that nobody disturbed.

`python -m tests.stress.resume_torture --runs 20 --kills 2`, and `--sweep` for sweeps of three jobs.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch
from rich.progress import track

from benchmarks.options import add_count
from benchmarks.table import Report
from galaxy.runs.folder import RunFolder, find_runs

PROJECT = Path(__file__).parents[2]
# Small enough for many repeats, with dropout, augmentation and a plateau to wait for.
SETTINGS = (
    "data.catalog.count=400",
    "data.batch_size=16",
    "model=deep_cnn",
    "scheduler=plateau",
    "scheduler.scheduler.patience=1",
    "trainer.max_epochs=6",
    "trainer.enable_progress_bar=false",
    "callbacks.last.every_n_train_steps=2",
    "callbacks.last.max_overhead=1",
)
# Folders, and how long things took.
NOT_COMPARED = (
    "dirpath",
    "best_model_path",
    "last_model_path",
    "kth_best_model_path",
    "best_k_models",
    "progress",
    "Throughput",
)


@dataclass
class Trial:
    """What one run, or one sweep, went through.

    Attributes:
        kills: How often it was killed.
        seconds: That it ran altogether.
        differences: To the one that nobody disturbed.
    """

    kills: int
    seconds: float
    differences: list[str]


def trial(number: int, folder: Path, whole: Path, arguments: list[str], kills: int, longest: float) -> Trial:
    """Starts the command, kills it `kills` times at random moments, resumes it each time, and compares."""
    rng = random.Random(number)
    started = time.monotonic()
    killed = 0
    while killed < kills:
        process = _start(arguments, folder)
        try:
            status = process.wait(timeout=rng.uniform(0.2, 0.9) * longest)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
            continue
        if status:
            return Trial(killed, time.monotonic() - started, [f"exit status {status}"])
        break  # it was done before its time
    status = _start(arguments, folder).wait()
    differences = [f"exit status {status}"] if status else list(_compare(whole, folder))
    return Trial(killed, time.monotonic() - started, differences)


def _start(arguments: list[str], folder: Path) -> subprocess.Popen[bytes]:
    place = [f"hydra.sweep.dir={folder}"] if "-m" in arguments else [f"hydra.run.dir={folder}", "resume=auto"]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.out").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "train.py", *arguments, *place],
            cwd=PROJECT,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _compare(whole: Path, part: Path) -> list[str]:
    """A line for each file or value in which two folders of runs differ."""
    pairs = list(zip(find_runs(whole), find_runs(part), strict=True))
    return [f"{b.path.name}: {line}" for a, b in pairs for line in _compare_runs(a, b)]


def _compare_runs(a: RunFolder, b: RunFolder) -> list[str]:
    lines = []
    for name in ("best.ckpt", "last.ckpt"):
        contents = [torch.load(run.checkpoints / name, weights_only=True) for run in (a, b)]
        lines += [f"{name}{place}" for place in _differing(*contents)]
    metrics = [pd.read_csv(run.path / "metrics.csv").drop(columns="images_per_second") for run in (a, b)]
    if not metrics[0].equals(metrics[1]):
        lines.append("metrics.csv")
    if a.result().metrics != b.result().metrics or a.result().epochs != b.result().epochs:
        lines.append("result.json")
    if not pd.read_parquet(a.predictions_files["test"]).equals(pd.read_parquet(b.predictions_files["test"])):
        lines.append("predictions.parquet")
    return lines


def _differing(a: Any, b: Any, place: str = "") -> list[str]:
    if type(a) is not type(b):
        return [place]
    if isinstance(a, dict):
        keys = [key for key in dict.fromkeys([*a, *b]) if key not in NOT_COMPARED]
        return [line for key in keys for line in _differing(a.get(key), b.get(key), f"{place}/{key}")]
    if isinstance(a, list | tuple):
        if len(a) != len(b):
            return [place]
        return [
            line
            for i, pair in enumerate(zip(a, b, strict=True))
            for line in _differing(*pair, f"{place}/{i}")
        ]
    same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    return [] if same else [place]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_count(parser, "runs", 20, "runs to disturb")
    add_count(parser, "kills", 2, "of each")
    parser.add_argument("--sweep", action="store_true", help="disturb sweeps of three jobs instead")
    options = parser.parse_args()
    arguments = [*SETTINGS, *(["-m", "loss=mse,huber,weighted_mse"] if options.sweep else [])]
    what = "sweeps" if options.sweep else "runs"
    with TemporaryDirectory() as temporary:
        home = Path(temporary)
        arguments += [f"data.root={home}/simulated", f"data.cache={home}/cache"]
        _start(arguments, home / "first").wait()  # which also simulates and decodes
        started = time.monotonic()
        whole = home / "whole"
        if _start(arguments, whole).wait():
            raise SystemExit((home / "whole.out").read_text())
        longest = time.monotonic() - started
        trials = [
            trial(number, home / f"part{number}", whole, arguments, options.kills, longest)
            for number in track(range(options.runs), f"Killing {what}")
        ]
    report = Report(
        folder=Path(__file__).parent / "results",
        program="resume_torture" + ("_sweep" if options.sweep else ""),
        title=f"{what.capitalize()} killed with SIGKILL at random moments and resumed",
        columns=(what, "killed", "times", "bit-equal", "differing"),
        packages=("torch", "lightning"),
        notes=[
            f"An undisturbed one takes {longest:.0f} s, some of them imports; the moments are uniform from "
            "20 to 90 % of that, of what is left as well.",
            "Compared: weights, optimizer, schedules and bookkeeping of both checkpoints, metrics.csv "
            "without its speeds, result.json and predictions.parquet.",
        ],
    )
    equal = sum(not trial.differences for trial in trials)
    report.rows.append(
        (
            str(options.runs),
            str(sum(trial.kills > 0 for trial in trials)),
            str(sum(trial.kills for trial in trials)),
            f"{equal} of {options.runs}",
            str(options.runs - equal),
        )
    )
    report.publish()
    for number, one in enumerate(trials):
        for line in one.differences:
            print(f"{number}: {line}")
    raise SystemExit(equal < options.runs)


if __name__ == "__main__":
    main()
