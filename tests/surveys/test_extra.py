"""Further columns of a table: of which type they are, and which names are refused."""

import logging
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from galaxy.labels.labels import class_labels
from galaxy.surveys.catalog import TAKEN_NAMES, Catalog
from galaxy.surveys.table import read_table
from galaxy.system.errors import UserError

NAMES = ["a", "b", "c"]
TABLE = pd.DataFrame(
    {
        "name": NAMES,
        "smooth": [0.1, 0.2, 0.3],
        "ra": [150.123456789, 0.5, np.nan],
        "objid": [587722981741363294, 587722981741363295, 587722981741363296],
        "other": pd.array([587722981741363294, None, 2], dtype="Int64"),
        "code": ["007", "08", "9"],
        "note": ["x, y", None, "z"],
        "seen": ["2020-01-02", "2020-01-03", "2020-01-04"],
    }
)
EXTRA = ["ra", "objid", "other", "code", "note", "seen"]


@pytest.fixture(params=[".csv", ".parquet"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for name in NAMES:
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), np.zeros((16, 16, 3), np.uint8))
    if request.param == ".csv":
        TABLE.to_csv(tmp_path / "labels.csv", index=False)
    else:
        TABLE.to_parquet(tmp_path / "labels.parquet", index=False)
    return tmp_path


def test_no_digit_of_a_further_column_is_lost(root: Path) -> None:
    extra = read_table(root, columns=["smooth"], extra_columns=EXTRA).extra_columns
    assert extra is not None
    assert extra.columns.tolist() == EXTRA
    assert extra["ra"].tolist()[:2] == [150.123456789, 0.5]
    assert np.isnan(extra["ra"][2])
    assert extra["objid"].tolist() == TABLE["objid"].tolist()
    assert extra["other"].tolist() == [587722981741363294, pd.NA, 2]
    assert extra["code"].tolist() == ["007", "08", "9"]
    assert extra["note"].tolist() == ["x, y", None, "z"]
    assert extra["seen"].tolist() == TABLE["seen"].tolist()


def test_marks_for_nothing_leave_numbers_numbers_and_are_no_text_of_text(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in NAMES:
        (tmp_path / "images" / f"{name}.png").touch()
    rows = ["name,z,objid,note", "a,0.1,1237648720693755918,x", "b,-,n/a,-", "c,…,1237648720693755919,y"]
    (tmp_path / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    extra = read_table(tmp_path, extra_columns=["z", "objid", "note"]).extra_columns
    assert extra is not None
    np.testing.assert_array_equal(extra["z"], [0.1, np.nan, np.nan])
    assert extra["objid"].tolist() == [1237648720693755918, pd.NA, 1237648720693755919]
    assert extra["note"].tolist() == ["x", "-", "y"]


def test_only_numbers_are_for_batches(root: Path) -> None:
    catalog = read_table(root, columns=["smooth"], extra_columns=EXTRA).take(np.array([2, 0]))
    numbers = catalog.extra_numbers
    assert list(numbers) == ["ra", "objid", "other"]
    assert {column.dtype for column in numbers.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(numbers["ra"], np.array([np.nan, 150.123456789], np.float32))
    assert catalog.extra_columns is not None
    assert catalog.extra_columns["note"].tolist() == ["z", "x, y"]


def test_rows_that_are_left_out_take_their_columns_with_them(root: Path) -> None:
    (root / "images" / "b.png").unlink()
    catalog = read_table(root, "skip", columns=["smooth"], extra_columns=["note"])
    assert catalog.names == ("a", "c")
    assert catalog.extra_columns is not None
    assert catalog.extra_columns["note"].tolist() == ["x, y", "z"]


def test_the_decimal_sign_of_the_targets_is_that_of_further_columns(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for file in root.glob("labels.*"):
        file.unlink()
    rows = ["name;smooth;z;ra;label", "a;0,5;0,05;150,123;J12.5+1", "b;0,25;0,1;1,5;J1.5", "x;deg;-;-;-"]
    (root / "labels.csv").write_text("\n".join(rows))
    extra = read_table(root, "skip", columns=["smooth"], extra_columns=["z", "ra", "label"]).extra_columns
    assert extra is not None
    assert extra["z"].tolist() == [0.05, 0.1]
    assert extra["ra"].tolist() == [150.123, 1.5]
    assert extra["label"].tolist() == ["J12.5+1", "J1.5"]
    assert "extra columns that are read as text: label (as 'J12.5+1' is)" in caplog.text


def test_all_columns_are_those_of_one_value_a_row_without_another_meaning(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / f"{name}.png").touch()
    table = pd.DataFrame(
        {"name": NAMES, "kind": ["E", "S", "E"], "E": [0.1, 0.2, 0.3], "flux": [1.5, 2.5, 3.5]}
    )
    table.to_csv(tmp_path / "labels.csv", index=False)
    extra = read_table(tmp_path, class_column="kind", extra_columns="all").extra_columns
    assert extra is not None
    assert extra.columns.tolist() == ["kind", "flux"]  # E is one of the answers
    (tmp_path / "labels.csv").unlink()
    table.assign(spectrum=[[1.0, 2.0]] * 3).to_parquet(tmp_path / "labels.parquet")
    extra = read_table(tmp_path, class_column="kind", extra_columns="all").extra_columns
    assert extra is not None
    assert extra.columns.tolist() == ["kind", "flux"]


def test_columns_that_cannot_be_carried_are_named(root: Path) -> None:
    with pytest.raises(UserError, match=r"no column nte \(data.catalog.extra_columns\); did you mean note"):
        read_table(root, columns=["smooth"], extra_columns=["nte"])
    with pytest.raises(ValueError, match=r"^extra_columns holds smooth, which is one of the answers"):
        read_table(root, columns=["smooth"], extra_columns=["smooth"])
    # Without labels, it is a column like any other.
    assert read_table(root, extra_columns=["smooth"]).extra_columns is not None


@pytest.mark.parametrize("name", [*sorted(TAKEN_NAMES), "true/a"])
def test_names_that_are_taken_are_refused(name: str) -> None:
    table = pd.DataFrame({name: [1.0]})
    with pytest.raises(ValueError, match=f"^extra_columns holds {name}, which batches"):
        Catalog("mine", np.arange(1), (Path("0.jpg"),), extra_columns=table)
    with pytest.raises(ValueError, match=r"^extra_columns holds a, which is one of the answers"):
        Catalog(
            "mine",
            np.arange(1),
            (Path("0.jpg"),),
            labels=class_labels(("a", "b"), "Which?"),
            extra_columns=pd.DataFrame({"a": [1.0]}),
        )
