"""What a run must not depend on: workers, caches and the number of processes."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import torch

from galaxy.runs.folder import RunFolder
from tests.conftest import PROJECT, Command
from tests.runs.test_resume import same

AUGMENTED = ["augment=affine", "data.batch_size=12"]
ALBUMENTATIONS = [*AUGMENTED, "augment.engine=albumentations"]


def run(command: Command, settings: list[str], folder: Path) -> RunFolder:
    assert command("train.py", *settings, f"hydra.run.dir={folder}") == 0
    return RunFolder(folder)


def same_training(first: RunFolder, second: RunFolder) -> None:
    """Asserts that weights, optimizer, schedule, metrics and predictions are equal to the last bit."""
    resumable = ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step")
    for name, parts in (("last.ckpt", resumable), ("best.ckpt", ("state_dict",))):
        a, b = (torch.load(run.checkpoints / name, weights_only=True) for run in (first, second))
        for part in parts:
            same(a[part], b[part], f"{name}/{part}")
    assert first.result().metrics == second.result().metrics
    for split in ("val", "test"):
        predictions = (pd.read_parquet(run.predictions_files[split]) for run in (first, second))
        pd.testing.assert_frame_equal(*predictions)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["batch", "albumentations"])
def test_a_warm_cache_and_another_cold_one_change_nothing(
    command: Command, quick: list[str], tmp_path: Path, engine: str
) -> None:
    settings = [*quick, *AUGMENTED, f"augment.engine={engine}", "data.workers=0"]
    first, second = f"data.cache={tmp_path}/first", f"data.cache={tmp_path}/second"
    cold = run(command, [*settings, first], tmp_path / "cold")
    warm = run(command, [*settings, first], tmp_path / "warm")
    other = run(command, [*settings, second], tmp_path / "other")
    same_training(cold, warm)
    same_training(cold, other)


@pytest.mark.slow
def test_threads_that_decode_change_nothing(command: Command, quick: list[str], tmp_path: Path) -> None:
    runs = [
        run(
            command,
            [*quick, *AUGMENTED, f"data.workers={workers}", f"data.cache={tmp_path}/cache{workers}"],
            tmp_path / str(workers),
        )
        for workers in ("0", "1", "4", "null")
    ]
    for other in runs[1:]:
        same_training(runs[0], other)


@pytest.mark.slow  # each worker is a process that imports torch
@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker")  # more than this machine's cores
def test_workers_that_augment_change_nothing(command: Command, quick: list[str], tmp_path: Path) -> None:
    runs = [
        run(command, [*quick, *ALBUMENTATIONS, f"data.workers={workers}"], tmp_path / str(workers))
        for workers in (0, 1, 4)
    ]
    for other in runs[1:]:
        same_training(runs[0], other)


def seen(folder: Path) -> dict[tuple[str, int], Counter[int]]:
    """How often each row was in a batch of any process, by split and epoch."""
    found: dict[tuple[str, int], Counter[int]] = {}
    for file in folder.glob("*.txt"):
        for line in file.read_text().splitlines():
            split, epoch, *rows = line.split()
            found.setdefault((split, int(epoch)), Counter()).update(map(int, rows))
    return found


def losses(run: RunFolder) -> list[float]:
    """Those that the training logged."""
    return pd.read_csv(run.path / "metrics.csv")["train/loss"].dropna().tolist()


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
DDP = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.max_epochs=2"]


def start(starter: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Starts train.py by itself or by a launcher."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT)}
    command = [*starter, str(PROJECT / "train.py"), *arguments]
    return subprocess.run(
        command, env=environment, timeout=120, stderr=subprocess.PIPE, text=True, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("starter", [[sys.executable], TORCHRUN], ids=["python", "torchrun"])
def test_two_processes_train_the_same_network_as_one(
    command: Command, quick: list[str], tmp_path: Path, starter: list[str]
) -> None:
    # A network without dropout and batch statistics, which differ between processes by design.
    recorder = "+callbacks.recorder={_target_: tests.helpers.recorder.Recorder, folder: FOLDER}"
    for name in ("one", "two"):
        (tmp_path / name / "seen").mkdir(parents=True)
    same = [*quick, "model=sirressi_cnn", "augment=none"]
    settings = [*same, "data.batch_size=16", recorder.replace("FOLDER", f"'{tmp_path}/one/seen'")]
    alone = run(command, settings, tmp_path / "one")
    settings = [
        *same,
        *DDP,
        *([] if starter == TORCHRUN else ["trainer.devices=2"]),
        *("data.batch_size=8", f"hydra.run.dir={tmp_path}/two"),
        recorder.replace("FOLDER", f"'{tmp_path}/two/seen'"),
    ]
    done = start(starter, *settings)
    assert done.returncode == 0, done.stderr
    assert "sync_dist" not in done.stderr  # advice that is no news here
    assert done.stderr.count("epoch 1/2: val/rmse") == 1
    both = RunFolder(tmp_path / "two")
    assert both.result().status == "done"
    assert both.result().metrics == pytest.approx(alone.result().metrics, abs=1e-6)
    assert losses(both) == pytest.approx(losses(alone), rel=1e-5)  # not that of the first process
    for name in ("predictions.parquet", "predictions_val.parquet"):
        one, two = (pd.read_parquet(run.path / name) for run in (alone, both))
        pd.testing.assert_frame_equal(two, one, rtol=0, atol=1e-6)
    # Each galaxy once an epoch, in one process or the other.
    assert len(list((both.path / "seen").iterdir())) == 2
    assert seen(both.path / "seen") == seen(alone.path / "seen")
    for counts in seen(both.path / "seen").values():
        assert set(counts.values()) == {1}
    sizes = {split: len(counts) for (split, _), counts in seen(both.path / "seen").items()}
    assert sizes == {split: both.meta()["data"][split] for split in ("train", "val")}


@pytest.mark.slow
def test_two_processes_stop_at_a_signal_to_one_of_them_and_go_on(
    command: Command, quick: list[str], tmp_path: Path
) -> None:
    same = [*quick, "model=sirressi_cnn", "augment=none"]
    alone = run(command, [*same, "data.batch_size=16"], tmp_path / "one")
    both = RunFolder(tmp_path / "two")
    stopper = "+callbacks.stopper={_target_: tests.helpers.stopper.Stopper}"
    settings = [*same, *DDP, "data.batch_size=8", "callbacks.last.every_n_train_steps=1", stopper]
    done = start(TORCHRUN, *settings, f"hydra.run.dir={both.path}")
    assert done.returncode != 0
    assert "Go on under torchrun with: galaxy train resume=" in done.stderr
    assert (both.result().status, both.result().error) == ("interrupted", "interrupted by SIGTERM")
    assert torch.load(both.last, weights_only=True)["global_step"] == 2  # of the three in an epoch
    refused = start([sys.executable], f"resume={both.path}", "trust=[tests]")
    assert "was begun by 2 processes and would go on with 1: start it with 2" in refused.stderr
    done = start(TORCHRUN, f"resume={both.path}", "trust=[tests]")
    assert done.returncode == 0, done.stderr
    for name in ("metrics.csv", "predictions.parquet"):
        one, two = (
            pd.read_csv(run.path / name) if name == "metrics.csv" else pd.read_parquet(run.path / name)
            for run in (alone, both)
        )
        speed = [column for column in one if column == "images_per_second"]
        pd.testing.assert_frame_equal(two.drop(columns=speed), one.drop(columns=speed), rtol=0, atol=1e-6)
