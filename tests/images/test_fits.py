"""FITS files of other people: which part of the file is the image, and which of its axes is colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray

from galaxy.images import BadImageError
from galaxy.images.decode import Decoder, decode
from galaxy.surveys.catalog import FitsImage

RGB = (2, 1, 0)


def cube(planes: int = 3, height: int = 24, width: int = 32) -> NDArray[np.float64]:
    """(planes, H, W): noise and a galaxy, brighter from plane to plane."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    galaxy = 100 * np.exp(-((x - width / 2) ** 2 + (y - height / 3) ** 2) / 30)
    return rng.normal(size=(planes, height, width)) + galaxy * np.arange(1, planes + 1)[:, None, None]


def read(path: Path, *parts: Any, **choice: Any) -> NDArray[np.uint8]:
    """Writes a file of these parts and decodes it; an array becomes an image without a name."""
    made = [
        part
        if isinstance(part, fits.hdu.base._BaseHDU)
        else (fits.ImageHDU if number else fits.PrimaryHDU)(part)
        for number, part in enumerate(parts)
    ]
    fits.HDUList(made).writeto(path, overwrite=True)
    return decode(FitsImage(path, **{"bands": RGB, "softening": 10.0, **choice}))


def named(name: str, array: NDArray[np.generic] | None = None, kind: Any = fits.ImageHDU) -> Any:
    return kind(cube()[0] if array is None else array, name=name)


def rows(*names: str) -> Any:
    return fits.BinTableHDU(np.zeros(4, dtype=[(name, "f4") for name in names]), name="CATALOG")


# --------------------------------------------------------------------------------------------------- the axes


@pytest.mark.parametrize(
    "change",
    [
        lambda planes: np.moveaxis(planes, 0, -1),
        lambda planes: planes[None],
        lambda planes: planes[:, None],
        lambda planes: planes[..., None],
        lambda planes: np.moveaxis(planes, 0, -1)[None, :, None],
    ],
)
def test_planes_may_come_last_and_axes_of_length_1_do_not_count(tmp_path: Path, change: Any) -> None:
    expected = read(tmp_path / "1.fits", cube())
    assert expected.shape == (24, 32, 3)
    np.testing.assert_array_equal(read(tmp_path / "2.fits", change(cube())), expected)


@pytest.mark.parametrize("shape", [(1, 24, 32), (1, 1, 24, 32), (24, 32, 1), (24, 1, 32), (1, 1, 1, 24, 32)])
def test_one_plane_with_axes_of_length_1_is_grey(tmp_path: Path, shape: tuple[int, ...]) -> None:
    plane = cube()[0]
    found = read(tmp_path / "1.fits", plane.reshape(shape))
    np.testing.assert_array_equal(found, read(tmp_path / "2.fits", plane))
    assert found.shape == (24, 32, 3)


@pytest.mark.parametrize("shape", [(3, 3, 3), (24, 3, 32), (24, 24, 24), (5, 8, 5), (40, 64, 64)])
def test_axes_that_can_be_read_in_two_ways_need_a_word(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(size=shape)
    with pytest.raises(BadImageError, match=r"may count the planes.*data\.catalog\.plane_axis=first or"):
        read(tmp_path / "1.fits", array)
    assert read(tmp_path / "1.fits", array, plane_axis="first").shape == (*shape[1:], 3)
    assert read(tmp_path / "1.fits", array, plane_axis="last").shape == (*shape[:2], 3)


def test_more_than_three_axes_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadImageError, match="2 x 3 x 8 x 8; it must have two or three axes longer than 1"):
        read(tmp_path / "1.fits", np.ones((2, 3, 8, 8)))


# -------------------------------------------------------------------------------------------------- the parts


@pytest.mark.parametrize("kind", [fits.ImageHDU, fits.CompImageHDU])
def test_the_only_image_is_found_behind_tables_and_lines(tmp_path: Path, kind: Any) -> None:
    expected = read(tmp_path / "1.fits", None, kind(cube()[0]))
    found = read(tmp_path / "2.fits", None, rows("x"), fits.ImageHDU(np.arange(9.0)), kind(cube()[0]))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "names", [("SCI", "ERR", "DQ"), ("IMAGE", "MASK", "VARIANCE"), ("WHT", "CTX", "sci")]
)
def test_the_science_image_is_told_from_its_errors_and_mask(tmp_path: Path, names: tuple[str, ...]) -> None:
    parts = [
        named(name, cube()[0] if name.upper() in ("SCI", "IMAGE") else np.ones((24, 32), np.int16))
        for name in names
    ]
    np.testing.assert_array_equal(
        read(tmp_path / "1.fits", None, *parts), read(tmp_path / "2.fits", cube()[0])
    )


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([cube()[0], cube()[1]], "2 images, 0 PRIMARY (24 x 32), 1 (24 x 32)"),
        ([None, named("G"), rows("x"), named("R")], "2 images, 1 G (24 x 32), 3 R (24 x 32)"),
        ([None, named("SCI"), named("ERR"), named("SCI"), named("ERR")], "4 images, 1 SCI (24 x 32)"),
    ],
)
def test_of_several_images_one_must_be_chosen(tmp_path: Path, parts: list[Any], said: str) -> None:
    with pytest.raises(BadImageError, match=r"data\.catalog\.hdu") as caught:
        read(tmp_path / "1.fits", *parts)
    assert said in str(caught.value)


def test_parts_are_chosen_by_name_or_number_and_stacked_to_a_cube(tmp_path: Path) -> None:
    planes = cube()
    parts = [None, *(named(name, plane) for name, plane in zip("GRZ", planes, strict=True))]
    expected = read(tmp_path / "1.fits", planes)
    for hdu in (("G", "R", "Z"), ("g", "r", "z"), (1, 2, 3), (1, "R", 3)):
        np.testing.assert_array_equal(read(tmp_path / "2.fits", *parts, hdu=hdu), expected)
    one = read(tmp_path / "2.fits", *parts, hdu=("R",))
    np.testing.assert_array_equal(one, read(tmp_path / "3.fits", planes[1]))
    np.testing.assert_array_equal(read(tmp_path / "2.fits", *parts, hdu=(2,)), one)


@pytest.mark.parametrize(
    ("hdu", "said"),
    [
        (("I",), "hdu is I, but the file has no image of this name: 1 G (24 x 32), 2 R (24 x 32)"),
        ((0,), "hdu is 0, but the file has no image of this name"),
        ((4,), "hdu is 4, but the file has no image of this name"),
        (("R",), "hdu is R, but the file has several images of this name"),
        ((1, 5), "are 24 x 32, 8 x 8; they must have two axes, and all the same size"),
    ],
)
def test_a_part_that_is_not_there_is_named(tmp_path: Path, hdu: tuple[int | str, ...], said: str) -> None:
    small = named("SMALL", np.ones((8, 8)))
    with pytest.raises(BadImageError) as caught:
        read(tmp_path / "1.fits", None, named("G"), named("R"), named("R"), rows("x"), small, hdu=hdu)
    assert said in str(caught.value)


# ------------------------------------------------------------------------------------------------ the numbers


@pytest.mark.parametrize("dtype", [">i2", "<i4", "u1", ">u2", "i8", ">f8", "f4"])
def test_numbers_of_every_type_make_the_same_picture(tmp_path: Path, dtype: str) -> None:
    whole = (cube() - cube().min()).clip(0, 200).round()
    np.testing.assert_array_equal(
        read(tmp_path / "1.fits", whole.astype(dtype)), read(tmp_path / "2.fits", whole)
    )


def test_negative_values_make_the_same_picture(tmp_path: Path) -> None:
    shifted = read(tmp_path / "1.fits", cube() - 1e4)
    assert np.abs(shifted.astype(int) - read(tmp_path / "2.fits", cube())).max() <= 1


@pytest.mark.parametrize("name", ["1.fits.gz", "1.fits.bz2", "1.fits.fz"])
def test_compressed_files_are_read(tmp_path: Path, name: str) -> None:
    kind = fits.CompImageHDU if name.endswith("fz") else fits.ImageHDU
    found = read(tmp_path / name, None, kind(cube()[0]))
    assert np.abs(found.astype(int) - read(tmp_path / "2.fits", cube()[0])).max() <= 4


def test_a_band_that_is_missing_says_how_many_there_are(tmp_path: Path) -> None:
    with pytest.raises(
        BadImageError, match=r"has 2 planes; plane 2 \(from 0\) is missing.*data\.catalog\.bands"
    ):
        read(tmp_path / "1.fits", cube(2))


# ----------------------------------------------------------------------------------- planes and their order


@pytest.mark.parametrize(
    ("planes", "filters", "said"),
    [
        (5, "", "has 5 planes: say which"),
        (5, "ugriz", r"has 5 planes \(u, g, r, i, z\): say which"),
        (2, "", "has 2 planes: say which"),
        (3, "zrg", r"has 3 planes \(z, r, g\): say which"),
        (3, "RGB", r"has 3 planes \(R, G, B\): say which"),
    ],
)
def test_planes_that_can_be_read_in_two_ways_need_a_word(
    tmp_path: Path, planes: int, filters: str, said: str
) -> None:
    part = fits.PrimaryHDU(cube(planes))
    part.header["BANDS"] = filters
    with pytest.raises(BadImageError, match=rf"{said}.*data\.catalog\.bands=\["):
        read(tmp_path / "1.fits", part, bands=())
    assert read(tmp_path / "1.fits", part, bands=(1, 0, 0)).shape == (24, 32, 3)


def test_three_planes_are_taken_from_blue_to_red_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = read(tmp_path / "1.fits", cube())
    with Decoder() as decoder:
        for _ in range(2):
            found = decoder(FitsImage(tmp_path / "1.fits", (), 10.0))
            np.testing.assert_array_equal(found, expected)
    (record,) = caplog.records
    assert "data.catalog.bands=[0,1,2]" in record.getMessage()


@pytest.mark.parametrize("filters", ["grz", "gri"])
def test_planes_that_the_file_names_from_blue_to_red_need_no_warning(
    tmp_path: Path, filters: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = read(tmp_path / "1.fits", cube())
    part = fits.PrimaryHDU(cube())
    part.header["BANDS"] = filters
    np.testing.assert_array_equal(read(tmp_path / "2.fits", part, bands=()), expected)
    parts = [None, *(named(name, plane) for name, plane in zip("GRZ", cube(), strict=True))]
    np.testing.assert_array_equal(read(tmp_path / "3.fits", *parts, bands=(), hdu=("G", "R", "Z")), expected)
    assert not caplog.records
