"""Tables and pictures of results."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from galaxy.labels.labels import Labels, class_labels
from galaxy.reports.tables import metrics_tables, result_table
from galaxy.runs.confusion import write_confusion
from galaxy.runs.folder import RunFolder
from galaxy.runs.predict import measure, values
from galaxy.runs.result import Result
from galaxy.surveys.kaggle import LABELS

CLASSES = class_labels(("smooth", "disk", "star"), "Which?", ("c1", "c2", "star"))


def predicted(true: list[int], taken: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Certain predictions (N, 3) and one-hot targets (N, 3)."""
    return np.eye(3, dtype=np.float32)[taken], np.eye(3, dtype=np.float32)[true]


def lines(table: object) -> list[list[str]]:
    """The words of each printed line, on a terminal of 80 columns."""
    console = Console(width=80)
    with console.capture() as said:
        console.print(table)
    return [line.split() for line in said.get().splitlines()]


def test_of_classes_each_has_its_recall_and_precision() -> None:
    metrics = measure(CLASSES, *predicted([0, 0, 0, 0, 1], [0, 0, 0, 1, 1]))
    by_class, overall = metrics_tables(CLASSES, metrics, values(metrics))
    assert lines(by_class)[0] == ["class", "galaxies", "recall", "precision"]
    assert lines(by_class)[2:5] == [
        ["c1", "smooth", "4", "0.7500", "1.0000"],
        ["c2", "disk", "1", "1.0000", "0.5000"],
        ["star", "0", "-", "-"],  # neither seen nor predicted
    ]
    assert ["accuracy", "0.80000"] in lines(overall)
    assert ["balanced", "accuracy", "0.87500"] in lines(overall)


def test_names_with_brackets_are_printed_as_they_are() -> None:
    names = ("disk [edge-on]", "disk [face-on]", "[bold]star[/bold] :star:")
    labels = class_labels(names, "Which [one]?", ("a [b]", "c", "[/]"))
    metrics = measure(labels, *predicted([0, 1], [0, 1]))
    shown = [" ".join(line) for line in lines(metrics_tables(labels, metrics, values(metrics))[0])]
    assert [line.rsplit(maxsplit=3)[0] for line in shown[2:5]] == [
        "a [b] disk [edge-on]",
        "c disk [face-on]",
        "[/] [bold]star[/bold] :star:",
    ]


def test_questions_with_brackets_are_printed_as_they_are() -> None:
    tree = {"shape": {"text": "Is it [red]?", "answers": ["a", "b"]}, "bar": {"answers": ["c", "d"]}}
    labels = Labels.from_plain({"questions": tree, "meaning": "my [own]"})
    some = np.full((2, 4), 0.5, np.float32)
    metrics = measure(labels, some, some)
    shown = lines(metrics_tables(labels, metrics, values(metrics))[0])
    assert ["shape", "Is", "it", "[red]?", "0.00000"] in shown


def test_of_fractions_each_question_has_its_error() -> None:
    targets = np.zeros((2, 37), np.float32)
    fractions = targets.copy()
    fractions[:, :3] = 0.5
    metrics = measure(LABELS, fractions, targets)
    by_question, overall = metrics_tables(LABELS, metrics, values(metrics))
    questions = [line for line in lines(by_question) if line and line[0].startswith("q")][1:]
    assert len(questions) == 11
    assert (questions[0][0], questions[0][-1]) == ("q01", "0.50000")
    assert not any("accuracy" in line for line in lines(overall))


def test_a_class_without_galaxies_is_no_share_of_nothing(tmp_path: Path) -> None:
    write_confusion(tmp_path, CLASSES, measure(CLASSES, *predicted([0, 1, 1], [0, 1, 2])))
    table = pd.read_csv(tmp_path / "confusion.csv", index_col="true")
    assert list(table) == list(table.index) == ["c1 smooth", "c2 disk", "star"]
    assert table.to_numpy().tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    image = cv2.imread(str(tmp_path / "confusion.png"))
    assert image is not None
    grey = (image == 211).all(axis=2)  # matplotlib's lightgrey
    assert grey.sum(axis=1).max() > image.shape[1] / 3  # a whole row of the matrix
    write_confusion(tmp_path, CLASSES, measure(CLASSES, *predicted([0, 1, 2], [0, 1, 2])))
    image = cv2.imread(str(tmp_path / "confusion.png"))
    assert image is not None
    assert (image == 211).all(axis=2).sum() < 100


@pytest.mark.parametrize("meaning", ["cumulative", "question1, hard, at least 0.9"])
def test_the_result_of_a_run_fits_a_terminal(tmp_path: Path, meaning: str) -> None:
    run = RunFolder(tmp_path)
    run.begin({"seed": 0, "trainer": {"max_epochs": 15}}, [], {"model": "sirressi_cnn"}, resume=False)
    run.add_meta(data={"train": 6000, "val": 1000, "test": 1234})
    simple = {"test/rmse": 0.2, "test/accuracy": 0.2}
    baselines = {"mean": simple, "center_pixel": simple, "noise_floor": {"test/rmse": 0.05}}
    metrics = {"test/rmse": 0.1, "test/accuracy": 0.75}
    result = Result("done", metrics, baselines, meaning, epochs=1, seconds=83)
    shown = lines(result_table(run, result))
    text = [" ".join(line) for line in shown]
    assert f"Test split: 1,234 galaxies; labels: {meaning}" in " ".join(text)
    assert "1 epoch, 83 s" in text
    assert any("line through the central pixel" in line for line in text)
    assert any("sirressi_cnn, best checkpoint" in line and "50.0%" in line for line in text)
    result.epochs, result.images_per_second = 12, 500.0
    assert "stopped early, after 12 epochs of 15, 83 s" in str(result_table(run, result).title)
