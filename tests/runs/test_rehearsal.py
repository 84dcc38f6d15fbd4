"""Everything that Lightning and torch let one set: it runs, or one line names its key before the images."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import lightning.pytorch.callbacks as lightning_callbacks
import pytest
import torch
import yaml

from galaxy.runs.folder import RunFolder
from tests.conftest import Command

Try = Callable[..., tuple[int, str]]
# Lightning warns of much that somebody may want, and a warning ends nothing but a test.
pytestmark = pytest.mark.filterwarnings("default")
OTHER_OBJECT = "{_target_:lightning.pytorch.plugins.MixedPrecision}"

# A value that somebody may well want, and one that is a mistake.
TRAINER = {
    "accelerator": ("cpu", "tpuu"),
    "strategy": ("auto", "fsdp"),
    "devices": ("1", "nope"),
    "num_nodes": ("1", "2"),
    "precision": ("32-true", "8-true"),
    "logger": ("true", "3"),
    "callbacks": ("null", "3"),
    "fast_dev_run": ("true", "-1"),
    "max_epochs": ("1", "0"),
    "min_epochs": ("2", "many"),
    "max_steps": ("9", "-2"),
    "min_steps": ("2", "many"),
    "max_time": ("00:01:00:00", "soon"),
    "limit_train_batches": ("0.5", "0.001"),
    "limit_val_batches": ("1", "0.0001"),
    "limit_test_batches": ("1", "-1"),
    "limit_predict_batches": ("1", "-1"),
    "overfit_batches": ("1", "-1"),
    "val_check_interval": ("0.5", "1000"),
    "check_val_every_n_epoch": ("2", "0"),
    "num_sanity_val_steps": ("2", "some"),
    "log_every_n_steps": ("1", "-1"),
    "enable_checkpointing": ("true", "false"),
    "enable_progress_bar": ("false", "3"),
    "enable_model_summary": ("true", "3"),
    "accumulate_grad_batches": ("3", "0"),
    "gradient_clip_val": ("1", "-1"),
    "gradient_clip_algorithm": ("value", "norms"),
    "deterministic": ("warn", "perhaps"),
    "benchmark": ("true", "perhaps"),
    "inference_mode": ("false", "perhaps"),
    "use_distributed_sampler": ("true", "3"),
    "profiler": ("simple", "nope"),
    "detect_anomaly": ("true", "3"),
    "barebones": ("true", "3"),
    "plugins": (OTHER_OBJECT, "3"),
    "sync_batchnorm": ("true", "3"),
    "reload_dataloaders_every_n_epochs": ("1", "-1"),
    "default_root_dir": ("/tmp", "3"),
    "enable_autolog_hparams": ("true", "3"),
    "model_registry": ("mine", "3"),
}

# What a callback of Lightning needs; "" for nothing.
CALLBACKS = {
    **dict.fromkeys(lightning_callbacks.__all__, ""),
    "BasePredictionWriter": "write_interval:epoch",
    "EMAWeightAveraging": "decay:0.9",
    "EarlyStopping": "monitor:val/loss",
    "GradientAccumulationScheduler": "scheduling:{0:2}",
    "ModelPruning": "pruning_fn:l1_unstructured,amount:0.1",
    "OnExceptionCheckpoint": "dirpath:{folder}/exceptions",
    "StochasticWeightAveraging": "swa_lrs:0.01",
    "ThroughputMonitor": "batch_size_fn:{{_target_:hydra.utils.get_method,path:builtins.len}}",
    "Timer": "duration:00:00:10:00",
}

SCHEDULERS: dict[str, dict[str, Any]] = {
    "LRScheduler": {},
    "LambdaLR": {"lr_lambda": {"_target_": "hydra.utils.get_method", "path": "math.exp"}},
    "MultiplicativeLR": {"lr_lambda": {"_target_": "hydra.utils.get_method", "path": "math.cos"}},
    "StepLR": {"step_size": 2},
    "MultiStepLR": {"milestones": [1, 2]},
    "ConstantLR": {"factor": 0.5},
    "LinearLR": {"start_factor": 0.5},
    "ExponentialLR": {"gamma": 0.9},
    "SequentialLR": {"schedulers": [], "milestones": [1]},
    "CosineAnnealingLR": {"T_max": 5},
    "ChainedScheduler": {"schedulers": []},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1},
    "CosineAnnealingWarmRestarts": {"T_0": 2},
    "OneCycleLR": {"max_lr": 0.1, "total_steps": 3},
    "PolynomialLR": {"total_iters": 4},
    "SWALR": {"swa_lr": 0.01},
}

# These are refused; everything else trains to the end.
REFUSED_OPTIMIZERS = ("LBFGS", "Muon", "Optimizer", "SparseAdam")


@pytest.fixture
def attempt(command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Try:
    """Trains for an epoch of few batches; returns the status and what was said, without a traceback."""

    def call(*arguments: str) -> tuple[int, str]:
        run = RunFolder(tmp_path / "run")
        short = ["callbacks.early_stopping=null", f"hydra.run.dir={run.path}"]
        front = list(arguments[:2]) if arguments[:1] == ("--config-dir",) else []
        status = command("train.py", *front, *quick, *short, *arguments[len(front) :])
        said = capsys.readouterr().err
        assert "Traceback" not in said
        if status == 0:
            assert run.result().status == "done"
        else:  # nothing was decoded
            assert not run.splits_file.exists()
            assert len([line for line in said.splitlines() if line and "[galaxy" not in line]) < 8
        return status, said

    return call


def chosen(folder: Path, group: str, node: dict[str, Any]) -> list[str]:
    """Arguments that choose an option of one's own."""
    file = folder / "conf" / group / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(yaml.safe_dump(node))
    return ["--config-dir", str(folder / "conf"), f"{group}=mine"]


def scheduled(folder: Path, node: dict[str, Any], interval: str) -> list[str]:
    schedule = {"_target_": "galaxy.learning.optim.Schedule", "interval": interval, "scheduler": node}
    return chosen(folder, "scheduler", schedule)


def test_the_tables_of_this_file_are_whole() -> None:
    assert TRAINER.keys() == inspect.signature(pl.Trainer).parameters.keys()
    assert CALLBACKS.keys() == set(lightning_callbacks.__all__)
    # Plateaus have tests of their own.
    assert SCHEDULERS.keys() == {*torch.optim.lr_scheduler.__all__, "SWALR"} - {"ReduceLROnPlateau"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plausible", "mistaken"])
@pytest.mark.parametrize("name", TRAINER)
def test_each_argument_of_the_trainer_works_or_is_named(attempt: Try, name: str, kind: str) -> None:
    value = TRAINER[name][kind == "mistaken"]
    status, said = attempt(f"++trainer.{name}={value}")
    assert status == 0 or f"trainer.{name}" in said
    if kind == "mistaken":
        assert status != 0


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLBACKS)
def test_each_callback_of_lightning_works_or_is_named(attempt: Try, tmp_path: Path, name: str) -> None:
    given = CALLBACKS[name].replace("{folder}", str(tmp_path)).replace("{{", "{").replace("}}", "}")
    settings = ",".join(filter(None, [f"_target_:lightning.pytorch.callbacks.{name}", given]))
    status, said = attempt(f"+callbacks.mine={{{settings}}}")
    assert status == 0 or "callbacks.mine" in said
    assert not (tmp_path / "exceptions").exists()


@pytest.mark.slow
@pytest.mark.parametrize("interval", ["step", "epoch"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_each_scheduler_of_torch_works_or_is_named(
    attempt: Try, tmp_path: Path, name: str, interval: str
) -> None:
    node = {"_target_": f"torch.optim.lr_scheduler.{name}", "_partial_": True, **SCHEDULERS[name]}
    status, said = attempt(*scheduled(tmp_path, node, interval))
    assert status == 0 or "scheduler" in said


@pytest.mark.slow
@pytest.mark.parametrize("name", [*torch.optim.__all__])
def test_each_optimizer_of_torch_works_or_is_named(attempt: Try, tmp_path: Path, name: str) -> None:
    found = getattr(torch.optim, name)
    if not isinstance(found, type):
        pytest.skip("it is a module")
    node = {"_target_": f"torch.optim.{name}", "_partial_": True, "lr": 1e-3}
    status, said = attempt(*chosen(tmp_path, "optimizer", node))
    assert (status == 0) == (name not in REFUSED_OPTIMIZERS), said
    assert status == 0 or "optimizer" in said


def test_a_batch_of_one_image_is_refused_where_it_cannot_be_normalised(attempt: Try) -> None:
    status, said = attempt("model=resnet18", "data.batch_size=1")
    assert status == 1
    assert "data.batch_size is 1" in said


def test_a_schedule_that_is_too_short_is_refused(attempt: Try, tmp_path: Path) -> None:
    node = {"_target_": "torch.optim.lr_scheduler.OneCycleLR", "_partial_": True, "max_lr": 0.1}
    status, said = attempt(*scheduled(tmp_path, {**node, "total_steps": 3}, "step"))
    assert status == 1
    assert "scheduler.scheduler ends before the training does" in said


def test_a_warm_up_of_exactly_one_step_is_refused(attempt: Try) -> None:
    status, said = attempt("scheduler=onecycle", "scheduler.scheduler.pct_start=0.125", "data.batch_size=12")
    assert status == 1
    assert "scheduler.scheduler.pct_start is 0.125, a warm-up of exactly one of 8 steps" in said


def test_a_callback_that_needs_what_is_not_there_is_named(attempt: Try) -> None:
    status, said = attempt("+callbacks.mine={_target_:lightning.pytorch.callbacks.BaseFinetuning}")
    assert status == 1
    assert "callbacks.mine makes the first step fail" in said


@pytest.mark.parametrize("settings", ["save_last:true", "filename:best,monitor:val/loss", "filename:last"])
def test_nothing_else_writes_the_checkpoints_of_the_run(attempt: Try, settings: str) -> None:
    node = f"{{_target_:lightning.pytorch.callbacks.ModelCheckpoint,{settings}}}"
    status, said = attempt(f"+callbacks.mine={node}")
    assert status == 1
    assert "callbacks.mine." in said


def test_a_rehearsal_leaves_no_trace(attempt: Try, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt()
    run = RunFolder(tmp_path / "run")
    names = {path.relative_to(run.path) for path in run.path.rglob("*") if "tfevents" not in path.name}
    first = torch.load(run.best, weights_only=True)["state_dict"]
    (tmp_path / "run").rename(tmp_path / "rehearsed")
    monkeypatch.setattr("galaxy.runs.experiment.rehearse", lambda *_: None)
    attempt()
    second = torch.load(run.best, weights_only=True)["state_dict"]
    assert names == {
        path.relative_to(run.path) for path in run.path.rglob("*") if "tfevents" not in path.name
    }
    assert all(torch.equal(first[name], second[name]) for name in second)
    logs = [
        (folder / "metrics.csv").read_text().splitlines() for folder in (run.path, tmp_path / "rehearsed")
    ]
    assert len(logs[0]) == len(logs[1])
