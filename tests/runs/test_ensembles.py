"""Several runs evaluated together: means, products along the tree, and galaxies that no run has seen."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from galaxy.labels.galaxy_zoo_2 import KAGGLE_COLUMNS
from tests.conftest import PROJECT, Command

COLUMNS = list(KAGGLE_COLUMNS)
# Two questions below another one. Nobody was asked the last question about galaxies that are smooth for sure.
TREE = (
    "{shape:{answers:[smooth,disk]},bar:{answers:[bar,no_bar],parent:disk},"
    "arms:{answers:[few,many],parent:disk}}"
)


def called(program: str, *arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(PROJECT / program), *arguments])
        try:
            runpy.run_path(str(PROJECT / program), run_name="__main__")
        except SystemExit as stop:
            return int(stop.code or 0)
    return 0


@pytest.fixture(scope="module")
def runs(survey: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that take no time to fit: of two crops, of two folds, and of three questions."""
    folder = tmp_path_factory.mktemp("runs")
    common = [f"data.cache={cache}", "crop.size=24", "pictures=0", "logger=none"]
    kaggle = [
        *common,
        "data=kaggle",
        f"data.root={survey}",
        "data.val_fraction=0.2",
        "data.test_fraction=0.3",
    ]
    for name, settings in {
        "center": ["crop=center64", "model=average_color"],
        "roi": ["crop=roi64", "model=average_color"],
        "fold0": ["model=mean", "data.folds=3", "data.fold=0"],
        "fold1": ["model=mean", "data.folds=3", "data.fold=1"],
    }.items():
        assert called("train.py", *kaggle, *settings, f"hydra.run.dir={folder}/{name}") == 0
    own = tmp_path_factory.mktemp("own")
    write_own(own, survey)
    asked = [
        *common,
        "data=table",
        f"data.root={own}",
        f"data.catalog.questions={TREE}",
        "model=average_color",
    ]
    asked += [
        f"data.catalog.images={survey}/images_training_rev1",
        "data.test_fraction=0.3",
        "target=question",
    ]
    for number, question in enumerate(("shape", "bar", "arms")):
        run = f"hydra.run.dir={folder}/questions/{number}-target.question={question}"
        assert called("train.py", *asked, f"target.question={question}", run) == 0
    return folder


def write_own(root: Path, survey: Path) -> None:
    """Writes a table with the tree of three questions, made of the answers of the survey."""
    labels = pd.read_csv(survey / "training_solutions_rev1.csv")
    disk = (labels["Class1.2"] * 1.2).where(labels["Class1.2"] > 0.2, 0).clip(0, 1)
    bar, few = disk * labels["Class1.1"], disk * labels["Class7.1"].clip(0, 1)
    table = pd.DataFrame({"id": labels["GalaxyID"], "smooth": 1 - disk, "disk": disk})
    table = table.assign(bar=bar, no_bar=disk - bar, few=few, many=disk - few)
    table.to_csv(root / "labels.csv", index=False)


@pytest.fixture(autouse=True)
def working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ensembles are written below the working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def split(run: Path, name: str) -> set[int]:
    table = pd.read_parquet(run / "splits.parquet")
    return set(table.loc[table["split"] == name, "id"])


def rmse_of(table: pd.DataFrame, columns: list[str]) -> float:
    true = table[[f"true/{name}" for name in columns]].to_numpy()
    return float(np.sqrt(np.square(table[columns].to_numpy() - true).mean()))


def written(working: Path) -> Path:
    (folder,) = (working / "runs" / "ensembles").iterdir()
    return folder


def test_runs_of_two_crops_are_averaged(
    command: Command, runs: Path, working: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("evaluate.py", f"run=[{runs}/center,{runs}/roi]") == 0
    each = [
        pd.read_parquet(runs / name / "predictions.parquet").set_index("id") for name in ("center", "roi")
    ]
    folder = written(working)
    assert folder.name.startswith("kaggle-test-2runs-tta1-")
    together = pd.read_parquet(folder / "predictions.parquet").set_index("id")
    expected = (each[0][COLUMNS] + each[1][COLUMNS]) / 2
    np.testing.assert_allclose(together[COLUMNS], expected, atol=1e-6)

    errors = [rmse_of(one, COLUMNS) for one in (*each, together)]
    found = json.loads((folder / "metrics.json").read_text())
    assert found["metrics"]["rmse"] == pytest.approx(errors[2], abs=1e-6)
    assert list(found["runs"].values()) == pytest.approx(errors[:2], abs=1e-6)
    assert list(found["runs"]) == [f"{runs}/center", f"{runs}/roi"]
    shown = capsys.readouterr().out
    for text in (*(f"{error:.5f}" for error in errors), "mean of the 2 runs"):
        assert text in shown


def test_the_views_of_each_run_are_averaged_before_the_runs(
    command: Command, runs: Path, tmp_path: Path
) -> None:
    tables = {}
    names = {"center": f"{runs}/center", "roi": f"{runs}/roi", "both": f"[{runs}/center,{runs}/roi]"}
    for name, run in names.items():
        assert command("evaluate.py", f"run={run}", "tta=24", f"out={tmp_path}/{name}.csv") == 0
        tables[name] = pd.read_csv(tmp_path / f"{name}.csv").set_index("id")[COLUMNS]
    pd.testing.assert_frame_equal(tables["both"], (tables["center"] + tables["roi"]) / 2, rtol=0, atol=1e-6)
    one_view = pd.read_parquet(runs / "center" / "predictions.parquet").set_index("id")[COLUMNS]
    assert not np.allclose(one_view, tables["center"], atol=1e-5)


def test_a_split_is_that_of_every_run(
    command: Command, runs: Path, working: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("evaluate.py", f"run=[{runs}/center,{runs}/fold0]") == 0
    both = split(runs / "center", "test") & split(runs / "fold0", "test")
    either = split(runs / "center", "test") | split(runs / "fold0", "test")
    assert both != either
    assert set(pd.read_parquet(written(working) / "predictions.parquet")["id"]) == both
    assert f"{len(either) - len(both)} galaxies are left out" in capsys.readouterr().out


def test_folds_have_no_test_galaxy_in_common(
    command: Command, runs: Path, working: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folds = f"run=[{runs}/fold0,{runs}/fold1]"
    assert command("evaluate.py", folds) == 1
    assert "no galaxy is in the test split of every run" in capsys.readouterr().err
    assert command("evaluate.py", folds, "split=all") == 0
    seen = split(runs / "fold0", "train") | split(runs / "fold1", "train")
    found = json.loads((written(working) / "metrics.json").read_text())
    assert found["galaxies"] == 80 - len(seen) > 0
    assert f"leave out {len(seen)} of these 80 galaxies, because one of" in capsys.readouterr().out
    assert len(pd.read_parquet(written(working) / "predictions.parquet")) == 80


def test_questions_are_multiplied_along_their_tree(
    command: Command, runs: Path, working: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("evaluate.py", f"run=[{runs}/questions]") == 0
    asked = [str(job) for job in sorted((runs / "questions").glob("[0-9]-*"))]
    together = pd.read_parquet(written(working) / "predictions.parquet").set_index("id")
    assert set(together.index) == split(Path(asked[0]), "test")
    answers = ["smooth", "disk", "bar", "no_bar", "few", "many"]
    assert [str(column) for column in together if "/" not in str(column)] == answers

    shape, bar, arms = (pd.read_parquet(f"{run}/predictions.parquet").set_index("id") for run in asked)
    np.testing.assert_allclose(
        together[["smooth", "disk"]], shape.loc[together.index, ["smooth", "disk"]], atol=1e-6
    )
    for question in (bar, arms):
        rows = question.index  # nobody answered this question for the others
        assert 0 < len(rows) < len(together)
        columns = [column for column in question if column in answers]
        expected = question[columns].mul(shape.loc[rows, "disk"], axis=0)
        np.testing.assert_allclose(together.loc[rows, columns], expected, atol=1e-6)
    found = json.loads((written(working) / "metrics.json").read_text())
    assert found["metrics"]["rmse"] == pytest.approx(rmse_of(together, answers), abs=1e-6)
    own = [json.loads(Path(run, "result.json").read_text())["metrics"]["test/rmse"] for run in asked]
    assert list(found["runs"].values()) == pytest.approx(own, abs=1e-6)
    assert "all questions, along the tree" in capsys.readouterr().out


def test_a_part_of_the_survey_is_put_together_too(command: Command, runs: Path, tmp_path: Path) -> None:
    """Each run lists the galaxies that were asked its question, and one of them is missing here."""
    asked = pd.read_parquet(next((runs / "questions").glob("*bar")) / "splits.parquet")
    config = yaml.safe_load((next((runs / "questions").glob("*bar")) / "config.yaml").read_text())
    labels = pd.read_csv(Path(config["data"]["root"]) / "labels.csv")
    assert 1 < len(asked) < len(labels)
    (tmp_path / "part").mkdir()
    labels[labels["id"] != asked["id"][0]].to_csv(tmp_path / "part" / "labels.csv", index=False)
    run, data = f"run=[{runs}/questions]", f"data.root={tmp_path}/part"
    assert command("evaluate.py", run, data, f"out={tmp_path}/out") == 0
    found = set(pd.read_parquet(tmp_path / "out" / "predictions.parquet")["id"])
    (first,) = (runs / "questions").glob("*shape")
    assert found == split(first, "test") - {asked["id"][0]}

    # Galaxies that were asked, under other names, may have been trained on.
    labels["id"] = labels["id"].where(labels["id"] != asked["id"][0], 7)
    labels.to_csv(tmp_path / "part" / "labels.csv", index=False)
    assert command("evaluate.py", run, data, f"out={tmp_path}/out") == 1


def test_questions_are_put_together_for_images_without_labels(
    command: Command, runs: Path, survey: Path, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for image in sorted((survey / "images_training_rev1").iterdir())[:5]:
        (images / image.name).symlink_to(image)
    data = ["data=folder", f"data.root={images}", f"data.cache={tmp_path}/cache", f"out={tmp_path}/out"]
    assert command("evaluate.py", f"run=[{runs}/questions]", *data) == 0
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    np.testing.assert_allclose(table["few"] + table["many"], table["disk"], atol=1e-5)
    np.testing.assert_allclose(table["smooth"] + table["disk"], 1, atol=1e-5)


def test_runs_of_one_question_are_averaged(command: Command, runs: Path, working: Path) -> None:
    (bar,) = (runs / "questions").glob("*bar")
    copy = working / "copy"
    copy.mkdir()
    for part in ("config.yaml", "overrides.yaml", "meta.json", "splits.parquet", "checkpoints"):
        (copy / part).symlink_to(bar / part)
    assert command("evaluate.py", f"run=[{bar},{copy}]") == 0
    alone = pd.read_parquet(bar / "predictions.parquet").set_index("id")
    together = pd.read_parquet(written(working) / "predictions.parquet").set_index("id")
    np.testing.assert_allclose(together[["bar", "no_bar"]], alone[["bar", "no_bar"]], atol=1e-6)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("{runs}/center,{runs}/center", "twice"),
        (
            "{runs}/questions/0-target.question=shape,{runs}/questions/1-target.question=bar",
            "answers arms (arms): ",
        ),
        ("{runs}/center,{runs}/questions/1-target.question=bar", "data.root is "),
        ("{runs}/center,{runs}/nothing", "there is no such folder"),
    ],
)
def test_what_does_not_go_together_is_said(
    command: Command, runs: Path, capsys: pytest.CaptureFixture[str], names: str, said: str
) -> None:
    assert command("evaluate.py", f"run=[{names.format(runs=runs)}]") == 1
    message = capsys.readouterr().err
    assert said in message
    assert "Traceback" not in message


def test_other_questions_are_named(
    command: Command, runs: Path, survey: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = f"run=[{runs}/center,{runs}/questions/1-target.question=bar]"
    assert command("evaluate.py", both, "data=kaggle", f"data.root={survey}") == 1
    message = capsys.readouterr().err
    assert "only the first has q01, q02, " in message
    assert "and only the second has bar" in message
    assert "not with runs of all questions" in message
