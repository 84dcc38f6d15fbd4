"""The ids of galaxies that are known by files, and where these are looked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy.surveys.catalog import Catalog
from galaxy.surveys.ids import id_of
from galaxy.surveys.names import file_names, names_by_path
from galaxy.surveys.several_tables import open_table
from galaxy.surveys.table import read_table
from galaxy.surveys.table_columns import name_column_of
from galaxy.surveys.text_table import TextStyle
from galaxy.system.errors import UserError


def write(root: Path, columns: dict[str, list[Any]], *images: str) -> None:
    root.mkdir(exist_ok=True)
    pd.DataFrame(columns).to_csv(root / "labels.csv", index=False)
    for name in images:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def read(root: Path, on_bad: str = "error", **arguments: Any) -> Catalog:
    return read_table(root, on_bad, bands=[2, 1, 0], softening=10.0, **arguments)  # type: ignore[arg-type]


def error(root: Path, **arguments: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(root, **arguments)
    return str(caught.value)


# Names.


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/1.png", "b/2.FITS.GZ", r"C:\x y\3.jpg", "4", "./5.b.tif"], ["1", "2", "3", "4", "5.b"]),
        (["/d/a/1.png", "/d/b/1.png", "/d/b/2.png"], ["a/1", "b/1", "2"]),
        (["/d/a/x/1.png", "/d/b/x/1.png", "x/1.png"], ["a/x/1", "b/x/1", "x/1"]),
        (["1.jpg", "1.png", "1.jpg.png"], ["1.jpg", "1.png", "1.jpg.png"]),
        (["a/1.png", "a/1.png"], ["a/1.png", "a/1.png"]),
    ],
)
def test_galaxies_have_the_names_of_their_files(paths: list[str], names: list[str]) -> None:
    assert names_by_path(paths) == tuple(names)


@given(st.lists(st.from_regex(r"([ab]/){0,3}[12](\.png|\.jpg)", fullmatch=True), unique=True))
def test_different_files_have_different_names(paths: list[str]) -> None:
    names = names_by_path(paths)
    assert len(set(names)) == len(paths)
    assert all(file in name for file, name in zip(file_names(paths), names, strict=True))


def test_the_first_column_stays_the_name_beside_a_column_of_images(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"iauname": ["J1", "J2"], "filename": ["a.png", "b.png"], "ring": [0.1, 0.2]},
        "a.png",
        "b.png",
    )
    catalog = read(tmp_path, image_column="filename", columns=["ring"])
    assert catalog.names == ("J1", "J2")
    assert catalog.images == (tmp_path / "a.png", tmp_path / "b.png")


@pytest.mark.parametrize("index", ["", "Unnamed: 0"])
def test_a_column_of_row_numbers_is_no_column_of_names(tmp_path: Path, index: str) -> None:
    write(tmp_path, {index: [0, 1], "name": ["a", "b"], "ring": [0.1, 0.2]}, "images/a.png", "images/b.png")
    assert read(tmp_path, columns=["ring"]).names == ("a", "b")
    files = {index: [0, 1], "name": ["a.png", "b.png"], "ring": [0.1, 0.2]}
    write(tmp_path, files)
    assert read(tmp_path, columns=["ring"], image_column="name").names == ("a", "b")


@pytest.mark.parametrize("index", ["index", "level_0"])
def test_the_row_numbers_of_reset_index_are_no_names(tmp_path: Path, index: str) -> None:
    write(tmp_path, {index: [0, 1], "ra": [1.5, 2.5], "name": ["a", "b"]}, "a.png", "b.png")
    assert read(tmp_path).names == ("a", "b")
    write(tmp_path, {index: [1], "ra": [2.5], "name": ["b"]})  # a part of it
    assert read(tmp_path).names == ("b",)
    assert read(tmp_path, id_column=index, image_column="name").ids.tolist() == [1]
    write(tmp_path, {index: [1, 2], "ra": [1.5, 2.5], "file": ["b.png", "a.png"]})
    assert read(tmp_path, image_column="file").names == ("b", "a")


@pytest.mark.parametrize("values", [["E", "S"], ["E", "E"], ["E", ""]])
def test_equal_values_do_not_choose_the_column_of_names(tmp_path: Path, values: list[str]) -> None:
    write(tmp_path, {"index": [7, 8], "kind": values, "name": ["a", "b"]}, "7.png", "8.png")
    table = open_table([tmp_path / "labels.csv"], TextStyle())
    assert name_column_of(table, None, []) == "kind"
    assert name_column_of(table, None, ["kind"]) == "name"


def test_ids_that_count_the_rows_are_kept_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, {"number": [1, 2], "title": ["a", "b"]}, "1.png", "2.png")
    assert read(tmp_path).ids.tolist() == [1, 2]
    assert "data.catalog.id_column=title" in caplog.text
    caplog.clear()
    write(tmp_path, {"number": [2, 1], "title": ["a", "b"]})
    assert read(tmp_path).ids.tolist() == [2, 1]
    assert "id_column" not in caplog.text


def test_one_row_changes_no_id_of_another(tmp_path: Path) -> None:
    images = [f"images/{name}.png" for name in "abcd"]
    for last in ("d", "d.png", "images/d.png", "J1200.5"):
        write(tmp_path, {"name": ["a.png", r"images\b.png", "c", last]}, *images, "images/J1200.5.png")
        assert read(tmp_path).names == ("a", "b", "c", "J1200.5" if "J" in last else "d")


def test_a_slash_in_a_name_is_no_folder_unless_the_images_are_found_by_it(tmp_path: Path) -> None:
    names = ["NGC 4038/9", "0266/51602/1", "a/b.png"]
    write(tmp_path, {"name": names, "file": ["x.png", "y.png", "z.png"]}, "x.png", "y.png", "z.png")
    catalog = read(tmp_path, image_column="file")
    assert catalog.names == ("NGC 4038/9", "0266/51602/1", "b")
    assert catalog.ids.tolist() == [id_of(name) for name in catalog.names]
    write(tmp_path, {"name": names[:2]}, "images/NGC 4038/9.png", "images/0266/51602/1.png")
    assert read(tmp_path).ids.tolist() == [9, 1]


def test_a_column_of_labels_is_no_column_of_names(tmp_path: Path) -> None:
    write(tmp_path, {"ring": [0.1, 0.2], "kind": ["x", "y"], "file": ["a.png", "b.png"]}, "a.png", "b.png")
    assert read(tmp_path, columns=["ring"], image_column="file").names == ("a", "b")
    write(tmp_path, {"kind": ["x", "y"], "file": ["a.png", "b.png"]})
    assert read(tmp_path, class_column="kind", image_column="file").names == ("a", "b")
    write(tmp_path, {"split": ["train", "val"], "file": ["a.png", "b.png"], "ring": [0.1, 0.2]})
    for column in ({"image_column": "file"}, {}):
        catalog = read(tmp_path, columns=["ring"], **column)
        assert catalog.names == ("a", "b")
        assert catalog.splits is not None
        assert catalog.splits.tolist() == ["train", "val"]


@pytest.mark.parametrize("first", [["x", "x"], [12.5, 13.5]])
def test_a_first_column_that_names_nothing_is_refused_with_the_key(tmp_path: Path, first: list[Any]) -> None:
    write(tmp_path, {"ra": first, "file": ["a.png", "b.png"]}, "a.png", "b.png")
    assert "(another column may hold the names: data.catalog.id_column)" in error(
        tmp_path, image_column="file"
    )
    assert read(tmp_path, image_column="file", id_column="file").names == ("a", "b")


def test_ids_and_groups_stay_when_the_folder_moves(tmp_path: Path) -> None:
    catalogs = []
    for name in ("here", "elsewhere"):
        root = tmp_path / name
        images = ["g/1.png", "r/1.png", "g/2.png"]
        write(root, {"file_loc": [str(root / image) for image in images]}, *images)
        catalogs.append(read(root, image_column="file_loc"))
    here, elsewhere = catalogs
    assert here.ids.tolist() == elsewhere.ids.tolist() == [id_of("g/1"), id_of("r/1"), 2]
    assert here.groups is not None
    assert elsewhere.groups is not None
    assert here.groups.tolist() == elsewhere.groups.tolist() == [1, 1, 2]


def test_files_that_share_a_name_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, {"file": ["g/1.png", "r/1.png"]}, "g/1.png", "r/1.png")
    read(tmp_path, image_column="file")
    assert "2 images have the file name of another, such as g/1 and r/1" in caplog.text


# Places.


@pytest.mark.parametrize("column", ["id_column", "image_column"])
def test_names_with_endings_are_found_in_the_folder_of_images(tmp_path: Path, column: str) -> None:
    write(tmp_path, {"file": ["a.png", "b.FITS.gz"]}, "images/a.png", "images/b.FITS.gz")
    catalog = read(tmp_path, **{column: "file"})
    assert catalog.names == ("a", "b")
    assert [Path(str(image)) for image in catalog.images] == [
        tmp_path / "images" / "a.png",
        tmp_path / "images" / "b.FITS.gz",
    ]


@pytest.mark.parametrize(
    ("text", "file"),
    [
        (r"images\x.png", "images/x.png"),
        (r"C:\Users\me\survey\images\x.png", "images/x.png"),
        (r"D:\field 1\x.png", "pictures/field 1/x.png"),
        ("/gone/survey/images/x.png", "images/x.png"),
        ("/gone/x.png", "x.png"),
        ("x.png", "images/x.png"),
        ("x.png", "images/x.PNG"),
        ("x.JPG", "images/x.jpg"),
        ("x.png", "images/deep/x.png"),
        ("field 1/x.png", "images/field 1/x.png"),
        ("x", "images/x.png"),
        ("x", "x.jpeg"),
        ("./x.png", "x.png"),
        ("xe\u0301.png", "images/x\u00e9.png"),
    ],
)
def test_images_are_found_where_people_keep_them(tmp_path: Path, text: str, file: str) -> None:
    write(tmp_path, {"name": ["g"], "file": [text]}, file)
    assert read(tmp_path, image_column="file").images == (tmp_path / file,)


def test_a_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    write(tmp_path, {"file": ["~/x.png"]}, "home/x.png")
    assert read(tmp_path, image_column="file").images == (tmp_path / "home/x.png",)


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("/gone/train/1.png", ["test/1.png"]),  # the folder is another
        ("train/1.png", ["test/1.png"]),
        ("g/x.png", ["r/x.png"]),
        ("1.png", ["1.jpg"]),
    ],
)
def test_an_image_of_another_folder_or_kind_is_not_taken(tmp_path: Path, text: str, files: list[str]) -> None:
    write(tmp_path, {"name": ["g"], "file": [text]}, *files)
    message = error(tmp_path, image_column="file")
    assert f"labels.csv, line 2, g: no {tmp_path}/" in message or f"no {text}" in message
    assert f"it has 1, such as {Path(files[0]).name}" in message


@pytest.mark.parametrize("text", ["./images/{}.png", r"C:\data\images\{}.png", "/old/{}.png", "images/{}"])
def test_paths_in_the_first_column_are_found_as_those_of_a_column_of_images(
    tmp_path: Path, text: str
) -> None:
    names = [text.format(name) for name in "ab"]
    write(tmp_path, {"file": names}, "images/a.png", "images/b.png", "images/far/c.png")
    catalog = read(tmp_path)
    assert catalog.images == (tmp_path / "images/a.png", tmp_path / "images/b.png")
    assert catalog.names == ("a", "b")
    write(tmp_path, {"file": [*names, "/old/near/c.png"]})
    assert f"c.png is in another folder than /old/near/c.png says: {tmp_path}/images/far/c.png" in error(
        tmp_path
    )


def test_files_of_one_name_are_found_by_their_folders(tmp_path: Path) -> None:
    folders = [f"{number // 10}/{number % 10}" for number in range(30)]
    write(
        tmp_path,
        {
            "name": [f"g{number}" for number in range(30)],
            "file": [f"/old/{folder}/x.png" for folder in folders],
        },
        *(f"images/{folder}/x.png" for folder in folders),
    )
    expected = tuple(tmp_path / "images" / folder / "x.png" for folder in folders)
    assert read(tmp_path, image_column="file").images == expected
    assert read(tmp_path, id_column="file").images == expected
    write(tmp_path, {"file": ["/old/5/7/x.png", "2/9/x.png"]})
    assert "line 2, 7/x: 0/7/x.png and 1/7/x.png and 2/7/x.png" in error(tmp_path)


def test_an_image_that_may_be_several_files_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"name": ["g"], "file": ["1.png"]}, "a/1.png", "b/1.png")
    assert f"1.png may be {tmp_path}/a/1.png or {tmp_path}/b/1.png" in error(tmp_path, image_column="file")


def test_images_may_lie_beside_the_table_or_in_folders_of_any_name(tmp_path: Path) -> None:
    write(tmp_path, {"name": ["a", "b"]}, "a.png", "cutouts/b.jpg")
    assert read(tmp_path).images == (tmp_path / "a.png", tmp_path / "cutouts/b.jpg")


def test_missing_images_are_named_beside_what_there_is(tmp_path: Path) -> None:
    write(tmp_path, {"name": ["ngc1300", "ngc1301"]}, "images/ngc1300.png", "images/ngc_1301.png")
    message = error(tmp_path)
    assert (
        "it has 2, such as ngc1300.png, ngc_1301.png, and none called ngc1301; did you mean ngc_1301.png?"
        in message
    )
    assert "data.catalog.image_column" in message
    write(tmp_path / "other", {"name": ["ngc1300", "ngc1302"]}, "images/ngc1300.png")
    assert "none called ngc1302" in (message := error(tmp_path / "other"))
    assert "did you mean" not in message  # That would be another galaxy.
    empty = tmp_path / "empty"
    write(empty, {"name": ["a"]}, "notes.txt")
    message = error(empty)
    assert f"there is no image in {empty} (it holds labels.csv, notes.txt)" in message


def test_the_table_may_lie_one_folder_deeper(tmp_path: Path) -> None:
    write(tmp_path / "data", {"file": ["a.png"]}, "a.png")
    assert read(tmp_path, image_column="file").images == (tmp_path / "data/a.png",)


def test_only_names_of_files_are_shortened(tmp_path: Path) -> None:
    names = ["NGC 4038/9", "0266/51602/1", "images/a.png"]
    (tmp_path / "images").mkdir()
    for number in range(3):
        (tmp_path / "images" / f"{number}.png").touch()
    table = pd.DataFrame({"name": names, "file": ["0.png", "1.png", "2.png"], "p": 0.5})
    table.to_csv(tmp_path / "labels.csv", index=False)
    catalog = read_table(tmp_path, image_column="file", columns=["p"])
    assert [str(name) for name in catalog.identifiers] == ["NGC 4038/9", "0266/51602/1", "a"]


def test_a_folder_of_images_may_be_a_link(tmp_path: Path) -> None:
    write(tmp_path / "disk", {}, "g1.png")
    write(tmp_path / "root", {"name": ["g"], "file": ["g1"]})
    (tmp_path / "root/images").symlink_to(tmp_path / "disk")
    assert read(tmp_path / "root", image_column="file").images == (tmp_path / "root/images/g1.png",)


def test_images_of_the_data_go_before_those_beside_a_table_elsewhere(tmp_path: Path) -> None:
    write(tmp_path / "home", {"name": ["a", "b"], "file": ["g1", "g2"]}, "backup/g1.png", "cutouts/g2.png")
    write(tmp_path / "data", {}, "images/g1.png")
    catalog = read(tmp_path / "data", file=str(tmp_path / "home/labels.csv"), image_column="file")
    assert catalog.images == (tmp_path / "data/images/g1.png", tmp_path / "home/cutouts/g2.png")


def test_a_pattern_of_tables_holds_in_a_folder_of_any_name(tmp_path: Path) -> None:
    root = tmp_path / "run [1]"
    write(root, {"name": ["a"]}, "a.png")
    (root / "labels.csv").rename(root / "train.csv")
    assert read(root, file="tr*.csv").images == (root / "a.png",)
