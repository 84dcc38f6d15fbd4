"""A run that has a time in place of a number of epochs."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from galaxy.learning.task import GalaxyTask
from galaxy.runs import budget
from galaxy.runs.folder import RunFolder
from tests.conftest import Command
from tests.runs.test_independence import same_training

BUDGET = ["trainer.max_epochs=-1", "scheduler=onecycle", "callbacks=ema"]
HOUR = "trainer.max_time=00:01:00:00"


def takes(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Lets the three parts of an epoch in a trial, which happens all the same, take so long each."""

    def noted(clock: budget._Clock, part: str, trainer: Any) -> None:
        clock.epochs[-1][part] = seconds

    monkeypatch.setattr(budget._Clock, "_note", noted)


def same_rates(first: RunFolder, second: RunFolder) -> None:
    """Asserts that two runs are equal to the last bit, and had the same learning rates."""
    same_training(first, second)
    rates = [pd.read_csv(run.path / "metrics.csv").filter(like="lr-") for run in (first, second)]
    pd.testing.assert_frame_equal(*rates)


def test_the_schedule_has_as_many_epochs_as_there_is_time_for(
    command: Command, quick: list[str], tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    time = ["trainer.max_time={seconds:4}", "callbacks.early_stopping=null", f"hydra.run.dir={run.path}"]
    assert command("train.py", *quick, *BUDGET, *time) == 0
    planned = run.meta()["max_epochs"]
    assert planned >= run.result().epochs >= 1
    last = torch.load(run.last, weights_only=True)
    steps = math.ceil(run.meta()["data"]["train"] / 16)
    assert last["lr_schedulers"][0]["total_steps"] == planned * steps
    said = (run.path / "train.log").read_text()
    assert f"room for {planned} epochs" in said
    assert "are in memory" in said
    was_cut = last["global_step"] < planned * steps
    assert ("trainer.max_time ended the training after" in said) == was_cut
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    "settings",
    [
        ["model.frozen_epochs=1", "trainer.accumulate_grad_batches=2"],
        pytest.param(["augment.engine=albumentations", "data.workers=2"], marks=pytest.mark.slow),
    ],
    ids=lambda settings: settings[0],
)
def test_the_run_is_that_of_the_number_of_epochs_that_was_found(
    command: Command, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: list[str]
) -> None:
    takes(monkeypatch, 530)
    runs = [RunFolder(tmp_path / name) for name in ("time", "number")]
    arguments = [*quick, *BUDGET, *settings]
    assert command("train.py", *arguments, HOUR, f"hydra.run.dir={runs[0].path}") == 0
    assert runs[0].meta()["max_epochs"] == runs[0].result().epochs == 2
    assert command("train.py", *arguments, "trainer.max_epochs=2", f"hydra.run.dir={runs[1].path}") == 0
    assert "max_epochs" not in runs[1].meta()
    said = (runs[0].path / "train.log").read_text()
    assert "callbacks.early_stopping=null uses all of the time" in said
    same_rates(*runs)


def test_the_batches_that_a_trial_leaves_out_count(
    command: Command, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes(monkeypatch, 100)
    run = RunFolder(tmp_path / "run")
    settings = [*BUDGET, HOUR, "data.batch_size=2", f"hydra.run.dir={run.path}"]
    assert command("train.py", *quick, *settings) == 0
    batches = [math.ceil(run.meta()["data"][split] / 2) for split in ("train", "val")]
    assert batches[0] > 12
    epoch = 100 + sum(100 * count / min(count, 12) for count in batches)
    assert run.meta()["max_epochs"] == run.result().epochs == int(0.95 * 3600 / epoch)


def test_a_resumed_run_keeps_the_number(
    command: Command,
    quick: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    takes(monkeypatch, 333)
    whole, broken = (RunFolder(tmp_path / name) for name in ("whole", "broken"))
    assert command("train.py", *quick, *BUDGET, HOUR, f"hydra.run.dir={whole.path}") == 0
    original = GalaxyTask.training_step
    with monkeypatch.context() as patch:

        def stop_in_the_second_epoch(task: GalaxyTask, *arguments: Any) -> Any:
            if task.trainer.max_epochs != 2 and task.current_epoch == 1:  # the trial has two epochs
                os.kill(os.getpid(), signal.SIGTERM)
            return original(task, *arguments)

        patch.setattr(GalaxyTask, "training_step", stop_in_the_second_epoch)
        assert command("train.py", *quick, *BUDGET, HOUR, f"hydra.run.dir={broken.path}") == 143
    assert f"resume={broken.path}" in capsys.readouterr().err
    takes(monkeypatch, 50)  # the machine has become faster
    assert command("train.py", f"resume={broken.path}") == 0
    assert broken.meta()["max_epochs"] == broken.result().epochs == 3
    same_rates(whole, broken)


def test_a_signal_stops_the_trial(
    command: Command, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(clock: Any, trainer: Any, task: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    run = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(budget._Clock, "on_validation_start", stop)
        assert command("train.py", *quick, *BUDGET, HOUR, f"hydra.run.dir={run.path}") == 143
    assert run.result().status == "interrupted"
    assert "max_epochs" not in run.meta()


def test_too_little_time_is_said(
    command: Command,
    quick: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    takes(monkeypatch, 19)
    settings = ["trainer.max_time={seconds:59}", f"hydra.run.dir={tmp_path}/run"]
    assert command("train.py", *quick, *BUDGET, *settings) == 1
    said = "trainer.max_time is 59 s, but a single epoch needs 60.00 s on this machine: give more time"
    assert said in capsys.readouterr().err


def test_a_sweep_finds_the_number_of_each_job(
    command: Command, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes(monkeypatch, 1000)
    jobs = ["-m", "model=mean,deep_cnn", f"hydra.sweep.dir={tmp_path}/sweep"]
    assert command("train.py", *quick, "trainer.max_epochs=-1", HOUR, *jobs) == 0
    metas = [RunFolder(file.parent).meta() for file in sorted((tmp_path / "sweep").glob("*/meta.json"))]
    assert sorted(meta.get("max_epochs", 0) for meta in metas) == [0, 1]
