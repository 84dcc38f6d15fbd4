"""FITS files of one band each: put together where the user says so, and never taken for galaxies silently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from galaxy.data.cache import open_cache
from galaxy.images import BadImageError
from galaxy.images.crops.center import CenterCrop
from galaxy.images.decode import decode
from galaxy.surveys.band_files import plain_bands, stacked
from galaxy.surveys.catalog import FitsImage
from galaxy.surveys.folder import read_folder
from galaxy.surveys.table import read_table
from galaxy.system.errors import UserError

BANDS = ["g", "r", "z"]
LAYOUTS = [
    "{}_{band}.fits",
    "{}-{band}.fits.gz",
    "{band}_{}.fits",
    "{band}/{}.fits",
    "{}/{band}.fits",
    "a/{}.{band}.fit",
    "{band}/{}_{band}.fits",
]


def write(path: Path, band: int, side: int = 24) -> Path:
    """Writes noise and a galaxy that is wider in redder bands."""
    y, x = np.mgrid[:side, :side] - side / 2
    galaxy = 100 * np.exp(-(x**2 + y**2) / (4 * (1 + band)))
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(galaxy + np.random.default_rng(band).normal(size=(side, side))).writeto(
        path, overwrite=True
    )
    return path


def write_survey(root: Path, layout: str = LAYOUTS[0]) -> Path:
    for name in ("m51", "NGC_1300"):
        for band, word in enumerate(BANDS):
            write(root / layout.format(name, band=word), band)
    return root


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_of_three_bands_are_one_galaxy_if_the_user_says_so(tmp_path: Path, layout: str) -> None:
    write_survey(tmp_path, layout)
    with pytest.raises(UserError, match=r"one file for each band.*band_files=\[g,r,z\].*band_files=\[\]"):
        read_folder(tmp_path)
    catalog = read_folder(tmp_path, band_files=BANDS)
    assert sorted(catalog.identifiers.tolist()) == ["NGC_1300", "m51"]
    assert catalog.groups is None
    planes = [fits.getdata(tmp_path / layout.format("m51", band=word)) for word in BANDS]
    fits.PrimaryHDU(np.stack(planes)).writeto(tmp_path / "cube.fits")
    (cube,) = (i for i in read_folder(tmp_path, band_files=[]).images if "cube" in str(i))
    shown = dict(zip(catalog.identifiers.tolist(), catalog.images, strict=True))["m51"]
    np.testing.assert_array_equal(decode(shown), decode(cube))


def test_a_table_names_galaxies_or_any_of_their_files(tmp_path: Path) -> None:
    write_survey(tmp_path / "images", "{band}/{}.fits")
    table = tmp_path / "labels.csv"
    table.write_text("id,smooth\nm51,1\nNGC_1300,0\n")
    named = read_table(tmp_path, band_files=BANDS).images
    table.write_text("id,file\n7,r/m51.fits\n9,images/z/NGC_1300.fits\n")
    assert read_table(tmp_path, band_files=BANDS, image_column="file").images == named
    table.write_text("id,file\n7,r/m51.fits\n9,g/m51.fits\n")
    with pytest.raises(UserError, match="with the image of another row"):
        read_table(tmp_path, band_files=BANDS, image_column="file")


def test_files_of_bands_are_those_of_a_column_however_it_writes_their_paths(tmp_path: Path) -> None:
    write_survey(tmp_path / "survey/images")
    write_survey(tmp_path / "elsewhere/cutouts")
    (tmp_path / "survey/labels.csv").write_text("id,file\n1,./images/m51_g.fits\n2,images//NGC_1300_r.fits\n")
    (tmp_path / "elsewhere/labels.csv").write_text(
        "id,file\n1,./cutouts/m51_z.fits\n2,cutouts/NGC_1300_z.fits\n"
    )
    for root, file in (("survey", "labels.csv"), ("survey", "../elsewhere/labels.csv")):
        catalog = read_table(tmp_path / root, file=file, band_files=BANDS, image_column="file")
        assert [len(image.further) for image in catalog.images if isinstance(image, FitsImage)] == [2, 2]


def test_a_table_of_galaxies_whose_files_are_bands_is_told_the_key(tmp_path: Path) -> None:
    write_survey(tmp_path / "images")
    (tmp_path / "labels.csv").write_text("id,smooth\nm51,1\nNGC_1300,0\n")
    with pytest.raises(UserError, match=r"data\.catalog\.band_files=\[g,r,z\]"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    ("paths", "galaxies", "strays"),
    [
        (
            ["1_g.fits", "1_r.fits", "2_g.fits"],
            {"1.fits": ("1_g.fits", "1_r.fits")},
            {"2_g.fits": "no such file of r"},
        ),
        (
            ["1_g.fits", "1_g.fit", "1_r.fits"],
            {},
            {"1_g.fits": "1_g.fits and 1_g.fit", "1_g.fit": "", "1_r.fits": ""},
        ),
        (["G_1_G.fits", "G_1_R.fits"], {"G_1.fits": ("G_1_G.fits", "G_1_R.fits")}, {}),
        (["1_g.fits", "1_r.fits", "1_i.fits", "1_g.jpg"], {"1.fits": ("1_g.fits", "1_r.fits")}, {}),
        (
            ["1_g.fits", "1_r.fits", "star.fits"],
            {"1.fits": ("1_g.fits", "1_r.fits")},
            {"star.fits": "one of g, r"},
        ),
        (["g/G_1_g.fits", "r/G_1_r.fits"], {"G_1.fits": ("g/G_1_g.fits", "r/G_1_r.fits")}, {}),
        (["g.fits", "r.fits"], {"g.fits": ("g.fits", "r.fits")}, {}),
        (["1_g_x.fits", "1_r_x.fits"], {"1_x.fits": ("1_g_x.fits", "1_r_x.fits")}, {}),
    ],
)
def test_files_that_fit_no_galaxy_are_named(
    paths: list[str], galaxies: dict[str, Any], strays: dict[str, str]
) -> None:
    found = stacked(paths, ["g", "r"])
    assert found.files == galaxies
    assert found.strays.keys() == strays.keys()
    assert all(word in found.strays[path] for path, word in strays.items())


@pytest.mark.parametrize(
    "paths",
    [
        ["1.fits", "2.fits"],
        ["x_a.fits", "x_g.fits", "x_r.fits"],
        ["1_g.fits", "2_r.fits", "3_z.fits"],
        ["1_g.jpg", "1_r.jpg"],
        ["1_g.fits", "1_r.fits", "a.fits", "b.fits", "c.fits"],
    ],
)
def test_other_names_are_not_taken_for_bands(paths: list[str]) -> None:
    assert plain_bands(paths) is None


def test_filters_of_space_telescopes_are_bands(tmp_path: Path) -> None:
    files = tuple(f"hst_1_{band}_drz.fits" for band in ("f435w", "f606w", "f814w"))
    assert plain_bands(reversed(files)) == (["f435w", "f606w", "f814w"], files)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"band_files": ["g"]}, "band_files is .* two bands or more"),
        ({"band_files": ["g", "G"]}, "band_files is .* each once"),
        ({"band_files": ["g", "r"]}, "bands is null with 2 band_files"),
        ({"band_files": BANDS, "bands": [3]}, r"bands is \[3\] with 3 band_files"),
    ],
)
def test_bands_that_do_not_fit_are_refused(tmp_path: Path, arguments: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_folder(tmp_path, **arguments)


def test_bands_of_other_sizes_and_cubes_are_bad(tmp_path: Path) -> None:
    write_survey(tmp_path)
    write(tmp_path / "m51_r.fits", 1, side=16)
    fits.PrimaryHDU(np.ones((2, 24, 24))).writeto(tmp_path / "NGC_1300_r.fits", overwrite=True)
    flaws = []
    for image in read_folder(tmp_path, band_files=BANDS).images:
        with pytest.raises(BadImageError) as caught:
            decode(image)
        flaws.append(str(caught.value))
    assert flaws[0] == "NGC_1300_r.fits: the image has 2 planes; a file of one band must have one"
    assert flaws[1].startswith("the files of its bands have images of 24 x 24, 16 x 16, 24 x 24")


def test_the_cache_notices_a_change_of_any_band(tmp_path: Path) -> None:
    root = write_survey(tmp_path / "one")
    write_survey(tmp_path / "copy")

    def digest(folder: Path) -> str:
        images = read_folder(folder, band_files=BANDS).images
        return open_cache(
            images, CenterCrop(16), tmp_path / "cache", "error", any_frame=True, root=root
        ).digest

    before = digest(root)
    assert digest(tmp_path / "copy") == before
    assert len(list((tmp_path / "cache").rglob("*.shard"))) == 1  # the copies were not decoded
    write(root / "m51_z.fits", 0)
    assert digest(root) != before


def test_a_band_may_stand_twice_in_a_path() -> None:
    paths = [f"{band}/{number}_{band}.fits" for number in (1, 2) for band in "grz"]
    found = stacked(paths, ["g", "r", "z"])
    assert found.strays == {}
    assert list(found.files.values()) == [tuple(paths[:3]), tuple(paths[3:])]
    bands = plain_bands(paths)
    assert bands is not None
    assert bands[0] == ["g", "r", "z"]


def test_links_and_absolute_paths_lead_to_the_same_files(tmp_path: Path) -> None:
    write_survey(tmp_path / "survey")
    (tmp_path / "link").symlink_to(tmp_path / "survey")
    (tmp_path / "survey/labels.csv").write_text(f"id,file\n1,{tmp_path}/survey/m51_g.fits\n")
    (image,) = read_table(tmp_path / "link", band_files=BANDS, image_column="file").images
    assert isinstance(image, FitsImage)
    assert len(image.further) == 2
    both = f"id,file\n1,m51_g.fits\n2,{tmp_path}/survey/m51_r.fits\n"
    (tmp_path / "survey/labels.csv").write_text(both)
    with pytest.raises(UserError, match="with the image of another row"):
        read_table(tmp_path / "link", band_files=BANDS, image_column="file")
