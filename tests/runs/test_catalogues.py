"""Catalogues of galaxies that are predicted and not scored, through the real command line."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2, KAGGLE_COLUMNS, class_strings
from galaxy.reports.evaluation.calibration import fit_calibration
from galaxy.reports.evaluation.sample import Sample
from galaxy.runs.evaluation_files import CALIBRATION
from galaxy.runs.members import Member
from tests.conftest import Command

LIST = list(KAGGLE_COLUMNS)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture
def table(survey: Path, tmp_path: Path) -> Path:
    """A table of 40 galaxies without labels, of which one image is cut off; two columns are taken."""
    root = tmp_path / "own"
    (root / "images").mkdir(parents=True)
    names = [path.stem for path in sorted((survey / "images_training_rev1").iterdir())][:40]
    for name in names:
        content = (survey / "images_training_rev1" / f"{name}.jpg").read_bytes()
        (root / "images" / f"g{name}.jpg").write_bytes(content[:300] if name == names[7] else content)
    own = pd.DataFrame({"name": [f"g{name}" for name in names], "distance": np.arange(40.0)})
    own["note"] = [None] * 30 + ["seen"] * 10
    own.to_csv(root / "own.csv", index=False)
    return root


def test_a_catalogue_holds_everything_and_says_where_it_comes_from(
    command: Command, run: Path, table: Path, survey: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("evaluate.py", f"run={run}", "split=all") == 0
    scored = pd.read_parquet(run / "evaluation" / "kaggle-all-tta1" / "predictions.parquet")
    checkpoint = run / "checkpoints" / "best.ckpt"
    _appraise(run, scored)
    capsys.readouterr()

    data = ["data=table", f"data.root={table}"]
    out = table.parent / "out" / "own.parquet"
    assert command("evaluate.py", f"run={run}", *data, f"out={out}") == 0
    said = capsys.readouterr()
    assert "39 galaxies, not scored" in said.out
    assert "1 galaxy has no row" in said.out
    assert "report=true" not in said.out
    assert "distance is called own/distance here" in said.out + said.err
    failures = pd.read_csv(out.with_name("own-failures.csv"))
    assert failures["id"].item() == pd.read_csv(table / "own.csv")["name"][7]
    assert failures["image"].item().endswith(".jpg")
    assert failures["reason"].item() == "the file is truncated: its end is missing"

    made = pd.read_parquet(out)
    expected = scored.set_index(scored["id"].map("g{}".format)).loc[made["id"], LIST]
    np.testing.assert_allclose(made[LIST], expected, atol=1e-6)
    assert made.columns[:4].tolist() == ["id", "own/distance", "note", "Class1.1"]
    assert made["note"].fillna("").tolist() == [""] * 29 + ["seen"] * 10
    assert made["own/distance"].tolist() == [float(i) for i in range(40) if i != 7]
    assert (made["asked/q01"] == 1).all()
    np.testing.assert_allclose(made["asked/q03"], made["Class2.2"], atol=1e-6)
    assert (made["low/Class1.1"] <= made["Class1.1"]).all()
    assert (made["high/Class1.1"] >= made["Class1.1"]).all()
    assert made["gz2_class"].tolist() == class_strings(made[LIST].to_numpy()).tolist()
    assert not made["other_frame"].any()

    facts = {name.decode(): fact.decode() for name, fact in pq.read_metadata(out).metadata.items()}
    assert facts["models"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert facts["labels"] == "cumulative"
    assert len(facts["fingerprint"]) == 32
    field = pq.read_schema(out).field("Class1.1").metadata
    assert field[b"unit"] == b"1"
    assert b"simply smooth" in field[b"description"]

    # The folder of an evaluation has the same rows. Another number of views has no intervals.
    assert command("evaluate.py", f"run={run}", *data, "tta=4") == 0
    assert "There are no intervals" in capsys.readouterr().out
    (folder,) = (run / "evaluation").glob("table-own-unlabelled-tta4-*")
    assert {path.name for path in folder.iterdir()} == {
        "columns.csv",
        "evaluation.json",
        "failures.csv",
        "predictions.csv",
        "predictions.parquet",
    }
    text, parquet = (pd.read_csv(folder / "predictions.csv"), pd.read_parquet(folder / "predictions.parquet"))
    pd.testing.assert_frame_equal(text, parquet, check_dtype=False, atol=1e-6)


def test_parts_are_one_dataset_and_a_lost_one_is_made_again(
    command: Command, run: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = table.parent / "parts"
    request = [f"run={run}", "data=table", f"data.root={table}", f"out={out}"]
    for number in (2, 1, 3):
        assert command("evaluate.py", *request, f"shard={number}/3") == 0
    assert (out / "_failures-1-of-3.csv").exists()
    assert not (out / "_failures-2-of-3.csv").exists()
    own = pd.read_csv(table / "own.csv").drop(index=7)
    assert pd.read_parquet(out)["id"].tolist() == own["name"].tolist()  # a file of failures is no part

    lost, kept = out / "part-2-of-3.parquet", out / "part-3-of-3.parquet"
    before, stamp = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    capsys.readouterr()
    for number in (1, 2, 3):
        assert command("evaluate.py", *request, f"shard={number}/3") == 0
    assert capsys.readouterr().out.count("is there already, and is left as it is") == 2
    assert lost.read_bytes() == before
    assert kept.stat().st_mtime_ns == stamp

    for arguments, message in (
        (["shard=1/3", "tta=4"], "is a part of another catalogue: tta is 1 there, and 4 here"),
        (["shard=1/4"], "which is none of 4 parts"),
        (["shard=0/3"], "it must be K/N with K from 1 to N"),
        (["shard=1/3", "out=x.csv"], "give its folder, out=DIR"),
        (["shard=1/99", f"out={out}/new"], "are more parts than there are galaxies (40)"),
    ):
        assert command("evaluate.py", *request, *arguments) == 1
        assert message in capsys.readouterr().err
    assert command("evaluate.py", f"run={run}", f"out={out}/new", "shard=1/2") == 1
    assert "say split=all" in capsys.readouterr().err


def test_several_crops_are_made_of_one_decoded_image(
    command: Command, quick: list[str], run: Path, table: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    settings = ["crop=roi64", "crop.size=24", "crop.channels=1", "model=mean", f"hydra.run.dir={other}"]
    assert command("train.py", *(o for o in quick if not o.startswith("crop")), *settings) == 0
    request = ["data=folder", f"data.root={table}/images"]
    tables: list[NDArray[np.float32]] = []
    for runs in (f"run={run}", f"run={other}", f"run=[{run},{other}]"):
        out = tmp_path / f"{len(tables)}.parquet"
        assert command("evaluate.py", runs, *request, f"out={out}") == 0
        tables.append(pd.read_parquet(out)[LIST].to_numpy())
    np.testing.assert_allclose(tables[2], (tables[0] + tables[1]) / 2, atol=1e-6)


def test_images_of_another_size_are_marked_and_a_folder_of_none_is_an_error(
    command: Command, run: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = sorted((table / "images").iterdir())
    cv2.imwrite(str(names[0]), np.zeros((64, 80, 3), np.uint8))
    out = table.parent / "own.csv"
    request = [f"run={run}", "data=folder", f"data.root={table}/images"]
    assert command("evaluate.py", *request, f"out={out}") == 0
    assert pd.read_csv(out)["other_frame"].tolist() == [True] + [False] * 38
    said = capsys.readouterr()
    assert "1 of 39 images, such as" in said.out + said.err
    assert "are not 64 x 64 pixels" in said.out + said.err
    for name in names:
        name.write_bytes(b"nothing")
    out.unlink()
    assert command("evaluate.py", *request, f"out={out}") == 1
    assert "none of the 40 images can be read" in capsys.readouterr().err
    assert not out.exists()
    assert len(pd.read_csv(table.parent / "own-failures.csv")) == 40


def _appraise(run: Path, scored: pd.DataFrame) -> None:
    """Writes what `report=true` would fit, on random galaxies."""
    predicted = scored[LIST].to_numpy(np.float64)
    rng = np.random.default_rng(0)
    shares = np.concatenate([rng.dirichlet(np.ones(len(q.answers)), 80) for q in GALAXY_ZOO_2], axis=1)
    labels = Member(run / "checkpoints" / "best.ckpt").labels
    sample = Sample(labels, scored["id"].to_numpy(), predicted, GALAXY_ZOO_2.cumulative(shares))
    fit_calibration(sample).write(run / "evaluation" / "kaggle-all-tta1" / CALIBRATION)
    assert json.loads((run / "evaluation" / "kaggle-all-tta1" / "evaluation.json").read_text())["models"]
