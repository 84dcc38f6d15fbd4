"""A run that has a time in place of a number of epochs."""

from __future__ import annotations

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

BUDGET = ["trainer.max_epochs=-1", "scheduler=onecycle", "callbacks=ema"]
HOUR = "trainer.max_time=00:01:00:00"


def seconds_of_an_epoch(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Lets the trial of a run, which happens all the same, come to a figure that no machine changes."""
    monkeypatch.setattr(budget._Clock, "epoch", lambda self, batches: seconds)


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    content: dict[str, torch.Tensor] = torch.load(run.best, weights_only=True)["state_dict"]
    return content


def same_runs(first: RunFolder, second: RunFolder) -> None:
    """Asserts that two runs are equal to the last bit."""
    ours, other = weights(first), weights(second)
    assert ours.keys() == other.keys()
    assert all(torch.equal(ours[name], other[name]) for name in ours)
    assert first.result().metrics == second.result().metrics
    rates = [pd.read_csv(run.path / "metrics.csv").filter(like="lr-") for run in (first, second)]
    pd.testing.assert_frame_equal(*rates)


def test_the_schedule_ends_with_the_time(command: Command, quick: list[str], tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    time = ["trainer.max_time={seconds:4}", f"hydra.run.dir={run.path}"]
    assert command("train.py", *quick, *BUDGET, *time) == 0
    planned = run.meta()["max_epochs"]
    assert planned >= run.result().epochs >= 1
    last = torch.load(run.last, weights_only=True)
    steps = last["global_step"] / run.result().epochs
    assert last["lr_schedulers"][0]["total_steps"] == pytest.approx(planned * steps, rel=0.2)
    assert f"room for {planned} epochs" in (run.path / "train.log").read_text()


def test_the_run_is_that_of_the_number_of_epochs_that_was_found(
    command: Command, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds_of_an_epoch(monkeypatch, 1500)
    runs = [RunFolder(tmp_path / name) for name in ("time", "number")]
    settings = ["model.frozen_epochs=1", *BUDGET]
    assert command("train.py", *quick, *settings, HOUR, f"hydra.run.dir={runs[0].path}") == 0
    assert runs[0].meta()["max_epochs"] == runs[0].result().epochs == 2
    number = ["trainer.max_epochs=2", f"hydra.run.dir={runs[1].path}"]
    assert command("train.py", *quick, *settings, *number) == 0
    assert "max_epochs" not in runs[1].meta()
    same_runs(*runs)


def test_a_resumed_run_keeps_the_number(
    command: Command,
    quick: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seconds_of_an_epoch(monkeypatch, 1000)
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
    seconds_of_an_epoch(monkeypatch, 100)  # the machine has become faster
    assert command("train.py", f"resume={broken.path}") == 0
    assert broken.meta()["max_epochs"] == broken.result().epochs == 3
    same_runs(whole, broken)


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


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["trainer.max_time={seconds:0.001}"], "trainer.max_time is 0.001 s, but an epoch takes about"),
        ([HOUR, "+trainer.check_val_every_n_epoch=100"], "the 100 epochs up to the first validation take"),
    ],
)
def test_too_little_time_is_said(
    command: Command,
    quick: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: list[str],
    said: str,
) -> None:
    seconds_of_an_epoch(monkeypatch, 100)
    assert command("train.py", *quick, *BUDGET, *settings, f"hydra.run.dir={tmp_path}/run") == 1
    assert said in capsys.readouterr().err


def test_the_batches_that_a_trial_leaves_out_count() -> None:
    clock = budget._Clock(None)
    clock.batches = {"train": [1.0, 1.0, 9.0], "val": [0.5, 0.5]}
    clock.seconds = 13.0
    assert clock.epoch({"train": 103, "val": 12}) == 13 + 100 * 1.0 + 10 * 0.5
