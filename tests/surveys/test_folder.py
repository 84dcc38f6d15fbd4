"""A folder of images without labels, as a user might have it."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy.data.cache import open_cache
from galaxy.images.crops.center import CenterCrop
from galaxy.surveys.catalog import Catalog, DeepPicture, FitsImage
from galaxy.surveys.files import IMAGE_ENDINGS, PICTURE_ENDINGS
from galaxy.surveys.folder import read_folder
from galaxy.surveys.ids import id_of, identify
from galaxy.system.errors import UserError
from tests.conftest import pixels_of


def read(root: Path, on_bad: str = "error", **arguments: Any) -> Catalog:
    return read_folder(root, on_bad, bands=[2, 1, 0], softening=10.0, **arguments)  # type: ignore[arg-type]


def fill(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_finds_every_image_below_the_folder_and_nothing_else(tmp_path: Path) -> None:
    fill(tmp_path, "b.PNG", "field7/ngc.1300.fits", "field7/deep/a.jpeg", "c.fits.FZ", "d.tif", "e.fits.gz")
    fill(
        tmp_path, ".hidden.png", "._b.PNG", ".cache/x.png", "notes.txt", "a.csv", "png", ".jpg", "f.jpg.part"
    )
    catalog = read(tmp_path)
    names = ("b", "c", "d", "e", "a", "ngc.1300")
    assert catalog.names == names
    assert catalog.ids.tolist() == [id_of(name) for name in names]
    assert catalog.name == "folder"
    assert catalog.labels is None
    assert catalog.targets is None
    assert catalog.any_frame
    assert catalog.images == (
        tmp_path / "b.PNG",
        FitsImage(tmp_path / "c.fits.FZ", (2, 1, 0), 10.0),
        tmp_path / "d.tif",
        FitsImage(tmp_path / "e.fits.gz", (2, 1, 0), 10.0),
        tmp_path / "field7/deep/a.jpeg",
        FitsImage(tmp_path / "field7/ngc.1300.fits", (2, 1, 0), 10.0),
    )


NFC, NFD = (unicodedata.normalize(form, "élan/über") for form in ("NFC", "NFD"))


def test_an_accented_letter_is_one_name_however_it_is_written(tmp_path: Path) -> None:
    """MacOS writes the accent as a character of its own into the names of files."""
    fill(tmp_path / "mac", f"{NFD}.png")
    fill(tmp_path / "linux", f"{NFC}.png")
    mac, linux = read(tmp_path / "mac"), read(tmp_path / "linux")
    assert mac.names == linux.names == (NFC.rpartition("/")[2],)
    assert mac.ids.tolist() == linux.ids.tolist()
    assert Path(str(mac.images[0])).exists()
    fill(tmp_path / "mac", f"{NFC}.png")
    if len(list((tmp_path / "mac").rglob("*.png"))) == 2:  # some file systems take them for one name
        with pytest.raises(UserError, match="differ from another in how an accented letter is written"):
            read(tmp_path / "mac")
        assert len(read(tmp_path / "mac", "skip")) == 1


ODD = ("a b", "a[b]", "a#1", "50%", "a'b", "a$b$", "a;b", "-n", "{a}", "a=b,c", "银河", "x" * 240)


@pytest.mark.parametrize("name", ODD)
def test_odd_names_of_files_are_names(tmp_path: Path, name: str) -> None:
    (tmp_path / "root").mkdir()
    cv2.imwrite(str(tmp_path / "1.png"), np.full((8, 8, 3), 99, np.uint8))
    (tmp_path / "1.png").rename(tmp_path / "root" / f"{name}.PNG")
    catalog = read(tmp_path / "root")
    assert catalog.names == (name,)
    cached = open_cache(catalog.images, CenterCrop(size=4), tmp_path / "cache", "error", 1)
    assert (pixels_of(cached) == 99).all()


def test_files_that_are_no_images_by_their_endings_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, "a.png", "b.HEIC", "deep/c.heic", "d.npy", "README", ".DS_Store", "._a.png")
    with caplog.at_level("INFO"):
        assert len(read(tmp_path)) == 1
    assert ".heic (2), .npy (1), without an ending (1)" in caplog.text


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "nowhere.png")
    catalog = read(tmp_path)
    with pytest.raises(UserError, match=r"b\.png: cannot be read \(No such file"):
        open_cache(catalog.images[1:], CenterCrop(size=4), tmp_path / "cache", "error", 1)


def test_numbers_are_ids(tmp_path: Path) -> None:
    fill(tmp_path, "12.jpg", "587722981741363294.png", "7.tif")
    catalog = read(tmp_path)
    assert catalog.ids.tolist() == [12, 587722981741363294, 7]  # by path
    assert catalog.names is None


def test_images_that_would_share_a_name_are_told_apart_and_share_a_split(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, "a.jpg", "a.png", "a.jpg.png", "b.fits", "1.jpg", "f/2.png", "g/2.png", "g/h/3.png")
    catalog = read(tmp_path)
    assert catalog.names == ("1", "a.jpg", "a.jpg.png", "a.png", "b", "f/2", "g/2", "3")
    assert len(set(catalog.ids.tolist())) == 8
    assert catalog.groups is not None
    assert catalog.groups.tolist() == [1, id_of("a"), id_of("a.jpg"), id_of("a"), id_of("b"), 2, 2, 3]
    assert "5 images have the file name of another, such as a.jpg and a.jpg.png" in caplog.text


def test_ids_do_not_hang_on_where_the_folder_lies_and_what_is_added(tmp_path: Path) -> None:
    fill(tmp_path, "here/1.png", "there/deep/1.jpg", "there/deep/x.png")
    assert read(tmp_path / "here").ids.tolist() == [1]
    assert read(tmp_path / "there").ids.tolist() == [1, id_of("x")]


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20)


@settings(max_examples=30, deadline=None)
@given(st.sets(st.tuples(NAMES, st.sampled_from(IMAGE_ENDINGS)), min_size=1, max_size=6))
def test_whatever_the_names_each_image_is_one_galaxy(
    tmp_path_factory: pytest.TempPathFactory, files: set[tuple[str, str]]
) -> None:
    root = tmp_path_factory.mktemp("any")
    names = {stem + ending for stem, ending in files if not stem.startswith(".")}
    fill(root, "plain.png", *names)
    catalog = read(root)
    assert {Path(str(image)).name for image in catalog.images} == {"plain.png", *names}
    assert len(set(catalog.ids.tolist())) == len(catalog) == len(set(catalog.identifiers.tolist()))
    assert (catalog.ids >= 0).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(NAMES | st.integers(0, 2**64).map(str), unique=True), NAMES)
def test_an_id_depends_on_its_own_name_alone(names: list[str], other: str) -> None:
    ids, named = identify(names)
    assert identify([*names, other])[0][:-1].tolist() == ids.tolist()
    assert tuple(named or map(str, ids.tolist())) == tuple(names)


def test_links_are_followed_and_a_circle_ends(tmp_path: Path) -> None:
    fill(tmp_path / "disk", "a.png", "deep/b.png")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "deep" / "back").symlink_to(root)
    assert read(root).names == ("a", "b")


def test_an_empty_folder_is_told_what_images_are(tmp_path: Path) -> None:
    fill(tmp_path, "a.txt")
    with pytest.raises(UserError, match="No image in") as caught:
        read(tmp_path)
    assert all(ending in str(caught.value) for ending in (*PICTURE_ENDINGS, ".fits"))


@pytest.mark.parametrize(
    ("choice", "word"),
    [
        ({"hdu": -1}, "hdu"),
        ({"hdu": []}, "hdu"),
        ({"plane_axis": "middle"}, "plane_axis"),
        ({"white": 0}, "white"),
        ({"white": np.nan}, "white"),
    ],
)
def test_a_choice_of_the_image_that_makes_no_sense_is_refused(
    tmp_path: Path, choice: dict[str, Any], word: str
) -> None:
    with pytest.raises(ValueError, match=f"^{word} is"):
        read_folder(tmp_path, "error", [0], 1.0, **choice)


def test_every_source_has_its_settings(tmp_path: Path) -> None:
    fill(tmp_path, "a.fits.bz2", "b.png")
    catalog = read_folder(tmp_path, "error", [0], 1.0, hdu="SCI", plane_axis="last", white=4095)
    assert catalog.images == (
        FitsImage(tmp_path / "a.fits.bz2", (0,), 1.0, ("SCI",), "last"),
        DeepPicture(tmp_path / "b.png", 4095),
    )


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere does not exist; data\.root"):
        read(tmp_path / "nowhere")
    fill(tmp_path, "a.png")
    with pytest.raises(UserError, match=r"a\.png is a file, not a folder; data.root"):
        read(tmp_path / "a.png")


def test_a_file_name_that_is_no_text_is_named_or_left_out(tmp_path: Path) -> None:
    fill(tmp_path, "a.png")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")).touch()
    except OSError:
        pytest.skip("this file system refuses such names")
    with pytest.raises(UserError, match=r"1 file name\(s\) that are not UTF-8") as caught:
        read(tmp_path)
    str(caught.value).encode()  # so that it can be printed
    catalog = read(tmp_path, "skip")
    assert catalog.names == ("a",)
    assert len(catalog.skipped) == 1


@pytest.mark.parametrize(
    ("bands", "softening", "word"),
    [
        ([0, 1], 1.0, "bands"),
        ([], 1.0, "bands"),
        ([-1], 1.0, "bands"),
        ([0], 0.0, "soft"),
        ([0], np.inf, "soft"),
    ],
)
def test_a_stretch_that_makes_no_sense_is_refused(
    tmp_path: Path, bands: list[int], softening: float, word: str
) -> None:
    with pytest.raises(ValueError, match=f"^{word}"):
        read_folder(tmp_path, "error", bands, softening)


def test_pictures_of_any_size_and_format_go_through_the_cache(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    root = tmp_path / "root"
    (root / "deep").mkdir(parents=True)
    for name, side in (("a.png", 40), ("deep/b.tif", 70), ("c.jpg", 33)):
        cv2.imwrite(str(root / name), rng.integers(0, 256, (side, side + 5, 3), np.uint8))
    catalog = read(root)
    cached = open_cache(
        catalog.images, CenterCrop(size=16), tmp_path / "cache", "error", 1, any_frame=catalog.any_frame
    )
    assert pixels_of(cached).shape == (3, 16, 16, 3)
    assert pixels_of(cached).std() > 20


# Folders that are classes.


def test_folders_are_classes_if_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, "Größe (x)/a.png", "ring, faint/b.png", "ring, faint/deep/c.png", "ring, faint/d.png")
    assert read(tmp_path).labels is None
    catalog = read(tmp_path, classes_from_folders=True)
    assert catalog.labels is not None
    assert catalog.labels.kind == "classes"
    assert catalog.labels.columns == ("Größe (x)", "ring, faint")
    assert catalog.names == ("a", "b", "d", "c")
    assert catalog.targets is not None
    assert catalog.targets.tolist() == [[1, 0], [0, 1], [0, 1], [0, 1]]
    assert catalog.strata is not None
    assert catalog.strata.tolist() == [0, 1, 1, 1]
    assert "Größe (x): 1" in caplog.text  # too few to be trained, validated and tested on


def test_galaxies_that_are_counted_in_each_class_have_names_of_their_own(tmp_path: Path) -> None:
    fill(tmp_path, "ring/1.png", "ring/2.png", "spiral/1.png", "spiral/2.png")
    catalog = read(tmp_path, classes_from_folders=True)
    assert catalog.names == ("ring/1", "ring/2", "spiral/1", "spiral/2")
    assert catalog.groups is not None
    assert catalog.groups.tolist() == [1, 2, 1, 2]


def test_classes_may_be_given_and_others_are_named(tmp_path: Path) -> None:
    fill(tmp_path, "rings/a.png", "spiral/b.png", "spiral/c.png", "d.png")
    asked = {"classes_from_folders": True, "classes": ["merger", "ring", "spiral"]}
    with pytest.raises(UserError) as caught:
        read(tmp_path, **asked)
    message = str(caught.value)
    assert "rings/a.png: folder is rings; did you mean ring?" in message
    assert f"d.png: it lies in {tmp_path} itself; the folders are rings, spiral" in message
    catalog = read(tmp_path, "skip", **asked)
    assert catalog.names == ("b", "c")
    assert len(catalog.skipped) == 2
    assert catalog.labels is not None
    assert catalog.labels.columns == ("merger", "ring", "spiral")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["a.png", "b.png"], "holds 2 images and no folder of images"),
        (["ring/a.png"], "holds one folder of images, ring"),
        (["images/a.png", "labels.csv"], "If the labels are in labels.csv, use data=table"),
        (["train/ring/a.png", "test/ring/b.png"], "splits are called test and train, not classes"),
        (["train/a.png", "Test/b.png", "extra/c.png"], "/Test, or put all images of a class"),
        (["Galaxy/ring/a.png", "Galaxy/spiral/b.png"], "/Galaxy."),
        (
            ["ring/a.png", "Ring/b.png", "ring/c.png", "x/d.png"],
            "'ring' (2 galaxies) and 'Ring' (1 galaxies)",
        ),
        (["id/a.png", "x/b.png"], "the answer id must be renamed"),
    ],
)
def test_folders_that_are_no_classes_are_named(tmp_path: Path, files: list[str], words: str) -> None:
    fill(tmp_path, *files)
    with pytest.raises(UserError) as caught:
        read(tmp_path, classes_from_folders=True)
    assert words in str(caught.value)


def test_classes_without_folders_are_a_contradiction(tmp_path: Path) -> None:
    fill(tmp_path, "a.png")
    with pytest.raises(ValueError, match=r"^classes is \['a', 'b'\] without classes_from_folders"):
        read(tmp_path, classes=["a", "b"])
