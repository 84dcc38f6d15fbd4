"""Training through the real command line, and the run folder it leaves."""

import errno
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import Tensor

from galaxy.runs.folder import RunFolder, find_runs
from tests.conftest import Command


def test_a_run_leaves_the_whole_folder(command: Command, quick: list[str], tmp_path: Path) -> None:
    assert command("train.py", *quick, f"hydra.run.dir={tmp_path}/run", "seed=3") == 0
    run = tmp_path / "run"
    names = {file.name for file in run.iterdir()}
    assert {
        "config.yaml",
        "overrides.yaml",
        "meta.json",
        "metrics.csv",
        "result.json",
        "predictions.parquet",
        "predictions_val.parquet",
        "train.log",
    } <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert {file.name for file in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}

    result = json.loads((run / "result.json").read_text())
    assert result["status"] == "done"
    assert result["error"] is None
    assert result["epochs"] == 2
    assert result["checkpoint"] == "checkpoints/best.ckpt"
    questions = {f"test/rmse/q{i:02}" for i in range(1, 12)}
    assert {"val/rmse", "test/rmse", "test/r2", *questions} <= set(result["metrics"])
    assert 0 < result["baselines"]["mean"]["test/rmse"] < 1
    assert result["labels"] == "cumulative"
    assert f"{result['parameters']:,} parameters" in (run / "train.log").read_text()

    meta = json.loads((run / "meta.json").read_text())
    assert meta["format"] == 1
    assert meta["seed"] == 3
    assert "seed=3" in yaml.safe_load((run / "overrides.yaml").read_text())
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["batch_size"] == 16
    assert {"torch", "lightning"} <= set(meta["versions"])

    said = (run / "train.log").read_text()
    assert "data=kaggle" in said
    assert "epoch 2/2: val/rmse" in said

    metrics = pd.read_csv(run / "metrics.csv")
    assert {"train/rmse", "val/rmse", "val/rmse/q01", "images_per_second"} <= set(metrics.columns)
    # Of two epochs the faster: the first may also have compiled something.
    assert result["images_per_second"] == pytest.approx(metrics["images_per_second"].max(), rel=1e-3)

    predictions = pd.read_parquet(run / "predictions.parquet")
    truth = [name for name in predictions.columns if name.startswith("true/")]
    predicted = [name.removeprefix("true/") for name in truth]
    error = predictions[predicted].to_numpy(np.float64) - predictions[truth].to_numpy(np.float64)
    assert np.sqrt(np.square(error).mean()) == pytest.approx(result["metrics"]["test/rmse"], abs=1e-6)


def test_a_network_beats_the_mean_on_what_can_be_seen(
    command: Command, quick: list[str], tmp_path: Path
) -> None:
    longer = [*quick, "trainer.max_epochs=12", "augment=none", "optimizer.lr=3e-3"]
    assert command("train.py", *longer, f"hydra.run.dir={tmp_path}/run") == 0
    result = RunFolder(tmp_path / "run").result()
    smooth = result.metrics["test/rmse/q01"]
    mean = mean_rmse_of_first_question(tmp_path / "run")
    assert smooth < 0.6 * mean


def mean_rmse_of_first_question(run: Path) -> float:
    table = pd.read_parquet(run / "predictions.parquet")
    truth = table[["true/Class1.1", "true/Class1.2", "true/Class1.3"]].to_numpy()
    return float(np.sqrt(np.square(truth - truth.mean(0)).mean()))


def test_the_same_seed_gives_the_same_weights(command: Command, quick: list[str], tmp_path: Path) -> None:
    settings = [*quick, "augment=affine", "trainer.max_epochs=1"]
    for name in ("a", "b"):
        assert command("train.py", *settings, f"hydra.run.dir={tmp_path}/{name}") == 0
    a, b = (
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("a", "b")
    )
    assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("model", ["mean", "center_pixel", "average_color"])
def test_a_baseline_is_a_run_like_any_other(
    command: Command, quick: list[str], tmp_path: Path, model: str
) -> None:
    assert command("train.py", *quick, f"model={model}", f"hydra.run.dir={tmp_path}/run") == 0
    result = RunFolder(tmp_path / "run").result()
    assert result.status == "done"
    assert result.epochs == 1
    assert {file.name for file in (tmp_path / "run" / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    for metric, value in result.baselines.get(model, {}).items():
        assert result.metrics[metric] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("setting", ["trainer.accelerator=gpu", "trainer.precision=16-mixed"])
def test_hardware_that_is_not_there_is_named_first(
    command: Command,
    quick: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    setting: str,
) -> None:
    wanted = ["trainer.accelerator=auto", setting, "data.root=/nowhere"]
    assert command("train.py", *quick, *wanted, f"hydra.run.dir={tmp_path}/run") == 1
    message = capsys.readouterr().err
    assert setting in message
    assert "/nowhere" not in message


LBFGS = ["optimizer._target_=torch.optim.LBFGS", "~optimizer.weight_decay", "~optimizer.fused"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["+optimizer.betas=[0.9,2]"], "optimizer: Invalid beta parameter at index 1: 2 (lr="),
        (["+optimizer.foreach=true"], "`fused` and `foreach` cannot"),
        (["scheduler=onecycle", "scheduler.scheduler.pct_start=2"], "pct_start is 2; it must be above 0 and"),
        (["scheduler=plateau", "scheduler.scheduler.factor=2"], "scheduler.scheduler: Factor should be"),
        (["model=mlp", "model.body_lr_factor=0.1", *LBFGS], "LBFGS doesn't support per-parameter options"),
    ],
)
def test_what_an_optimizer_refuses_is_said_before_any_data_are_read(
    command: Command,
    quick: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    settings: list[str],
    said: str,
) -> None:
    nowhere = [f"data.root={tmp_path}/nowhere", f"hydra.run.dir={tmp_path}/run"]
    assert command("train.py", *quick, *nowhere, *settings) == 1
    assert capsys.readouterr().err.count(said) == 1
    assert said in (tmp_path / "run" / "train.log").read_text()


def test_a_schedule_may_differ_for_the_two_groups_of_parameters(
    command: Command, quick: list[str], tmp_path: Path
) -> None:
    least = ["+scheduler.scheduler.min_lr=[1e-6,1e-5]", "+scheduler.scheduler._convert_=all"]
    groups = ["model=mlp", "model.pixels=8", "model.hidden=[8]", "model.body_lr_factor=0.1"]
    settings = [*groups, "scheduler=plateau", *least, f"hydra.run.dir={tmp_path}/run"]
    assert command("train.py", *quick, *settings) == 0


def test_a_network_may_see_fewer_pixels_than_the_crop_has(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [*quick, "model=mlp", "model.pixels=8", "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}/run"]
    assert command("train.py", *small, "model.input_size=16") == 0
    assert command("evaluate.py", f"run={tmp_path}/run", "tta=4", f"out={tmp_path}/out") == 0
    assert command("train.py", *small, "model.input_size=33") == 2
    assert "model.input_size is 33; it must be 1 or more and at most crop.size=32" in capsys.readouterr().err


def test_what_does_not_learn_by_steps_needs_no_optimizer(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["model=mean", "+optimizer.eps=-1", "model.layer_decay=0.5", f"hydra.run.dir={tmp_path}/run"]
    assert command("train.py", *quick, *settings) == 0
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if "model=mean ignores" in line]
    assert warning.endswith("+optimizer.eps=-1, model.layer_decay=0.5")
    assert "data.batch_size" not in warning


def test_a_folder_is_never_used_twice(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = f"hydra.run.dir={tmp_path}/run"
    assert command("train.py", *quick, "model=mean", folder) == 0
    before = (tmp_path / "run" / "result.json").read_bytes()
    assert command("train.py", *quick, "model=mean", folder) == 1
    assert "already holds a run" in capsys.readouterr().err
    assert (tmp_path / "run" / "result.json").read_bytes() == before


def test_a_run_that_failed_at_once_makes_room_for_the_corrected_one(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick, folder = [*quick, "trainer.max_epochs=1"], f"hydra.run.dir={tmp_path}/run"
    assert command("train.py", *quick, "+optimizer.eps=-1", folder) == 1
    assert "optimizer: Invalid epsilon value: -1" in capsys.readouterr().err
    failed = RunFolder(tmp_path / "run")
    assert failed.result().status == "failed"
    events = set(failed.path.glob("events.out.tfevents.*"))
    assert events
    assert command("train.py", *quick, folder) == 0
    assert failed.result().status == "done"
    assert "+optimizer.eps=-1" not in failed.overrides()
    assert not events & set(failed.path.glob("events.out.tfevents.*"))


def test_a_diverged_run_says_so_and_keeps_no_bad_checkpoint(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = [*quick, "optimizer=sgd", "optimizer.lr=1e30", "head=linear"]
    assert command("train.py", *bad, f"hydra.run.dir={tmp_path}/run") == 1
    assert "optimizer.lr" in capsys.readouterr().err
    result = RunFolder(tmp_path / "run").result()
    assert result.status == "diverged"
    assert not list((tmp_path / "run" / "checkpoints").glob("*.ckpt"))


@pytest.mark.parametrize("precision", ["64-true", "32-true", "bf16-mixed"])
def test_every_precision_of_the_cpu_trains(
    command: Command, quick: list[str], tmp_path: Path, precision: str
) -> None:
    settings = ["crop.channels=1", f"trainer.precision={precision}", "loss=huber", "trainer.max_epochs=1"]
    run = [*quick, *settings, f"hydra.run.dir={tmp_path}/run"]
    assert command("train.py", *run) == 0
    assert RunFolder(tmp_path / "run").result().status == "done"


def test_a_network_that_learned_nothing_says_so(command: Command, quick: list[str], tmp_path: Path) -> None:
    assert command("train.py", *quick, "optimizer.lr=1e-30", f"hydra.run.dir={tmp_path}/run") == 0
    assert "has learned nothing" in (tmp_path / "run" / "train.log").read_text()


def test_accumulated_batches_are_one_step_of_the_schedule(
    command: Command, quick: list[str], tmp_path: Path
) -> None:
    settings = ["trainer.accumulate_grad_batches=2", "trainer.log_every_n_steps=1", "scheduler=cosine"]
    assert command("train.py", *quick, *settings, f"hydra.run.dir={tmp_path}/run") == 0
    rates = pd.read_csv(tmp_path / "run" / "metrics.csv")["lr-AdamW/network"].dropna()
    assert rates.iloc[0] == pytest.approx(1e-3)
    assert rates.iloc[-1] < 4e-4  # half a cosine over all steps ends near 0


@pytest.mark.parametrize(("interval", "rows"), [(2, 3), (50, 2)])
def test_the_loss_is_logged_once_an_interval_and_once_an_epoch(
    command: Command, quick: list[str], tmp_path: Path, interval: int, rows: int
) -> None:
    # Of its batches five make a step, or what is left of them: three steps an epoch.
    settings = ["data.batch_size=3", "trainer.accumulate_grad_batches=5", "trainer.max_epochs=2"]
    settings += [f"trainer.log_every_n_steps={interval}", f"hydra.run.dir={tmp_path}/run"]
    assert command("train.py", *quick, *settings) == 0
    logged = pd.read_csv(tmp_path / "run" / "metrics.csv").dropna(subset="train/loss")
    assert len(logged) == rows
    assert logged["step"].is_unique


def test_votes_train_a_dirichlet_multinomial(command: Command, quick: list[str], tmp_path: Path) -> None:
    simulated = [
        "data=simulated",
        f"data.root={tmp_path}/simulated",
        "data.catalog.count=40",
        "data.catalog.workers=1",
        "loss=dirichlet_multinomial",
    ]
    run = [*quick[2:], *simulated, f"hydra.run.dir={tmp_path}/run"]
    assert command("train.py", *run) == 0
    result = RunFolder(tmp_path / "run").result()
    for metric in ("val/rmse", "test/rmse"):
        assert 0 < result.baselines["noise_floor"][metric] < result.baselines["mean"][metric]


def test_a_sweep_runs_all_jobs_and_ends_with_one_table(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = f"hydra.sweep.dir={tmp_path}/sweep"
    status = command("train.py", "-m", *quick, "model=mean,deep_cnn", "optimizer.lr=1e-3,1e30", sweep)
    table = pd.read_csv(tmp_path / "sweep" / "comparison.csv")
    assert len(table) == 3
    assert set(table["model"]) == {"mean", "deep_cnn"}
    assert list(table["status"]) == ["done", "done", "diverged"]
    assert table["val/rmse"][:2].is_monotonic_increasing
    assert "finite" in table["error"][2] or "optimizer.lr" in table["error"][2]
    assert status == 1  # one job did not finish
    shown = capsys.readouterr().out
    ignored = "the others differ only in what mean ignores (optimizer.lr)"
    assert f"Of 2 jobs with model=mean 1 is run: {ignored}" in shown
    assert "diverged" in shown
    assert "1 of 3 jobs did not finish" in shown
    assert len(find_runs(tmp_path / "sweep")) == 3
    names = {run.path.name for run in find_runs(tmp_path / "sweep")}
    assert all("model=" in name and "optimizer.lr=" in name for name in names)


def test_a_job_that_cannot_begin_leaves_the_others_alone(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = ["-m", *quick, "model=mean,center_pixel", f"hydra.sweep.dir={tmp_path}/sweep"]
    (tmp_path / "sweep" / "0-model=mean").mkdir(parents=True)
    with RunFolder(tmp_path / "sweep" / "0-model=mean").claimed():
        assert command("train.py", *sweep) == 1
    said = capsys.readouterr()
    assert "another program is running in" in said.err
    assert "center_pixel" in said.out
    assert RunFolder(tmp_path / "sweep" / "1-model=center_pixel").result().status == "done"


@pytest.mark.slow
def test_a_sweep_over_all_options_of_a_group(command: Command, quick: list[str], tmp_path: Path) -> None:
    sweep = ["-m", *quick, "model=glob(*mean*)", "target=glob([a*,f*])", f"hydra.sweep.dir={tmp_path}/sweep"]
    assert command("train.py", *sweep) == 0
    names = [run.path.name for run in find_runs(tmp_path / "sweep")]
    assert names == ["0-target=auto", "1-target=fractions"]


def test_a_sweep_over_nothing_is_a_mistake(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = ["-m", *quick, "scheduler=glob(zz*)", f"hydra.sweep.dir={tmp_path}/sweep"]
    assert command("train.py", *sweep) == 2
    said = capsys.readouterr().err
    assert "scheduler sweeps over nothing: scheduler=glob(zz*)" in said
    assert "onecycle" in said


@pytest.mark.parametrize("setting", ["data.cache", "hydra.run.dir"])
def test_a_folder_that_is_a_file_is_named(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str
) -> None:
    (tmp_path / "file").write_text("taken")
    folders = {"hydra.run.dir": f"{tmp_path}/run", setting: f"{tmp_path}/file/x"}
    chosen = [f"{name}={folder}" for name, folder in folders.items()]
    assert command("train.py", *quick, "model=mean", *chosen) == 1
    message = capsys.readouterr().err
    assert f"{tmp_path}/file" in message
    assert "a part of the path is a file" in message


def test_a_job_of_a_sweep_is_not_distributed(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", f"hydra.sweep.dir={tmp_path}/sweep"]
    assert command("train.py", "-m", *quick, *two) == 1
    assert "train the jobs one by one" in capsys.readouterr().err


def test_frozen_weights_are_refused_in_several_processes_before_images_are_read(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", f"hydra.run.dir={tmp_path}/run"]
    assert command("train.py", *quick, *two, "model.frozen_epochs=1") == 1
    said = capsys.readouterr()
    assert "model.frozen_epochs and model.trained_layers work in one process only" in said.err
    assert "Decoding" not in said.out


def test_a_folder_that_cannot_be_made_is_named(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(self: Path, *arguments: object, **named: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        assert command("train.py", *quick, f"hydra.run.dir={tmp_path}/run") == 1
    message = capsys.readouterr().err
    assert f"{tmp_path}/run" in message
    assert "choose another folder" in message


def test_the_flag_of_a_sweep_may_stand_anywhere(command: Command, quick: list[str], tmp_path: Path) -> None:
    sweep = [*quick, "model=decision_tree", "-m", "seed=0,1", f"hydra.sweep.dir={tmp_path}/sweep"]
    assert command("train.py", *sweep) == 0
    assert len(find_runs(tmp_path / "sweep")) == 2
    assert json.loads((tmp_path / "sweep" / "sweep.json").read_text()) == {"planned": 2}
    assert {run.result().parameters for run in find_runs(tmp_path / "sweep")} == {None}


def test_fused_optimizers_clip_in_mixed_precision(command: Command, quick: list[str], tmp_path: Path) -> None:
    settings = ["trainer.precision=bf16-mixed", "trainer.gradient_clip_val=1e-9", "optimizer=sgd"]
    settings += ["scheduler=none", "~callbacks.early_stopping"]
    assert command("train.py", *quick, *settings, f"hydra.run.dir={tmp_path}/run") == 0
    run = RunFolder(tmp_path / "run")
    first, last = (
        torch.load(run.checkpoints / name, weights_only=True)["state_dict"]
        for name in ("best.ckpt", "last.ckpt")
    )
    for name in first:  # gradients of next to nothing move nothing; batch statistics move by themselves
        if name.endswith((".weight", ".bias")):
            torch.testing.assert_close(first[name], last[name], atol=1e-6, rtol=0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_the_progress_and_a_file_gets_lines(
    command: Command,
    quick: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = [*quick, "trainer.enable_progress_bar=true"]
    assert command("train.py", *settings, f"hydra.run.dir={tmp_path}/file") == 0
    printed = capsys.readouterr()
    assert "Epoch" not in printed.out
    assert "epoch 2/2: val/rmse 0." in printed.err
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    assert command("train.py", *settings, f"hydra.run.dir={tmp_path}/terminal") == 0
    bar = terminal.getvalue()
    assert "Epoch 1/2: 100%" in bar
    assert "Epoch 2/2: 100%" in bar
    assert "val_rmse=0." in bar
    assert "v_num" not in bar
    assert "epoch 2" not in capsys.readouterr().err


def test_only_whole_batches_of_training_are_compiled(
    command: Command, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def compiled(network: Callable[[Tensor], Any], **options: Any) -> Callable[[Tensor], Any]:
        assert options == {"mode": "default", "dynamic": False}
        return lambda images: seen.append(len(images)) or network(images)

    monkeypatch.setattr(torch, "compile", compiled)
    # 48 galaxies train and 16 validate: a whole batch of those, too.
    settings = ["trainer.compile=true", "data.batch_size=14"]
    assert command("train.py", *quick, *settings, f"hydra.run.dir={tmp_path}/run") == 0
    assert seen == 2 * [14, 14, 14]


@pytest.mark.slow  # compiling takes half a minute
def test_a_compiled_network_has_the_same_checkpoint(
    command: Command, quick: list[str], tmp_path: Path
) -> None:
    keys = []
    for compiled in ("false", "true"):
        settings = [f"trainer.compile={compiled}", "trainer.max_epochs=1"]
        assert command("train.py", *quick, *settings, f"hydra.run.dir={tmp_path}/{compiled}") == 0
        content = torch.load(tmp_path / compiled / "checkpoints" / "best.ckpt", weights_only=True)
        keys.append(list(content["state_dict"]))
    assert keys[0] == keys[1]


def test_a_tilde_is_the_home_folder(
    command: Command, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert command("train.py", *quick, "model=mean", "hydra.run.dir=~/run") == 0
    assert RunFolder(tmp_path / "run").result().status == "done"
    assert command("evaluate.py", "run=~/run", "out=~/found") == 0
    assert (tmp_path / "found" / "metrics.json").exists()


def test_a_folder_of_another_format_is_named_as_such(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert command("train.py", *quick, "model=mean", f"hydra.run.dir={run}") == 0
    meta = json.loads((run / "meta.json").read_text())
    (run / "meta.json").write_text(json.dumps({**meta, "format": 0}))
    for program, *arguments in (
        ("evaluate.py", f"run={run}"),
        ("train.py", f"resume={run}"),
        ("train.py", *quick, "model=mean", f"hydra.run.dir={run}"),
    ):
        assert command(program, *arguments) == 1
        assert f"{run} is a run folder of format 0 (meta.json); this version of Galaxy reads format 1" in (
            capsys.readouterr().err
        )


def test_a_model_of_ones_own_is_scored_and_resumed_by_its_own_process(
    command: Command, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "own.yaml").write_text("_target_: tests.helpers.own_model.OwnModel\n")
    own = ["--config-dir", str(tmp_path / "conf"), *quick, "model=own", f"hydra.run.dir={tmp_path}/run"]
    assert command("train.py", *own) == 0
    assert RunFolder(tmp_path / "run").result().status == "done"
    (tmp_path / "run" / "result.json").unlink()
    assert command("train.py", *own, "resume=auto") == 0
