"""Evaluation through the real command line."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from galaxy.config.overrides import quoted
from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2, KAGGLE_COLUMNS
from galaxy.runs.folder import RunFolder
from galaxy.runs.twins import warn_of_twins
from tests.conftest import PROJECT, Command


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


def test_the_same_number_as_training(command: Command, run: Path, survey: Path) -> None:
    trained = RunFolder(run).result().metrics
    assert command("evaluate.py", f"run={run}") == 0
    again = json.loads((run / "evaluation" / "kaggle-test-tta1" / "metrics.json").read_text())
    assert again["metrics"]["rmse"] == pytest.approx(trained["test/rmse"], abs=1e-6)
    assert again["metrics"]["rmse/q07"] == pytest.approx(trained["test/rmse/q07"], abs=1e-6)

    out = run.parent / "elsewhere"
    checkpoint = run / "checkpoints" / "best.ckpt"
    assert command("evaluate.py", f"checkpoint={checkpoint}", "split=val", f"out={out}") == 0
    validated = json.loads((out / "metrics.json").read_text())
    assert validated["metrics"]["rmse"] == pytest.approx(trained["val/rmse"], abs=1e-6)


def test_a_run_knows_where_its_data_are(
    command: Command, survey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(survey.parent)
    where = ["data=kaggle", f"data.root={survey.name}", f"data.cache={tmp_path}/cache"]
    assert command("train.py", *where, "model=mean", f"hydra.run.dir={tmp_path}/run") == 0
    monkeypatch.chdir(tmp_path)
    assert command("evaluate.py", f"run={tmp_path}/run") == 0
    assert (tmp_path / "run" / "evaluation" / "kaggle-test-tta1" / "metrics.json").exists()


def test_a_run_in_float64_has_one_score_too(command: Command, quick: list[str], tmp_path: Path) -> None:
    run = tmp_path / "double"
    settings = ["trainer.precision=64-true", "trainer.max_epochs=1", f"hydra.run.dir={run}"]
    assert command("train.py", *quick, *settings) == 0
    assert command("evaluate.py", f"run={run}") == 0
    trained, evaluated = (pd.read_parquet(path) for path in sorted(run.rglob("predictions.parquet")))
    pd.testing.assert_frame_equal(trained, evaluated, check_exact=True)


def test_predictions_of_all_galaxies_under_eight_views(command: Command, run: Path, survey: Path) -> None:
    assert command("evaluate.py", f"run={run}", "split=all", "tta=8") == 0
    folder = run / "evaluation" / "kaggle-all-tta8"
    table = pd.read_csv(folder / "predictions.csv")
    labels = pd.read_csv(survey / "training_solutions_rev1.csv")
    assert sorted(table["id"]) == sorted(labels["GalaxyID"])
    assert table["id"].dtype == np.int64
    parquet = pd.read_parquet(folder / "predictions.parquet")
    np.testing.assert_allclose(parquet["Class1.1"], table["Class1.1"], atol=1e-6)
    fractions = table[list(KAGGLE_COLUMNS)].to_numpy()
    assert np.abs(GALAXY_ZOO_2.residuals(fractions)).max() < 1e-5  # the mean of trees is a tree


def test_kaggles_submission_follows_the_benchmark(
    command: Command, run: Path, survey: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    challenge = tmp_path / "challenge"
    (challenge / "images_test_rev1").mkdir(parents=True)
    sources = sorted((survey / "images_training_rev1").iterdir())[:6]
    ids = [900_006, 900_001, 900_005, 900_002, 900_004, 900_003]
    for i, source in zip(ids, sources, strict=True):
        (challenge / "images_test_rev1" / f"{i}.jpg").write_bytes(source.read_bytes())
    header = ["GalaxyID", *KAGGLE_COLUMNS]
    benchmark = pd.DataFrame(0.5, index=range(6), columns=header[1:])
    benchmark.insert(0, "GalaxyID", ids)
    benchmark.to_csv(challenge / "central_pixel_benchmark.csv", index=False)
    (challenge / "._central_pixel_benchmark.csv").write_bytes(b"\0\x05\x16\x07\xb0")  # of macOS

    data = ["data=kaggle", f"data.root={challenge}", "data.catalog.part=test", f"data.cache={tmp_path}/cache"]
    assert command("evaluate.py", f"run={run}", *data) == 0
    (file,) = (run / "evaluation").glob("kaggle-challenge-unlabelled-tta1-*/submission.csv")
    submission = pd.read_csv(file)
    assert list(submission.columns) == header
    assert submission["GalaxyID"].tolist() == ids
    assert submission.iloc[:, 1:].to_numpy().min() >= 0
    assert submission.iloc[:, 1:].to_numpy().max() <= 1

    (challenge / "images_test_rev1" / "900003.jpg").unlink()
    assert command("evaluate.py", f"run={run}", *data) == 1
    assert f"{file} is not written, but the predictions beside it are" in capsys.readouterr().err
    assert not file.exists()
    assert len(pd.read_csv(file.with_name("predictions.csv"))) == 5

    (challenge / "central_pixel_benchmark.csv").write_text("")
    assert command("evaluate.py", f"run={run}", *data) == 1
    assert "central_pixel_benchmark.csv is no table (No columns to parse" in capsys.readouterr().err


def test_the_figures_fit_a_terminal(
    command: Command, run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    capsys.readouterr()
    assert command("evaluate.py", f"run={run}") == 0
    shown = capsys.readouterr().out
    metrics = RunFolder(run).result().metrics
    for name in ("test/rmse", "test/rmse/q01", "test/rmse/q11"):
        assert f"{metrics[name]:.5f}" in shown


def test_splits_that_would_leak_are_refused(
    command: Command, run: Path, survey: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = ["data=kaggle", f"data.root={survey}"]
    # The run's shares of the splits are not the defaults, and are taken over all the same.
    assert command("evaluate.py", f"run={run}", *same) == 0
    metrics = json.loads((run / "evaluation" / "kaggle-test-tta1" / "metrics.json").read_text())["metrics"]
    assert metrics["rmse"] == pytest.approx(RunFolder(run).result().metrics["test/rmse"], abs=1e-6)
    assert command("evaluate.py", f"run={run}", *same, "data.test_fraction=0.5") == 1
    assert "the run was trained with 0.2" in capsys.readouterr().err


def test_an_evaluation_holds_to_the_recorded_splits(
    command: Command, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "other.csv"
    file.write_text("id,split\n100003,test\n")
    assert command("evaluate.py", f"run={run}", f"data.split_file={file}") == 1
    assert f"holds to the splits recorded in {run}/splits.parquet" in capsys.readouterr().err


def write_own(root: Path, survey: Path, prefix: str = "g", count: int = 80) -> Path:
    """A user's table of the survey's first galaxies, with classes and absolute paths."""
    (root / "images").mkdir(parents=True)
    labels = pd.read_csv(survey / "training_solutions_rev1.csv").head(count)
    rows = []
    for number, smooth in zip(labels["GalaxyID"], labels["Class1.1"], strict=True):
        path = root / "images" / f"{prefix}{number}.jpg"
        path.write_bytes((survey / "images_training_rev1" / f"{number}.jpg").read_bytes())
        rows.append((path, "smooth" if smooth > 0.4 else "disk [edge-on]"))
    pd.DataFrame(rows, columns=["file_loc", "kind"]).to_csv(root / "labels.csv", index=False)
    return root


def test_galaxies_are_recognised_where_they_moved_and_refused_under_other_names(
    command: Command, survey: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, cached = tmp_path / "run", f"data.cache={cache}"
    data = [f"data.root={write_own(tmp_path / 'first', survey)}", "data.catalog.class_column=kind"]
    data += ["data=table", "data.catalog.image_column=file_loc", "data.test_fraction=0.2", cached]
    settings = ["loss=cross_entropy", "model=mean", "crop.size=32", f"hydra.run.dir={run}"]
    assert command("train.py", *data, *settings) == 0
    expected = pd.read_csv(run / "confusion.csv").to_numpy()[:, 1:].sum()

    moved = write_own(tmp_path / "moved", survey)
    assert command("evaluate.py", f"run={run}", f"data.root={moved}", f"out={tmp_path}/out") == 0
    assert len(pd.read_csv(tmp_path / "out" / "predictions.csv")) == expected

    capsys.readouterr()
    renamed = write_own(tmp_path / "renamed", survey, "other")
    assert command("evaluate.py", f"run={run}", f"data.root={renamed}") == 1
    said = capsys.readouterr().err
    assert "records 80 galaxies of the run, and 0 of them are here (80 galaxies): " in said
    assert "is new, for example. If names have changed" in said
    assert "evaluate split=all" in said
    assert command("evaluate.py", f"run={run}", f"data.root={renamed}", "split=all") == 0

    # A part of the galaxies is no sign of other names, nor is a whole with more of them.
    part = write_own(tmp_path / "part", survey, count=40)
    assert command("evaluate.py", f"run={run}", f"data.root={part}") == 0
    capsys.readouterr()
    more = ["data=folder", f"data.root={renamed}", cached]
    assert command("evaluate.py", f"run={run}", *more) == 0
    assert "most probable class: disk [edge-on] " in capsys.readouterr().out


def test_it_is_said_that_kaggles_galaxies_are_those_of_galaxy_zoo_2(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = RunFolder(run).config()["data"]
    warn_of_twins("kaggle", trained)
    assert not caplog.messages
    warn_of_twins("gz2", trained)
    assert "Kaggle's galaxies are galaxies of Galaxy Zoo 2 under other ids" in caplog.text


def test_stratified_splits_are_known_only_where_they_are_recorded(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["target=question1", "loss=cross_entropy", "model=mean", "data.stratify=true"]
    assert command("train.py", *quick, *settings, f"hydra.run.dir={tmp_path}/run") == 0
    lone = tmp_path / "lone.ckpt"
    lone.write_bytes((tmp_path / "run" / "checkpoints" / "best.ckpt").read_bytes())
    data = [*(o for o in quick if o.startswith("data")), "data.stratify=true"]
    data = [o for o in data if "batch_size" not in o]
    assert command("evaluate.py", f"checkpoint={lone}", *data) == 1
    assert "evaluate it in its run folder, or evaluate split=all" in capsys.readouterr().err
    assert command("evaluate.py", f"checkpoint={lone}", *data, "split=all", f"out={tmp_path}/all") == 0
    assert f"{lone} is in no run folder with a splits.parquet" in capsys.readouterr().out


def test_galaxies_that_were_trained_on_do_not_count(
    command: Command, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = (pd.read_parquet(run / "splits.parquet")["split"] == "train").sum()
    capsys.readouterr()
    assert command("evaluate.py", f"run={run}", "split=all") == 0
    assert f"The figures leave out {trained} of these 80 galaxies, because the run" in capsys.readouterr().out
    folder = run / "evaluation" / "kaggle-all-tta1"
    assert json.loads((folder / "metrics.json").read_text())["galaxies"] == 80 - trained
    assert len(pd.read_csv(folder / "predictions.csv")) == 80
    assert command("evaluate.py", f"run={run}") == 0
    assert "was trained on" not in capsys.readouterr().out


def test_folders_of_one_name_do_not_share_an_evaluation(
    command: Command, run: Path, survey: Path, cache: Path, tmp_path: Path
) -> None:
    images = sorted((survey / "images_training_rev1").iterdir())
    for home, image in zip(("a", "b"), images, strict=False):
        folder = tmp_path / home / "pred"
        folder.mkdir(parents=True)
        (folder / image.name).symlink_to(image)
        data = ["data=folder", f"data.root={folder}", f"data.cache={cache}"]
        assert command("evaluate.py", f"run={run}", *data) == 0
    found = list(run.glob("evaluation/folder-pred-unlabelled-tta1-*"))
    assert {pd.read_csv(folder / "predictions.csv")["id"][0] for folder in found} == {
        int(image.stem) for image in images[:2]
    }
    roots = {json.loads((folder / "evaluation.json").read_text())["root"] for folder in found}
    assert roots == {str(tmp_path / home / "pred") for home in ("a", "b")}
    assert command("evaluate.py", f"run={run}", *data) == 0  # the same once more
    assert len(list((run / "evaluation").iterdir())) == 2


def test_a_run_on_an_option_of_the_users_is_evaluated_without_it(
    command: Command, quick: list[str], survey: Path, tmp_path: Path
) -> None:
    (tmp_path / "conf" / "data").mkdir(parents=True)
    mine = f"defaults: [kaggle, _self_]\nroot: {survey}\n"
    (tmp_path / "conf" / "data" / "mine.yaml").write_text(mine)
    options = ["--config-dir", str(tmp_path / "conf"), "data=mine", "model=mean"]
    others = [o for o in quick if not o.startswith(("data=", "data.root=", "model="))]
    run = tmp_path / "run"
    assert command("train.py", *options, *others, f"hydra.run.dir={run}") == 0
    assert command("evaluate.py", f"run={run}") == 0
    metrics = json.loads((run / "evaluation" / "mine-test-tta1" / "metrics.json").read_text())["metrics"]
    assert metrics["rmse"] == pytest.approx(RunFolder(run).result().metrics["test/rmse"], abs=1e-6)


@pytest.mark.parametrize(
    "catalog",
    [
        {"_target_": "pathlib.Path.write_text"},
        {"_target_": "galaxy.surveys.kaggle.Path.write_text"},
        {"part": {"_target_": "pathlib.Path.write_text"}},
        {"part": "${oc.create:{a:1}}"},
    ],
)
def test_a_run_folder_cannot_call_somebody_elses_code(
    command: Command, run: Path, capsys: pytest.CaptureFixture[str], catalog: dict[str, Any]
) -> None:
    config = RunFolder(run).config()
    config["data"]["catalog"].update(catalog)
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert command("evaluate.py", f"run={run}") == 1
    assert f"{run}/config.yaml: data" in capsys.readouterr().err


def test_help_says_what_every_key_is(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("evaluate.py", "--help") == 0
    shown = capsys.readouterr().out
    keys = yaml.safe_load((PROJECT / "conf" / "evaluate.yaml").read_text())
    for key in {*keys, "data"} - {"defaults", "hydra", "_target_"}:
        assert f"\n{key} " in shown
    assert "model" not in shown.replace("a trained model", "")


def test_a_mistake_does_not_wait_for_torch(tmp_path: Path) -> None:
    for argument in (f"run={tmp_path}", "split=all"):
        command = [sys.executable, "-X", "importtime", str(PROJECT / "evaluate.py"), argument]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 1
        assert "not a run folder" in done.stderr or "give one of run=DIR" in done.stderr
        assert " torch\n" not in done.stderr
        assert " pandas\n" not in done.stderr


def test_a_lone_checkpoint_needs_its_data_named(
    command: Command, run: Path, survey: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lone = tmp_path / "lone" / "model.ckpt"
    lone.parent.mkdir()
    lone.write_bytes((run / "checkpoints" / "best.ckpt").read_bytes())
    assert command("evaluate.py", f"checkpoint={lone}") == 1
    assert "give the data as well" in capsys.readouterr().err
    shares = ["data.val_fraction=0.2", "data.test_fraction=0.2"]
    assert command("evaluate.py", f"checkpoint={lone}", "data=kaggle", f"data.root={survey}", *shares) == 0
    assert (lone.parent / "evaluation" / "kaggle-test-model-tta1" / "metrics.json").exists()


def test_an_evaluation_leaves_nothing_of_an_earlier_one(command: Command, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "submission.csv").write_text("stale")
    (out / "evaluation.json").write_text("{}")
    assert command("evaluate.py", f"run={run}", f"out={out}") == 0
    assert {file.name for file in out.iterdir()} == {
        "columns.csv",
        "evaluation.json",
        "metrics.json",
        "predictions.csv",
        "predictions.parquet",
    }


def test_an_evaluation_overwrites_nothing_else(
    command: Command, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "predictions.parquet").read_bytes()
    assert command("evaluate.py", f"run={run}", "split=all", f"out={run}") == 1
    assert "is a run folder" in capsys.readouterr().err
    assert (run / "predictions.parquet").read_bytes() == before
    mine = tmp_path / "predictions.csv"
    mine.write_text("mine")
    assert command("evaluate.py", f"run={run}", f"out={tmp_path}") == 1
    assert "predictions.csv, run, which no evaluation has written" in capsys.readouterr().err
    assert command("evaluate.py", f"run={run}", f"out={mine}") == 1
    assert "is there already: remove it, or give another name" in capsys.readouterr().err
    assert command("evaluate.py", f"run={run}", f"out={mine}/folder") == 1
    assert "a part of the path is a file" in capsys.readouterr().err
    assert mine.read_text() == "mine"


def test_runs_are_evaluated_one_at_a_time(
    command: Command, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("evaluate.py", "-m", f"run={run},{run}") == 1
    assert "give one at a time, or run=[FIRST,SECOND]" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["run=run", "run=run/", "run=../{}/run", "checkpoint=run/checkpoints/best.ckpt"]
)
def test_a_run_may_be_named_as_the_shell_completes_it(
    command: Command, run: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(run.parent)
    assert command("evaluate.py", name.format(run.parent.name)) == 0


def test_a_checkpoint_may_be_named_from_its_own_folder(
    command: Command, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run / "checkpoints")
    assert command("evaluate.py", "checkpoint=best.ckpt", f"out={tmp_path}/out") == 0


def test_a_checkpoint_cannot_call_somebody_elses_code(
    command: Command, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    written = tmp_path / "written"
    content["hyper_parameters"]["config"]["head"] = {
        "_target_": "pathlib.Path.write_text",
        "self": str(written),
        "data": "x",
    }
    evil = tmp_path / "evil.ckpt"
    torch.save(content, evil)
    assert command("evaluate.py", f"checkpoint={evil}", "data=kaggle", "data.root=x") == 1
    assert "pathlib.Path.write_text" in capsys.readouterr().err
    assert not written.exists()


@settings(deadline=None, max_examples=150)
@given(st.text(alphabet="ab'\\\"é ,=[]{}$:./~", max_size=12))
def test_every_path_survives_hydras_notation(text: str) -> None:
    assume("${" not in text)  # an interpolation, in any notation
    parsed = OverridesParser.create().parse_override(f"data.root={quoted(text)}").value()
    assert str(parsed) == text


@settings(deadline=None, max_examples=100)
@given(st.text(alphabet="ab1\\ ,=[]{}():$./_-", max_size=12))
def test_a_mapping_survives_hydras_notation(text: str) -> None:
    mapping = {f"a{text}b": [text, None], "parent": {"a": 1}}
    assume("${" not in text)
    assert OverridesParser.create().parse_override(f"data.tree={quoted(mapping)}").value() == mapping


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["checkpoint={tmp}", "data=kaggle", "data.root=x"], "write run="),
        (["run={tmp}/nowhere"], "not a run folder"),
        ([], "run=DIR"),
        (
            ["checkpoint={tmp}/junk.ckpt", "tta=3"],
            "tta is 3; it must be 1, 4 or 8, or a multiple of 6 from 24 on",
        ),
        (["data=kaggle", "data.root=x"], "run=DIR"),
        (["checkpoint={tmp}/junk.ckpt", "data=kaggle", "data.root=x"], "not a checkpoint"),
    ],
)
def test_wrong_input_is_one_message(
    command: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    (tmp_path / "junk.ckpt").write_bytes(b"not a checkpoint")
    assert command("evaluate.py", *(argument.format(tmp=tmp_path) for argument in arguments)) != 0
    message = capsys.readouterr().err
    assert said in message
    assert "Traceback" not in message


def test_a_truncated_image_is_named_and_nothing_half_done_is_left(
    command: Command, quick: list[str], tmp_path: Path, survey: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(survey, broken)
    victim = sorted((broken / "images_training_rev1").iterdir())[5]
    victim.write_bytes(victim.read_bytes()[:400])
    cache = tmp_path / "cache"
    arguments = [*quick, f"data.root={broken}", f"data.cache={cache}"]
    assert command("train.py", *arguments, f"hydra.run.dir={tmp_path}/run") == 1
    message = capsys.readouterr().err
    assert victim.name in message
    assert "Traceback" not in message
    assert not list(cache.rglob(".*.shard"))  # of a shard that was not finished
    assert RunFolder(tmp_path / "run").result().status == "failed"

    skipping = [*arguments, "data.on_bad=skip", "model=mean"]
    assert command("train.py", *skipping, f"hydra.run.dir={tmp_path}/skipped") == 0
    assert json.loads((tmp_path / "skipped" / "meta.json").read_text())["data"]["skipped"] == 1
    assert victim.name in (tmp_path / "skipped" / "train.log").read_text()
