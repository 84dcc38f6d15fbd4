"""A sweep whose jobs run in several processes is the same sweep."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from galaxy.runs.folder import RunFolder, find_runs
from tests.conftest import PROJECT, Command

pytestmark = pytest.mark.slow
JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]


def start(*arguments: str) -> subprocess.Popen[str]:
    """Starts `train.py`. In the tests it is a process of its own, because the jobs import what it is."""
    words = [sys.executable, str(PROJECT / "train.py"), *arguments]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_the_table_of_jobs_at_a_time_is_that_of_jobs_in_a_row(
    command: Command, quick: list[str], tmp_path: Path
) -> None:
    sweep = ["-m", *quick, "model=mean,deep_cnn", "seed=0,1"]
    assert command("train.py", *sweep, f"hydra.sweep.dir={tmp_path}/row") == 0
    together = start(*sweep, *JOBLIB, f"data.cache={tmp_path}/cache", f"hydra.sweep.dir={tmp_path}/together")
    said, _ = together.communicate(timeout=300)
    assert together.returncode == 0, said
    assert "Of 2 jobs with model=mean 1 is run" in said
    assert said.count("Decoding 80 images") == 1  # two jobs need them at the same time
    tables = [pd.read_csv(tmp_path / name / "comparison.csv") for name in ("row", "together")]
    tables = [table.drop(columns=["seconds", "images_per_second", "run"]) for table in tables]
    assert len(tables[0]) == 3
    pd.testing.assert_frame_equal(*tables, check_exact=True)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_jobs_and_the_sweep_can_go_on(
    command: Command, quick: list[str], tmp_path: Path, signum: signal.Signals
) -> None:
    endless = ["trainer.max_epochs=100000", "~callbacks.early_stopping"]
    sweep = start("-m", *quick, *endless, "seed=0,1,2", *JOBLIB, f"hydra.sweep.dir={tmp_path}")
    lasts = [tmp_path / f"{seed}-seed={seed}" / "checkpoints" / "last.ckpt" for seed in (0, 1)]
    while not all(last.exists() for last in lasts):
        assert sweep.poll() is None
        time.sleep(0.1)
    jobs = psutil.Process(sweep.pid).children(recursive=True)
    os.kill(sweep.pid, signum)
    said, _ = sweep.communicate(timeout=100)
    assert sweep.returncode == 128 + signum
    assert "3 of 3 jobs did not finish, 1 of which did not begin" in said
    _, alive = psutil.wait_procs(jobs, timeout=20)
    assert alive == []
    assert {run.result().status for run in find_runs(tmp_path)} <= {"running", "interrupted"}
    assert RunFolder(lasts[0].parent.parent).begun
