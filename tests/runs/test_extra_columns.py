"""Columns of a user's table stand beside the predictions, whoever predicts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

from tests.conftest import Command


@pytest.fixture
def table(survey: Path, tmp_path: Path) -> Path:
    root = tmp_path / "own"
    root.mkdir()
    (root / "images").symlink_to(survey / "images_training_rev1")
    labels = pd.read_csv(survey / "training_solutions_rev1.csv")
    own = pd.DataFrame({"name": labels["GalaxyID"], "smooth": labels["Class1.1"]})
    own["ra"] = np.linspace(0, 359, len(own))
    own["survey"] = [f"S{i}" for i in range(len(own))]
    own.to_csv(root / "own.csv", index=False)
    return root


def test_a_run_and_its_evaluations_keep_the_columns(
    command: Command, quick: list[str], table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["data=table", f"data.root={table}", "data.catalog.columns=[smooth]"]
    others = [o for o in quick if not o.startswith(("data=", "data.root=", "model="))]
    run, extra = tmp_path / "run", "data.catalog.extra_columns=[ra,survey]"
    assert command("train.py", *data, extra, *others, "model=mean", f"hydra.run.dir={run}") == 0
    own = pd.read_csv(table / "own.csv").set_index("name")

    def check(file: Path) -> None:
        read = pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file)
        assert read.columns[:4].tolist() == ["id", "ra", "survey", "smooth"]
        expected = own.loc[read["id"], ["ra", "survey"]].reset_index(drop=True)
        pd.testing.assert_frame_equal(read[["ra", "survey"]], expected, check_dtype=False)

    check(run / "predictions.parquet")
    check(run / "predictions_val.parquet")
    assert command("evaluate.py", f"run={run}", "split=all", f"out={tmp_path}/all") == 0
    check(tmp_path / "all" / "predictions.csv")
    # A catalogue holds all columns of the table unless some are chosen.
    catalogue = tmp_path / "out" / "x.fits"
    every = f"run={run}", "split=all", f"out={catalogue}"
    assert command("evaluate.py", *every, "data.catalog.extra_columns=null") == 0
    assert Table.read(catalogue).colnames == ["id", "ra", "survey", "smooth", "true_smooth"]
    unlabelled = "data=table", f"data.root={table}"
    catalogue = tmp_path / "out" / "unlabelled.fits"
    assert command("evaluate.py", f"run={run}", *unlabelled, f"out={catalogue}") == 0
    assert Table.read(catalogue).colnames == ["id", "ra", "survey", "smooth", "other_frame"]
    assert len(Table.read(catalogue)) == len(own)
    assert str(catalogue) in capsys.readouterr().out
    # The answer of the model is a column of the table that is not read as an answer here.
    taken = ["data=table", f"data.root={table}", "data.catalog.extra_columns=[smooth]"]
    assert command("evaluate.py", f"run={run}", *taken) == 1
    assert "extra_columns holds smooth, but the predictions have a column" in capsys.readouterr().err
    assert command("train.py", *data, "data.catalog.extra_columns=[smooth]", *others, "model=mean") == 1
    assert "data.catalog.extra_columns holds smooth, which is one of" in capsys.readouterr().err
