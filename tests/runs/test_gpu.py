"""Programs that see the GPU, each in a process of its own; all other tests are of the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from galaxy.learning.checkpoint_files import load
from galaxy.runs.folder import RunFolder
from tests.conftest import GPUS, PROJECT, Command

pytestmark = pytest.mark.skipif(not GPUS, reason="there is no GPU")


@pytest.fixture
def on_gpu(quick: list[str]) -> list[str]:
    """Overrides of a short run; 48 galaxies train in three batches of 14 and one of 6."""
    own = [setting for setting in quick if not setting.startswith("trainer")]
    return [
        *own,
        "trainer=gpu",
        "trainer.max_epochs=2",
        "trainer.enable_progress_bar=false",
        "data.batch_size=14",
    ]


def train(run: Path, *overrides: str, status: int = 0) -> RunFolder:
    """Runs `train.py`."""
    folder = [] if overrides[0].startswith("resume=") else [f"hydra.run.dir={run}"]
    done = subprocess.run(
        [sys.executable, "train.py", *overrides, *folder],
        cwd=PROJECT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": GPUS},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return RunFolder(run)


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    """Those that a training ended with."""
    return load(run.last)["state_dict"]  # which takes them to the CPU


def assert_same_weights(first: RunFolder, second: RunFolder) -> None:
    """To the last bit."""
    ours, theirs = weights(first), weights(second)
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    "mode",
    [
        "false",
        pytest.param("true", marks=pytest.mark.slow),
        pytest.param("reduce-overhead", marks=pytest.mark.slow),
    ],
)
def test_what_a_gpu_has_trained_a_cpu_evaluates(
    command: Command, on_gpu: list[str], tmp_path: Path, mode: str
) -> None:
    run = train(tmp_path / "run", *on_gpu, f"trainer.compile={mode}", "augment=affine")
    assert run.meta()["hardware"]["gpu"] is not None
    assert "are in cuda:0" in (run.path / "train.log").read_text()
    result = run.result()
    assert result.images_per_second is not None
    assert command("evaluate.py", f"run={run.path}", f"out={tmp_path}/out") == 0
    again = json.loads((tmp_path / "out" / "metrics.json").read_text())["metrics"]
    assert again["rmse"] == pytest.approx(result.metrics["test/rmse"], rel=1e-4)


def test_where_the_images_are_changes_nothing(on_gpu: list[str], tmp_path: Path) -> None:
    settings = [*on_gpu, "trainer.deterministic=true", "augment=affine"]
    first, *others = (
        train(tmp_path / name, *settings, f"data.residence={name}") for name in ("device", "memory", "disk")
    )
    for other in others:
        assert_same_weights(first, other)


@pytest.mark.parametrize(
    "settings", [["data.residence=device"], ["data.residence=memory"], ["loss=cross_entropy", "head=tree"]]
)
def test_no_step_waits_for_the_gpu(on_gpu: list[str], tmp_path: Path, settings: list[str]) -> None:
    # 48 galaxies in batches of 6 are eight steps, of which the fourth and the eighth log the loss.
    impatient = "+callbacks.impatient={_target_: tests.helpers.gpu_callbacks.Impatient, first: 4, last: 6}"
    settings = [*settings, "augment=affine", "data.batch_size=6", "trainer.log_every_n_steps=4", impatient]
    assert train(tmp_path / "run", *on_gpu, *settings).result().status == "done"


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(on_gpu: list[str], tmp_path: Path) -> None:
    settings = [*on_gpu, "trainer.deterministic=true", "augment=affine"]
    whole = train(tmp_path / "whole", *settings)
    stopper = ["+callbacks.stopper._target_=tests.helpers.gpu_callbacks.Stopper", "+callbacks.stopper.step=1"]
    broken = train(tmp_path / "broken", *settings, *stopper, status=143)
    assert load(broken.last)["global_step"] == 1
    train(broken.path, f"resume={broken.path}")
    assert_same_weights(whole, broken)


@pytest.mark.parametrize(
    "settings",
    [
        ["trainer.precision=16-mixed", "optimizer.fused=false", "trainer.gradient_clip_val=1"],
        ["trainer.precision=32-true", "trainer.tf32=false", "augment=colour"],
        ["trainer.precision=64-true", "augment=rotate90"],
        ["augment=affine", "augment.engine=albumentations", "data.workers=2"],
        ["model=small_cnn", "head=tree", "loss=weighted_mse", "optimizer=sgd", "trainer.gradient_clip_val=1"],
        ["model=resnet18", "model.frozen_epochs=1", "scheduler=onecycle"],
    ],
    ids=lambda settings: settings[0],
)
def test_a_gpu_trains_with(on_gpu: list[str], tmp_path: Path, settings: list[str]) -> None:
    assert train(tmp_path / "run", *on_gpu, *settings).result().status == "done"
