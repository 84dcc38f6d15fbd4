"""Images of every kind to pixels: files of pictures, rows of HDF5 files, FITS files."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import simplejpeg
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from galaxy.images import BadImageError
from galaxy.images.decode import Decoder, decode
from galaxy.surveys.catalog import DeepPicture, FitsImage, Hdf5Image
from galaxy.system.errors import UserError

SIDE = 48
GREY, RGB = (0,), (2, 1, 0)


def picture(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (20, 30, 3), np.uint8)


# ----------------------------------------------------------------------------------------- files of pictures


@pytest.mark.parametrize("ending", ["png", "tiff", "bmp", "webp"])
def test_lossless_pictures_come_back_whole_or_not_at_all(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"1.{ending}"
    cv2.imwrite(str(path), picture()[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 101])
    np.testing.assert_array_equal(decode(path), picture())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadImageError):
        decode(path)


def test_a_large_picture_is_read_to_its_end(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (500, 600, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "1.png"), image[..., ::-1])
    assert (tmp_path / "1.png").stat().st_size > 900_000
    np.testing.assert_array_equal(decode(tmp_path / "1.png"), image)


@pytest.mark.parametrize(
    ("place", "said"), [(16, "checksum"), (33, "truncated"), (-20, "checksum"), (-9, "truncated")]
)
def test_a_damaged_png_takes_no_memory(tmp_path: Path, place: int, said: str) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), picture())
    data = bytearray((tmp_path / "1.png").read_bytes())
    data[place] ^= 0x40  # width, length of the pixels, pixels, length of the end
    (tmp_path / "1.png").write_bytes(data)
    with pytest.raises(BadImageError, match=said):
        decode(tmp_path / "1.png")


@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_grey_is_repeated_and_alpha_dropped(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"1.{ending}"
    grey = picture()[..., 0]
    cv2.imwrite(str(path), grey)
    np.testing.assert_array_equal(decode(path), np.dstack([grey] * 3))
    cv2.imwrite(str(path), np.dstack([picture()[..., ::-1], grey]))
    np.testing.assert_array_equal(decode(path), picture())


def test_a_tiff_is_not_multiplied_by_its_alpha(tmp_path: Path) -> None:
    half = np.full((20, 30, 1), 128, np.uint8)
    for name, arguments in {
        "1.tiff": {},
        "2.tiff": {"big_tiff": True},
        "3.tiff": {"compression": "tiff_lzw"},
    }.items():
        Image.fromarray(np.dstack([picture(), half])).save(tmp_path / name, **arguments)
        np.testing.assert_array_equal(decode(tmp_path / name), picture())


def test_a_tiff_whose_tags_are_at_an_impossible_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1.tiff").write_bytes(b"II+\0\x08\0\0\0" + 8 * b"\xff")
    with pytest.raises(BadImageError, match="damaged"):
        decode(tmp_path / "1.tiff")


def test_a_deep_tiff_in_which_0_is_white_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 30), 60000, np.uint16)).save(tmp_path / "1.tiff")
    data = bytearray((tmp_path / "1.tiff").read_bytes())
    tag = data.index(b"\x06\x01\x03\0\x01\0\0\0")  # the photometric interpretation, a number of 16 bits
    data[tag + 8] = 0
    (tmp_path / "1.tiff").write_bytes(data)
    with pytest.raises(BadImageError, match="0 is white"):
        decode(tmp_path / "1.tiff")


def deep_picture(dtype: str, largest: float) -> NDArray[np.generic]:
    """(20, 30, 3) BGR samples from 0 to `largest`."""
    return (picture() / 255 * largest).astype(dtype)[..., ::-1]


@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_samples_of_16_bits_are_scaled_by_the_largest_value(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"1.{ending}"
    cv2.imwrite(str(path), deep_picture("uint16", 65535))
    np.testing.assert_array_equal(decode(path), picture())
    assert np.abs(decode(DeepPicture(path, 2 * 65535)) - picture() / 2.0).max() <= 1
    cv2.imwrite(str(path), deep_picture("uint16", 65535)[..., 0])
    np.testing.assert_array_equal(decode(path), np.dstack([picture()[..., 2]] * 3))


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 15])
def test_samples_that_leave_upper_bits_unused_need_the_value_of_white(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "1.png"
    cv2.imwrite(str(path), deep_picture("uint16", 2**bits - 1))
    with pytest.raises(BadImageError, match=rf"none above .*data\.catalog\.white={2**bits - 1}, or 65535"):
        decode(path)
    assert np.abs(decode(DeepPicture(path, 2**bits - 1)).astype(int) - picture()).max() <= 1


@pytest.mark.parametrize("dtype", ["int32", "float32", "float64"])
@pytest.mark.parametrize("grey", [False, True])
def test_other_samples_need_the_value_of_white(tmp_path: Path, dtype: str, grey: bool) -> None:
    path = tmp_path / "1.tiff"
    deep = deep_picture(dtype, 1e6)
    cv2.imwrite(str(path), deep[..., 0] if grey else deep)
    with pytest.raises(BadImageError, match=rf"{dtype}, which have no largest value.*data\.catalog\.white"):
        decode(path)
    expected = np.dstack([picture()[..., 2]] * 3) if grey else picture()
    assert np.abs(decode(DeepPicture(path, 1e6)).astype(int) - expected).max() <= 1


def test_floats_that_are_no_numbers_or_negative_are_black(tmp_path: Path) -> None:
    path = tmp_path / "1.tiff"
    cv2.imwrite(str(path), np.array([[np.nan, -1, -np.inf], [np.inf, 2, 0.5]], np.float32))
    assert decode(DeepPicture(path, 1.0))[..., 0].tolist() == [[0, 0, 0], [255, 255, 128]]


def test_white_leaves_samples_of_8_bits_alone(tmp_path: Path) -> None:
    for ending in ("png", "jpg", "tiff"):
        path = tmp_path / f"1.{ending}"
        cv2.imwrite(str(path), picture())
        np.testing.assert_array_equal(decode(DeepPicture(path, 4095)), decode(path))


PIL_MODES = {"1": "png", "L": "jpg", "LA": "png", "P": "png", "RGBA": "png", "CMYK": "jpg", "PA": "tiff"}


@pytest.mark.parametrize("mode", PIL_MODES)
def test_the_colours_of_every_kind_of_picture_are_those_that_pillow_reads(tmp_path: Path, mode: str) -> None:
    smooth = cv2.GaussianBlur(picture(), (0, 0), 4)
    path = tmp_path / f"1.{PIL_MODES[mode]}"
    Image.fromarray(smooth).convert("L" if mode == "PA" else "RGB").convert(mode).save(path)
    with Image.open(path) as expected:
        assert np.abs(decode(path) - np.asarray(expected.convert("RGB")).astype(int)).max() <= 2


@pytest.mark.parametrize("ending", ["gif", "webp", "avif", "jp2", "bmp"])
def test_other_formats_have_the_colours_that_pillow_reads(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"1.{ending}"
    Image.fromarray(cv2.GaussianBlur(picture(), (0, 0), 4)).save(path)
    with Image.open(path) as expected:
        assert np.abs(decode(path) - np.asarray(expected.convert("RGB")).astype(int)).max() <= 2


@pytest.mark.parametrize("ending", ["png", "tiff", "webp"])
def test_other_pictures_are_turned_as_their_exif_data_say(tmp_path: Path, ending: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture()).save(tmp_path / f"1.{ending}", exif=exif)
    assert decode(tmp_path / f"1.{ending}").shape == (30, 20, 3)


@pytest.mark.parametrize("ending", ["gif", "webp", "avif", "tiff", "png"])
def test_a_file_of_several_pictures_is_refused(tmp_path: Path, ending: str) -> None:
    pages = [Image.fromarray(picture(seed)) for seed in range(3)]
    pages[0].save(tmp_path / f"1.{ending}", save_all=True, append_images=pages[1:])
    with pytest.raises(BadImageError, match="holds more than one picture"):
        decode(tmp_path / f"1.{ending}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"SIMPLE  =                    T", r"a FITS file, whose name must end in \.fits"),
        (b"\x93NUMPY\x01\0v\0", "an array of NumPy"),
        (b"<!DOCTYPE html><html>Not found", "a page of the web"),
        (b"\n<html>", "a page of the web"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC file"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"%PDF-1.7", "a PDF file"),
        (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "1.jpg").write_bytes(content)
    with pytest.raises(BadImageError, match=f"is {said}.*images may be JPEG"):
        decode(tmp_path / "1.jpg")


# ---------------------------------------------------------------------------------------------------- HDF5


@pytest.mark.parametrize("chunks", [None, (1, 20, 30, 3), (7, 5, 30, 1), True])
def test_rows_of_an_hdf5_file_from_many_threads(
    tmp_path: Path, chunks: tuple[int, ...] | bool | None
) -> None:
    pixels = np.stack([picture(seed) for seed in range(40)])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("deep/images", data=pixels, chunks=chunks, compression=chunks and "gzip")
    sources = [Hdf5Image(tmp_path / "a.h5", "deep/images", row) for row in range(40)]
    with Decoder() as decoder, ThreadPoolExecutor(4) as pool:
        np.testing.assert_array_equal(np.stack(list(pool.map(decoder, sources))), pixels)
    np.testing.assert_array_equal(decode(sources[17]), pixels[17])


def test_an_image_that_is_not_in_the_hdf5_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = picture()[None]
    (tmp_path / "b.h5").write_text("no HDF5")
    for source in (
        Hdf5Image(tmp_path / "a.h5", "images", 1),
        Hdf5Image(tmp_path / "a.h5", "pictures", 0),
        Hdf5Image(tmp_path / "b.h5", "images", 0),
        Hdf5Image(tmp_path / "c.h5", "images", 0),
    ):
        with pytest.raises(BadImageError, match="cannot be read"):
            decode(source)


@pytest.mark.parametrize("chunks", [None, (1, 20, 30, 3), (2, 20, 30, 1)])
def test_an_image_that_was_never_written_is_not_black(tmp_path: Path, chunks: tuple[int, ...] | None) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        images = file.create_dataset("images", (5, 20, 30, 3), np.uint8, chunks=chunks)
        if chunks:
            images[:2] = picture()
            images[2, ..., 1] = 1
    with Decoder() as decoder:
        for row in range(5):
            whole = chunks is not None and (row < 2 or (row == 2 and chunks[0] == 1))
            source = Hdf5Image(tmp_path / "a.h5", "images", row)
            if whole:
                assert decoder(source).any()
            else:
                with pytest.raises(BadImageError, match="never written"):
                    decoder(source)


def test_hdf5_files_are_closed_at_the_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = picture()[None]
    with Decoder() as decoder:
        decoder(Hdf5Image(tmp_path / "a.h5", "images", 0))
    with h5py.File(tmp_path / "a.h5", "w"):  # which h5py refuses where the file is open
        pass


# ---------------------------------------------------------------------------------------------------- FITS


def bands(seed: int = 0) -> NDArray[np.float32]:
    """(3, H, W): noise, and a galaxy nearer to the first row than to the last, brightest in the last band."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    galaxy = 100 * np.exp(-((x - 24) ** 2 + (y - 10) ** 2) / 30)
    return (rng.normal(size=(3, SIDE, SIDE)) + galaxy * np.array([0.3, 0.6, 1])[:, None, None]).astype(
        np.float32
    )


def save(path: Path, *arrays: NDArray[np.generic], compress: bool = False) -> Path:
    """A FITS file with an empty first part, then the images."""
    kind = fits.CompImageHDU if compress else fits.ImageHDU
    fits.HDUList([fits.PrimaryHDU(), *(kind(array) for array in arrays)]).writeto(path)
    return path


def test_a_colour_picture_of_a_cube(tmp_path: Path) -> None:
    image = decode(FitsImage(save(tmp_path / "1.fits", bands()), RGB, 10.0))
    assert image.shape == (SIDE, SIDE, 3)
    assert image.dtype == np.uint8
    # The first row of the file is the bottom of the picture.
    assert divmod(int(image.sum(-1).argmax()), SIDE)[0] >= SIDE - 13
    core = image[SIDE - 11, 24]
    assert core[0] == 255
    np.testing.assert_allclose(core / 255, [1, 0.6, 0.3], atol=0.1)  # the colour of the fluxes
    sky = image[: SIDE // 2]
    assert 5 < np.median(sky) < 60
    assert (sky == 0).mean() < 0.1


def test_a_single_plane_is_grey(tmp_path: Path) -> None:
    plane = bands()[1]
    flat = decode(FitsImage(save(tmp_path / "1.fits", plane), RGB, 10.0))  # of two axes: bands are ignored
    assert (flat == flat[..., :1]).all()
    np.testing.assert_array_equal(decode(FitsImage(save(tmp_path / "2.fits", bands()), (1,), 10.0)), flat)
    np.testing.assert_array_equal(decode(FitsImage(save(tmp_path / "3.fits", plane[None]), GREY, 10.0)), flat)


def test_the_stretch_keeps_the_order_and_lifts_the_faint(tmp_path: Path) -> None:
    plane = bands()[2]
    save(tmp_path / "1.fits", plane)
    hard, soft = (
        decode(FitsImage(tmp_path / "1.fits", GREY, s))[::-1, :, 0].astype(int) for s in (2.0, 50.0)
    )
    order = plane.ravel().argsort()
    assert (np.diff(hard.ravel()[order]) >= 0).all()
    assert (np.diff(soft.ravel()[order]) >= 0).all()
    faint = (plane > 3) & (plane < 20)
    assert (hard[faint] > soft[faint]).all()


@settings(deadline=None, max_examples=10)
@given(st.floats(1e-12, 1e12), st.floats(-1e3, 1e3))
def test_units_and_the_level_of_the_sky_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, unit: float, sky: float
) -> None:
    folder = tmp_path_factory.mktemp("fits")
    cube = bands().astype(np.float64)
    cube[1] = (cube[1] + sky) * unit
    one = decode(FitsImage(save(folder / "1.fits", bands()), RGB, 10.0))
    other = decode(FitsImage(save(folder / "2.fits", cube), RGB, 10.0))
    assert np.abs(one.astype(int) - other).max() <= 1


def test_pixels_without_a_value_are_sky(tmp_path: Path) -> None:
    cube = bands()
    cube[:, 30:, :20] = np.nan
    cube[0, 40, 40] = np.inf
    image = decode(FitsImage(save(tmp_path / "1.fits", cube), RGB, 10.0))[::-1]
    hole, sky = image[30:, :20], image[30:, 20:]
    assert (hole == hole[0, 0]).all()
    assert abs(int(hole[0, 0, 0]) - np.median(sky)) <= 3


def test_a_frame_of_sky_stays_dark(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=(SIDE, SIDE))
    assert np.percentile(decode(FitsImage(save(tmp_path / "1.fits", noise), GREY, 10.0)), 99) < 128


@pytest.mark.parametrize("name", ["1.fits.gz", "1.fits.fz"])
def test_compressed_files(tmp_path: Path, name: str) -> None:
    plain = decode(FitsImage(save(tmp_path / "1.fits", bands()[0]), GREY, 10.0))
    packed = save(tmp_path / name, bands()[0], compress=name.endswith("fz"))
    # The quantisation of .fz is a fraction of the noise.
    assert np.abs(decode(FitsImage(packed, GREY, 10.0)).astype(int) - plain).max() <= 4


def test_scaled_integers_with_blanks(tmp_path: Path) -> None:
    counts = (bands()[0] * 50).astype(np.int16)
    counts[:4] = -32768
    hdu = fits.PrimaryHDU(counts)
    hdu.header["BLANK"] = -32768
    hdu.header["BSCALE"] = 0.02
    hdu.writeto(tmp_path / "1.fits")
    image = decode(FitsImage(tmp_path / "1.fits", GREY, 10.0))
    assert (image[-4:] == image[-1, 0]).all()


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.arange(9.0), "no image with two axes or more"),
        (bands()[:2], "has 2 planes; plane 2 (from 0) is missing"),
        (np.full((3, 8, 8), np.nan), "plane 2 (from 0) has no pixel with a value"),
        (
            np.where(np.arange(3)[:, None, None] == 1, 7.0, bands()),
            "plane 1 (from 0) is empty: all its pixels are 7",
        ),
    ],
)
def test_fits_images_that_show_nothing(tmp_path: Path, array: NDArray[np.generic], said: str) -> None:
    with pytest.raises(BadImageError) as caught:
        decode(FitsImage(save(tmp_path / "1.fits", array), RGB, 10.0))
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["1.fits", "1.fits.gz", "1.fits.fz"])
def test_damaged_fits_files(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, bands()[0], compress=name.endswith("fz"))
    data = path.read_bytes()
    for harmed in (b"", data[:100], data[: len(data) // 2], b"not FITS" * 1000):
        path.write_bytes(harmed)
        with pytest.raises(BadImageError):
            decode(FitsImage(path, GREY, 10.0))
    path.unlink()
    with pytest.raises(BadImageError, match="No such file"):
        decode(FitsImage(path, GREY, 10.0))


@pytest.mark.parametrize("name", ["1.fits", "1.fits.fz", "1.fits.gz"])
def test_a_fits_file_is_held_to_its_checksum(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    kind = fits.CompImageHDU if name.endswith("fz") else fits.ImageHDU
    # gzip has a checksum of its own.
    hdus = fits.HDUList([fits.PrimaryHDU(), kind(bands()[0])])
    hdus.writeto(path, checksum=not name.endswith("gz"))
    decode(FitsImage(path, GREY, 10.0))
    data = bytearray(path.read_bytes())
    data[-4000] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadImageError, match=r"checksum|CRC"):
        decode(FitsImage(path, GREY, 10.0))


def test_a_fits_file_that_lost_its_last_bytes_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "1.fits", bands()[0])
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(BadImageError, match=r"truncated: it has 17,270 of 17,280 bytes"):
        decode(FitsImage(path, GREY, 10.0))


def test_astropy_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "1.fits", bands())
    monkeypatch.setitem(sys.modules, "astropy.io", None)
    with pytest.raises(UserError, match=r"pip install 'galaxy-morphology\[fits\]'"):
        decode(FitsImage(path, RGB, 10.0))


SAMPLING = {
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
}


def jpeg(image: NDArray[np.uint8], *options: int) -> bytes:
    encoded, content = cv2.imencode(".jpg", image, options)
    assert encoded
    return content.tobytes()


@pytest.mark.parametrize("sampling", SAMPLING)
@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpegs_of_every_kind_have_opencv_s_pixels(
    tmp_path: Path, sampling: str, progressive: int, channels: int
) -> None:
    rng = np.random.default_rng(channels)
    for height, width in ((1, 1), (8, 8), (17, 33), (50, 41)):
        image = cv2.blur(rng.integers(0, 256, (height, width, channels), np.uint8), (3, 3))
        options = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLING[sampling])
        content = jpeg(image, *options, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
        (tmp_path / "a.jpg").write_bytes(content)
        expected = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
        np.testing.assert_array_equal(decode(tmp_path / "a.jpg"), expected)


def turned(content: bytes, place: int = 2) -> bytes:
    """A JPEG that is to be turned clockwise, as a segment at this place says."""
    # Little-endian TIFF with one entry: Orientation (0x0112), a short, 6.
    entry = bytes([0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0])
    exif = b"Exif\0\0" + b"II*\0" + bytes([8, 0, 0, 0, 1, 0]) + entry + bytes(4)
    return content[:place] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2) + exif + content[place:]


@pytest.mark.parametrize("before", [b"", b"\xff\xe2\x00\x08\xff\xda" + bytes(4)])
def test_a_jpeg_is_turned_as_its_exif_data_say(tmp_path: Path, before: bytes) -> None:
    """Also where another segment comes first, with bytes in it that look like the beginning of the pixels."""
    content = turned(jpeg(np.zeros((16, 24, 3), np.uint8)))
    (tmp_path / "a.jpg").write_bytes(content[:2] + before + content[2:])
    assert decode(tmp_path / "a.jpg").shape == (24, 16, 3)


@pytest.mark.parametrize("segment", [b"\xff\xdb", b"\xff\xc0", b"\xff\xda"])
def test_a_jpeg_is_turned_wherever_its_exif_data_are(tmp_path: Path, segment: bytes) -> None:
    content = jpeg(np.zeros((16, 24, 3), np.uint8))
    (tmp_path / "a.jpg").write_bytes(turned(content, content.index(segment)))
    assert decode(tmp_path / "a.jpg").shape == (24, 16, 3)


@pytest.mark.parametrize("where", ["a comment", "behind the scan"])
def test_bytes_that_look_like_exif_data_turn_nothing(tmp_path: Path, where: str) -> None:
    content = jpeg(np.zeros((16, 24, 3), np.uint8))
    if where == "a comment":
        segment = turned(b"")[2:]
        content = content[:2] + b"\xff\xfe" + segment + content[2:]
    else:
        content = turned(content, len(content) - 2)
    (tmp_path / "a.jpg").write_bytes(content)
    assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB).shape == (16, 24, 3)
    assert decode(tmp_path / "a.jpg").shape == (16, 24, 3)


NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 4), np.uint8)
JPEGS = {
    "usual": jpeg(NOISE[..., :3]),
    "to be turned": turned(jpeg(NOISE[..., :3])),
    "inks": simplejpeg.encode_jpeg(NOISE, colorspace="CMYK"),
}


def test_a_jpeg_of_inks_has_opencv_s_pixels(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEGS["inks"])
    expected = cv2.imdecode(np.frombuffer(JPEGS["inks"], np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(decode(tmp_path / "a.jpg"), expected)


@pytest.mark.parametrize("kind", JPEGS)
def test_a_damaged_jpeg_is_no_image(tmp_path: Path, kind: str) -> None:
    content = bytearray(JPEGS[kind])
    content[len(content) // 2 : len(content) // 2 + 2] = b"\xff\xd9"  # an end in the middle
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(BadImageError, match="a damaged JPEG"):
        decode(tmp_path / "a.jpg")


def test_a_jpeg_sampled_in_an_unusual_way_has_opencv_s_pixels(tmp_path: Path) -> None:
    """Simplejpeg has no name for four rows to a value of colour."""
    content = jpeg(cv2.blur(NOISE[..., :3], (9, 9)))
    sampling = content.index(b"\xff\xc0") + 11
    content = content[:sampling] + b"\x14" + content[sampling + 1 :]
    (tmp_path / "a.jpg").write_bytes(content)
    expected = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(decode(tmp_path / "a.jpg"), expected)


def test_a_jpeg_of_a_damaged_size_takes_no_memory(tmp_path: Path) -> None:
    content = jpeg(np.zeros((16, 16, 3), np.uint8))
    size = content.index(b"\xff\xc0") + 5
    (tmp_path / "a.jpg").write_bytes(content[:size] + b"\xff\xdc" * 2 + content[size + 4 :])  # 65,500 each
    with pytest.raises(BadImageError):
        decode(tmp_path / "a.jpg")


# ------------------------------------------------------------------------------------------- errors that pass


def kinds_of_sources(folder: Path) -> list[Path | FitsImage | Hdf5Image]:
    """One image of each kind."""
    cv2.imwrite(str(folder / "1.png"), picture())
    with h5py.File(folder / "1.h5", "w") as file:
        file["images"] = picture()[None]
    return [
        folder / "1.png",
        FitsImage(save(folder / "1.fits", bands()), RGB, 10.0),
        Hdf5Image(folder / "1.h5", "images", 0),
    ]


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.ESTALE])
def test_an_error_that_may_pass_makes_no_image_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    sources = kinds_of_sources(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fail)
        patch.setattr(h5py, "File", fail)
        for source in sources:
            with pytest.raises(UserError, match=rf"cannot be read: {os.strerror(number)}"):
                decode(source)
    for source in sources:
        assert decode(source).any()


def test_an_hdf5_file_that_is_being_written_is_not_bad(tmp_path: Path) -> None:
    *_, source = kinds_of_sources(tmp_path)
    with source.path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"1\.h5 cannot be read"):
            decode(source)


def test_too_little_memory_makes_no_fits_file_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    _, source, _ = kinds_of_sources(tmp_path)
    monkeypatch.setattr(fits, "open", fail)
    with pytest.raises(MemoryError):
        decode(source)


def test_the_bytes_that_were_read_are_decoded(tmp_path: Path) -> None:
    picture_file, fits_file, _ = kinds_of_sources(tmp_path)
    with Decoder() as decoder:
        for source, path in ((picture_file, picture_file), (fits_file, fits_file.path)):
            pixels, content = decoder(source), path.read_bytes()
            path.unlink()
            np.testing.assert_array_equal(decoder(source, content), pixels)
