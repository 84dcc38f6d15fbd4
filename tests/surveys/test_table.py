"""A user's own table, in every form that users have them, whole and broken."""

from __future__ import annotations

import gzip
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy.config import check_command_line, plain
from galaxy.config.instantiation import instantiate
from galaxy.data.cache import open_cache
from galaxy.images.crops.center import CenterCrop
from galaxy.surveys.catalog import Catalog, FitsImage
from galaxy.surveys.ids import id_of
from galaxy.surveys.table import read_table
from galaxy.system.errors import UserError
from tests.conftest import pixels_of

CONF = Path(__file__).parents[2] / "conf"
NAMES = ["J094651.40-010228.5", "ngc 1300", "42", "007"]
TREE: dict[str, Any] = {
    "shape": {"text": "Which shape?", "answers": ["smooth", "disk"]},
    "bar": {"answers": {"bar": "a bar", "no_bar": None}, "parent": "disk"},
    "ring": {"answers": ["ring"], "parent": "disk"},
}


def read(root: Path, on_bad: str = "error", **arguments: Any) -> Catalog:
    return read_table(root, on_bad, bands=[2, 1, 0], softening=10.0, **arguments)  # type: ignore[arg-type]


def error(root: Path, on_bad: str = "error", **arguments: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(root, on_bad, **arguments)
    return str(caught.value)


def frame(names: Sequence[str] = NAMES) -> pd.DataFrame:
    """As text, so that tests can put anything into it."""
    table = pd.DataFrame({"name": list(names)})
    rows = range(len(table))
    table["smooth"] = [f"{0.1 * (i % 10):.2f}" for i in rows]
    table["disk"] = [f"{1 - 0.1 * (i % 10):.2f}" for i in rows]
    table["bar"] = [f"{(1 - 0.1 * (i % 10)) / 4:.2f}" for i in rows]
    table["no_bar"] = [f"{(1 - 0.1 * (i % 10)) * 3 / 4:.2f}" for i in rows]
    table["ring"] = "0.05"
    table["kind"] = [("Sa10", "Sa2", "E", "Sa2")[i % 4] for i in rows]
    table["path"] = [f"images/{name}.png" for name in names]
    return table


def write(root: Path, table: pd.DataFrame, name: str = "labels.csv") -> None:
    path = root / name
    if name.endswith(".parquet"):
        table.to_parquet(path, index=False)
    else:
        table.to_csv(path, index=False, sep="\t" if ".tsv" in name else ",")


def draw(root: Path, *files: str) -> None:
    for name in files:
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "images" / name).touch()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    draw(tmp_path, *(f"{name}.png" for name in NAMES), "without a row.png")
    write(tmp_path, frame())
    return tmp_path


# Sound tables.


@pytest.mark.parametrize("file", ["a.csv", "a.csv.gz", "a.tsv", "a.CSV", "a.parquet"])
def test_reads_fractions_from_every_kind_of_file(tmp_path: Path, file: str) -> None:
    draw(tmp_path, *(f"{name}.png" for name in NAMES))
    table = frame()
    table[["smooth", "disk"]] = table[["smooth", "disk"]].astype(float)  # Parquet has types
    write(tmp_path, table, file)
    catalog = read(tmp_path, columns=["disk", "smooth"])
    assert catalog.name == "table"
    assert catalog.names == tuple(NAMES)
    assert catalog.ids.tolist() == [id_of(NAMES[0]), id_of(NAMES[1]), 42, id_of(NAMES[3])]
    assert catalog.images == tuple(tmp_path / "images" / f"{name}.png" for name in NAMES)
    assert catalog.any_frame
    assert catalog.skipped == ()
    assert catalog.targets is not None
    assert catalog.targets.dtype == np.float32
    np.testing.assert_allclose(catalog.targets, [[1, 0], [0.9, 0.1], [0.8, 0.2], [0.7, 0.3]], atol=1e-7)
    assert catalog.labels is not None
    assert (catalog.labels.meaning, catalog.labels.kind) == ("fractions", "fractions")
    assert catalog.labels.columns == ("disk", "smooth")
    assert catalog.labels.questions.structure == ((1, None), (1, None))
    assert [question.key for question in catalog.labels.questions] == ["disk", "smooth"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_csv_may_have_any_delimiter_a_byte_order_mark_spaces_and_blank_lines(
    root: Path, delimiter: str
) -> None:
    text = frame().to_csv(index=False, sep=delimiter).replace("\n", "\r\n").replace("42", " 42 ")
    text = text.replace(f"name{delimiter}", f'" name "{delimiter}', 1) + "\r\n" + delimiter * 7 + "\r\n"
    (root / "labels.csv").write_bytes(text.encode("utf-8-sig"))
    catalog = read(root, columns=["smooth"], id_column="name")
    assert catalog.names == tuple(NAMES)


@pytest.mark.parametrize("file", ["a.csv", "a.parquet"])
def test_numbers_of_18_digits_survive(tmp_path: Path, file: str) -> None:
    ids = [587722981741363294, 587722981741363295, 0]
    draw(tmp_path, *(f"{i}.JPG" for i in ids))
    write(tmp_path, pd.DataFrame({"objid": ids, "p": [0, 1, 0.5]}), file)
    catalog = read(tmp_path, columns=["p"])
    assert catalog.ids.tolist() == ids
    assert catalog.names is None


def test_images_may_lie_deeper_and_be_fits(tmp_path: Path) -> None:
    draw(tmp_path, "J09/J094651.40-010228.5.fits.gz", "ngc 1300.FITS", "a/42.tiff", "a/b/007.jpeg")
    write(tmp_path, frame())
    stretch = ((2, 1, 0), 10.0)
    assert read(tmp_path).images == (
        FitsImage(tmp_path / "images/J09/J094651.40-010228.5.fits.gz", *stretch),
        FitsImage(tmp_path / "images/ngc 1300.FITS", *stretch),
        tmp_path / "images/a/42.tiff",
        tmp_path / "images/a/b/007.jpeg",
    )


def test_a_name_may_hold_the_folder_of_its_image(tmp_path: Path) -> None:
    draw(tmp_path, "a/1.png", "b/1.png")
    write(tmp_path, pd.DataFrame({"name": ["b/1", "a/1"]}))
    assert read(tmp_path).images == (tmp_path / "images/b/1.png", tmp_path / "images/a/1.png")


def test_a_column_may_say_where_images_are(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "x.fits"
    elsewhere.touch()
    table = frame()
    table.loc[1, "path"] = str(elsewhere)
    write(root, table)
    images = (
        root / "images" / f"{NAMES[0]}.png",
        FitsImage(elsewhere, (2, 1, 0), 10.0),
        *(root / "images" / f"{name}.png" for name in NAMES[2:]),
    )
    catalog = read(root, image_column="path")
    assert catalog.images == images
    assert catalog.names == tuple(NAMES)  # the first column stays the name
    catalog = read(root, image_column="path", id_column="path")
    assert catalog.images == images
    names = (NAMES[0], "x", *NAMES[2:])  # that of the file without folder and ending
    assert catalog.names == names
    assert catalog.ids.tolist() == [id_of(NAMES[0]), id_of("x"), 42, id_of("007")]


def test_an_accented_letter_is_one_name_in_the_table_and_on_the_disk(tmp_path: Path) -> None:
    """A table is usually written with one character, and macOS writes two into the names of files."""
    one, two = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    write(tmp_path, frame([f"{one}1", f"{two}2"]).assign(file=[f"images/{two}1.png", f"images/{one}2.png"]))
    draw(tmp_path, f"{two}1.png", f"{one}2.png")
    for column in ({}, {"id_column": "name", "image_column": "file"}):
        catalog = read(tmp_path, **column)
        assert [Path(str(image)).exists() for image in catalog.images] == [True, True]
        assert catalog.ids.tolist() == [id_of(f"{one}1"), id_of(f"{one}2")]


def test_images_may_be_in_another_folder(root: Path) -> None:
    (root / "images").rename(root / "cutouts")
    assert read(root, images="cutouts").images[2] == root / "cutouts/42.png"
    assert read(root, images=str(root / "cutouts")).images[2] == root / "cutouts/42.png"


def test_a_table_without_targets_has_no_labels(root: Path) -> None:
    catalog = read(root)
    assert catalog.labels is None
    assert catalog.targets is None
    assert len(catalog) == 4


def test_a_header_may_repeat_what_nobody_asks_for(root: Path) -> None:
    text = (root / "labels.csv").read_text().replace("ring,kind", "ring,ring", 1)
    (root / "labels.csv").write_text(text)
    assert len(read(root, columns=["smooth"])) == 4
    assert "more than one column ring (data.catalog.columns)" in error(root, columns=["ring"])


def test_adding_a_galaxy_leaves_the_ids_of_the_others(root: Path) -> None:
    before = read(root).ids.tolist()
    draw(root, "new.png")
    write(root, frame(["new", *NAMES]))
    assert read(root).ids.tolist() == [id_of("new"), *before]


# Trees.


@pytest.mark.parametrize("file", ["labels.csv", "labels.parquet"])
def test_a_tree_of_cumulative_fractions(root: Path, file: str) -> None:
    (root / "labels.csv").unlink()
    write(root, frame(), file)
    catalog = read(root, questions=TREE)
    labels = catalog.labels
    assert labels is not None
    assert labels.meaning == "cumulative"
    assert labels.columns == ("smooth", "disk", "bar", "no_bar", "ring")
    assert labels.texts == ("smooth", "disk", "a bar", "no_bar", "ring")
    assert [question.text for question in labels.questions] == ["Which shape?", "bar", "ring"]
    assert labels.questions.structure == ((2, None), (2, 1), (1, 1))
    assert catalog.targets is not None
    np.testing.assert_allclose(catalog.targets, frame()[list(labels.columns)].astype(np.float32))


def test_columns_may_be_called_by_numbers(root: Path) -> None:
    write(root, frame().rename(columns={"smooth": "1", "disk": "2"}))
    labels = read(
        root, questions={"shape": {"answers": [1, 2]}, "bar": {"answers": ["bar", "no_bar"], "parent": 2}}
    ).labels
    assert labels is not None
    assert labels.columns == ("1", "2", "bar", "no_bar")
    assert labels.questions.structure == ((2, None), (2, 1))


def test_without_parents_the_sums_are_free(root: Path) -> None:
    write(root, frame().assign(bar="0.9", no_bar="0.3"))
    tree = {"bar": {"answers": ["bar", "no_bar"]}}
    labels = read(root, questions=tree).labels
    assert labels is not None
    assert labels.meaning == "fractions"
    labels = read(root, questions=tree, meaning="debiased").labels
    assert labels is not None
    assert labels.meaning == "debiased"


def test_answers_that_miss_their_parent_are_named(root: Path) -> None:
    table = frame()
    table.loc[1, "bar"] = "0.5"  # with 0.68 it should be 0.9
    table.loc[2, "ring"] = "0.85"  # of a disk of 0.8
    table.loc[3, "bar"] = "0.19"  # 0.015 too much: rounding
    write(root, table)
    message = error(root, questions=TREE)
    assert (
        "2 row(s) with answers that do not sum to their parent's value, or 1, within rounding to two"
        in message
    )
    assert "labels.csv, line 3, ngc 1300: bar sums to 1.180000, not disk = 0.900000" in message
    assert "labels.csv, line 4, 42: ring sums to 0.850000, not disk = 0.800000" in message
    assert read(root, "skip", questions=TREE).names == (NAMES[0], NAMES[3])


def test_the_roots_of_a_tree_sum_to_1(root: Path) -> None:
    table = frame()
    table.loc[3, "smooth"] = "0.1"  # with 0.7 it should be 0.3
    write(root, table)
    assert "line 5, 007: shape sums to 0.800000, not 1" in error(root, questions=TREE)
    # A single answer is a part of something, and without parents there is no tree.
    parts = {"shape": TREE["shape"], "ring": {"answers": ["ring"]}}
    assert len(read(root, questions=parts)) == 4
    parts = {"disk": {"answers": ["disk"]}, "bar": TREE["bar"], "smooth": {"answers": ["smooth"]}}
    assert len(read(root, questions=parts)) == 4


def test_answers_that_predictions_could_not_be_told_from_are_refused(root: Path) -> None:
    table = frame().rename(columns={"smooth": "class", "disk": "true/disk"})
    write(root, table.assign(kind=["E", "id", "E", "id"]))
    said = "must be renamed: tables of predictions have columns called id, class and true/... themselves"
    assert f"data.catalog.columns: the answer class {said}" in error(root, columns=["class"])
    assert f"data.catalog.columns: the answer true/disk {said}" in error(root, columns=["true/disk"])
    questions = {"a": {"answers": ["class", "ring"]}}
    assert f"data.catalog.questions: the answer class {said}" in error(root, questions=questions)
    assert f"data.catalog.class_column=kind: the answer id {said}" in error(root, class_column="kind")


@pytest.mark.parametrize(
    ("questions", "words"),
    [
        ({}, "data.catalog.questions: there is no question"),
        ({"a": ["smooth"]}, "data.catalog.questions: a is ['smooth'], which is no question"),
        ({"a": {"answer": ["smooth"]}}, "questions: a.answer is unknown; did you mean answers?"),
        ({"a": {"text": "?"}}, "questions: a.answers must be columns"),
        ({"a": {"answers": []}}, "questions: a.answers must be columns"),
        ({"a": {"answers": "smooth"}}, "questions: a.answers must be columns"),
        ({"a": {"answers": ["smooth", "smooth"]}}, "questions: a.answers names a column twice"),
        (
            {"a": {"answers": [True, False]}},
            "questions: a names the column True, which is no text: put quotes",
        ),
        ({"a": {"answers": ["smooth"]}, "b": {"answers": ["smooth"]}}, "the answer smooth comes twice"),
        (
            {"a": {"answers": ["smooth", "disk"]}, "b": {"answers": ["bar"], "parent": "dsk"}},
            "questions: b.parent is dsk, which is no answer of another question; did you mean disk?",
        ),
        (
            {"a": {"answers": ["smooth"], "parent": "smooth"}},
            "questions: a.parent is smooth, which is no answer of another",
        ),
        (
            {"a": {"answers": ["smooth"], "parent": "disk"}, "b": {"answers": ["disk"], "parent": "smooth"}},
            "questions ['a', 'b'] form a cycle",
        ),
        ({"a": {"answers": ["smoth"]}}, "no column smoth (data.catalog.questions); did you mean smooth?"),
    ],
)
def test_a_tree_that_is_none_is_named(root: Path, questions: dict[str, Any], words: str) -> None:
    assert words in error(root, questions=questions)


# Classes.


@pytest.mark.parametrize("file", ["labels.csv", "labels.parquet"])
def test_classes_are_one_question(root: Path, file: str) -> None:
    (root / "labels.csv").unlink()
    write(root, frame(), file)
    catalog = read(root, class_column="kind")
    assert catalog.labels is not None
    assert catalog.labels.kind == "classes"
    assert catalog.labels.columns == ("E", "Sa2", "Sa10")
    assert catalog.strata is not None
    assert catalog.strata.tolist() == [2, 1, 0, 1]
    assert catalog.targets is not None
    assert catalog.targets.dtype == np.float32
    assert catalog.targets.tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 1, 0]]


def test_classes_in_a_given_order_keep_an_empty_one_and_refuse_others(root: Path) -> None:
    catalog = read(root, class_column="kind", classes=["Sa2", "Irr", "E", "Sa10"])
    assert catalog.labels is not None
    assert catalog.labels.columns == ("Sa2", "Irr", "E", "Sa10")
    assert catalog.strata is not None
    assert catalog.strata.tolist() == [3, 0, 2, 0]
    message = error(root, class_column="kind", classes=["Sa1", "Sa2", "E"])
    assert "1 row(s) whose kind is none of data.catalog.classes" in message
    assert f"labels.csv, line 2, {NAMES[0]}: kind is Sa10; did you mean Sa1?" in message


@pytest.mark.parametrize("file", ["labels.csv", "labels.parquet"])
def test_classes_may_be_numbers_and_have_gaps(root: Path, file: str) -> None:
    (root / "labels.csv").unlink()
    write(root, frame().assign(kind=[10, np.nan, 2, 10]), file)
    place = "line 3" if file.endswith("csv") else "row 2"
    assert f"{file}, {place}, ngc 1300: kind is empty" in error(root, class_column="kind")
    catalog = read(root, "skip", class_column="kind")
    assert catalog.labels is not None
    assert catalog.labels.columns == ("2", "10")
    for classes in ([2, 10, 30], ["2", "10", "30"], ["2.0", "10.0", "30.0"]):
        labels = read(root, "skip", class_column="kind", classes=classes).labels
        assert labels is not None
        assert labels.columns == ("2", "10", "30")


def test_classes_that_cannot_be_in_every_split_are_named(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [str(i) for i in range(10, 19)]
    draw(root, *(f"{name}.png" for name in names))
    write(root, frame(names).assign(kind=["E"] * 4 + ["Irr"] + ["S"] * 3 + ["cD"]))
    read(root, class_column="kind", classes=["E", "Irr", "S", "cD", "none"])
    (message,) = caplog.messages
    assert message.splitlines()[1:] == ["  Irr: 1", "  cD: 1", "  none: 0"]
    caplog.clear()
    write(root, frame(names).assign(kind=["E", "S", "I"] * 3))
    read(root, class_column="kind")
    assert not caplog.messages


@pytest.mark.parametrize("file", ["labels.csv", "labels.parquet"])
def test_galaxies_may_be_grouped(root: Path, file: str) -> None:
    (root / "labels.csv").unlink()
    names = ["7", "42", "9", "6", "3"]
    draw(root, *(f"{name}.png" for name in names))
    write(root, frame(names).assign(field=["b", "", "a", "b", "a"]), file)
    catalog = read(root, group_column="field")
    assert catalog.groups is not None
    assert catalog.groups.dtype == np.int64
    a, b = id_of("group a"), id_of("group b")
    assert catalog.groups.tolist() == [b, 42, a, b, a]
    (root / "images" / "3.png").unlink()
    catalog = read(root, "skip", group_column="field")
    assert catalog.groups is not None
    assert catalog.groups.tolist() == [b, 42, a, b]  # whoever else is in it
    assert "no column filed (data.catalog.group_column); did you mean field?" in error(
        root, group_column="filed"
    )


def test_a_group_is_one_however_its_number_was_saved_and_words_for_nothing_are_none(root: Path) -> None:
    names = ["7", "42", "9", "6", "3"]
    draw(root, *(f"{name}.png" for name in names))
    write(root, frame(names).assign(field=["1", "1", "2", "2", "3"]))
    whole = read(root, group_column="field").groups
    write(root, frame(names).assign(field=["1.0", "1.0", "2.0", "2.0", "3.0"]))
    np.testing.assert_array_equal(read(root, group_column="field").groups, whole)
    for word in ("nan", "NULL", "null", "#N/A", "NA", "<NA>", ""):
        write(root, frame(names).assign(field=[word, word, "2.0", "2", word]))
        catalog = read(root, group_column="field")
        assert catalog.groups is not None
        assert catalog.groups.tolist() == [7, 42, id_of("group 2"), id_of("group 2"), 3]


def test_words_for_missing_values_are_classes_only_if_they_are_named(root: Path) -> None:
    write(root, frame().assign(kind=["NULL", "none", "S", "#N/A"]))
    message = error(root, class_column="kind")
    assert "2 row(s) whose kind may be a missing value" in message
    assert f"labels.csv, line 2, {NAMES[0]}: kind is NULL" in message
    assert "data.catalog.classes" in message
    labels = read(root, "skip", class_column="kind").labels
    assert labels is not None
    assert labels.columns == ("none", "S")
    labels = read(root, class_column="kind", classes=["none", "S", "NULL", "#N/A"]).labels
    assert labels is not None
    assert labels.columns == ("none", "S", "NULL", "#N/A")


def test_rows_that_are_skipped_make_no_classes(root: Path) -> None:
    write(root, frame([*NAMES, "lost"]).assign(kind=["E", "S", "E", "S", "Irr"]))
    labels = read(root, "skip", class_column="kind").labels
    assert labels is not None
    assert labels.columns == ("E", "S")
    write(root, frame([*NAMES, "lost"]).assign(kind=["E", "E", "E", "E", "Irr"]))
    message = error(root, class_column="kind")
    assert "there must be two classes or more" in message
    assert "no images/lost.*" in message


@pytest.mark.parametrize(
    ("kinds", "classes", "words"),
    [
        (["E"] * 4, None, "data.catalog.class_column=kind holds E; there must be two classes or more"),
        ([""] * 4, None, "data.catalog.class_column=kind holds nothing; there must be two"),
        (["E", "S", "E", "S"], ["E"], "data.catalog.classes is E; there must be two classes or more"),
        (["E", "S", "E", "S"], ["E", "S", "E"], "each once"),
    ],
)
def test_one_class_is_none(root: Path, kinds: list[str], classes: list[str] | None, words: str) -> None:
    write(root, frame().assign(kind=kinds))
    assert words in error(root, class_column="kind", classes=classes)


def test_a_column_of_something_else_is_no_column_of_classes(root: Path) -> None:
    names = [str(i) for i in range(40)]
    draw(root, *(f"{name}.png" for name in names))
    write(root, frame(names).assign(kind=[f"{0.01 * i}" for i in range(40)]))
    assert "40 different values in 40 rows: that is no column of classes" in error(root, class_column="kind")


# Mistakes.


def test_the_only_table_is_found_and_several_are_listed(root: Path) -> None:
    (root / ".hidden.csv").touch()
    (root / "notes.txt").touch()
    assert len(read(root)) == 4
    write(root, frame(), "other.parquet")
    message = error(root)
    assert "holds 2 tables; choose one with data.catalog.file" in message
    assert "labels.csv" in message
    assert "other.parquet" in message
    assert len(read(root, file="other.parquet")) == 4
    assert len(read(root, file=str(root / "labels.csv"))) == 4


def test_missing_files_and_folders_are_named(root: Path) -> None:
    assert "nowhere does not exist; data.root" in error(root / "nowhere")
    assert "labels.csv is a file, not a folder; data.root" in error(root / "labels.csv")
    assert "no.csv does not exist" in error(root, file="no.csv")
    assert "labels.doc is not a table that can be read: its name must end in" in error(
        root, file="labels.doc"
    )
    assert "labels.xlsx does not exist" in error(root, file="labels.xlsx")
    assert f"The folder of the images, {root / 'cutouts'}, does not exist (data.catalog.images)" in error(
        root, images="cutouts"
    )
    assert "holds no table (.csv" in error(root / "images")
    (root / "images" / "0.H5").touch()
    message = error(root / "images")
    assert "it holds 0.H5, " in message
    assert "save the table in the .h5 file as CSV or Parquet" in message
    assert "data.catalog.file=..." in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"columns": ["smoth"]}, "no column smoth (data.catalog.columns); did you mean smooth?"),
        ({"class_column": "kinds"}, "no column kinds (data.catalog.class_column); did you mean kind?"),
        ({"id_column": "iauname"}, "no column iauname (data.catalog.id_column)"),
        ({"image_column": "file"}, "no column file (data.catalog.image_column)"),
    ],
)
@pytest.mark.parametrize("on_bad", ["error", "skip"])
def test_wrong_arguments_are_named(root: Path, arguments: dict[str, Any], words: str, on_bad: str) -> None:
    assert words in error(root, on_bad, **arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"columns": ["smooth"], "class_column": "kind"}, "columns is given together with class_column"),
        ({"columns": ["smooth"], "questions": TREE}, "columns is given together with questions"),
        ({"columns": []}, "columns is []"),
        ({"columns": ["smooth", "smooth"]}, "columns is ['smooth', 'smooth']"),
        ({"classes": ["a", "b"]}, "classes is given without class_column"),
        ({"meaning": "debiased"}, "meaning is given without fractions"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(
    root: Path, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}"):
        read(root, **arguments)


HEADER = b"name,smooth\n"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("a.csv", b""),
        ("a.csv", b"\n\n"),
        ("a.csv", HEADER),
        ("a.csv", HEADER + b"\n\n"),
        ("a.csv", "name,smooth\ncaf\xe9,1\n".encode("latin-1")),
        ("a.csv", HEADER + b'"unclosed,1\n'),
        ("a.csv", HEADER + b"42,1,3\n"),
        ("a.csv", HEADER + b"42,1\n43,1,3\n"),
        ("a.csv", b"PK\x03\x04\x00\x00"),
        ("a.csv.gz", b"not compressed"),
        ("a.csv.gz", gzip.compress(HEADER + b"42,1\n" * 99, mtime=0)[:-12]),
        ("a.parquet", b""),
        ("a.parquet", HEADER + b"42,1\n"),
        ("a.parquet", b"PAR1" + b"\0" * 50 + b"PAR1"),
    ],
)
@pytest.mark.parametrize("on_bad", ["error", "skip"])
def test_a_table_that_cannot_be_read_is_named(tmp_path: Path, file: str, content: bytes, on_bad: str) -> None:
    draw(tmp_path, "42.png")
    (tmp_path / file).write_bytes(content)
    assert str(tmp_path / file) in error(tmp_path, on_bad, id_column="name", columns=["smooth"])


def test_a_folder_called_like_a_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    assert "a.csv cannot be read" in error(tmp_path)


def test_a_column_of_lists_is_named(tmp_path: Path) -> None:
    draw(tmp_path, "42.png")
    write(tmp_path, pd.DataFrame({"name": ["42"], "p": [[0.5]]}), "a.parquet")
    assert "the column p holds list<" in error(tmp_path, columns=["p"])


def broken(root: Path, file: str) -> None:
    """Writes a table with every mistake that a row can make; rows 1 and 12 are sound."""
    names = ["1", "", "1", "4", "5", "6", "7", "8", "9", "10", "11", "12"]
    table = frame(names)
    table.loc[3, ["smooth", "disk"]] = ""
    table.loc[4, "smooth"] = "1.01"
    table.loc[5, ["smooth", "disk"]] = ["many", "inf"]
    table.loc[6, "disk"] = "-0.1"
    table.loc[7, "path"] = ""
    table.loc[8, "path"] = "images/no.png"
    table.loc[9, "path"] = "./images/12.png"
    table.loc[10, "path"] = "images"
    draw(root, *(f"{i}.png" for i in range(1, 13)))
    table = pd.concat([table.iloc[[11]], table.iloc[:11]], ignore_index=True)
    write(root, table, file)


CASES = [
    "name is empty",
    "is already on {2}",
    "smooth is empty or NaN (and 1 more columns)",
    "smooth is 1.01",
    "smooth is many (and 1 more columns)",
    "disk is -0.1",
    "path is empty",
    "no {root}/images/no.png",
    "{root}/images/12.png is on {1}",
    "no {root}/images",
]


@pytest.mark.parametrize(("file", "place", "offset"), [("a.csv", "line", 1), ("a.parquet", "row", 0)])
def test_every_mistake_is_in_the_one_error(tmp_path: Path, file: str, place: str, offset: int) -> None:
    broken(tmp_path, file)
    arguments: dict[str, Any] = {"columns": ["smooth", "disk"], "id_column": "name", "image_column": "path"}
    message = error(tmp_path, **arguments)
    catalog = read(tmp_path, "skip", **arguments)
    assert catalog.ids.tolist() == [12, 1]
    assert catalog.names is None
    assert len(catalog.skipped) == len(CASES)
    names = ["", "1", "4", "5", "6", "7", "8", "9", "10", "11"]
    for row, (name, case) in enumerate(zip(names, CASES, strict=True), 3):
        words = case.replace("{root}", str(tmp_path))
        for other in (1, 2):
            words = words.replace(f"{{{other}}}", f"{place} {other + offset}")
        where = ", ".join(part for part in (file, f"{place} {row + offset}", name) if part)
        assert any(line.startswith(where) and words in line for line in catalog.skipped), words
        assert words in message
    assert "data.on_bad=skip" in message
    assert "name is empty; no " in message  # a bad row whose image is missing is told both


def test_rows_without_an_image_are_named_and_what_the_folder_holds(root: Path) -> None:
    write(root, frame([*NAMES, "43"]))
    message = error(root)
    assert f"1 row(s) without an image in {root / 'images'} (it has 5, such as 007.png" in message
    assert "labels.csv, line 6, 43: no images/43.*" in message
    (root / "images" / "deep").mkdir()
    (root / "images" / "deep" / "42.jpg").touch()
    assert "line 4, 42: 42.png and deep/42.jpg" in error(root)
    assert read(root, "skip").names == (NAMES[0], NAMES[1], NAMES[3])


@pytest.mark.parametrize("file", ["a.csv", "a.parquet"])
def test_ids_saved_as_floats_are_named(tmp_path: Path, file: str) -> None:
    draw(tmp_path, "7.png")
    write(tmp_path, pd.DataFrame({"objid": [1.237e18, 123.0, np.nan], "p": 0.5}), file)
    message = error(tmp_path, columns=["p"])
    assert f"{file}: the ids in objid were saved as floats, such as 1.237e+18" in message
    assert "on_bad" not in message


def test_ids_that_were_floats_once_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = [1237648720693755918 + 99991 * i for i in range(6)]
    spectra = [299489677444933632 + 1024 * i for i in range(6)]  # as SDSS numbers them
    excel = [number // 10000 * 10000 for number in whole]
    floats = [int(float(number)) for number in whole]
    for ids, warned in ((whole, False), (spectra, False), (excel, True), (floats, True)):
        caplog.clear()
        names = [str(number) for number in ids]
        draw(tmp_path, *(f"{name}.png" for name in names))
        write(tmp_path, frame(names))
        read(tmp_path, columns=["smooth"])
        assert ("seem to have lost their last digits" in caplog.text) == warned


def test_ids_of_which_some_were_saved_as_floats_are_named(tmp_path: Path) -> None:
    draw(tmp_path, "7.png")
    write(tmp_path, pd.DataFrame({"objid": ["7", "1.237e+18", "123.0", ""], "p": 0.5}))
    message = error(tmp_path, columns=["p"])
    assert "2 row(s) whose objid is no whole number" in message
    assert "objid is 1.237e+18 (was the table saved with ids as floats?)" in message
    assert "objid is 123.0" in message
    assert "1 row(s) without a objid" in message


def test_a_name_that_looks_like_a_float_among_others_is_a_name(tmp_path: Path) -> None:
    draw(tmp_path, "12e45.png", "1.5.png", "ngc.png")
    write(tmp_path, pd.DataFrame({"name": ["12e45", "1.5", "ngc"]}))
    assert read(tmp_path).names == ("12e45", "1.5", "ngc")


def test_nothing_left_is_an_error(root: Path) -> None:
    write(root, frame().assign(smooth=["2", "2", "2", "1"], name=[*NAMES[:3], "no such image"]))
    assert "No usable galaxy" in error(root, "skip", columns=["smooth"])


@pytest.mark.parametrize("on_bad", ["error", "skip"])
@pytest.mark.parametrize(
    ("arguments", "what", "case"),
    [
        ({"columns": ["smooth", "kind"]}, "with labels that are not fractions in [0, 1]", "kind is Sa10"),
        ({"class_column": "kind", "classes": ["a", "b"]}, "whose kind is none of", "kind is Sa10"),
        ({"image_column": "kind", "id_column": "name"}, "whose image does not exist", "no "),
    ],
)
def test_what_is_wrong_with_every_row_is_said_once(
    root: Path, arguments: dict[str, Any], what: str, case: str, on_bad: str
) -> None:
    message = error(root, on_bad, **arguments)
    assert message.startswith(f"No usable galaxy: all 4 are row(s) {what}")
    assert f", such as\n  labels.csv, line 2, {NAMES[0]}: {case}" in message
    assert "line 3" not in message


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([".csv", ".csv.gz", ".tsv"]),
    st.text("n,;\t\"'\n\r 01.-e\0é\x1c", max_size=60) | st.binary(max_size=40),
)
def test_whatever_a_table_holds_there_is_no_traceback(
    tmp_path_factory: pytest.TempPathFactory, ending: str, content: str | bytes
) -> None:
    root = tmp_path_factory.mktemp("any")
    draw(root, "0.png", "1.png", "n.png")
    data = content.encode() if isinstance(content, str) else content
    data = b"n,p\n" + data
    (root / f"a{ending}").write_bytes(gzip.compress(data, mtime=0) if ending.endswith("gz") else data)
    for arguments in ({"columns": ["p"]}, {"class_column": "p"}, {}):
        try:
            catalog = read(root, "skip", **arguments)
        except UserError:
            continue
        assert len(set(catalog.ids.tolist())) == len(catalog) > 0


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.text("aZ0.-+ é_", min_size=1, max_size=8).map(str.strip), min_size=1, max_size=5, unique=True)
)
def test_names_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    names = [name for name in names if name] + ["x"]
    root = tmp_path_factory.mktemp("names")
    (root / "images").mkdir()
    for index in range(len(names)):
        (root / "images" / f"{index}.png").touch()
    table = pd.DataFrame({"name": names, "image": [f"images/{i}.png" for i in range(len(names))]})
    for file in ("a.csv", "a.parquet"):
        write(root, table, file)
        catalog = read(root, file=file, id_column="name", image_column="image")
        assert catalog.names == tuple(names)


# Through the configuration and the cache.


def composed(folder: Path, *overrides: str) -> dict[str, Any]:
    """Composes and checks as `python train.py --config-dir FOLDER ...` does."""
    arguments = [f"hydra.searchpath=[file://{folder}]", *overrides]
    check_command_line(composed, str(CONF), "train", arguments)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return plain(compose("train", arguments))


MINE = """\
defaults: [table, _self_]
root: {root}
catalog:
  questions:
    shape:
      text: Which shape?
      answers: [smooth, disk]
    bar:
      answers: {{bar: a bar, no_bar: }}
      parent: disk
    ring:
      answers: [ring]
      parent: disk
"""


def test_a_tree_in_a_users_own_yaml_is_composed_checked_and_read(root: Path, tmp_path: Path) -> None:
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "mine.yaml").write_text(MINE.format(root=root))
    data = composed(tmp_path / "conf", "data=mine", "data.catalog.meaning=mine")["data"]
    labels = instantiate(data["catalog"], "data.catalog")(
        root=Path(data["root"]), on_bad=data["on_bad"]
    ).labels
    expected = read(root, questions=TREE, meaning="mine").labels
    assert labels == expected


def test_an_experiment_may_hold_a_tree(root: Path, tmp_path: Path) -> None:
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    body = "\n".join("  " + line for line in MINE.format(root=root).splitlines()[1:])
    text = f"# @package _global_\ndefaults:\n  - override /data: table\ndata:\n{body}\n"
    (tmp_path / "conf" / "experiment" / "bars.yaml").write_text(text)
    data = composed(tmp_path / "conf", "experiment=bars")["data"]
    catalog = instantiate(data["catalog"], "data.catalog")(root=Path(data["root"]), on_bad="error")
    assert catalog.labels == read(root, questions=TREE).labels


def test_columns_and_classes_from_the_command_line(root: Path) -> None:
    overrides = ["data=table", f"data.root={root}"]
    for more, columns in (
        (["data.catalog.columns=[smooth,disk]", "data.catalog.id_column=name"], ("smooth", "disk")),
        (["data.catalog.class_column=kind", "target=classes"], ("E", "Sa2", "Sa10")),
        (["data.catalog.class_column=kind", "data.catalog.classes=[Sa10,Sa2,E]"], ("Sa10", "Sa2", "E")),
    ):
        data = composed(root, *overrides, *more)["data"]
        labels = instantiate(data["catalog"], "data.catalog")(root=root, on_bad="error").labels
        assert labels is not None
        assert labels.columns == columns


def test_pictures_of_any_size_and_format_go_through_the_cache(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for name, side in (("a.png", 40), ("b.tif", 70), ("c.jpg", 33)):
        picture = rng.integers(0, 256, (side, side + 5, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "images" / name), picture)
    write(tmp_path, frame(["c", "a", "b"]))
    catalog = read(tmp_path, class_column="kind")
    cached = open_cache(
        catalog.images, CenterCrop(size=16), tmp_path / "cache", "error", 1, any_frame=catalog.any_frame
    )
    assert pixels_of(cached).shape == (3, 16, 16, 3)
    assert pixels_of(cached).std() > 20


def test_a_tree_is_trained_on_and_evaluated_again(tmp_path: Path, command: Callable[..., int]) -> None:
    rng = np.random.default_rng(0)
    names = [f"J{i}.5" for i in range(30)]
    (tmp_path / "images").mkdir()
    for name in names:
        picture = rng.integers(0, 256, (20, 24, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), picture)
    write(tmp_path, frame(names).rename(columns={"no_bar": "Bar 1.2 (no, none)"}))
    (tmp_path / "conf" / "data").mkdir(parents=True)
    mine = MINE.format(root=tmp_path).replace("no_bar: }", '"Bar 1.2 (no, none)": }')
    (tmp_path / "conf" / "data" / "mine.yaml").write_text(mine)
    options = ["--config-dir", str(tmp_path / "conf")]
    run = tmp_path / "run"
    overrides = ["data=mine", "model=mean", "crop.size=16", "trainer=cpu", f"data.cache={tmp_path / 'cache'}"]
    shares = ["data.val_fraction=0.3", "data.test_fraction=0.3"]
    assert command("train.py", *options, *overrides, *shares, f"hydra.run.dir={run}") == 0
    assert command("evaluate.py", *options, f"out={tmp_path / 'again'}", f"run={run}") == 0
    table = pd.read_csv(tmp_path / "again" / "predictions.csv")
    assert "true/Bar 1.2 (no, none)" in table
    assert set(table["id"]) < set(names)
    assert command("evaluate.py", *options, f"run={run}", "data=mine", f"out={tmp_path / 'other'}") == 0
    assert len(pd.read_csv(tmp_path / "other" / "predictions.csv")) == len(table)
