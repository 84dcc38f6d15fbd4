"""The report of an evaluation through the real command line."""

import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2, KAGGLE_COLUMNS
from galaxy.labels.labels import Labels
from galaxy.reports.evaluation import report
from galaxy.reports.evaluation.calibration import Calibration
from galaxy.reports.evaluation.own import without_fitted
from galaxy.runs.predict import Predictions
from galaxy.surveys import Catalog
from galaxy.system.errors import UserError
from tests.conftest import Command
from tests.reports.test_page import Page

LABELS = Labels(GALAXY_ZOO_2, KAGGLE_COLUMNS, "cumulative")


def test_a_network_is_reported_on(command: Command, quick: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert command("train.py", *quick, "head=sigmoid", f"hydra.run.dir={run}") == 0
    assert command("evaluate.py", f"run={run}", "report=true") == 0
    (folder,) = (run / "evaluation").iterdir()
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert len(text) < 20e6
    sources = [str(values["src"]) for tag, values in page.tags if tag == "img"]
    assert all(source.startswith("data:image/") for source in sources)
    assert any("where the model looks" in str(values.get("alt")) for _, values in page.tags)
    assert "The predictions do not obey the tree" in page.words
    assert "The 90% intervals hold" in page.words

    # What was fitted is in the folder, and says of the galaxies what the table beside it says.
    predictions, table = (
        pd.read_parquet(folder / f"{name}.parquet") for name in ("predictions", "calibration")
    )
    assert table["id"].tolist() == predictions["id"].tolist()
    calibration = Calibration.read(folder / "calibration.npz", LABELS)
    again = calibration.table(predictions[list(KAGGLE_COLUMNS)].to_numpy(np.float64))
    pd.testing.assert_frame_equal(again, table[list(again)], check_exact=False)
    assert {"distance", "unusual"} <= set(table)
    scaled = again[[f"scaled/{name}" for name in KAGGLE_COLUMNS]].to_numpy(np.float64)
    assert np.abs(GALAXY_ZOO_2.residuals(scaled)).max() < 1e-5

    # The validation galaxies were predicted as in the training.
    validated = pd.read_parquet(folder / "validation" / "predictions.parquet").set_index("id")
    trained = pd.read_parquet(run / "predictions_val.parquet").set_index("id")
    pd.testing.assert_frame_equal(validated.loc[trained.index], trained, atol=1e-5)


@pytest.mark.slow
def test_a_model_that_does_not_look_says_so(
    command: Command, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    settings = [*quick, "model=mean", "target=question1"]
    assert command("train.py", *settings, f"hydra.run.dir={run}") == 0
    assert command("evaluate.py", f"run={run}", "report=true", "split=val") == 0
    (file,) = run.glob("evaluation/*/report.html")
    words = re.sub(r"\s+", " ", Page(file.read_text()).words)
    assert "the model does not look at the images" in words
    assert "changes no prediction" in words
    assert "has no features" in words
    assert "The 90% sets hold" in words
    assert "looks better here than it is" in words

    monkeypatch.setattr(report, "has_captum", lambda: False)
    assert command("evaluate.py", f"run={run}", "report=true") == 0
    (file,) = run.glob("evaluation/*-test-*/report.html")
    assert "pip install 'galaxy-morphology[report]'" in Page(file.read_text()).words

    # An evaluation without a report leaves nothing of an earlier one.
    assert (file.parent / "validation").is_dir()
    assert command("evaluate.py", f"run={run}") == 0
    assert not file.exists()
    assert not (file.parent / "validation").exists()


@pytest.mark.parametrize(
    ("rows", "left", "said"),
    [
        ([2, 3], [2, 3], ""),
        ([0, 1, 2], [2], "It leaves out 2 that"),
        ([0, 1], [0, 1], "looks better here than it is"),
    ],
)
def test_a_report_is_about_other_galaxies_than_it_was_fitted_on(
    rows: list[int], left: list[int], said: str
) -> None:
    catalog = Catalog("mine", np.arange(4), (Path(),) * 4, names=("a", "b", "c", "d"))

    def of(chosen: list[int]) -> Predictions:
        return Predictions(LABELS, catalog, np.array(chosen), np.zeros((len(chosen), 37), np.float32))

    kept, notes = without_fitted(of(rows), of([0, 1]))
    assert kept.rows.tolist() == left
    assert len(kept.fractions) == len(left)
    assert said in " ".join(notes)
    assert bool(notes) == bool(said)


def test_galaxies_without_labels_are_refused_before_they_are_predicted(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert command("train.py", *quick, "model=mean", f"hydra.run.dir={run}") == 0
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "one.png"), np.zeros((424, 424, 3), np.uint8))
    folder = ["data=folder", f"data.root={tmp_path / 'images'}"]
    assert command("evaluate.py", f"run={run}", *folder, "report=true") == 1
    assert "each of these galaxies has no labels" in capsys.readouterr().err
    assert not (run / "evaluation").exists()


def test_what_was_fitted_for_other_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        Calibration.read(tmp_path / "calibration.npz", LABELS)
