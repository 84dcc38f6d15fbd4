"""What a run warns of, and a run that tests nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from galaxy.cli.compare import main as compare
from galaxy.labels.galaxy_zoo_2 import KAGGLE_COLUMNS
from galaxy.models.heads.head import Head
from galaxy.runs.folder import RunFolder
from tests.conftest import Command


def test_a_run_without_a_test_split_says_that_nothing_was_tested(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path / "run")
    arguments = ["model=mean", "data.test_fraction=0", f"hydra.run.dir={run.path}"]
    assert command("train.py", *quick, *arguments) == 0
    said = capsys.readouterr()
    assert "nothing was tested, because data.test_fraction is 0" in said.err
    assert "No test split; validation split: " in said.out
    assert not (run.path / "predictions.parquet").exists()
    assert run.result().status == "done"
    assert not [name for name in run.result().metrics if name.startswith("test/")]
    assert compare([str(tmp_path)]) == 0
    assert command("evaluate.py", f"run={run.path}") == 1
    assert "has no test split (data.test_fraction=0): use split=val" in capsys.readouterr().err
    assert command("evaluate.py", f"run={run.path}", "split=val") == 0


def test_few_galaxies_and_one_step_an_epoch_are_said(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["data.batch_size=100000", f"hydra.run.dir={tmp_path}/run"]
    assert command("train.py", *quick, *arguments) == 0
    said = capsys.readouterr().err
    assert "galaxies in the val split" in said
    assert "an epoch is one step, and the training 2 steps" in said
    assert "data.batch_size=100000" in said
    few = ["data.batch_size=16", "trainer.accumulate_grad_batches=20"]
    assert command("train.py", *quick, *few, f"hydra.run.dir={tmp_path}/few") == 0
    said = capsys.readouterr().err
    assert "because it sums the gradients of trainer.accumulate_grad_batches=20 batches" in said


def test_a_training_that_stops_before_its_first_validation_says_so(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A mapping of a user reaches Lightning as one of Python.
    stop = ["trainer.max_time={seconds:0}", f"hydra.run.dir={tmp_path}/run"]
    assert command("train.py", *quick, *stop) == 1
    assert "the training stopped after 0 steps, before its first validation" in capsys.readouterr().err


def test_a_classifier_below_the_commonest_class_is_said(
    command: Command,
    quick: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Head, "start_at", lambda head, mean: None)  # from random weights, not from the mean
    classes = ["target=question1", "target.hard=true", "loss=cross_entropy", "optimizer.lr=1e-9"]
    settings = [*quick, *classes, "trainer.max_epochs=1"]
    for seed in range(6):  # untrained networks guess, and most guess worse
        run = f"hydra.run.dir={tmp_path}/{seed}"
        assert command("train.py", *settings, f"seed={seed}", run) == 0
        result = RunFolder(tmp_path / str(seed)).result()
        worse = result.metrics["val/accuracy"] < result.baselines["mean"]["val/accuracy"]
        assert ("of always answering the commonest class" in capsys.readouterr().err) == worse
        if worse:
            return
    raise AssertionError("no network was worse")


def test_the_columns_are_explained_and_views_compared_with_one(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path / "run")
    assert command("train.py", *quick, "model=average_color", f"hydra.run.dir={run.path}") == 0
    words = pd.read_csv(run.columns_file)
    assert words["column"].tolist() == list(KAGGLE_COLUMNS)
    assert words.notna().all(axis=None)
    assert command("evaluate.py", f"run={run.path}", "tta=8", f"out={tmp_path}/out") == 0
    assert "one view" in capsys.readouterr().out
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out" / "columns.csv"), words)
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert found["metrics_without_tta"]["rmse"] == pytest.approx(run.result().metrics["test/rmse"])
