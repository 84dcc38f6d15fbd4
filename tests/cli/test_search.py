"""A search from its first trial to its end, with a kill in between."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from galaxy.learning.callbacks import Pruning
from galaxy.learning.task import GalaxyTask
from galaxy.reports.search import read_search
from galaxy.runs.folder import RunFolder
from tests.conftest import PROJECT, Command


class Killed(BaseException):
    """What SIGKILL is to a process: nothing in the program catches it."""


SEARCH = [
    "sweep=search",
    "optimizer.lr=choice(1e-3,1e-2,1e30)",
    "optimizer.weight_decay=0",
    "head=choice(tree,sigmoid)",
    "loss=choice(mse,cross_entropy)",
    "hydra.sweeper.n_trials=9",
    "hydra.sweeper.startup_trials=1",
]


def stays_pruned(command: Command, run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """Asserts that a run was pruned, and that it is not gone on with."""
    content = run.result_file.read_bytes()
    assert run.result().status == "pruned"
    assert run.best.exists()
    assert not any(file.exists() for file in run.predictions_files.values())
    assert command("train.py", f"resume={run.path}") == 0
    assert "(pruned before)" in capsys.readouterr().out
    assert run.result_file.read_bytes() == content


def kill_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills the program in the training step of that number, counted over all trials and rehearsals."""
    original, steps = GalaxyTask.training_step, 0

    def step(self: GalaxyTask, *arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == number:
            raise Killed
        return original(self, *arguments)

    monkeypatch.setattr(GalaxyTask, "training_step", step)


def test_a_search_goes_on_after_a_kill(
    command: Command,
    quick: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "search"
    space = ["sweep=search", "optimizer.lr=tag(log,interval(1e-4,1e-1))", "hydra.sweeper.n_trials=3"]
    kill_at(7, monkeypatch)  # in the second trial
    with pytest.raises(Killed):
        command("train.py", *quick, *space, "trainer.max_epochs=1", f"hydra.sweep.dir={folder}")
    before = read_search(folder)
    assert before is not None
    assert [trial.status for trial in before.trials] == ["done", "interrupted"]
    assert command("train.py", f"resume={folder}") == 0
    report = read_search(folder)
    assert report is not None
    assert [trial.status for trial in report.trials] == ["done", "done", "done"]
    assert report.trials[0] == before.trials[0]
    assert report.trials[1].settings == before.trials[1].settings
    assert report.best is not None
    best = f"Best trial: {report.best.number}, val/rmse {report.best.value:.5f}"
    assert best in capsys.readouterr().out


@pytest.mark.slow
def test_a_search_is_killed_goes_on_and_says_what_it_has_found(
    command: Command,
    quick: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kill_at(11, monkeypatch)
    folder = tmp_path / "search"
    with pytest.raises(Killed):
        command("train.py", *quick, *SEARCH, f"hydra.sweep.dir={folder}")
    before = read_search(folder)
    assert before is not None
    capsys.readouterr()
    assert command("train.py", f"resume={folder}") == 0
    said = capsys.readouterr().out
    report = read_search(folder)
    assert report is not None

    # Nothing is lost or repeated, and the trial that was killed went on.
    assert [trial.number for trial in report.trials] == list(range(9))
    assert before.trials[-1].status == "interrupted"
    assert report.trials[: len(before.trials) - 1] == before.trials[:-1]
    killed = report.trials[len(before.trials) - 1]
    assert killed.settings == before.trials[-1].settings
    assert killed.folder is not None
    assert "resumed" in RunFolder(folder / killed.folder).meta()
    own = [trial for trial in report.trials if trial.same_as is None]
    assert len({tuple(trial.settings.items()) for trial in own}) == len(own)
    assert {trial.status for trial in own} == {"done", "pruned", "diverged", "failed"}
    for trial in own:
        bad_pair = trial.settings["head"] == "sigmoid" and trial.settings["loss"] == "cross_entropy"
        assert (trial.status == "failed" and trial.folder is None) == bad_pair
    assert len(list(folder.glob("*/overrides.yaml"))) == len([t for t in own if t.folder is not None])

    # A pruned run is over.
    pruned = next(trial for trial in own if trial.status == "pruned")
    assert pruned.folder is not None
    assert "pruned: " in said
    assert "failed: " not in said
    stays_pruned(command, RunFolder(folder / pruned.folder), capsys)

    # The folder takes no other search, and what it holds is not shown as a result of that one.
    assert command("train.py", *quick, *SEARCH, "seed=1", f"hydra.sweep.dir={folder}") == 1
    refused = capsys.readouterr()
    assert "holds another search" in refused.err
    assert "Sweep folder" not in refused.out

    # The end of the search says what it has found, and the command repeats the best trial.
    assert report.best is not None
    assert f"Best trial: {report.best.number}, val/rmse {report.best.value:.5f}" in said
    line = said[said.index("Command of the best trial:") :].splitlines()[1]
    again = tmp_path / "again"
    assert command("train.py", *shlex.split(line)[2:], f"hydra.run.dir={again}") == 0
    objective = RunFolder(again).result().objective
    assert objective is not None
    assert objective["value"] == report.best.value


def started(arguments: list[str], output: Path) -> subprocess.Popen[bytes]:
    """Starts `train.py` in a process of its own."""
    command = [sys.executable, str(PROJECT / "train.py"), *arguments]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    with output.open("wb") as file:
        return subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)


@pytest.mark.slow
def test_two_processes_share_a_search_and_a_third_ends_what_both_left(
    quick: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "search"
    space = ["sweep=search", "optimizer.lr=tag(log,interval(1e-4,1e-1))", "hydra.sweeper.n_trials=8"]
    arguments = [*quick, *space, f"hydra.sweep.dir={folder}"]
    both = [started(arguments, tmp_path / name) for name in ("first", "second")]
    while len(list(folder.glob("*/result.json"))) < 3:
        assert all(process.poll() is None for process in both)
        time.sleep(0.05)
    for process in both:
        process.kill()  # SIGKILL
        process.wait()
    before = read_search(folder)
    assert before is not None
    results = {path: path.read_bytes() for path in folder.glob("*/result.json")}
    third = started([f"resume={folder}"], tmp_path / "third")
    assert third.wait() == 0, (tmp_path / "third").read_text()
    report = read_search(folder)
    assert report is not None
    assert [trial.number for trial in report.trials] == list(range(8))
    assert {trial.status for trial in report.trials} <= {"done", "pruned"}
    for earlier, later in zip(before.trials, report.trials, strict=False):
        assert earlier.settings.items() <= later.settings.items()
        assert earlier.status in ("interrupted", later.status)
    assert all(path.read_bytes() == content for path, content in results.items())
    assert len(list(folder.glob("*/overrides.yaml"))) == 8


def validated(**settings: Any) -> pl.Trainer:
    """A trainer after the validation at the end of its first epoch."""
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, **settings)
    trainer.callback_metrics["val/rmse"] = torch.tensor(2.0)
    trainer.fit_loop.epoch_loop.batch_progress.is_last_batch = True
    return trainer


def test_no_training_is_given_up_within_an_epoch() -> None:
    callback, trainer = Pruning("val/rmse", lambda epoch, value: True), validated()
    trainer.fit_loop.epoch_loop.batch_progress.is_last_batch = False
    callback.on_validation_end(trainer, pl.LightningModule())
    assert not trainer.should_stop


def test_a_training_that_was_given_up_stays_so_when_it_is_resumed() -> None:
    callback, again = (Pruning("val/rmse", lambda epoch, value: value > 1) for _ in range(2))
    trainer = validated()
    callback.on_validation_end(trainer, pl.LightningModule())
    assert trainer.should_stop
    checkpoint: dict[str, Any] = {}
    callback.on_save_checkpoint(trainer, pl.LightningModule(), checkpoint)
    again.on_load_checkpoint(trainer, pl.LightningModule(), checkpoint)
    assert again.pruned


def test_a_trial_that_went_on_without_its_search_is_taken_up_again() -> None:
    trainer = validated(max_epochs=1)
    callback = Pruning("val/rmse", lambda epoch, value: True)
    callback.on_load_checkpoint(trainer, pl.LightningModule(), {})
    callback.on_validation_end(trainer, pl.LightningModule())
    assert not callback.pruned  # the only epoch is over, so nothing is left to save
    assert not trainer.should_stop
