"""Tables of run folders."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from galaxy.cli.compare import main
from galaxy.cli.sweep import summarise
from galaxy.reports.compare import comparison
from galaxy.runs.folder import Objective, Result, RunFolder, Status, find_runs


def write_run(path: Path, lr: float, model: str, rmse: float | None, status: Status = "done") -> RunFolder:
    config = {"seed": 0, "optimizer": {"lr": lr}, "model": {"_target_": f"galaxy.{model}"}}
    choices = {"model": model, "loss": "mse", "hydra/sweeper": "basic", "datamodule@data": "default"}
    run = RunFolder(path)
    run.begin(config, [f"optimizer.lr={lr}"], choices, resume=False)
    metrics = {} if rmse is None else {"val/rmse": rmse, "test/rmse": rmse + 0.01}
    error = None if status == "done" else "DivergedError: the loss"
    baselines = {"mean": {"test/rmse": 0.2}}
    run.write_result(Result(status, metrics, baselines, error=error, objective=judged_by("val/rmse", rmse)))
    return run


def judged_by(metric: str, value: float | None) -> Objective:
    return {"metric": metric, "mode": "max" if metric == "val/accuracy" else "min", "value": value}


def test_the_best_comes_first_and_failures_last(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 0.1, "deep_cnn", None, "diverged")
    write_run(tmp_path / "b", 0.1, "mean", 0.3)
    write_run(tmp_path / "c", 0.2, "deep_cnn", 0.1)
    table = comparison(find_runs(tmp_path))
    assert list(table["status"]) == ["done", "done", "diverged"]
    assert list(table["val/rmse"][:2]) == [0.1, 0.3]
    # What differs is shown; what follows from the option of a group, or is the same, is not.
    assert list(table.columns[:3]) == ["model", "optimizer.lr", "val/rmse"]
    assert table["baseline/mean/test/rmse"].tolist() == [0.2, 0.2, 0.2]


def test_more_of_a_maximised_metric_is_better_and_unlike_objectives_do_not_compete(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, accuracy in (("a", 0.6), ("b", 0.9), ("c", None)):
        metrics = {"val/rmse": 0.3, "test/rmse": 0.3}
        write_other(tmp_path / name, "kaggle", "/k", "classes", [f"loss={name}"], **metrics)
        run = RunFolder(tmp_path / name)
        run.write_result(replace(run.result(), objective=judged_by("val/accuracy", accuracy)))
    assert comparison(find_runs(tmp_path))["best"].tolist()[:2] == [0.9, 0.6]
    write_other(tmp_path / "d", "kaggle", "/k", "classes", ["loss=d"], **metrics)
    lines = [line.strip() for line in shown(tmp_path, capsys, monkeypatch)]
    assert "data: kaggle; labels: classes; by val/accuracy (3 runs, best val/accuracy first)" in lines
    assert "data: kaggle; labels: classes; by val/rmse (1 run)" in lines
    assert f"best: {tmp_path}/b" in lines
    assert any(line.startswith("0.90000") and line.endswith("loss=b") for line in lines)


def test_what_a_file_sets_is_compared_too(tmp_path: Path) -> None:
    # No override says so: the two runs may come from different experiment files.
    for name, lr in (("a", 0.1), ("b", 0.2)):
        run = write_run(tmp_path / name, lr, "mean", 0.1)
        run.overrides_file.write_text("[]")
    assert set(comparison(find_runs(tmp_path))["optimizer.lr"]) == {"0.1", "0.2"}


def test_copies_of_a_chosen_option_are_not_shown(tmp_path: Path) -> None:
    for size in (64, 128):
        config = {"seed": 0, "crop": {"size": size}, "model": {"size": size}}
        choices = {"model": "deep_cnn", "crop": f"center{size}"}
        run = RunFolder(tmp_path / str(size))
        run.begin(config, [], choices, resume=False)
        run.write_result(Result(status="done", metrics={"val/rmse": 0.1, "test/rmse": 0.1}))
    assert list(comparison(find_runs(tmp_path)).columns[:2]) == ["crop", "val/rmse"]


def test_a_run_that_is_still_running_is_in_the_table(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", 0.1, "mean", 0.1)
    run.result_file.unlink()
    assert comparison(find_runs(tmp_path))["status"].tolist() == ["running"]


def test_results_are_read_back_as_written(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.begin({"seed": 1}, [], {}, resume=False)
    result = Result(
        status="done",
        metrics={"val/rmse": 0.1},
        baselines={"mean": {"test/rmse": 0.2}, "noise_floor": {"test/rmse": 0.05}},
    )
    run.write_result(result)
    assert run.result() == result
    assert json.loads(run.result_file.read_text())["baselines"]["mean"] == {"test/rmse": 0.2}
    run.write_result(Result(status="diverged", metrics={"val/rmse": float("nan")}))
    assert "NaN" not in run.result_file.read_text()


def shown(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the command prints on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    assert main([str(tmp_path), "--all"]) == 0
    return capsys.readouterr().out.splitlines()


def write_other(
    path: Path, data: str, root: str, labels: str | None, overrides: list[str], **given: Any
) -> None:
    """A run on any data; `given` are options and metrics."""
    options = {"data": data, "model": "resnet18", "loss": "mse", "target": "auto"}
    config: dict[str, Any] = {
        "seed": 0,
        "data": {"root": root, "cache": str(path), "catalog": {"seed": 1, "labels": labels, "columns": None}},
        "optimizer": {"lr": 0.1},
        "crop": {"size": 64},
    }
    for override in overrides:
        key, _, value = override.partition("=")
        *above, name = key.split(".")
        node = config
        for part in above:
            node = node[part]
        if above:
            node[name] = value
        else:
            options[key] = value
    run = RunFolder(path)
    run.begin(config, overrides, options, resume=False)
    status: Status = "done" if given else "failed"
    error = None if given else "there is no table\nin the folder"
    known = labels if given else None
    objective = judged_by("val/rmse", given.get("val/rmse"))
    run.write_result(Result(status, given, labels=known, error=error, objective=objective))


def test_unlike_runs_come_in_a_table_for_each_data_and_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def score(value: float) -> dict[str, Any]:
        return {"val/rmse": value, "test/rmse": value}

    write_other(
        tmp_path / "a", "kaggle", "/k", "cumulative", ["loss=huber", "optimizer.lr=0.2"], **score(0.2)
    )
    write_other(tmp_path / "b", "kaggle", "/k", "cumulative", ["loss=mse"], **score(0.1))
    write_other(tmp_path / "c", "gz2", "/g", "cumulative", ["data.catalog.seed=2"], **score(0.05))
    write_other(tmp_path / "d", "gz2", "/g", "cumulative", ["data.catalog.seed=3"], **score(0.04))
    write_other(tmp_path / "e", "gz2", "/g", "debiased", ["data.catalog.labels=debiased"], **score(0.3))
    write_other(tmp_path / "f", "table", "/one", "cumulative", [], **score(0.3))
    write_other(tmp_path / "g", "table", "/two", "cumulative", [], **score(0.2))
    write_other(tmp_path / "h", "table", "/two", "cumulative", ["data.catalog.columns=[a,b]"])
    write_other(tmp_path / "i", "folder", "/three", None, [])
    lines = shown(tmp_path, capsys, monkeypatch)
    titles = [line for line in lines if line.startswith(("data:", "labels:"))]
    assert titles == [
        "data: gz2; labels: cumulative (2 runs, best val/rmse first)",
        "data: gz2; labels: debiased (1 run)",
        "data: kaggle; labels: cumulative (2 runs, best val/rmse first)",
        "data: table at /one; labels: cumulative (1 run)",
        "data: table at /two; labels: cumulative (2 runs, best val/rmse first)",
        "labels: unknown (1 run)",
    ]
    rows = [line.split(maxsplit=5)[-1].strip() for line in lines if line[:3] in ("0.0", "0.1", "0.2", "0.3")]
    # Only what a run has, that its own command line or options say, and by the shortest name that is clear:
    # there is a seed of the run as well.
    assert rows[:2] == ["catalog.seed=3", "catalog.seed=2"]
    assert rows[3:5] == ["loss=mse", "loss=huber lr=0.2"]
    assert "failed: columns=[a,b]" in "\n".join(lines)
    assert f"{tmp_path}/h: there is no table" in lines
    assert max(len(line.rstrip()) for line in lines if not line.startswith(("best:", "/"))) <= 80


@pytest.mark.parametrize("count", [5, 150])
def test_a_run_takes_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    for i in range(count):
        overrides = [f"loss={('mse', 'huber')[i % 2]}", f"optimizer.lr={i}", f"crop.size={i}"]
        write_other(tmp_path / str(i), "kaggle", "/k", "cumulative", overrides, **{"val/rmse": 0.001 * i})
    lines = shown(tmp_path, capsys, monkeypatch)
    assert len(lines) <= count + 8


def test_runs_set_alike_are_told_apart_by_their_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        write_other(tmp_path / name, "kaggle", "/k", "cumulative", [], **{"val/rmse": 0.1})
    text = "".join(line.split()[-1] for line in shown(tmp_path, capsys, monkeypatch) if line.strip())
    assert f"{tmp_path}/a" in text
    assert f"{tmp_path}/b" in text


def test_what_leaves_results_as_they_are_is_named_where_nothing_else_tells_runs_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_other(tmp_path / "huber", "kaggle", "/k", "cumulative", ["loss=huber"], **{"val/rmse": 0.2})
    for residence, speed in (("disk", 1000.0), ("memory", 2000.0)):
        path = tmp_path / residence
        overrides = [f"data.residence={residence}"]
        write_other(path, "kaggle", "/k", "cumulative", overrides, **{"val/rmse": 0.1})
        run = RunFolder(path)
        result = run.result()
        result.images_per_second = speed
        run.write_result(result)
    rows = [line.split() for line in shown(tmp_path, capsys, monkeypatch) if line[:3] in ("0.1", "0.2")]
    assert [row[4:] for row in rows] == [
        ["1,000", "loss=mse", "residence=disk"],
        ["2,000", "loss=mse", "residence=memory"],
        ["-", "loss=huber"],
    ]


def test_of_an_error_that_lists_things_the_first_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "a", 0.1, "mean", None, "failed")
    run.write_result(Result(status="failed", error="Not found:\n  /data/one\n  /data/two"))
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == "1 run that failed before it trained is left out; --all shows them\n"
    assert main([str(tmp_path), "--all"]) == 0
    assert f"{tmp_path}/a: Not found: /data/one\n" in capsys.readouterr().out


def test_a_damaged_run_alone_is_said_to_be_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "a", 0.1, "mean", 0.1)
    run.meta_file.write_text("{")
    assert main([str(tmp_path)]) == 0
    assert f"{run.meta_file} is damaged" in "".join(capsys.readouterr().out.split("\n"))


def test_the_command_writes_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "a", 0.1, "mean", 0.1)
    write_run(tmp_path / "b", 0.1, "deep_cnn", None, "diverged")
    assert main([str(tmp_path), "--csv", str(tmp_path / "all.csv")]) == 0
    assert f"{tmp_path}/b: DivergedError: the loss" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "all.csv")
    assert len(table) == 2
    assert {"group", "settings", "baseline/mean/test/rmse"} <= set(table)


@pytest.mark.parametrize("folder", ["missing", "."])
def test_a_folder_without_runs_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str
) -> None:
    assert main([str(tmp_path / folder)]) == 1
    assert str(tmp_path) in capsys.readouterr().err


def test_a_sweep_does_not_repeat_what_its_jobs_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a", 0.1, "mean", 0.1)
    write_run(tmp_path / "b", 0.1, "deep_cnn", None, "diverged")
    assert summarise(tmp_path) == 1
    shown = capsys.readouterr().out
    assert "diverged: model=deep_cnn" in shown
    assert "DivergedError" not in shown


@pytest.mark.parametrize(
    ("planned", "said"),
    [
        (0, "1 of 2 jobs did not finish;"),  # not known, of another sweeper than Hydra's own
        (2, "1 of 2 jobs did not finish;"),
        (4, "3 of 4 jobs did not finish, 2 of which did not begin;"),
    ],
)
def test_a_sweep_counts_its_jobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], planned: int, said: str
) -> None:
    write_run(tmp_path / "a", 0.1, "mean", 0.1)
    write_run(tmp_path / "b", 0.1, "deep_cnn", None, "diverged")
    assert summarise(tmp_path, planned) == max(planned, 2) - 1
    shown = capsys.readouterr().out
    assert said in shown
    assert f"resume={tmp_path}" in shown


def test_a_sweep_that_was_stopped_before_its_first_job_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert summarise(tmp_path, 3) == 3
    shown = capsys.readouterr().out
    assert "3 of 3 jobs did not finish, 3 of which did not begin" in shown
    assert f"resume={tmp_path}" in shown
