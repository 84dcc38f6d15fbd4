"""Comparisons of runs of folds."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from galaxy.cli.compare import main
from galaxy.reports.compare import Group, compare_runs
from galaxy.reports.records import read_record
from galaxy.runs.folder import RunFolder, find_runs
from galaxy.runs.result import Result
from tests.reports.test_compare import judged_by, shown

GALAXIES = 60
FOLDS = 3
TRUE = np.random.default_rng(0).random((GALAXIES, 2))


def write_fold(
    path: Path,
    fold: int,
    loss: str = "mse",
    seed: int = 0,
    error: float = 0.1,
    folds: int = FOLDS,
    model_seed: int | None = None,
) -> RunFolder:
    """A run of one fold, whose validation galaxies are those of the next one. Fold 0 is the hardest."""
    run = RunFolder(path)
    data = {"root": "/k", "folds": folds, "fold": fold}
    config = {"seed": seed, "model": {"seed": model_seed}, "data": data}
    run.begin(config, [f"loss={loss}", f"data.fold={fold}"], {"data": "kaggle", "loss": loss}, resume=False)
    run.add_meta(
        data={
            "galaxies": GALAXIES,
            "val": 1,
            "fingerprints": {"val": f"{fold}" * 32, "folds": f"{folds}" * 32},
        }
    )
    rng = np.random.default_rng([seed, int(error * 1000)])
    errors = error * (np.random.default_rng(1).normal(size=TRUE.shape) + 0.1 * rng.normal(size=TRUE.shape))
    own = np.arange(GALAXIES) % folds
    errors[own == 0] *= 3
    metrics = {"val/loss": 1.0 + fold}
    for split, tested in (("val", (fold + 1) % folds), ("test", fold)):
        rows = np.flatnonzero(own == tested)
        table = pd.DataFrame({"id": rows})
        table[["a", "b"]], table[["true/a", "true/b"]] = (TRUE + errors)[rows], TRUE[rows]
        table.to_parquet(run.predictions_files[split])
        metrics[f"{split}/rmse"] = float(np.sqrt(np.square(errors[rows]).mean()))
    pd.DataFrame({"column": ["a", "b"], "key": ["q1", "q2"]}).to_csv(run.columns_file, index=False)
    baselines = {"mean": {"val/rmse": 0.3 + 0.1 * fold, "test/rmse": 0.3}}
    objective = judged_by("val/rmse", metrics["val/rmse"])
    run.write_result(
        Result("done", metrics, baselines, "cumulative", seconds=10.0 + fold, objective=objective)
    )
    return run


def write_folds(folder: Path, losses: dict[str, float], seeds: Sequence[int]) -> None:
    for loss, error in losses.items():
        for seed in seeds:
            for fold in range(FOLDS):
                write_fold(folder / f"{loss}-{seed}-{fold}", fold, loss, seed, error)


def groups_of(folder: Path, by: str | None = None) -> list[Group]:
    return compare_runs([read_record(run) for run in find_runs(folder)], by)


def rmse_of(folder: Path, pattern: str, name: str) -> float:
    """The RMSE of the predictions of some runs put together."""
    table = pd.concat([pd.read_parquet(path / name) for path in folder.glob(pattern)])
    assert sorted(table["id"]) == list(range(GALAXIES))
    return float(
        np.sqrt(np.square(table[["a", "b"]].to_numpy() - table[["true/a", "true/b"]].to_numpy()).mean())
    )


def test_the_predictions_of_all_folds_are_one_result_for_each_seed(tmp_path: Path) -> None:
    write_folds(tmp_path, {"mse": 0.1, "huber": 0.2}, seeds=range(3))
    (group,) = groups_of(tmp_path)
    best, other = group.rows
    assert (best.settings, other.settings) == ("loss=mse", "loss=huber")
    assert (group.folds, group.galaxies) == (FOLDS, GALAXIES)
    expected = [rmse_of(tmp_path, f"mse-{seed}-*", "predictions_val.parquet") for seed in range(3)]
    assert best.values == pytest.approx(expected)
    means = [np.mean([part.result.metrics["val/rmse"] for part in r.parts]) for r in best.counted]
    assert (best.values > np.array(means) + 0.01).all()  # the mean over the folds is another number
    assert best.test("test/rmse")[0] == pytest.approx(rmse_of(tmp_path, "mse-0-*", "predictions.parquet"))
    assert other.verdict == "worse"
    baseline = group.baselines["mean"]
    assert baseline["val/rmse"] == pytest.approx(np.sqrt(np.mean(np.square([0.3, 0.4, 0.5]))))
    assert best.typical("seconds") == 11


def test_the_folds_of_each_seed_of_the_model_are_one_result(tmp_path: Path) -> None:
    for seed in (1, 2):
        for fold in range(FOLDS):
            write_fold(tmp_path / f"{seed}-{fold}", fold, error=0.1 * seed, model_seed=seed)
    (tmp_path / "2-0" / "result.json").unlink()
    (group,) = groups_of(tmp_path)
    (row,) = group.rows
    assert row.values == pytest.approx([rmse_of(tmp_path, "1-*", "predictions_val.parquet")])
    assert [record.state for record in row.records] == [
        "done",
        "seed 0, model.seed=2: 2 of 3 folds done, 1 running",
    ]


def test_a_metric_that_predictions_do_not_tell_is_the_mean_over_galaxies(tmp_path: Path) -> None:
    write_folds(tmp_path, {"mse": 0.1}, seeds=[0])
    (group,) = groups_of(tmp_path, "val/loss")
    assert group.rows[0].values.tolist() == [2.0]
    assert not group.paired


def test_folds_are_no_seeds_so_one_seed_decides_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folds(tmp_path, {"mse": 0.1, "huber": 0.2}, seeds=[0])
    lines = shown(tmp_path, capsys, monkeypatch)
    title = "data: kaggle; labels: cumulative (2 settings, 6 runs, 3 folds, 60 validation galaxies)"
    assert title in lines
    assert any(line.split()[0] == "?" and "loss=huber" in line for line in lines if line.strip())
    text = "\n".join(lines)
    assert "the spread over seeds is known from two seeds of a setting or more" in text
    assert "this is not the spread over seeds" in text
    assert f"galaxy train -m like={tmp_path}/mse-0-0 seed=1 data.fold=0,1,2" in text
    assert f"runs of its folds: {tmp_path}/mse-0-0, {tmp_path}/mse-0-1, {tmp_path}/mse-0-2" in text
    assert "On the test galaxies of all folds, test/rmse of the best setting is" in text


def test_a_setting_is_compared_by_the_seeds_that_have_all_folds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folds(tmp_path, {"mse": 0.1, "huber": 0.2}, seeds=range(2))
    (tmp_path / "mse-1-0" / "result.json").unlink()
    failed = RunFolder(tmp_path / "huber-0-2")
    failed.write_result(Result("failed", labels=None, error="no space", epochs=1))
    failed.add_meta(data={})
    (tmp_path / "huber-1-1" / "predictions.parquet").write_bytes(b"half")
    # A fold that was repeated is counted once.
    again = write_fold(tmp_path / "mse-0-2-again", 2)
    lines = shown(tmp_path, capsys, monkeypatch, "--json", str(tmp_path / "table.json"))
    text = " ".join(" ".join(lines).split())
    assert "seed 1: 2 of 3 folds done, 1 running: loss=mse" in text
    assert "seed 0: 2 of 3 folds done, 1 failed" in text
    assert "seed 1: the saved predictions of a fold are missing or damaged" in text
    assert "A setting is compared by the seeds of which all folds are done." in lines
    (group,) = json.loads((tmp_path / "table.json").read_text())["groups"]
    assert [len(setting["values"]) for setting in group["settings"]] == [1, 0]
    assert str(again.path) in [run["folder"] for run in group["settings"][0]["runs"]]


def test_no_setting_may_have_all_folds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_fold(tmp_path / "0", 0)
    assert main([str(tmp_path)]) == 0
    assert "No setting has finished all its folds." in capsys.readouterr().out


def test_another_number_of_folds_is_another_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for folds in (3, 4):
        for fold in range(folds):
            write_fold(tmp_path / f"{folds}-{fold}", fold, folds=folds)
    lines = shown(tmp_path, capsys, monkeypatch, "--csv", str(tmp_path / "table.csv"))
    titles = [line for line in lines if line.startswith("data:")]
    assert titles == [
        f"data: kaggle; labels: cumulative; validated on 60 galaxies, data.folds={folds}, fingerprint "
        f"{str(folds) * 8} (1 setting, {folds} runs, {folds} folds, 60 validation galaxies)"
        for folds in (3, 4)
    ]
    assert len(pd.read_csv(tmp_path / "table.csv")) == 7


def test_a_metric_that_a_fold_lacks_is_left_out(tmp_path: Path) -> None:
    write_folds(tmp_path, {"mse": 0.1}, seeds=[0])
    first = next(iter(sorted(tmp_path.rglob("result.json"))))
    result = json.loads(first.read_text())
    result["metrics"] |= {"val/loss": None, "val/rmse/q1": None}
    first.write_text(json.dumps(result))
    (group,) = groups_of(tmp_path)
    assert group.best is not None
    assert "val/loss" not in group.best.counted[0].result.metrics
    assert "val/rmse" in group.best.counted[0].result.metrics
