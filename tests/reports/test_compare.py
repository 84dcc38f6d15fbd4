"""Tables of run folders."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from galaxy.cli.compare import main
from galaxy.cli.sweep import summarise
from galaxy.reports.compare import compare_runs
from galaxy.reports.comparison_words import conclusions
from galaxy.reports.records import read_record
from galaxy.reports.run_table import run_table
from galaxy.runs.folder import RunFolder, find_runs
from galaxy.runs.result import Objective, Result, Status


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


def table_of(folder: Path) -> pd.DataFrame:
    return run_table([read_record(run) for run in find_runs(folder)])


def judged_by(metric: str, value: float | None) -> Objective:
    return {"metric": metric, "mode": "max" if metric == "val/accuracy" else "min", "value": value}


def test_the_best_comes_first_and_failures_last(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 0.1, "deep_cnn", None, "diverged")
    write_run(tmp_path / "b", 0.1, "mean", 0.3)
    write_run(tmp_path / "c", 0.2, "deep_cnn", 0.1)
    table = table_of(tmp_path)
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
    assert table_of(tmp_path)["best"].tolist()[:2] == [0.9, 0.6]
    write_other(tmp_path / "d", "kaggle", "/k", "classes", ["loss=d"], **metrics)
    lines = [line.strip() for line in shown(tmp_path, capsys, monkeypatch)]
    assert "data: kaggle; labels: classes; by val/accuracy (3 settings, 3 runs)" in lines
    assert "data: kaggle; labels: classes; by val/rmse (1 setting, 1 run)" in lines
    assert f"best run: {tmp_path}/b" in lines
    assert any(line.split()[:2] == ["best", "0.90000"] and line.endswith("loss=b") for line in lines)


def test_what_a_file_sets_is_compared_too(tmp_path: Path) -> None:
    # No override says so: the two runs may come from different experiment files.
    for name, lr in (("a", 0.1), ("b", 0.2)):
        run = write_run(tmp_path / name, lr, "mean", 0.1)
        run.overrides_file.write_text("[]")
    assert set(table_of(tmp_path)["optimizer.lr"]) == {"0.1", "0.2"}


def test_copies_of_a_chosen_option_are_not_shown(tmp_path: Path) -> None:
    for size in (64, 128):
        config = {"seed": 0, "crop": {"size": size}, "model": {"size": size}}
        choices = {"model": "deep_cnn", "crop": f"center{size}"}
        run = RunFolder(tmp_path / str(size))
        run.begin(config, [], choices, resume=False)
        run.write_result(Result(status="done", metrics={"val/rmse": 0.1, "test/rmse": 0.1}))
    assert list(table_of(tmp_path).columns[:2]) == ["crop", "val/rmse"]


def test_a_run_that_is_still_running_is_in_the_table(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", 0.1, "mean", 0.1)
    run.result_file.unlink()
    assert table_of(tmp_path)["status"].tolist() == ["running"]


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


def shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *options: str
) -> list[str]:
    """What the command prints on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    assert main([str(tmp_path), *options]) == 0
    return capsys.readouterr().out.splitlines()


def write_other(
    path: Path,
    data: str,
    root: str,
    labels: str | None,
    overrides: list[str],
    seed: int = 0,
    seeded: bool | None = None,
    **given: Any,
) -> None:
    """A run on any data; `given` are options and metrics."""
    options = {"data": data, "model": "resnet18", "loss": "mse", "target": "auto"}
    config: dict[str, Any] = {
        "seed": seed,
        "data": {
            "root": root,
            "limit": None,
            "residence": "auto",
            "cache": str(path),
            "catalog": {"seed": 1, "labels": labels, "columns": None},
        },
        "optimizer": {"lr": 0.1},
        "crop": {"size": 64},
        "model": {"depth": 1},
    }
    if seeded is not None:
        ignores = [*([] if seeded else ["seed"]), "loss", "optimizer"]
        config["model"] |= {"_partial_": True, "ignores": ignores}
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


def write_predicted(
    path: Path,
    overrides: list[str],
    seed: int,
    rmse: float,
    fingerprint: str = "0" * 32,
    seeded: bool | None = None,
) -> None:
    """A run with predictions of 50 galaxies, whose RMSE scatters over seeds by 1 %.

    It is of a network, or, if `seeded` is given, of a model that is fitted in one go.
    """
    rng = np.random.default_rng([seed, int(rmse * 1e6)])
    true = np.random.default_rng(0).random((50, 2))
    errors = np.random.default_rng(1).normal(size=(50, 2)) + 0.1 * rng.normal(size=(50, 2))
    errors *= rmse * (1 + 0.01 * rng.normal()) / np.sqrt(np.square(errors).mean())
    value = float(np.sqrt(np.square(errors).mean()))
    write_other(
        path,
        "kaggle",
        "/k",
        "cumulative",
        overrides,
        seed,
        seeded,
        **{"val/rmse": value, "test/rmse": rmse + 0.01},
    )
    run = RunFolder(path)
    run.add_meta(data={"val": 50, "fingerprints": {"val": fingerprint}})
    table = pd.DataFrame({"id": np.arange(50)})
    table[["a", "b"]], table[["true/a", "true/b"]] = true + errors, true
    table.to_parquet(run.predictions_files["val"])
    pd.DataFrame({"column": ["a", "b"], "key": ["q1", "q2"]}).to_csv(run.columns_file, index=False)


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
    lines = shown(tmp_path, capsys, monkeypatch, "--all")
    titles = [line for line in lines if line.startswith(("data:", "labels:"))]
    assert titles == [
        "data: gz2; labels: cumulative (2 settings, 2 runs)",
        "data: gz2; labels: debiased (1 setting, 1 run)",
        "data: kaggle; labels: cumulative (2 settings, 2 runs)",
        "data: table at /one; labels: cumulative (1 setting, 1 run)",
        "data: table at /two; labels: cumulative (2 settings, 2 runs)",
        "labels: unknown (1 setting, 1 run)",
    ]
    # Only what a run has, that its own command line or options say, and by the shortest name that is clear:
    # there is a seed of the run as well.
    settings = [line.split()[-1] for line in lines if " catalog.seed=" in line]
    assert settings == ["catalog.seed=3", "catalog.seed=2", "catalog.seed=3"]
    text = "\n".join(lines)
    assert text.index(" loss=mse") < text.index(" loss=huber lr=0.2")
    assert "failed: columns=[a,b]" in text
    assert f"{tmp_path}/h: there is no table" in lines
    table = [line for line in lines if line.startswith((" ", "best ", "alike", "?", "\u2500"))]
    assert max(len(line.rstrip()) for line in table if not {"train", "run:"} & set(line.split())) <= 80


@pytest.mark.parametrize("count", [5, 150])
def test_a_setting_takes_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    for i in range(count):
        overrides = [f"loss={('mse', 'huber')[i % 2]}", f"optimizer.lr={i}", f"crop.size={i}"]
        write_other(tmp_path / str(i), "kaggle", "/k", "cumulative", overrides, **{"val/rmse": 0.001 * i})
    lines = shown(tmp_path, capsys, monkeypatch)
    assert len(lines) <= count + 12


def test_runs_that_differ_by_nothing_but_their_seeds_are_one_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for loss, values in {"mse": (0.1, 0.2), "huber": (0.3, 0.5)}.items():
        for seed, value in enumerate(values):
            path = tmp_path / f"{loss}{seed}"
            write_other(path, "kaggle", "/k", "cumulative", [f"loss={loss}"], seed, **{"val/rmse": value})
    # A run of the same seed is no further replicate, and neither is one that only lies elsewhere.
    write_other(tmp_path / "x", "kaggle", "/k", "cumulative", ["loss=huber", "data.residence=disk"], 1,
                **{"val/rmse": 0.5})  # fmt: skip
    lines = shown(tmp_path, capsys, monkeypatch)
    assert "data: kaggle; labels: cumulative (2 settings, 5 runs)" in lines
    first, second = (line.split() for line in lines if "loss=" in line and "best:" not in line)
    assert first[:4] == ["best", "0.15000", "0.07071", "2"]
    assert second[:5] == ["?", "0.40000", "0.14142", "0.2500", "2"]  # without predictions nothing is certain
    assert "1 again with the same seed: loss=huber" in " ".join(second)
    assert f"best run: {tmp_path}/mse0" in lines


def test_single_runs_are_never_called_better(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for loss, value in (("mse", 0.1), ("huber", 0.3)):
        write_predicted(tmp_path / loss, [f"loss={loss}"], 0, value)
    text = "\n".join(shown(tmp_path, capsys, monkeypatch))
    assert "1 setting (?) cannot be judged, because the spread over seeds is known from two runs" in text
    assert f"galaxy train -m like={tmp_path}/mse seed=1" in text
    assert f"galaxy train -m like={tmp_path}/huber seed=1" in text


def test_the_seeds_that_are_asked_for_are_new(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for loss, value in (("mse", 0.1), ("huber", 0.1001)):
        for seed in (0, 2):
            write_predicted(tmp_path / f"{loss}{seed}", [f"loss={loss}"], seed, value)
    text = "\n".join(shown(tmp_path, capsys, monkeypatch))
    asked = [line.rpartition("seed=")[2].split(",") for line in text.splitlines() if "like=" in line]
    assert len(asked) in (0, 2)
    assert all(seeds[0] == "1" and "2" not in seeds for seeds in asked)


def test_a_question_may_be_what_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for loss, value in (("mse", 0.1), ("huber", 0.2)):
        for seed in range(3):
            write_predicted(tmp_path / f"{loss}{seed}", [f"loss={loss}"], seed, value)
            run = RunFolder(tmp_path / f"{loss}{seed}")
            result = run.result()
            result.metrics["val/rmse/q1"] = result.metrics["val/loss"] = value * (1 + 0.01 * seed)
            run.write_result(result)
    text = shown(tmp_path, capsys, monkeypatch, "--by", "val/rmse/q1")
    assert any(line.split()[:1] == ["worse"] and line.rstrip().endswith("loss=huber") for line in text)
    text = shown(tmp_path, capsys, monkeypatch, "--by", "val/loss")
    assert any("not all runs have saved predictions that tell val/loss" in line for line in text)


def test_a_model_without_a_seed_is_judged_by_one_run_and_the_seed_of_a_forest_is_a_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(3):
        write_predicted(tmp_path / f"forest{seed}", ["model.depth=2"], seed, 0.1, seeded=True)
    write_predicted(tmp_path / "mean", ["model.depth=0"], 0, 0.2, seeded=False)
    lines = shown(tmp_path, capsys, monkeypatch)
    assert any("(2 settings, 4 runs, 50 validation galaxies)" in line for line in lines)
    assert any(line.split()[:1] == ["worse"] and line.rstrip().endswith("depth=0") for line in lines)


def test_runs_that_differ_by_the_seed_of_their_model_alone_are_one_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for depth, seed, rmse in ((1, 0, 0.1), (1, 1, 0.101), (2, 0, 0.3)):
        settings = [f"model.depth={depth}", f"model.seed={seed}"]
        write_predicted(tmp_path / f"{depth}-{seed}", settings, 0, rmse, seeded=True)
    text = "\n".join(shown(tmp_path, capsys, monkeypatch, "--html", str(tmp_path / "page.html")))
    assert "(2 settings, 3 runs, 50 validation galaxies)" in text
    assert "again" not in text
    assert f"like={tmp_path}/2-0 model.seed=1" in text
    assert ">0, model.seed=1</a>" in (tmp_path / "page.html").read_text()


def test_runs_that_differ_only_in_what_their_model_ignores_are_one_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, (loss, rate, seed) in enumerate([("mse", 0.1, 0), ("huber", 0.1, 1), ("mse", 0.2, 2)]):
        settings = [f"loss={loss}", f"optimizer.lr={rate}"]
        write_predicted(tmp_path / f"a{number}", ["model=mean", *settings], 0, 0.2, seeded=False)
        write_predicted(tmp_path / f"b{number}", ["model=resnet18", *settings], seed, 0.1)
        write_predicted(tmp_path / f"c{number}", ["model=forest", *settings], seed, 0.15, seeded=True)
    lines = shown(tmp_path, capsys, monkeypatch, "--csv", str(tmp_path / "runs.csv"))
    assert any("(5 settings, 9 runs, 50 validation galaxies)" in line for line in lines)
    text = " ".join(" ".join(lines).split())
    assert "2 again without randomness: model=mean" in text
    assert "model=resnet18 loss=huber lr=0.1" in text
    assert any(line.rstrip().endswith("  model=forest") for line in lines)  # three seeds of one setting
    table = pd.read_csv(tmp_path / "runs.csv").set_index("model")
    assert table.loc[["mean", "forest"], ["loss", "optimizer.lr"]].isna().all(axis=None)
    assert set(table.loc["resnet18", "loss"]) == {"mse", "huber"}


def test_replicates_tell_settings_apart_by_their_predictions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for loss, value in (("mse", 0.1), ("huber", 0.101), ("weighted_mse", 0.15)):
        for seed in range(3):
            write_predicted(tmp_path / f"{loss}{seed}", [f"loss={loss}"], seed, value)
    lines = shown(tmp_path, capsys, monkeypatch)
    verdicts = {
        line.split()[-1]: line.split()[0] for line in lines if "loss=" in line and "best:" not in line
    }
    assert sorted(verdicts.values()) == ["alike", "best", "worse"]
    assert verdicts["loss=weighted_mse"] == "worse"
    assert any("would show a difference of" in line for line in lines)
    assert any(line.startswith("On the test split, test/rmse of the best setting is") for line in lines)
    assert sum("test/rmse" in line for line in lines) == 1


def test_runs_on_other_galaxies_come_in_a_table_of_their_own_that_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in (100, 200):
        path = tmp_path / str(limit)
        write_predicted(path, [f"data.limit={limit}"], 0, 0.1, fingerprint=f"{limit:08x}")
    titles = [line for line in shown(tmp_path, capsys, monkeypatch) if line.startswith("data:")]
    assert (
        titles
        == [
            f"data: kaggle; labels: cumulative; validated on 50 galaxies, data.limit={limit}, fingerprint "
            f"{limit:08x} (1 setting, 1 run, 50 validation galaxies)"
            for limit in (200, 100)
        ]
        or sorted(titles) == titles
    )


def test_another_metric_may_order_the_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for loss, rmse, r2 in (("mse", 0.1, 0.2), ("huber", 0.2, 0.9)):
        write_other(
            tmp_path / loss,
            "kaggle",
            "/k",
            "cumulative",
            [f"loss={loss}"],
            **{"val/rmse": rmse, "val/r2": r2},
        )
    assert f"best run: {tmp_path}/huber" in shown(tmp_path, capsys, monkeypatch, "--by", "val/r2")
    assert main([str(tmp_path), "--by", "val/rms"]) == 1
    message = capsys.readouterr().err
    assert "no run has the metric val/rms; did you mean val/rmse?\nThere are: val/r2, val/rmse" in message


def test_the_direction_of_an_own_metric_is_that_of_any_run_that_states_it(tmp_path: Path) -> None:
    for place, metric in enumerate(("val/rmse", "val/own")):
        run = write_run(tmp_path / f"{place}", 0.1 * (1 + place), "a", 0.1)
        result = run.result()
        result.metrics["val/own"] = 0.5 + place
        result.objective = {"metric": metric, "mode": "max" if place else "min", "value": 0.1}
        run.write_result(result)
    (group,) = compare_runs([read_record(run) for run in find_runs(tmp_path)], "val/own")
    assert group.mode == "max"


def test_a_baseline_that_depends_on_the_crop_stands_beside_its_own_runs_only(tmp_path: Path) -> None:
    for crop, value in (("center", 0.21), ("roi", 0.22)):
        run = write_run(tmp_path / crop, 0.1, crop, 0.1 if crop == "center" else 0.2)
        result = run.result()
        result.baselines["center_pixel"] = {"test/rmse": value}
        run.write_result(result)
    (group,) = compare_runs([read_record(run) for run in find_runs(tmp_path)])
    assert group.baselines == {"mean": {"test/rmse": 0.2}}
    said = str(conclusions(group))
    assert "0.21000" in said
    assert "0.22000" not in said


def test_the_test_split_of_all_is_shown_on_request_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for loss in ("mse", "huber"):
        write_predicted(tmp_path / loss, [f"loss={loss}"], 0, 0.1)
    lines = shown(tmp_path, capsys, monkeypatch, "--test")
    assert sum("0.11000" in line for line in lines) >= 2
    assert any(line.startswith("The test figures of several settings are for looking only") for line in lines)


def test_attempts_that_never_trained_are_out_of_sight(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_other(tmp_path / "a", "kaggle", "/k", "cumulative", ["loss=mse"], **{"val/rmse": 0.1})
    write_other(tmp_path / "b", "kaggle", "/k", None, ["loss=huber"])
    text = "\n".join(shown(tmp_path, capsys, monkeypatch))
    assert "huber" not in text
    assert "1 run ended before it trained; --all shows it" in text
    assert f"{tmp_path}/b: there is no table" in shown(tmp_path, capsys, monkeypatch, "--all")


def test_the_comparison_is_written_as_markdown_and_json(tmp_path: Path) -> None:
    for seed in range(2):
        write_predicted(tmp_path / str(seed), ["loss=mse"], seed, 0.1)
    written = {name: tmp_path / f"all.{name}" for name in ("markdown", "json")}
    assert main([str(tmp_path), "--test", *(f"--{name}={path}" for name, path in written.items())]) == 0
    assert "| val rmse | ± seeds | test rmse | runs |" in written["markdown"].read_text()
    assert "- The test figures of several settings are for looking only" in written["markdown"].read_text()
    (group,) = json.loads(written["json"].read_text())["groups"]
    assert group["metric"] == "val/rmse"
    assert len(group["settings"][0]["values"]) == 2


def test_of_an_error_that_lists_things_the_first_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "a", 0.1, "mean", None, "failed")
    run.write_result(Result(status="failed", error="Not found:\n  /data/one\n  /data/two"))
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
