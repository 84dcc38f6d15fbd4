"""The Kaggle reader on generated folders, whole and broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2, KAGGLE_COLUMNS
from galaxy.surveys.kaggle import FOLDERS, TABLE, read_kaggle
from galaxy.system.errors import UserError

COLUMNS = list(KAGGLE_COLUMNS)
IDS = [100008, 100023, 100053, 999999999999999999]


def labels(n: int) -> np.ndarray:
    """Random answers that obey the tree, rounded to six decimals as Kaggle's are."""
    rng = np.random.default_rng(0)
    answers, _ = GALAXY_ZOO_2.conditional(rng.random((n, len(COLUMNS))))
    return GALAXY_ZOO_2.cumulative(answers).round(6)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder, ids in zip(FOLDERS.values(), [IDS, [7, 42, 5]], strict=True):
        (tmp_path / folder).mkdir()
        for i in ids:
            (tmp_path / folder / f"{i}.jpg").touch()
    write(tmp_path, table())
    return tmp_path


def table() -> pd.DataFrame:
    """As text, so that tests can put anything into it."""
    frame = pd.DataFrame(labels(len(IDS)), columns=COLUMNS).map(lambda value: f"{value:.6f}")
    frame.insert(0, "GalaxyID", [str(i) for i in IDS])
    return frame


def write(root: Path, frame: pd.DataFrame) -> None:
    frame.to_csv(root / TABLE, index=False)


def error(root: Path, on_bad: str = "error") -> str:
    with pytest.raises(UserError) as caught:
        read_kaggle(root, on_bad)  # type: ignore[arg-type]
    return str(caught.value)


def test_reads_a_sound_folder(root: Path) -> None:
    (root / FOLDERS["training"] / ".DS_Store").touch()
    (root / FOLDERS["training"] / "._100008.jpg").touch()
    catalog = read_kaggle(root, "error")
    assert catalog.name == "kaggle"
    assert catalog.labels is not None
    assert catalog.labels.meaning == "cumulative"
    assert catalog.labels.columns == KAGGLE_COLUMNS
    assert catalog.ids.dtype == np.int64
    assert catalog.ids.tolist() == IDS  # 18 digits survive: never a float
    assert [path.stem for path in catalog.images] == [str(i) for i in IDS]
    assert all(path.is_file() for path in catalog.images)
    assert catalog.targets is not None
    assert catalog.targets.dtype == np.float32
    np.testing.assert_allclose(catalog.targets, labels(len(IDS)), atol=1e-7)
    assert catalog.skipped == ()


def test_reads_either_spelling_any_column_order_a_byte_order_mark_and_blank_lines(root: Path) -> None:
    frame = table().rename(columns={"GalaxyID": "GalaxyId"})[[*reversed(COLUMNS), "GalaxyId"]]
    text = frame.to_csv(index=False).replace("\n", "\r\n") + "\r\n\r\n"
    (root / TABLE).write_bytes(text.encode("utf-8-sig"))
    catalog = read_kaggle(root, "error")
    assert catalog.ids.tolist() == IDS
    assert catalog.targets is not None
    np.testing.assert_allclose(catalog.targets, labels(len(IDS)), atol=1e-7)


def test_test_part_has_sorted_ids_and_no_targets(root: Path) -> None:
    (root / TABLE).unlink()
    catalog = read_kaggle(root, "error", part="test")
    assert catalog.ids.tolist() == [5, 7, 42]
    assert [path.name for path in catalog.images] == ["5.jpg", "7.jpg", "42.jpg"]
    assert catalog.targets is None


@pytest.mark.parametrize("on_bad", ["error", "skip"])
def test_missing_files_are_named_with_the_layout(tmp_path: Path, on_bad: str) -> None:
    message = error(tmp_path / "nowhere", on_bad)
    assert str(tmp_path / "nowhere" / TABLE) in message
    assert str(tmp_path / "nowhere" / FOLDERS["training"]) in message
    assert "data.root" in message


@pytest.mark.parametrize("on_bad", ["error", "skip"])
def test_wrong_columns_are_named(root: Path, on_bad: str) -> None:
    write(root, table().rename(columns={"Class1.1": "Class1_1"}).drop(columns="Class11.6"))
    message = error(root, on_bad)
    assert "no column Class1.1; did you mean Class1_1?" in message
    assert "no column Class11.6" in message


@pytest.mark.parametrize("ending", [".JPG", ".png", ".jpeg", ".PNG"])
def test_images_may_have_other_endings_and_lie_one_folder_deeper(root: Path, ending: str) -> None:
    folder = root / FOLDERS["training"]
    deeper = folder / FOLDERS["training"]
    deeper.mkdir()
    (folder / "__MACOSX").mkdir()
    for path in list(folder.glob("*.jpg")):
        path.rename(deeper / f"{path.stem}{ending}")
    catalog = read_kaggle(root, "error")
    assert catalog.images == tuple(deeper / f"{i}{ending}" for i in IDS)
    (deeper / f"{IDS[0]}.jpg").touch()
    assert "has the same name" in error(root)


def test_a_folder_without_images_says_what_it_holds(root: Path) -> None:
    for path in (root / FOLDERS["training"]).glob("*.jpg"):
        path.rename(path.with_suffix(".tif"))
    message = error(root)
    assert "holds no .jpg or .png file; it holds 100008.tif, 100023.tif, 100053.tif, 9999999" in message


def test_a_short_line_is_named_and_can_be_skipped(root: Path) -> None:
    lines = (root / TABLE).read_text().splitlines()
    lines[2] = ",".join(lines[2].split(",")[:20])
    (root / TABLE).write_text("\n".join(lines) + "\n")
    assert f"{TABLE}, line 3, GalaxyID 100023: Class8.2 is empty or NaN (and 17 more columns)" in error(root)
    catalog = read_kaggle(root, "skip")
    assert catalog.ids.tolist() == [IDS[0], *IDS[2:]]
    assert len(catalog.skipped) == 1


@pytest.mark.parametrize("on_bad", ["error", "skip"])
def test_a_file_that_breaks_off_is_refused(root: Path, on_bad: str) -> None:
    text = (root / TABLE).read_text()
    (root / TABLE).write_text(text[: len(text) - 100])
    assert "its last line has" in error(root, on_bad)
    assert "Download or unpack it again" in error(root, on_bad)


def test_fractions_that_rounding_puts_outside_are_clipped(root: Path) -> None:
    frame = table()
    frame.loc[0, COLUMNS] = "0"
    frame.loc[0, ["Class1.3", "Class6.2"]] = ["1.0000001", "1.0"]
    frame.loc[0, "Class1.2"] = "-1e-9"
    write(root, frame)
    catalog = read_kaggle(root, "error")
    assert catalog.targets is not None
    assert (catalog.targets[0, :3].tolist()) == [0, 0, 1]


def test_a_column_that_comes_twice_is_named(root: Path) -> None:
    text = (root / TABLE).read_text()
    (root / TABLE).write_text(text.replace("Class1.1,", "Class1.2,", 1))
    assert "more than one column Class1.2" in error(root)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"\xff\xfe\x00",
        b'"unclosed',
        b"PK\x03\x04\x00\x00",
        b"GalaxyID," + ",".join(COLUMNS).encode(),
    ],
    ids=["empty", "blank", "no utf-8", "open quote", "a zip file", "header only"],
)
@pytest.mark.parametrize("on_bad", ["error", "skip"])
def test_an_unusable_csv_is_one_user_error(root: Path, content: bytes, on_bad: str) -> None:
    (root / TABLE).write_bytes(content)
    assert TABLE in error(root, on_bad)


@pytest.mark.parametrize("row", [1, 2])
def test_a_row_with_too_many_fields_is_refused(root: Path, row: int) -> None:
    lines = (root / TABLE).read_text().splitlines()
    lines[row] += ",0.5"
    (root / TABLE).write_text("\n".join(lines))
    assert "cannot be read as a CSV file" in error(root)


def broken(root: Path) -> list[str]:
    """Breaks the folder in every way a row or an image can be bad; the ids that stay sound."""
    frame = pd.concat([table()] * 3, ignore_index=True)
    frame["GalaxyID"] = [str(i) for i in range(1, 13)]
    frame.loc[0, "GalaxyID"] = "1.5"
    frame.loc[1, "GalaxyID"] = ""
    frame.loc[3, "GalaxyID"] = "3"
    frame.loc[4, "Class7.2"] = ""
    frame.loc[5, "Class8.7"] = "-0.01"
    frame.loc[6, ["Class9.1", "Class9.2", "Class2.1"]] = ["many", "inf", "inf"]
    frame.loc[7, "Class1.1"] = f"{float(frame.loc[7, 'Class1.1']) + 2e-5:.6f}"
    write(root, frame)
    folder = root / FOLDERS["training"]
    for path in folder.iterdir():
        path.unlink()
    for name in ["3", "5", "6", "7", "8", "10", "11", "12", "77", "galaxy", "0100"]:
        (folder / f"{name}.jpg").touch()
    return ["3", "10", "11", "12"]


EXPECTED = [
    "line 2: GalaxyID '1.5' is not a whole number",
    "line 3: GalaxyID '' is not a whole number",
    "line 5: GalaxyID 3 is already on line 4",
    "line 6, GalaxyID 5: Class7.2 is empty or NaN",
    "line 7, GalaxyID 6: Class8.7 is -0.01",
    "line 8, GalaxyID 7: Class2.1 is inf (and 2 more columns)",
    "line 9, GalaxyID 8: q01 sums to 1.00002",
    "line 10, GalaxyID 9: no images_training_rev1/9.jpg",
    "images_training_rev1/77.jpg: no such GalaxyID",
    "images_training_rev1/galaxy.jpg: the name is not a GalaxyID",
    "images_training_rev1/0100.jpg: the name is not a GalaxyID",
]


def test_every_mistake_is_in_the_one_error(root: Path) -> None:
    broken(root)
    message = error(root)
    for line in EXPECTED:
        assert line in message
    assert "3 row(s) with labels" in message
    assert "data.on_bad=skip" in message


def test_skip_leaves_out_the_bad_and_reports_each_once(root: Path) -> None:
    sound = broken(root)
    catalog = read_kaggle(root, "skip")
    assert [str(i) for i in catalog.ids] == sound
    assert catalog.targets is not None
    np.testing.assert_allclose(catalog.targets, np.tile(labels(4), (3, 1))[[2, 9, 10, 11]], atol=1e-7)
    assert len(catalog.skipped) == len(EXPECTED)
    for line in EXPECTED:
        assert sum(line in skipped for skipped in catalog.skipped) == 1


def test_parent_of_a_broken_question_is_named_with_its_value(root: Path) -> None:
    frame = table()
    frame.loc[0, "Class2.1"] = "0.000000"
    write(root, frame)
    parent = labels(1)[0, COLUMNS.index("Class1.2")]
    assert f"not Class1.2 = {parent:.6f}" in error(root)


def test_rounding_within_the_tolerance_is_accepted(root: Path) -> None:
    frame = table()
    frame["Class1.3"] = [f"{float(value) + 5e-6:.6f}" for value in frame["Class1.3"]]
    write(root, frame)
    assert len(read_kaggle(root, "error")) == len(IDS)


def test_long_lists_are_cut_and_counted(root: Path) -> None:
    frame = pd.concat([table()] * 5, ignore_index=True)
    frame["GalaxyID"] = [str(i) for i in range(19)] + [str(IDS[0])]
    write(root, frame)
    message = error(root)
    assert "19 row(s) without an image" in message
    assert "... and 9 more" in message


@pytest.mark.parametrize("on_bad", ["error", "skip"])
def test_what_is_wrong_with_every_row_is_said_once(root: Path, on_bad: str) -> None:
    write(root, table().assign(**{"Class7.2": "round"}))
    message = error(root, on_bad)
    assert (
        "No usable galaxy: all 4 are row(s) with labels that are not fractions in [0, 1], such as" in message
    )
    assert message.endswith("line 2, GalaxyID 100008: Class7.2 is round")


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["1.0", "2.37e17", "3.0", "4.0"], "the ids in GalaxyID were saved as floats, such as 1.0"),
        (["", "2.0", "3.0", "4.0"], "the ids in GalaxyID were saved as floats, such as 2.0"),
        (
            ["a", "b", "", "1.0"],
            "no GalaxyID in training_solutions_rev1.csv is a whole number; the first is 'a'",
        ),
    ],
)
def test_ids_that_are_all_bad_are_the_only_mistake_told(root: Path, ids: list[str], said: str) -> None:
    write(root, table().assign(GalaxyID=ids))
    message = error(root)
    assert said in message
    assert "without a row" not in message
    assert "on_bad" not in message


def test_nothing_left_is_an_error(root: Path) -> None:
    frame = table()
    frame.loc[1:, "Class1.1"] = "2"
    frame.loc[0, "GalaxyID"] = "5"
    write(root, frame)
    assert "No usable galaxy" in error(root, "skip")
