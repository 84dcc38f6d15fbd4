"""Following runs that are being trained, and folders that are not as they should be."""

import json
import shutil
from pathlib import Path

import pytest

from galaxy.cli.compare import main
from galaxy.reports import watch as watching
from galaxy.reports.records import read_record
from galaxy.reports.watch import Watch
from galaxy.runs.folder import RunFolder, sweeping, write_planned
from galaxy.runs.result import Result
from tests.reports.test_compare import write_other, write_predicted
from tests.runs.test_study import done, opened


def begin(path: Path, loss: str) -> RunFolder:
    write_other(path, "kaggle", "/k", "cumulative", [f"loss={loss}"])
    run = RunFolder(path)
    run.result_file.unlink()
    return run


def test_a_sweep_is_followed_until_all_its_jobs_are_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_planned(tmp_path, 2)
    watch = Watch([tmp_path])
    assert watch.look() == []
    assert not watch.over
    run = begin(tmp_path / "a", "mse")
    assert watch.look() == [f"{run.path}: running"]
    metrics = run.path / "metrics.csv"
    metrics.write_text("epoch,val/rmse\n0,0.5\n1,0.25\n2,0.")
    assert watch.look() == [f"{run.path}: epoch 2, val/rmse 0.25000"]
    assert watch.state == "1 running, 1 not begun"
    metrics.write_text("epoch,val/rmse\n")  # the run is resumed, and writes the file anew
    assert watch.look() == []
    write_predicted(tmp_path / "a2", ["loss=mse"], 1, 0.1)
    shutil.copy(tmp_path / "a2" / "result.json", run.result_file)
    shutil.rmtree(tmp_path / "a2")
    (change,) = watch.look()
    assert change.startswith(f"{run.path}: done, val/rmse 0.")
    assert not watch.over
    write_other(tmp_path / "b", "kaggle", "/k", "cumulative", ["loss=huber"])  # it fails
    assert watch.look() == [f"{tmp_path}/b: failed: there is no table"]
    assert watch.over
    read = []
    monkeypatch.setattr(watching, "read_record", read.append)
    assert watch.look() == []
    assert read == []  # nothing has changed, so nothing is read again


def test_a_search_is_followed_although_trials_have_no_folder(tmp_path: Path) -> None:
    write_planned(tmp_path, 2)
    study = opened(tmp_path, n_trials=2)
    trials = study.trials()
    number = next(trials).number
    run = begin(tmp_path / "0-x", "mse")
    watch = Watch([tmp_path])
    assert watch.look() == [f"{run.path}: running"]
    assert watch.missing == 1
    run.write_result(done(0.1))
    study.tell(number, done(0.1), "0-x")
    assert watch.look()[1:] == [f"Best trial: 0, val/rmse 0.10000, in {run.path}"]
    assert not watch.over
    study.tell(next(trials).number, Result(status="failed", error="its settings do not fit"))
    assert watch.look() == []
    assert "2 trials: 1 done, 1 failed" in watch.searches[0].sentences
    assert watch.over


def test_a_search_of_which_no_trial_could_run_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = opened(tmp_path, n_trials=1)
    study.tell(next(study.trials()).number, Result(status="failed", error="its settings do not fit"))
    assert main([str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert "1 trial: 1 failed" in shown.out
    assert shown.err == ""


def test_the_command_ends_with_the_table_when_nothing_is_left_to_wait_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_predicted(tmp_path / "a", ["loss=mse"], 0, 0.1)
    assert main([str(tmp_path), "--watch"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "1 done"
    assert any(line.startswith("run: ") for line in shown)


def test_who_has_seen_enough_may_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(tmp_path / "a", "mse")

    def leave(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watching.time, "sleep", leave)
    assert main([str(tmp_path), "--watch"]) == 130
    assert main([str(tmp_path / "missing"), "--watch"]) == 1


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two settings of two seeds; in front of them a folder for each kind of damage."""
    folder = tmp_path_factory.mktemp("damaged")
    for loss, seed in (("mse", 0), ("mse", 1), ("huber", 0), ("huber", 1)):
        write_predicted(folder / f"{loss}{seed}", [f"loss={loss}"], seed, 0.1 if loss == "mse" else 0.2)
    for name in ("half", "other", "words", "deep", "kind"):
        shutil.copytree(folder / "mse0", folder / name)
    half = folder / "half" / "result.json"
    half.write_text(half.read_text()[:100])
    meta = folder / "other" / "meta.json"
    meta.write_text(meta.read_text().replace('"format": 1', '"format": 2'))
    result = json.loads((folder / "words" / "result.json").read_text())
    (folder / "words" / "result.json").write_text(json.dumps({**result, "parameters": "many"}))
    (folder / "deep" / "config.yaml").write_text("a: " + "[" * 900 + "]" * 900)
    (folder / "kind" / "result.json").write_text(json.dumps({**result, "labels": [1]}))
    predictions = folder / "huber1" / "predictions_val.parquet"
    predictions.write_bytes(predictions.read_bytes()[:500])
    (folder / "empty").mkdir()
    return folder


def test_a_damaged_folder_is_named_and_the_others_are_compared(
    damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(damaged), str(damaged / "empty"), "--html", str(damaged / "page.html")]) == 1
    shown = capsys.readouterr()
    assert f"there is no run in {damaged}/empty" in shown.err
    for name, said in {
        "half": "result.json is damaged",
        "other": "is a run folder of format 2",
        "words": "'many' is no number",
        "deep": "it is nested too deeply",
        "kind": "[1] is no text",
    }.items():
        assert any(
            line.startswith(f"{damaged}/{name}: ") and said in line for line in shown.out.splitlines()
        ), name
    assert f"tell val/rmse: {damaged}/huber1/predictions_val.parquet is damaged" in shown.out
    assert "best: loss=mse" in shown.out


def test_a_run_whose_program_was_killed_is_not_waited_for(tmp_path: Path) -> None:
    write_planned(tmp_path, 1)
    run = begin(tmp_path / "a", "mse")
    watch = Watch([tmp_path])
    with run.claimed():
        watch.look()
        assert watch.state == "1 running"
        assert not watch.over
    with sweeping(tmp_path):  # which may start it again
        assert watch.look() == [f"{run.path}: interrupted"]
        assert not watch.over
    watch.look()
    assert watch.over
    assert read_record(run).result.status == "interrupted"
    with run.claimed():  # a look at the lock does not keep others from it
        assert read_record(run).result.status == "running"
