"""What is validated is what is chosen, saved, scored and returned."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from galaxy.config.objective import metrics
from galaxy.runs.experiment import load
from galaxy.runs.folder import RunFolder
from tests.conftest import Command
from tests.helpers.own_callbacks import Returned

CLASSES = ["target=question1", "loss=cross_entropy", "objective.metric=val/accuracy"]
OWN = "tests.helpers.own_callbacks"
EMA = ["callbacks=ema", "callbacks.ema.decay=0.8"]
OWN_AVERAGE = ["+callbacks.mean._target_=tests.helpers.own_callbacks.OwnAverage"]


def validated(run: RunFolder, metric: str) -> pd.Series:
    return pd.read_csv(run.path / "metrics.csv")[metric].dropna()


@pytest.mark.parametrize(
    ("average", "network"),  # without and with batch norm
    [
        (OWN_AVERAGE, "deep_cnn"),
        ([*EMA, "model.filters=[4,8]"], "small_cnn"),
        pytest.param(EMA, "deep_cnn", marks=pytest.mark.slow),
        pytest.param(EMA, "resnet18", marks=pytest.mark.slow),
        pytest.param(OWN_AVERAGE, "resnet18", marks=pytest.mark.slow),
        pytest.param([*EMA, "+trainer.val_check_interval=0.5"], "resnet18", marks=pytest.mark.slow),
    ],
)
def test_averaged_weights_are_scored_as_they_were_validated(
    command: Command, quick: list[str], tmp_path: Path, average: list[str], network: str
) -> None:
    run = RunFolder(tmp_path / "run")
    assert command("train.py", *quick, *average, f"model={network}", f"hydra.run.dir={run.path}") == 0
    scored = run.result().metrics["val/rmse"]
    assert scored == pytest.approx(validated(run, "val/rmse").min(), rel=1e-6)
    assert run.result().objective == {"metric": "val/rmse", "mode": "min", "value": scored}
    last = torch.load(run.last, weights_only=True)
    assert last["state_dict"].keys() == load(run.best).model.state_dict().keys()
    assert command("evaluate.py", f"run={run.path}", "split=val", f"out={tmp_path}/out") == 0
    again = json.loads((tmp_path / "out" / "metrics.json").read_text())["metrics"]["rmse"]
    assert again == pytest.approx(scored, rel=1e-6)


def test_a_sweep_returns_the_objective_and_a_failed_job_is_the_worst(
    command: Command, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Returned, "values", [])
    settings = [*CLASSES, "optimizer.lr=1e-3,1e30", f"+hydra.callbacks.returned._target_={OWN}.Returned"]
    assert command("train.py", "-m", *quick, *settings, f"hydra.sweep.dir={tmp_path}") == 1
    table = pd.read_csv(tmp_path / "comparison.csv")
    assert table["status"].tolist() == ["done", "diverged"]
    assert Returned.values == [-table["best"][0], float("inf")]
    assert table["best"][0] == table["val/accuracy"][0]


def test_a_metric_of_ones_own_decides(command: Command, quick: list[str], tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    own = ["objective.metric=val/own", "objective.mode=max", f"+callbacks.own._target_={OWN}.OwnMetric"]
    assert command("train.py", *quick, *own, "scheduler=plateau", f"hydra.run.dir={run.path}") == 0
    assert run.result().objective == {"metric": "val/own", "mode": "max", "value": 1.0}
    assert run.result().to_minimise == -1
    assert run.result().metrics["val/rmse"] == pytest.approx(validated(run, "val/rmse").iloc[0], rel=1e-6)
    assert "epoch 1/2: val/rmse 0." in (run.path / "train.log").read_text()
    assert ", val/own 1.00000" in (run.path / "train.log").read_text()


@pytest.mark.parametrize(
    "watching",
    [
        ["objective.metric=val/own", "objective.mode=max"],
        ["callbacks.early_stopping.monitor=val/own", "callbacks.early_stopping.mode=max"],
        ["scheduler=plateau", "scheduler.monitor=val/own", "scheduler.scheduler.mode=max"],
    ],
)
def test_a_metric_that_nobody_logs_is_named_after_the_first_validation(
    command: Command,
    quick: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    watching: list[str],
) -> None:
    run = RunFolder(tmp_path / "run")
    assert command("train.py", *quick, *watching, f"hydra.run.dir={run.path}") == 1
    said = capsys.readouterr().err
    assert "nothing has logged val/own by the end of the first validation" in said
    assert "val/rmse" in said
    assert "Traceback" not in said
    assert run.result().status == "failed"


@pytest.mark.parametrize("more", [[], CLASSES])
def test_every_metric_that_a_run_logs_has_a_direction(
    command: Command, quick: list[str], tmp_path: Path, more: list[str]
) -> None:
    assert command("train.py", *quick, *more, "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}") == 0
    logged = set(pd.read_csv(tmp_path / "metrics.csv")) - {"epoch", "step"}
    logged = {name for name in logged if not name.startswith(("lr-", "best/"))}
    questions = [] if more else [f"q{i:02}" for i in range(1, 12)]
    assert logged == set(metrics(classes=bool(more), weighted=False, questions=questions))
