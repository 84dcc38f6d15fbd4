"""Classes from the command line: networks and classical methods, one table, and other data to evaluate on."""

import json
from pathlib import Path

import pandas as pd
import pytest

from galaxy.reports.records import read_record
from galaxy.reports.run_table import run_table
from galaxy.runs.folder import RunFolder, find_runs
from tests.conftest import Command

MODELS = "mean,logistic,knn,decision_tree,random_forest,deep_cnn"


@pytest.fixture
def classes(quick: list[str]) -> list[str]:
    return [*(o for o in quick if not o.startswith("model=")), "target=question1", "loss=cross_entropy"]


@pytest.mark.slow
def test_a_sweep_of_methods_is_one_table(
    command: Command, classes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "sweep"
    sweep = ["-m", f"model={MODELS}", "target.hard=true", "data.stratify=true", f"hydra.sweep.dir={folder}"]
    assert command("train.py", *sweep, *classes) == 0
    assert "accuracy" in capsys.readouterr().out
    table = run_table([read_record(run) for run in find_runs(folder)])
    assert sorted(table["model"]) == sorted(MODELS.split(","))
    assert (table["status"] == "done").all()
    assert (table["labels"] == "question1 of cumulative, hard").all()
    assert table["baseline/mean/test/accuracy"].nunique() == 1
    # Round and blue galaxies are told apart by their colour alone.
    scores = table.set_index("model")["test/accuracy"]
    assert scores["random_forest"] > scores["mean"]
    for run in find_runs(folder):
        confusion = pd.read_csv(run.path / "confusion.csv", index_col="true")
        predictions = pd.read_parquet(run.predictions_files["test"])
        assert confusion.to_numpy().sum() == len(predictions)
        right = confusion.to_numpy().trace() / len(predictions)
        assert right == pytest.approx(run.result().metrics["test/accuracy"])
        assert list(confusion) == [
            "Class1.1 smooth",
            "Class1.2 features or disk",
            "Class1.3 star or artifact",
        ]
        assert set(predictions["class"]) <= {name.split()[0] for name in confusion}
        assert (run.path / "confusion.png").stat().st_size > 5000


def test_soft_classes_a_monitor_of_theirs_and_an_evaluation(
    command: Command, classes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path / "run")
    monitor = ["objective.metric=val/accuracy", "scheduler=plateau"]
    settings = ["loss.class_weights=balanced", "loss.label_smoothing=0.1", "model=deep_cnn"]
    assert command("train.py", *classes, *monitor, *settings, f"hydra.run.dir={run.path}") == 0
    metrics = run.result().metrics
    assert {"val/accuracy", "test/accuracy", "test/balanced_accuracy", "test/f1", "test/rmse"} <= set(metrics)
    logged = pd.read_csv(run.path / "metrics.csv")
    assert logged["val/accuracy"].max() == pytest.approx(metrics["val/accuracy"], abs=0.03)
    capsys.readouterr()
    assert command("evaluate.py", f"run={run.path}") == 0
    again = json.loads((run.path / "evaluation" / "kaggle-test-tta1" / "metrics.json").read_text())
    assert again["metrics"]["accuracy"] == metrics["test/accuracy"]
    assert again["metrics"]["rmse"] == metrics["test/rmse"]
    assert "balanced accuracy" in capsys.readouterr().out


def test_images_without_labels_are_classified_by_name(
    command: Command, classes: list[str], survey: Path, tmp_path: Path
) -> None:
    run = tmp_path / "0-model=knn"  # as a sweep names its jobs
    assert command("train.py", *classes, "model=knn", f"hydra.run.dir={run}") == 0
    images = survey / "images_training_rev1"
    assert command("evaluate.py", f"run={run}", "data=folder", f"data.root={images}") == 0
    (file,) = run.glob("evaluation/folder-images_training_rev1-unlabelled-tta1-*/predictions.csv")
    table = pd.read_csv(file)
    assert len(table) == 80
    assert list(table) == ["id", "class", "Class1.1", "Class1.2", "Class1.3", "other_frame"]
    assert (table["class"] == table[["Class1.1", "Class1.2", "Class1.3"]].idxmax(axis=1)).all()


@pytest.mark.parametrize(
    ("overrides", "status", "said"),
    [
        (["target=classes"], 1, "data=kaggle has fractions: use target=fractions or target=question1"),
        (["target=fractions", "model=logistic"], 2, "does not work with model=logistic"),
        (["head=sigmoid", "model=deep_cnn"], 2, "does not work with loss=cross_entropy"),
        (["target.confident=2"], 2, "target.confident is 2"),
        (["target=fractions", "objective.metric=val/accuracy"], 1, "no run on cumulative labels logs"),
        (["data.split_file=/nowhere.csv"], 1, "there is no data.split_file /nowhere.csv"),
        (["data.split_file=OTHER"], 1, "lists none of the galaxies"),
        (["data.split_seed=-1"], 2, "data.split_seed is -1"),
        (["target=fractions", "data.stratify=true"], 1, "data.stratify is true"),
    ],
)
def test_what_does_not_fit_is_named(
    command: Command,
    classes: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    overrides: list[str],
    status: int,
    said: str,
) -> None:
    (tmp_path / "other.csv").write_text("id,split\n1.0,train\n2.0,test\n")
    overrides = [override.replace("OTHER", f"{tmp_path}/other.csv") for override in overrides]
    assert command("train.py", *classes, *overrides, f"hydra.run.dir={tmp_path}/run") == status
    assert said in capsys.readouterr().err


def test_a_models_labels_are_not_compared_with_others(
    command: Command,
    quick: list[str],
    classes: list[str],
    survey: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = pd.read_csv(survey / "training_solutions_rev1.csv").rename(columns={"GalaxyID": "id"})
    root = tmp_path / "own"
    root.mkdir()
    table[["id", "Class1.1", "Class1.2", "Class1.3"]].to_csv(root / "labels.csv", index=False)
    (root / "images").symlink_to(survey / "images_training_rev1")
    own = [
        "data=table",
        f"data.root={root}",
        "data.catalog.columns=[Class1.1,Class1.2,Class1.3]",
        "split=all",
    ]
    assert command("train.py", *classes, "model=knn", f"hydra.run.dir={tmp_path}/classes") == 0
    assert command("evaluate.py", f"run={tmp_path}/classes", *own) == 1
    assert "the single answer Class1.1" in capsys.readouterr().err
    assert command("train.py", *quick, "model=knn", f"hydra.run.dir={tmp_path}/fractions") == 0
    assert command("evaluate.py", f"run={tmp_path}/fractions", *own) == 1
    assert "they do not compare" in capsys.readouterr().err


def test_the_recorded_splits_hold_in_an_evaluation(
    command: Command, classes: list[str], survey: Path, tmp_path: Path
) -> None:
    """Stratified splits are others when galaxies are added; those trained on stay where they were."""
    labels = pd.read_csv(survey / "training_solutions_rev1.csv")
    small = tmp_path / "small"
    (small / "images_training_rev1").mkdir(parents=True)
    labels[:50].to_csv(small / "training_solutions_rev1.csv", index=False)
    for name in labels["GalaxyID"][:50]:
        (small / "images_training_rev1" / f"{name}.jpg").symlink_to(
            survey / "images_training_rev1" / f"{name}.jpg"
        )
    run = RunFolder(tmp_path / "run")
    few = [*classes, "data.stratify=true", "model=mean"]
    assert command("train.py", *few, f"data.root={small}", f"hydra.run.dir={run.path}") == 0
    recorded = pd.read_parquet(run.splits_file).set_index("id")["split"]
    assert command("train.py", *few, f"hydra.run.dir={tmp_path}/all") == 0
    anew = pd.read_parquet(tmp_path / "all" / "splits.parquet").set_index("id")["split"]
    assert (anew[recorded.index] != recorded).any()
    assert command("evaluate.py", f"run={run.path}", f"data.root={survey}", f"out={tmp_path}/out") == 0
    tested = set(pd.read_parquet(tmp_path / "out" / "predictions.parquet")["id"])
    assert tested - set(recorded.index)
    assert not tested & set(recorded.index[recorded != "test"])


def test_a_file_fixes_the_splits(command: Command, classes: list[str], tmp_path: Path) -> None:
    few = [*classes, "model=mean"]
    assert command("train.py", *few, f"hydra.run.dir={tmp_path}/run") == 0
    recorded = pd.read_parquet(tmp_path / "run" / "splits.parquet").set_index("id")["split"]
    recorded.replace({"train": "test", "test": "train"}).to_csv(tmp_path / "fixed.csv")
    fixed = f"data.split_file={tmp_path}/fixed.csv"
    assert command("train.py", *few, fixed, f"hydra.run.dir={tmp_path}/swapped") == 0
    again = pd.read_parquet(tmp_path / "swapped" / "splits.parquet").set_index("id")["split"]
    assert ((again == "test") == (recorded == "train")).all()
