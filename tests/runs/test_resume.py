"""A run that was killed, or asked to stop, ends as if it had not been."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from galaxy.data.cache import open_cache
from galaxy.learning.task import GalaxyTask
from galaxy.runs.folder import RunFolder, find_runs
from tests.conftest import PROJECT, Command

# 48 galaxies train in batches of 6, so that an epoch has eight steps.
STEPS = 8
SETTINGS = ["data.batch_size=6", "trainer.max_epochs=3", "callbacks.last.max_overhead=1"]


class Killed(BaseException):
    """What SIGKILL is to a process: nothing in the program catches it."""


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Does something in the training step of that number, counted over all processes of a run."""

    def arm(step: int, act: Callable[[], Any], method: str = "training_step") -> None:
        original = getattr(GalaxyTask, method)
        seen = 0

        def counted(self: GalaxyTask, *arguments: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == step:
                act()
            return original(self, *arguments)

        monkeypatch.setattr(GalaxyTask, method, counted)
        monkeypatch.setattr("galaxy.runs.experiment.rehearse", lambda *_: None)  # its step is none of the run

    return arm


def kill() -> None:
    raise Killed


def fail() -> None:
    raise RuntimeError("the disk caught fire")


def same(first: Any, second: Any, where: str = "") -> None:
    """Asserts that two checkpoints, or parts of them, are equal to the last bit."""
    assert type(first) is type(second), where
    if isinstance(first, dict):
        assert list(first) == list(second), where
        for key in first:
            same(first[key], second[key], f"{where}/{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), where
        for index, (a, b) in enumerate(zip(first, second, strict=True)):
            same(a, b, f"{where}/{index}")
    elif isinstance(first, torch.Tensor):
        assert first.dtype == second.dtype, where
        assert torch.equal(first, second), where
    else:
        assert first == second, where


def same_runs(first: RunFolder, second: RunFolder) -> None:
    """Asserts that weights, optimizer, schedules, bookkeeping, metrics and predictions are equal."""
    for name in ("last.ckpt", "best.ckpt"):
        a, b = (torch.load(run.checkpoints / name, weights_only=True) for run in (first, second))
        for content in (a, b):
            content.pop("progress", None)  # seconds
            content.get("callbacks", {}).pop("Throughput", None)
            for state in content.get("callbacks", {}).values():
                for key in (
                    "dirpath",
                    "best_model_path",
                    "last_model_path",
                    "best_k_models",
                    "kth_best_model_path",
                ):
                    state.pop(key, None)  # the folders differ
        same(a, b, name)
    assert first.result().metrics == second.result().metrics
    assert first.result().epochs == second.result().epochs
    tables = [pd.read_csv(run.path / "metrics.csv") for run in (first, second)]
    pd.testing.assert_frame_equal(*(table.drop(columns="images_per_second") for table in tables))
    for split in ("val", "test"):
        predictions = (pd.read_parquet(run.predictions_files[split]) for run in (first, second))
        pd.testing.assert_frame_equal(*predictions)


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the runs that nothing stopped."""
    return tmp_path_factory.mktemp("wholes")


@pytest.fixture
def unbroken(command: Command, quick: list[str], wholes: Path) -> Callable[..., RunFolder]:
    """Trains to the end with these settings, once for all tests that ask for the same."""

    def trained(*settings: str) -> RunFolder:
        name = hashlib.sha256("\n".join(settings).encode()).hexdigest()[:16]
        run = RunFolder(wholes / name)
        if not run.result_file.exists():
            assert command("train.py", *quick, *SETTINGS, *settings, f"hydra.run.dir={run.path}") == 0
        return run

    return trained


@pytest.mark.parametrize(
    ("step", "every"),
    [
        (STEPS + 1, 3),
        *(
            pytest.param(step, every, marks=pytest.mark.slow)
            for step in (1, 2, 6, STEPS, STEPS + 1, 2 * STEPS + 4)
            for every in (1, 3)
            if (step, every) != (STEPS + 1, 3)
        ),
    ],
)
def test_a_run_killed_at_any_step_ends_the_same(
    command: Command,
    quick: list[str],
    unbroken: Callable[..., RunFolder],
    tmp_path: Path,
    at_step: Callable[..., None],
    step: int,
    every: int,
) -> None:
    often = f"callbacks.last.every_n_train_steps={every}"
    whole, broken = unbroken(often), RunFolder(tmp_path / "broken")
    at_step(step, kill)
    with pytest.raises(Killed):
        command("train.py", *quick, *SETTINGS, often, f"hydra.run.dir={broken.path}")
    assert command("train.py", f"resume={broken.path}") == 0
    same_runs(whole, broken)


@pytest.mark.parametrize(
    "more",
    [
        ["scheduler=plateau", "scheduler.scheduler.patience=0", "trainer.accumulate_grad_batches=3"],
        [
            "callbacks=ema",
            "+trainer.val_check_interval=0.25",
            "model.frozen_epochs=1",
            "model.trained_layers=2",
            "model.layer_decay=0.5",
            "optimizer.weight_decay_exclude_1d=true",
        ],
        *(
            pytest.param(more, marks=pytest.mark.slow)
            for more in (
                ["+trainer.val_check_interval=0.25"],
                ["trainer.accumulate_grad_batches=3"],
                ["model.frozen_epochs=1", "model.trained_layers=2", "model.layer_decay=0.5"],
                ["augment=colour", "augment.engine=albumentations", "data.workers=0"],
                ["scheduler=onecycle", "optimizer=sgd"],
                [
                    "callbacks.early_stopping.patience=1",
                    "callbacks.early_stopping.min_delta=1",
                    "trainer.max_epochs=5",
                ],
                ["target=question1", "loss=cross_entropy", "loss.class_weights=balanced"],
                ["model=resnet18", "model.frozen_epochs=1", "callbacks=ema"],
                ["trainer.precision=bf16-mixed", "trainer.gradient_clip_val=0.1"],
                ["callbacks.early_stopping.monitor=train/loss", "trainer.log_every_n_steps=5"],
                [
                    "+callbacks.own._target_=tests.helpers.own_callbacks.OwnAverage",
                    "scheduler=plateau",
                    "objective.metric=val/r2",
                ],
            )
        ),
    ],
    ids=lambda more: more[0],
)
def test_whatever_is_trained_how(
    command: Command, quick: list[str], tmp_path: Path, at_step: Callable[..., None], more: list[str]
) -> None:
    settings = [*quick, *SETTINGS, "callbacks.last.every_n_train_steps=1", *more]
    whole, broken = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "broken")
    assert command("train.py", *settings, f"hydra.run.dir={whole.path}") == 0
    for step in (STEPS - 3, 5):  # in the first epoch, then in what is left
        at_step(step, kill)
        with pytest.raises(Killed):
            command("train.py", *settings, "resume=auto", f"hydra.run.dir={broken.path}")
    assert command("train.py", *settings, "resume=auto", f"hydra.run.dir={broken.path}") == 0
    same_runs(whole, broken)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["validation_step", "on_validation_epoch_end", "on_train_epoch_end"])
def test_killed_between_two_epochs(
    command: Command, quick: list[str], tmp_path: Path, at_step: Callable[..., None], method: str
) -> None:
    settings = [*quick, *SETTINGS, "callbacks.last.every_n_train_steps=3"]
    whole, broken = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "broken")
    assert command("train.py", *settings, f"hydra.run.dir={whole.path}") == 0
    at_step(2, kill, method)
    with pytest.raises(Killed):
        command("train.py", *settings, f"hydra.run.dir={broken.path}")
    assert command("train.py", f"resume={broken.path}") == 0
    same_runs(whole, broken)


def test_a_run_that_was_moved_keeps_its_best_checkpoint(
    command: Command, quick: list[str], tmp_path: Path, at_step: Callable[..., None]
) -> None:
    # At this rate the first epoch is the best one.
    settings = [*quick, *SETTINGS, "optimizer.lr=0.03", "callbacks.last.every_n_train_steps=1"]
    settings += ["trainer.max_epochs=2"]
    whole, broken = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "broken")
    assert command("train.py", *settings, f"hydra.run.dir={whole.path}") == 0
    at_step(STEPS + 4, kill)
    with pytest.raises(Killed):
        command("train.py", *settings, f"hydra.run.dir={broken.path}")
    moved = RunFolder(broken.path.rename(tmp_path / "moved"))
    assert command("train.py", f"resume={moved.path}") == 0
    same_runs(whole, moved)


@pytest.mark.slow
def test_a_signal_in_the_last_step_of_a_job_ends_the_sweep(
    command: Command, quick: list[str], tmp_path: Path, at_step: Callable[..., None]
) -> None:
    sweep = [
        "-m",
        *quick,
        *SETTINGS,
        "loss=mse,huber",
        f"hydra.sweep.dir={tmp_path}",
        "hydra.sweep.subdir=J${hydra.job.num}",
    ]
    at_step(3 * STEPS, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert command("train.py", *sweep) == 130
    assert [run.path.name for run in find_runs(tmp_path)] == ["J0"]
    assert command("train.py", f"resume={tmp_path}") == 0
    assert [run.path.name for run in find_runs(tmp_path)] == ["J0", "J1"]


def test_killed_after_the_training(
    command: Command, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An early stop must not be forgotten, and nothing is trained again."""
    stop = ["callbacks.early_stopping.patience=1", "callbacks.early_stopping.min_delta=1"]
    settings = [*quick, *SETTINGS, *stop, "trainer.max_epochs=9"]
    whole, broken = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "broken")
    assert command("train.py", *settings, f"hydra.run.dir={whole.path}") == 0
    assert whole.result().epochs == 2
    with monkeypatch.context() as patch:
        patch.setattr("galaxy.runs.predict.Predictions.write", lambda *arguments: kill())
        with pytest.raises(Killed):
            command("train.py", *settings, f"hydra.run.dir={broken.path}")
    with monkeypatch.context() as patch:
        patch.setattr(GalaxyTask, "training_step", lambda *arguments: kill())
        assert command("train.py", f"resume={broken.path}") == 0
    same_runs(whole, broken)


@pytest.mark.parametrize(
    ("signum", "step"),
    [
        (signal.SIGINT, 3),
        (signal.SIGTERM, STEPS),
        (signal.SIGUSR1, 3 * STEPS),
        *(
            pytest.param(signum, step, marks=pytest.mark.slow)
            for place, signum in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGUSR1))
            for other, step in enumerate((3, STEPS, 3 * STEPS))
            if place != other
        ),
    ],
)
def test_a_signal_leaves_a_checkpoint_of_that_step(
    command: Command,
    quick: list[str],
    unbroken: Callable[..., RunFolder],
    tmp_path: Path,
    at_step: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    signum: signal.Signals,
    step: int,
) -> None:
    seldom = "callbacks.last.every_n_train_steps=1000"
    whole, broken = unbroken(seldom), RunFolder(tmp_path / "broken")
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    at_step(step, lambda: os.kill(os.getpid(), signum))
    assert command("train.py", *quick, *SETTINGS, seldom, f"hydra.run.dir={broken.path}") == 128 + signum
    assert f"resume={broken.path}" in capsys.readouterr().err
    result = broken.result()
    assert (result.status, result.error) == ("interrupted", f"interrupted by {signum.name}")
    assert torch.load(broken.last, weights_only=True)["global_step"] == step
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == before
    assert command("train.py", f"resume={broken.path}") == 0
    same_runs(whole, broken)


def test_a_signal_while_images_are_decoded_stops_at_once(
    command: Command, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return open_cache(*arguments)

    run = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("galaxy.data.datamodule.open_cache", interrupted)
        assert command("train.py", *quick, "trainer.max_epochs=1", f"hydra.run.dir={run.path}") == 143
    assert run.result().status == "interrupted"
    assert "Traceback" not in (run.path / "train.log").read_text()
    assert command("train.py", f"resume={run.path}") == 0
    assert "has no checkpoint yet, and starts from the beginning" in (run.path / "train.log").read_text()
    assert run.result().status == "done"


def test_a_folder_goes_on_only_if_asked_and_unchanged(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path / "run")
    quick, here = [*quick, "trainer.max_epochs=1"], f"hydra.run.dir={run.path}"
    assert command("train.py", *quick, "resume=auto", here) == 0  # nothing to resume yet
    finished = run.result_file.stat().st_mtime_ns
    capsys.readouterr()
    assert command("train.py", *quick, here) == 1
    assert "resume=auto goes on with it" in capsys.readouterr().err
    assert command("train.py", *quick, "resume=auto", "optimizer.lr=0.5", here) == 1
    assert "optimizer.lr was 0.001 and is 0.5" in capsys.readouterr().err
    assert command("train.py", f"resume={run.path}", "trainer.enable_progress_bar=true") == 0
    assert run.result_file.stat().st_mtime_ns == finished
    shown = capsys.readouterr().out
    assert "best checkpoint" in shown
    assert f"Run folder: {run.path} (done before)" in shown
    assert command("train.py", f"resume={tmp_path}/none") == 1
    assert "is neither auto, latest, the folder of a run nor that of a sweep" in capsys.readouterr().err


def test_other_data_are_refused(
    command: Command,
    quick: list[str],
    survey: Path,
    tmp_path: Path,
    at_step: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    here = f"hydra.run.dir={tmp_path}/run"
    root = tmp_path / "survey"
    root.mkdir()
    (root / "images_training_rev1").symlink_to(survey / "images_training_rev1")
    labels = (survey / "training_solutions_rev1.csv").read_text()
    (root / "training_solutions_rev1.csv").write_text(labels)
    at_step(2, kill)
    lone = [*quick, f"data.root={root}", "data.on_bad=skip"]
    with pytest.raises(Killed):
        command("train.py", *lone, here)
    (root / "training_solutions_rev1.csv").write_text("\n".join(labels.splitlines()[:-1]) + "\n")
    assert command("train.py", *lone, "resume=auto", here) == 1
    assert "the data have changed since" in capsys.readouterr().err


def test_a_run_that_another_program_is_at_work_in_is_left_alone(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunFolder(tmp_path / "run").claimed():
        assert command("train.py", *quick, f"hydra.run.dir={tmp_path}/run") == 1
    assert f"another program is running in {tmp_path}/run" in capsys.readouterr().err


def test_another_precision_is_refused(
    command: Command,
    quick: list[str],
    tmp_path: Path,
    at_step: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    auto = [*(o for o in quick if not o.startswith("trainer.precision")), "trainer.precision=auto"]
    here = f"hydra.run.dir={tmp_path}/run"
    monkeypatch.setattr("galaxy.runs.trainer.best_precision", lambda _: "32-true")
    at_step(2, kill)
    with pytest.raises(Killed):
        command("train.py", *auto, here)
    monkeypatch.setattr("galaxy.runs.trainer.best_precision", lambda _: "bf16-mixed")
    assert command("train.py", *auto, "resume=auto", here) == 1
    assert "was begun with precision 32-true, and here it would go on with bf16" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_refused(
    command: Command,
    quick: list[str],
    tmp_path: Path,
    at_step: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = RunFolder(tmp_path / "run")
    settings = [*quick, *SETTINGS, "callbacks.last.every_n_train_steps=1"]
    at_step(5, kill)
    with pytest.raises(Killed):
        command("train.py", *settings, f"hydra.run.dir={run.path}")
    run.last.write_bytes(run.last.read_bytes()[:-1000])
    assert command("train.py", f"resume={run.path}") == 1
    assert str(run.last) in capsys.readouterr().err


def test_a_sweep_goes_on_where_it_stopped(
    command: Command,
    quick: list[str],
    tmp_path: Path,
    at_step: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    sweep = ["-m", *quick, "model=mean,deep_cnn,center_pixel", *SETTINGS, "trainer.max_epochs=2"]
    sweep += ["callbacks.last.every_n_train_steps=3"]
    assert command("train.py", *sweep, f"hydra.sweep.dir={tmp_path}/whole") == 0
    at_step(STEPS + 4, lambda: os.kill(os.getpid(), signal.SIGINT))  # in the second job
    assert command("train.py", *sweep, f"hydra.sweep.dir={tmp_path}/broken") == 130
    said = capsys.readouterr()
    assert "interrupted" in said.out
    assert "2 of 3 jobs did not finish, 1 of which did not begin" in said.out
    assert (said.out + said.err).count("resume=") == 1  # one way to go on, that of the sweep
    assert f"resume={tmp_path}/broken" in said.out
    first = RunFolder(next((tmp_path / "broken").glob("0-*")))
    before = {path: path.stat().st_mtime_ns for path in first.path.rglob("*") if path.is_file()}
    assert command("train.py", f"resume={tmp_path}/broken") == 0
    shown = capsys.readouterr().out
    assert f"Run folder: {first.path} (done before)" in shown
    assert shown.count("best checkpoint") == 2  # the tables of the jobs that were missing
    after = {path: path.stat().st_mtime_ns for path in first.path.rglob("*") if path.is_file()}
    assert {path: time for path, time in after.items() if path.name not in ("train.log", ".lock")} == {
        path: time for path, time in before.items() if path.name not in ("train.log", ".lock")
    }
    whole, broken = (find_runs(tmp_path / name) for name in ("whole", "broken"))
    assert [run.path.name for run in broken] == [run.path.name for run in whole]
    assert [run.result().metrics for run in broken] == [run.result().metrics for run in whole]
    same_runs(whole[1], broken[1])


@pytest.mark.slow
def test_a_sweep_that_was_killed_ends_with_the_table_of_an_unbroken_one(
    command: Command, quick: list[str], tmp_path: Path
) -> None:
    # The mean does not depend on the seed, so these are three jobs.
    sweep = ["-m", *quick, "model=mean,deep_cnn", "seed=0,1", "trainer.max_epochs=30"]
    assert command("train.py", *sweep, f"hydra.sweep.dir={tmp_path}/whole") == 0
    words = [sys.executable, str(PROJECT / "train.py"), *sweep, f"hydra.sweep.dir={tmp_path}/broken"]
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    second = tmp_path / "broken" / "1-model=deep_cnn,seed=0"
    while not (second / "checkpoints" / "last.ckpt").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert RunFolder(second).result().status == "running"
    assert command("train.py", f"resume={tmp_path}/broken") == 0
    assert "resumed in epoch" in (second / "train.log").read_text()
    tables = [pd.read_csv(tmp_path / name / "comparison.csv") for name in ("whole", "broken")]
    tables = [table.drop(columns=["seconds", "images_per_second", "run"]) for table in tables]
    assert len(tables[0]) == 3
    pd.testing.assert_frame_equal(*tables, check_exact=True)


@pytest.mark.slow
def test_a_damaged_result_in_a_sweep_is_named_and_can_be_made_again(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = ["-m", *quick, "model=mean,center_pixel", f"hydra.sweep.dir={tmp_path}"]
    assert command("train.py", *sweep) == 0
    damaged = [run.result_file for run in find_runs(tmp_path)]
    results = [file.read_text() for file in damaged]
    for file in damaged:
        file.write_text(file.read_text()[:-10])
    capsys.readouterr()
    assert command("train.py", f"resume={tmp_path}") == 1
    said = capsys.readouterr().out
    for file in damaged:
        assert f"{file} is damaged" in said
        assert f"delete the file, and resume={file.parent} writes it again" in said
        file.unlink()
    assert command("train.py", f"resume={tmp_path}") == 0
    again = [json.loads(file.read_text()) for file in damaged]
    assert [r["metrics"] for r in again] == [json.loads(text)["metrics"] for text in results]


@pytest.mark.parametrize("change", ["model=mlp", "~callbacks.early_stopping", "+trainer.fast_dev_run=true"])
def test_a_sweep_does_not_become_another_one(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    recorded = "hydra: {overrides: {task: ['model=mean,mlp'], hydra: []}}"
    (tmp_path / "multirun.yaml").write_text(recorded)
    assert command("train.py", f"resume={tmp_path}", change) == 1
    assert f"{change} would make another sweep of the one in {tmp_path}" in capsys.readouterr().err
    assert (tmp_path / "multirun.yaml").read_text() == recorded


@pytest.mark.slow
def test_one_job_of_a_ready_made_sweep_goes_on_alone(
    command: Command,
    quick: list[str],
    tmp_path: Path,
    at_step: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = tmp_path / "conf" / "sweep"
    options.mkdir(parents=True)
    text = "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      loss: mse,huber\n"
    (options / "mine.yaml").write_text(text)
    mine = ["--config-dir", str(tmp_path / "conf")]
    at_step(2, lambda: os.kill(os.getpid(), signal.SIGINT))
    sweep = [*mine, *quick, "sweep=mine", f"hydra.sweep.dir={tmp_path}/sweep"]
    assert command("train.py", *sweep) == 130
    (job,) = find_runs(tmp_path / "sweep")
    capsys.readouterr()
    assert command("train.py", f"resume={job.path}") == 0  # the folder of options is remembered
    assert job.result().status == "done"
    assert len(find_runs(tmp_path / "sweep")) == 1
    assert command("train.py", f"resume={tmp_path}/sweep") == 0
    assert [run.result().status for run in find_runs(tmp_path / "sweep")] == ["done", "done"]


@pytest.mark.slow
def test_a_run_that_failed_after_a_checkpoint_makes_no_room_for_another(
    command: Command,
    quick: list[str],
    tmp_path: Path,
    at_step: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = RunFolder(tmp_path / "run")
    settings = [*quick, *SETTINGS, "callbacks.last.every_n_train_steps=1", f"hydra.run.dir={run.path}"]
    at_step(STEPS + 2, fail)
    with pytest.raises(RuntimeError, match="fire"):
        command("train.py", *settings)
    assert run.result().status == "failed"
    assert command("train.py", *settings, "optimizer.lr=0.5", "resume=auto") == 1
    assert "another configuration" in capsys.readouterr().err
    assert command("train.py", *settings) == 1
    assert "already holds a run" in capsys.readouterr().err
    assert command("train.py", f"resume={run.path}") == 0
    assert "resumed in epoch 2" in (run.path / "train.log").read_text()
    assert run.result().status == "done"


def test_a_failed_job_runs_again_and_the_others_do_not(
    command: Command, quick: list[str], tmp_path: Path, at_step: Callable[..., None]
) -> None:
    sweep = ["-m", *quick, "model=deep_cnn,mean", *SETTINGS, "trainer.max_epochs=1"]
    sweep += [f"hydra.sweep.dir={tmp_path}/sweep"]
    at_step(3, fail)
    assert command("train.py", *sweep) == 1
    runs = find_runs(tmp_path / "sweep")
    assert [run.result().status for run in runs] == ["failed", "done"]
    assert "Traceback" in (runs[0].path / "train.log").read_text()
    done = runs[1].result_file.stat().st_mtime_ns
    assert command("train.py", *sweep) == 0  # the same command again
    assert [run.result().status for run in runs] == ["done", "done"]
    assert runs[1].result_file.stat().st_mtime_ns == done
