"""Runs, checkpoints and keys by the names that people give them, walked through the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString

from galaxy.cli import arguments as rewriting
from galaxy.cli.notation import in_hydras_notation, value_of
from galaxy.runs.finding import find_checkpoint, find_run
from galaxy.runs.folder import SPLIT_SETTINGS, RunFolder
from galaxy.runs.result import Objective, Result
from galaxy.system.errors import UserError
from tests.conftest import PROJECT, Command, write_survey

ODD = "Größe, (1) = [x] it's #2"


def with_inherited_data(words: list[str]) -> list[str]:
    return rewriting.with_inherited_data(words)[0]


def with_resumed(words: list[str]) -> list[str]:
    return rewriting.with_resumed(words)[0]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a sweep of three runs: two finished, the second later and better."""
    monkeypatch.chdir(tmp_path)
    data = {"val_fraction": 0.1, "test_fraction": 0.1, "split_seed": 0, "stratify": False, "split_file": None}
    data |= {"folds": None, "fold": None}
    data |= {"root": "here", "_target_": "galaxy.data.datamodule.GalaxyDataModule"}
    sweep = tmp_path / "runs" / "sweep"
    for number, (name, rmse) in enumerate({"0-model=mean": 0.2, "1-model=knn": 0.1, "2-odd": None}.items()):
        run = RunFolder(sweep / name)
        run.begin({"seed": 0, "data": data}, ["seed=0"], {"data": "kaggle"}, resume=False)
        metrics = {} if rmse is None else {"val/rmse": rmse}
        run.write_result(Result(status="done" if metrics else "interrupted", metrics=metrics))
        os.utime(run.result_file, (number, number))
        run.checkpoints.mkdir()
        run.best.write_bytes(b"weights")
    (sweep / "multirun.yaml").write_text("{}")
    return tmp_path


def test_the_latest_run_is_the_last_that_finished(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert find_run("latest").path == Path("runs/sweep/1-model=knn")
    arguments = with_inherited_data(["run=latest", "tta=8"])
    assert value_of(arguments[-2]) == "runs/sweep/1-model=knn"
    assert capsys.readouterr().err == "run=latest is runs/sweep/1-model=knn\n"
    resumed = with_resumed(["resume=latest"])
    assert "hydra.run.dir='runs/sweep/2-odd'" in resumed
    RunFolder(runs / "runs" / "sweep" / "2-odd").write_result(Result(status="done"))
    with pytest.raises(UserError, match=r"^resume=latest: no run below .* can go on, because each"):
        with_resumed(["resume=latest"])
    shutil.rmtree("runs")
    with pytest.raises(UserError, match=r"^run=latest: no run below .* has finished"):
        find_run("latest")
    with pytest.raises(UserError, match=r"^resume=latest: there is no run below"):
        with_resumed(["resume=latest"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("runs/sweep", "the best by val/rmse is run=runs/sweep/1-model=knn"),
        ("runs", "the best by val/rmse is run=runs/sweep/1-model=knn"),
        ("runs/swep", "there is no such folder; did you mean runs/sweep?"),
        ("runs/sweep/2-odd/config.yaml", "a file: write run=runs/sweep/2-odd"),
        ("runs/sweep/2-odd/checkpoints", "a part of one: write run=runs/sweep/2-odd"),
        ("runs/sweep/2-odd/checkpoints/best.ckpt", "write checkpoint=runs/sweep/2-odd/checkpoints/best.ckpt"),
    ],
)
def test_what_is_no_run_is_said_to_be_what_it_is(runs: Path, name: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        with_inherited_data([f"run={name}"])
    assert str(caught.value).startswith(f"run={name} ")
    assert str(caught.value).endswith(said)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("latest", ["WORK/runs/sweep/1-model=knn"]),
        ("null,latest", [None, "WORK/runs/sweep/1-model=knn"]),
        ("runs/sweep/2-odd", ["WORK/runs/sweep/2-odd"]),
        (
            "runs/sweep/2-odd/checkpoints/best.ckpt,imagenet",
            ["WORK/runs/sweep/2-odd/checkpoints/best.ckpt", "imagenet"],
        ),
        ("imagenet", ["imagenet"]),
        ("nowhere", ["nowhere"]),
        ("null", [None]),
    ],
)
def test_weights_are_recorded_by_their_whole_path(
    runs: Path, value: str, read: list[str | None], capsys: pytest.CaptureFixture[str]
) -> None:
    (runs / "imagenet").mkdir()
    words = in_hydras_notation(["-m", f"model.weights={value}", "seed=1,2"])
    (written,) = [word for word in rewriting.with_recorded(words)[0] if word.startswith("model.weights=")]
    override = OverridesParser.create().parse_override(written)
    found = list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]
    found = [item.text if isinstance(item, QuotedString) else item for item in found]
    assert found == [item and item.replace("WORK", str(runs)) for item in read]
    said = "model.weights=latest is runs/sweep/1-model=knn\n"
    assert capsys.readouterr().err == (said if "latest" in value else "")


def test_the_best_run_is_of_those_with_the_commonest_objective(tmp_path: Path) -> None:
    for number, (metric, mode, value) in enumerate(
        [("val/accuracy", "max", 0.9), ("val/rmse", "min", 0.2), ("val/rmse", "min", 0.1)]
    ):
        run = RunFolder(tmp_path / str(number))
        run.begin({"seed": 0}, [], {}, resume=False)
        run.write_result(Result(status="done", objective=Objective(metric=metric, mode=mode, value=value)))
    with pytest.raises(UserError, match=f"the best by val/rmse is run={tmp_path}/2$"):
        find_run(str(tmp_path))


@pytest.mark.parametrize("value", [{"_target_": "os.system", "command": "true"}, "${oc.create:{a:1}}", [1]])
@pytest.mark.parametrize("data", [[], ["data=kaggle"]])
def test_a_setting_of_the_splits_that_is_no_plain_value_is_not_taken_over(
    runs: Path, value: object, data: list[str]
) -> None:
    run = RunFolder(Path("runs/sweep/2-odd"))
    for key in SPLIT_SETTINGS:
        config = run.config()
        config["data"][key] = value
        run.config_file.write_text(yaml.safe_dump(config))
        with pytest.raises(UserError, match=rf"data\.{key} is .*, and it must be a number"):
            with_inherited_data([*data, f"run={run.path}"])
        config["data"][key] = 0
        run.config_file.write_text(yaml.safe_dump(config))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nope", "there is no checkpoint nope"),
        ("runs/sweep/2-odd", "write run=runs/sweep/2-odd"),
        ("runs/sweep/2-odd/config.yaml", "write checkpoint=runs/sweep/2-odd/checkpoints/best.ckpt"),
        ("runs/sweep/2-odd/checkpoints/bst.ckpt", "did you mean runs/sweep/2-odd/checkpoints/best.ckpt?"),
    ],
)
def test_what_is_no_checkpoint_is_said_to_be_what_it_is(runs: Path, name: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        find_checkpoint(name)
    assert str(caught.value).endswith(said)


def test_a_run_is_found_by_the_name_of_its_folder(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.move("runs/sweep/2-odd", f"runs/sweep/{ODD}")
    monkeypatch.chdir("runs/sweep")
    for name in ("0-model=mean", ODD):
        arguments = with_inherited_data(in_hydras_notation([f"run={name}"]))
        assert value_of(arguments[-1]) == name
    several = with_inherited_data(in_hydras_notation(["run=[0-model=mean,1-model=knn]"]))
    assert value_of(several[-1]) == ["0-model=mean", "1-model=knn"]


def test_a_folder_in_a_list_stands_for_its_finished_runs(
    runs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done = ["runs/sweep/0-model=mean", "runs/sweep/1-model=knn"]
    for name in ("runs/sweep", "runs"):
        assert value_of(with_inherited_data([f"run=[{name}]"])[-1]) == done
    assert "1 of the 3 runs in runs have not finished, and are left out" in caplog.text
    assert value_of(with_inherited_data(["run=[runs/sweep/2-odd]"])[-1]) == "runs/sweep/2-odd"
    with pytest.raises(UserError, match="names runs/sweep/1-model=knn twice"):
        with_inherited_data(["run=[latest,runs/sweep]"])
    with pytest.raises(UserError, match=r"run=\[\] names no run"):
        with_inherited_data(["run=[]"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lr=3"], "lr does not exist; did you mean optimizer.lr?"),
        (["limit=600"], "did you mean data.limit?"),
        (["epochs=3"], "did you mean trainer.max_epochs?"),
        (["learning_rate=3"], "did you mean optimizer.lr?"),
        (["workers=3"], "did you mean data.workers"),
        (["early_stopping.patience=3"], "did you mean callbacks.early_stopping.patience?"),
        (["dropout=0.1"], "did you mean model.dropout (with model=deep_cnn"),
        (["trainer.lr=3"], "did you mean optimizer.lr?"),
        (["limits=3"], "did you mean data.limit?"),
        (["hydra.sweep.dir=x"], "write hydra.run.dir=x (or add -m for a sweep)"),
        (["-m", "hydra.run.dir=x", "seed=1,2"], "write hydra.sweep.dir=x"),
        (["--model", "mlp"], "did you mean model=mlp?"),
        (["--lr=3"], "did you mean lr=3?"),
        (["data.root="], "data.root is empty"),
    ],
)
def test_a_short_key_and_a_wrong_option_are_explained(
    command: Command, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert command("train.py", *arguments) == 2
    assert said in capsys.readouterr().err


def test_a_table_with_odd_names_is_trained_on_and_evaluated(
    command: Command, tmp_path: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / ODD
    survey = write_survey(tmp_path / "kaggle", side=32)
    shutil.copytree(survey / "images_training_rev1", root / "images")
    ids = sorted(int(image.stem) for image in (root / "images").iterdir())
    pd.DataFrame({"id": ids, "Größe, in kpc": ["klein", "groß"] * (len(ids) // 2)}).to_csv(
        root / "labels.csv", index=False
    )
    monkeypatch.chdir(tmp_path)
    settings = [setting for setting in quick if not setting.startswith(("data=", "data.root", "model="))]
    given = ["data=table", f"data.root={ODD}", "data.catalog.class_column=Größe, in kpc", "model=mean"]
    run = f"runs/{ODD}"
    assert command("train.py", *settings, *given, "loss=cross_entropy", f"hydra.run.dir={run}") == 0
    assert pd.read_csv(f"{run}/columns.csv")["answer"].tolist() == ["groß", "klein"]
    assert command("evaluate.py", f"run={run}", f"out=out {ODD}") == 0
    assert (tmp_path / f"out {ODD}" / "predictions.csv").exists()
    assert command("evaluate.py", f"checkpoint={run}/checkpoints/best.ckpt", "out=2024") == 0
    assert command("train.py", f"resume={run}") == 0


def test_a_reader_that_leaves_ends_the_program_quietly() -> None:
    program = f"{sys.executable} -m galaxy train --help | head -n 1"
    done = subprocess.run(
        ["bash", "-c", program], capture_output=True, text=True, check=True, cwd=PROJECT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.startswith("Trains a model.")


def test_bytes_that_are_no_text_and_a_lost_working_folder_are_named(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("train.py", "hydra.run.dir=Gr\udcf6\udcdfe") == 1
    assert "is no text in utf-8" in capsys.readouterr().err
    lost = tmp_path / "lost"
    lost.mkdir()
    monkeypatch.chdir(lost)
    lost.rmdir()
    assert command("train.py", "model=mean") == 1
    assert "the working folder has been removed" in capsys.readouterr().err
