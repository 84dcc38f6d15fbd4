"""Tables of run folders."""

from pathlib import Path

import pandas as pd
import pytest

from galaxy.compare import comparison, main
from galaxy.runs import Result, RunFolder, find_runs


def write_run(path: Path, lr: float, model: str, rmse: float | None, status: str = "done") -> RunFolder:
    config = {"seed": 0, "optimizer": {"lr": lr}, "model": {"_target_": f"galaxy.{model}"}}
    choices = {"model": model, "loss": "mse", "hydra/sweeper": "basic", "datamodule@data": "default"}
    run = RunFolder(path)
    run.begin(config, [f"optimizer.lr={lr}"], choices, resume=False)
    metrics = {} if rmse is None else {"val/rmse": rmse, "test/rmse": rmse + 0.01}
    error = None if status == "done" else "DivergedError: the loss"
    run.write_result(Result(status=status, metrics=metrics, baselines={"mean_rmse": 0.2}, error=error))  # type: ignore[arg-type]
    return run


def test_the_best_comes_first_and_failures_last(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 0.1, "deep_cnn", None, "diverged")
    write_run(tmp_path / "b", 0.1, "mean", 0.3)
    write_run(tmp_path / "c", 0.2, "deep_cnn", 0.1)
    table = comparison(find_runs(tmp_path))
    assert list(table["status"]) == ["done", "done", "diverged"]
    assert list(table["val/rmse"][:2]) == [0.1, 0.3]
    # What differs is shown; what follows from the option of a group, or is the same, is not.
    assert list(table.columns[:3]) == ["model", "optimizer.lr", "val/rmse"]
    assert table["baseline/mean_rmse"].tolist() == [0.2, 0.2, 0.2]


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
        status="done", metrics={"val/rmse": 0.1}, baselines={"mean_rmse": 0.2, "noise_floor_rmse": 0.05}
    )
    run.write_result(result)
    assert run.result() == result
    assert '"baseline/mean_rmse": 0.2' in run.result_file.read_text()
    run.write_result(Result(status="diverged", metrics={"val/rmse": float("nan")}))
    assert "NaN" not in run.result_file.read_text()


def test_the_command_writes_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "a", 0.1, "mean", 0.1)
    write_run(tmp_path / "b", 0.1, "deep_cnn", None, "diverged")
    assert main([str(tmp_path), "--csv", str(tmp_path / "all.csv")]) == 0
    assert "DivergedError: the loss" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "all.csv")) == 2


@pytest.mark.parametrize("folder", ["missing", "."])
def test_a_folder_without_runs_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str
) -> None:
    assert main([str(tmp_path / folder)]) == 1
    assert str(tmp_path) in capsys.readouterr().err
