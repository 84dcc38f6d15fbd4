"""Splits that a table brings along: in a column, or as a file for each."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from galaxy.data.split_settings import SplitSettings
from galaxy.data.splits import SPLITS
from galaxy.surveys.table import read_table
from galaxy.system.errors import UserError

NAMES = [f"g{i}" for i in range(60)]
SETTINGS = SplitSettings(0.2, 0.2, 0, False, None)


def write(root: Path, splits: list[str], file: str = "labels.csv", column: str = "split") -> None:
    (root / "images").mkdir(exist_ok=True)
    names = NAMES[: len(splits)]
    for name in names:
        (root / "images" / f"{name}.png").touch()
    pd.DataFrame({"name": names, "smooth": 0.5, column: splits}).to_csv(root / file, index=False)


def splits_of(root: Path, **arguments: Any) -> dict[str, str]:
    catalog = read_table(root, columns=["smooth"], **arguments)
    codes, _ = SETTINGS.split(catalog)
    return {str(name): SPLITS[code] for name, code in zip(catalog.identifiers, codes, strict=True)}


def error(root: Path, **arguments: Any) -> str:
    with pytest.raises(UserError) as caught:
        splits_of(root, **arguments)
    return str(caught.value)


def test_a_column_decides_the_splits_and_hashes_where_it_is_empty(tmp_path: Path) -> None:
    words = ["Train", "valid", "val", "validation", "TEST", *[""] * 55]
    write(tmp_path, words, column="Split")
    found = splits_of(tmp_path)
    assert list(found.values())[:5] == ["train", "val", "val", "val", "test"]
    by_hash = splits_of(tmp_path, split_column=None)
    assert list(found.items())[5:] == list(by_hash.items())[5:]
    assert found != by_hash
    assert read_table(tmp_path, split_column="Split").take(np.array([4, 9])).splits.tolist() == ["test", ""]


def test_folds_do_not_guess_what_a_column_of_splits_is_for(tmp_path: Path) -> None:
    write(tmp_path, ["train", "test"] * 30)
    folds = replace(SETTINGS, folds=3, fold=0)
    with pytest.raises(UserError, match="split_column=null leaves them to the folds"):
        folds.split(read_table(tmp_path, columns=["smooth"]))
    codes, _ = folds.split(read_table(tmp_path, columns=["smooth"], split_column=None))
    assert set(codes) == {0, 1, 2}


def test_a_split_that_no_galaxy_has_is_made_of_training_galaxies(tmp_path: Path) -> None:
    write(tmp_path, ["test"] * 10 + ["train"] * 50)
    found, by_hash = splits_of(tmp_path), splits_of(tmp_path, split_column=None)
    assert [name for name, split in found.items() if split == "test"] == NAMES[:10]
    validating = [name for name in NAMES[10:] if by_hash[name] == "val"]
    assert [name for name, split in found.items() if split == "val"] == validating != []


def test_words_that_name_no_split_are_refused(tmp_path: Path) -> None:
    write(tmp_path, ["train", "vla", "test"])
    message = error(tmp_path)
    assert "labels.csv, line 3, g1: split is vla" in message
    assert "none of train, training, val, valid, validation, test, testing" in message
    assert "data.catalog.split_column=null ignores" in message
    assert set(splits_of(tmp_path, on_bad="skip")) == {"g0", "g2"}
    assert "no column spilt (data.catalog.split_column)" in error(tmp_path, split_column="spilt")
    write(tmp_path, ["1", "2", "3"])
    assert "all 3 are row(s) whose split is none of train" in error(tmp_path)
    assert read_table(tmp_path, group_column="split").splits is None  # it has another meaning


def csv(path: Path, table: pd.DataFrame) -> None:
    table.to_csv(path.with_suffix(".csv"), index=False)


def parquet(path: Path, table: pd.DataFrame) -> None:
    middle = len(table) // 2
    for number, part in enumerate([table[:middle], table[middle:]]):
        part.to_parquet(path.with_name(f"{path.name}-0000{number}-of-00002.parquet"), index=False)


@pytest.mark.parametrize("save", [csv, parquet])
def test_a_file_for_each_split_is_one_table(
    tmp_path: Path, save: Callable[[Path, pd.DataFrame], None]
) -> None:
    write(tmp_path, ["train"] * 6 + ["val"] * 2 + ["test"] * 2)
    table = pd.read_csv(tmp_path / "labels.csv").drop(columns="split")
    (tmp_path / "labels.csv").unlink()
    for name, rows in {"train": table[:6], "validation": table[6:8], "test": table[8:]}.items():
        save(tmp_path / name, rows)
    assert list(splits_of(tmp_path).values()) == ["train"] * 6 + ["val"] * 2 + ["test"] * 2
    assert splits_of(tmp_path, split_column=None) != splits_of(tmp_path)
    extra = read_table(tmp_path, columns=["smooth"], extra_columns=["split"]).extra_columns
    assert extra is not None
    assert extra["split"].tolist() == ["train"] * 6 + ["val"] * 2 + ["test"] * 2


def test_mistakes_in_a_file_for_each_split_are_named_with_the_file(tmp_path: Path) -> None:
    write(tmp_path, [""] * 3)
    (tmp_path / "labels.csv").unlink()
    (tmp_path / "train.csv").write_text("name,smooth\ng0,0.1\ng1,0.5\n")
    (tmp_path / "test.csv").write_text("name,smooth\ng0,0.5\ng2,x\n")
    message = error(tmp_path)
    assert "line 2 of test.csv, g0: is already on line 2 of train.csv" in message
    assert "line 3 of test.csv, g2: smooth is x" in message
    (tmp_path / "test.csv").write_text("name\ng2\n")
    assert "train.csv, test.csv are read as one table; data.catalog.file chooses one" in error(tmp_path)
    assert set(splits_of(tmp_path, file="train.csv")) == {"g0", "g1"}
    (tmp_path / "more.csv").write_text("name,smooth\ng2,0.5\n")
    assert "holds 3 tables" in error(tmp_path)
    assert set(splits_of(tmp_path, file="[!t]*.csv")) == {"g2"}
    assert set(splits_of(tmp_path, file="*r*.csv")) == {"g0", "g1", "g2"}


def test_tables_of_one_name_and_of_several_kinds_are_one(tmp_path: Path) -> None:
    write(tmp_path, [""] * 4)
    (tmp_path / "labels.csv").unlink()
    for folder, rows in (("a", "g0,0.1,5\ng1,0.5,6\n"), ("b", "g2,0.1,7\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "labels.csv").write_text(f"name,smooth,flux\n{rows}")
    extra = read_table(tmp_path, file="*/labels.csv", extra_columns=["flux"]).extra_columns
    assert extra is not None
    assert extra["flux"].tolist() == [5, 6, 7]
    table = pd.DataFrame({"name": ["g3", "g0"], "smooth": [0.5, 0.1], "flux": [1, 2]})
    table.to_parquet(tmp_path / "b" / "more.parquet")
    message = error(tmp_path, file="?/*")
    assert (
        f"{tmp_path.name}/, line or row 2 of b/more.parquet, g0: is already on line or row 2 of a/" in message
    )


def test_images_of_one_name_in_the_folders_of_splits_do_not_share_a_split(tmp_path: Path) -> None:
    for file in ("train/1.png", "train/2.png", "test/1.png"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    rows = ["train/1.png,0.1,train,a", "train/2.png,0.2,train,b", "test/1.png,0.3,test,b"]
    (tmp_path / "labels.csv").write_text("\n".join(["file,smooth,split,field", *rows]))
    assert splits_of(tmp_path)["test/1"] == "test"
    assert "tears groups" in error(tmp_path, group_column="field")


def test_images_of_one_name_share_a_split_that_a_table_leaves_open(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = []
    for number in range(20):
        for folder, split in (("x", ""), ("y", "")) if number else (("x", "test"), ("y", "")):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{number}.png").touch()
            rows.append(f"{folder}/{number}.png,0.5,{split}")
    (tmp_path / "labels.csv").write_text("\n".join(["file,smooth,split", *rows, "x/1.png,0.5,"]))
    found = splits_of(tmp_path, on_bad="skip")
    assert all(found[f"x/{number}"] == found[f"y/{number}"] for number in range(2, 20))
    assert found["x/0"] == found["y/0"] == "test"
    assert "share a split" in caplog.text


def test_files_of_one_name_share_what_the_hash_decides_within_a_split(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        for number in range(40):
            (tmp_path / folder / f"{number}.png").touch()
    paths = [f"{folder}/{number}.png" for folder in ("x", "y") for number in range(40)]
    words = ["train", "test"] * 2 + ["train"] * 76
    pd.DataFrame({"file": paths, "smooth": 0.5, "split": words}).to_csv(tmp_path / "labels.csv", index=False)
    found = splits_of(tmp_path, image_column="file")
    assert "val" in found.values()
    shared = [(found[f"x/{n}"], found[f"y/{n}"]) for n in range(4, 40)]
    assert all(one == other for one, other in shared)


def test_the_column_of_splits_is_no_column_of_names(tmp_path: Path) -> None:
    write(tmp_path, ["train", "test", "val"] * 3)
    table = pd.DataFrame(
        {"split": ["train", "test", "val"] * 3, "file": [f"{n}.png" for n in NAMES[:9]], "smooth": 0.5}
    )
    table.to_csv(tmp_path / "labels.csv", index=False)
    assert set(splits_of(tmp_path, image_column="file")) == set(NAMES[:9])
