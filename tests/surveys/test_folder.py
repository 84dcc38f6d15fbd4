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
from galaxy.surveys.files import IMAGE_ENDINGS
from galaxy.surveys.folder import read_folder
from galaxy.surveys.ids import id_of, identify
from galaxy.system.errors import UserError
from tests.conftest import pixels_of


def read(root: Path, on_bad: str = "error") -> Catalog:
    return read_folder(root, on_bad, bands=[2, 1, 0], softening=10.0)  # type: ignore[arg-type]


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
    names = ("b", "c", "d", "e", "field7/deep/a", "field7/ngc.1300")
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
    assert mac.names == linux.names == (NFC,)
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


def test_images_that_would_share_a_name_keep_their_endings(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "a.png", "a.jpg.png", "b.fits", "1.jpg")
    catalog = read(tmp_path)
    assert catalog.names == ("1.jpg", "a.jpg", "a.jpg.png", "a.png", "b.fits")
    assert len(set(catalog.ids.tolist())) == 5


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
    assert read(root).names == ("link/a", "link/deep/b")


def test_an_empty_folder_is_told_what_images_are(tmp_path: Path) -> None:
    fill(tmp_path, "a.txt")
    with pytest.raises(UserError, match="No image in") as caught:
        read(tmp_path)
    assert all(ending in str(caught.value) for ending in IMAGE_ENDINGS)


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
