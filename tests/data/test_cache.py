"""The image cache: what is in it, when it is made again, and what it does about bad images."""

from __future__ import annotations

import errno
import importlib
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import h5py
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from galaxy.data.cache import CachedImages, open_cache
from galaxy.images.crops.center import CenterCrop
from galaxy.images.crops.roi import RoiCrop
from galaxy.images.decode import BadImageError, decode
from galaxy.surveys.catalog import FitsImage, Hdf5Image
from galaxy.system.errors import UserError
from tests.conftest import pixels_of
from tests.helpers.cache_processes import CountingCrop, die_in_a_process, open_in_a_process
from tests.helpers.full_disk import file_size_limit

CROP = CenterCrop(size=16, fraction=1.0)


def write_image(path: Path, seed: int, side: int = 64) -> NDArray[np.uint8]:
    """A galaxy-like blob as a JPEG; returns its pixels, RGB."""
    y, x = np.mgrid[:side, :side] - side / 2
    rng = np.random.default_rng(seed)
    blob = np.exp(-((x / rng.uniform(5, 15)) ** 2 + (y / rng.uniform(5, 15)) ** 2))
    rgb = (blob[..., None] * rng.uniform(60, 250, 3)).astype(np.uint8)
    _, data = cv2.imencode(path.suffix, rgb[..., ::-1])
    path.write_bytes(data.tobytes())
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def write_images(folder: Path) -> list[Path]:
    """More than two blocks, so that order and blocks in flight matter."""
    folder.mkdir()
    paths = [folder / f"{i}.jpg" for i in range(150)]
    for i, path in enumerate(paths):
        write_image(path, i)
    return paths


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    return write_images(tmp_path / "images")


def expected(paths: list[Path]) -> NDArray[np.uint8]:
    return np.stack([CROP(cv2.cvtColor(cv2.imread(str(p)), cv2.COLOR_BGR2RGB)) for p in paths])


def made(folder: Path) -> list[str]:
    """The files of a cache folder but for locks."""
    return sorted(path.name for path in folder.glob("*") if path.suffix != ".lock")


def test_every_row_is_the_crop_of_its_image(images: list[Path], tmp_path: Path) -> None:
    cached = open_cache(images, CROP, tmp_path / "cache", "error", workers=3)
    assert pixels_of(cached).dtype == np.uint8
    np.testing.assert_array_equal(pixels_of(cached), expected(images))
    np.testing.assert_array_equal(cached.kept, np.arange(len(images)))
    assert cached.kept.dtype == np.int64
    assert cached.skipped == ()


def test_grey_and_large_frames(tmp_path: Path) -> None:
    path = tmp_path / "1.jpg"
    pixels = write_image(path, 0, side=424)
    crop = RoiCrop(size=32, channels=1)
    cached = open_cache([path], crop, tmp_path / "cache", "error")
    assert pixels_of(cached).shape == (1, 32, 32, 1)
    np.testing.assert_array_equal(pixels_of(cached)[0], crop(pixels))


def test_is_opened_and_not_made_again(images: list[Path], tmp_path: Path) -> None:
    open_cache(images, CROP, tmp_path / "cache", "error")
    (stored,) = (tmp_path / "cache").glob("*.npy")
    before = stored.stat().st_mtime_ns, stored.stat().st_ino
    again = open_cache(images, CenterCrop(size=16, fraction=1.0), tmp_path / "cache", "error")
    assert (stored.stat().st_mtime_ns, stored.stat().st_ino) == before
    np.testing.assert_array_equal(pixels_of(again), expected(images))


def test_another_crop_or_a_changed_image_or_order_makes_another_cache(
    images: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "cache"

    def caches(paths: list[Path], crop: CenterCrop) -> tuple[int, CachedImages]:
        cached = open_cache(paths, crop, folder, "error")
        return len(list(folder.glob("*.npy"))), cached

    assert caches(images, CROP)[0] == 1
    assert caches(images, CenterCrop(size=16, fraction=0.5))[0] == 2
    assert caches(images[::-1], CROP)[0] == 3
    write_image(images[3], 999)
    os.utime(images[3], ns=(1, 1))  # a clock too coarse to notice must not hide the change
    count, cached = caches(images, CROP)
    assert count == 4
    np.testing.assert_array_equal(pixels_of(cached), expected(images))


def harmed(data: bytes, harm: str) -> bytes:
    """Some bytes after an accident."""
    where = {"first": 0, "middle": len(data) // 2, "last": len(data) - 1}
    if harm in where:
        place = where[harm]
        return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    return {"short": data[:-1], "long": data + b"\0", "empty": b"", "half": data[: len(data) // 2]}[harm]


@pytest.mark.parametrize("suffix", [".npy", ".journal"])
@pytest.mark.parametrize("harm", ["short", "long", "empty", "half", "first", "middle", "last", "missing"])
def test_a_damaged_cache_is_made_again_and_says_so(
    images: list[Path], tmp_path: Path, suffix: str, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "cache"
    whole = open_cache(images, CROP, folder, "error")
    at_work = pixels_of(whole)  # mapped by a process that goes on
    (damaged,) = folder.glob(f"*{suffix}")
    if harm == "missing":
        damaged.unlink()
    else:
        damaged.write_bytes(harmed(damaged.read_bytes(), harm))
    with caplog.at_level(logging.WARNING):
        cached = open_cache(images, CROP, folder, "error")
    if (suffix, harm) != (".journal", "missing"):  # without a journal there is no cache to speak of
        assert "made again" in caplog.text
        assert len(caplog.records) == 1
        assert str(whole.path) in caplog.text
    np.testing.assert_array_equal(pixels_of(cached), expected(images))
    assert cached.digest == whole.digest
    assert len(made(folder)) == 2
    del at_work


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_no_changed_byte_goes_unnoticed(data: st.DataObject) -> None:
    """Of either file, anywhere; the cache has 70 images, so two blocks, and a bad one."""
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / f"{i}.png" for i in range(70)]
        for path in paths[1:]:
            cv2.imwrite(str(path), np.full((4, 4, 3), int(path.stem), np.uint8))
        crop, folder = CenterCrop(size=4, fraction=1.0), Path(name) / "cache"
        whole = open_cache(paths, crop, folder, "skip", workers=1)
        pixels = pixels_of(whole).copy()
        file = data.draw(st.sampled_from([whole.path, whole.path.with_suffix(".journal")]))
        content = bytearray(file.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
        state = file.stat()
        with file.open("r+b") as opened:  # as a disk would, without a new modification time
            opened.write(content)
        os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
        again = open_cache(paths, crop, folder, "skip", workers=1)
        assert file.read_bytes() != content
        np.testing.assert_array_equal(pixels_of(again), pixels)
        assert again.kept.tolist() == list(range(1, 70))


def spoil(images: list[Path]) -> dict[int, str]:
    """Harms some images, the first and the last among them; the reason by row."""
    whole = images[5].read_bytes()
    images[0].write_bytes(b"")
    images[5].write_bytes(whole[: len(whole) // 2])
    images[70].write_bytes(b"not an image at all")
    images[71].unlink()
    write_image(images[149], 0, side=80)
    return {
        0: "the file is empty",
        5: "truncated",
        70: "not an image",
        71: "cannot be read (No such file or directory)",
        149: "the frame is 80 x 80 pixels, others are 64 x 64 pixels",
    }


def test_bad_images_are_all_named_and_leaving_them_out_decodes_nothing_again(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = spoil(images)
    with pytest.raises(UserError) as caught:
        open_cache(images, CROP, tmp_path / "cache", "error")
    message = str(caught.value)
    assert "5 image(s)" in message
    assert "data.on_bad=skip" in message
    for row, reason in reasons.items():
        (line,) = (line for line in message.splitlines() if str(images[row]) in line)
        assert reason in line
    monkeypatch.setattr("galaxy.data.cache.crop_blocks", None)
    assert len(open_cache(images, CROP, tmp_path / "cache", "skip").kept) == 145


def test_a_disk_that_fails_makes_no_image_bad(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_bytes = Path.read_bytes

    def fail(path: Path) -> bytes:
        if path == images[70]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(UserError, match=r"70\.jpg cannot be read: Input/output error"):
        open_cache(images, CROP, tmp_path / "cache", "skip")
    monkeypatch.undo()
    assert len(open_cache(images, CROP, tmp_path / "cache", "skip").kept) == 150


def test_an_image_that_may_be_read_now_is_read(images: list[Path], tmp_path: Path) -> None:
    images[70].chmod(0)
    before = open_cache(images, CROP, tmp_path / "cache", "skip")
    images[70].chmod(0o644)
    after = open_cache(images, CROP, tmp_path / "cache", "skip")
    assert len(after.kept) == 150
    assert after.path != before.path


def test_a_crop_that_was_mended_crops_again(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    code = "from galaxy.images.crops.center import CenterCrop\nclass Mine(CenterCrop):\n    {}\n"
    before, after = "def region(self, image): return image[:40, :40]", "pass"
    (tmp_path / "my_crop.py").write_text(code.format(before))
    importlib.invalidate_caches()
    module = importlib.import_module("my_crop")
    one = open_cache(images, module.Mine(16), tmp_path / "cache", "error")
    (tmp_path / "my_crop.py").write_text(code.format(after))
    module = importlib.reload(module)
    other = open_cache(images, module.Mine(16), tmp_path / "cache", "error")
    assert one.path != other.path
    assert one.digest != other.digest
    del sys.modules["my_crop"]


def test_skip_leaves_bad_images_out_and_reports_them_each_time(images: list[Path], tmp_path: Path) -> None:
    reasons = spoil(images)
    rows = [row for row in range(len(images)) if row not in reasons]
    for _ in range(2):  # made, then opened
        cached = open_cache(images, CROP, tmp_path / "cache", "skip")
        assert cached.kept.tolist() == rows
        np.testing.assert_array_equal(pixels_of(cached), expected([images[row] for row in rows]))
        assert len(cached.skipped) == len(reasons)
        for line, (row, reason) in zip(cached.skipped, reasons.items(), strict=True):
            assert str(images[row]) in line
            assert reason in line
    with pytest.raises(UserError, match=r"5 image\(s\)"):
        open_cache(images, CROP, tmp_path / "cache", "error")


def test_the_usual_frame_is_that_of_most_images_not_of_the_first(images: list[Path], tmp_path: Path) -> None:
    write_image(images[0], 0, side=96)
    cached = open_cache(images, CROP, tmp_path / "cache", "skip")
    assert cached.kept.tolist() == list(range(1, 150))


def test_frames_may_differ_where_the_survey_says_so(images: list[Path], tmp_path: Path) -> None:
    write_image(images[0], 0, side=96)
    folder = tmp_path / "cache"
    assert len(open_cache(images, CROP, folder, "skip").kept) == 149
    cached = open_cache(images, CROP, folder, "error", any_frame=True)
    np.testing.assert_array_equal(pixels_of(cached), expected(images))
    assert len(open_cache(images, CROP, folder, "skip").kept) == 149  # each has its own cache


def write_rows(path: Path, *seeds: int) -> NDArray[np.uint8]:
    """An HDF5 file of as many images; returns their crops."""
    pixels = np.stack([np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8) for seed in seeds])
    with h5py.File(path, "w") as file:
        file["images"] = pixels
        file["others"] = pixels[::-1]
    return np.stack([CROP(image) for image in pixels])


def test_images_in_hdf5_are_known_by_file_dataset_and_row(tmp_path: Path) -> None:
    path, folder = tmp_path / "1.h5", tmp_path / "cache"
    crops = write_rows(path, 0, 1, 2)

    def cached(dataset: str, *rows: int) -> NDArray[np.uint8]:
        sources = [Hdf5Image(path, dataset, row) for row in rows]
        return pixels_of(open_cache(sources, CROP, folder, "error"))

    np.testing.assert_array_equal(cached("images", 0, 1, 2), crops)
    np.testing.assert_array_equal(cached("images", 2, 0), crops[[2, 0]])
    np.testing.assert_array_equal(cached("others", 2, 0), crops[[0, 2]])
    crops = write_rows(path, 3, 4, 5)
    os.utime(path, ns=(1, 1))
    np.testing.assert_array_equal(cached("images", 0, 1, 2), crops)
    assert len(list(folder.glob("*.npy"))) == 4
    with pytest.raises(UserError, match=r"1\.h5, images\[7\]: cannot be read"):
        cached("images", 0, 7)


def test_images_of_all_kinds_in_one_cache(tmp_path: Path) -> None:
    crops = write_rows(tmp_path / "1.h5", 0)
    write_image(tmp_path / "1.jpg", 0)
    noise = np.random.default_rng(0).normal(size=(64, 64))
    fits.PrimaryHDU(noise).writeto(tmp_path / "1.fits")

    def cached(softening: float) -> CachedImages:
        image = FitsImage(tmp_path / "1.fits", (0,), softening)
        sources = [tmp_path / "1.jpg", Hdf5Image(tmp_path / "1.h5", "images", 0), image]
        return open_cache(sources, CROP, tmp_path / "cache", "error")

    one, other = cached(10.0), cached(20.0)
    np.testing.assert_array_equal(pixels_of(one)[:2], [expected([tmp_path / "1.jpg"])[0], crops[0]])
    np.testing.assert_array_equal(pixels_of(one)[:2], pixels_of(other)[:2])
    assert (pixels_of(one)[2] != pixels_of(other)[2]).any()


def test_one_good_image_among_bad_ones_is_found(images: list[Path], tmp_path: Path) -> None:
    for path in images[:-1]:
        path.write_bytes(b"")
    assert open_cache(images, CROP, tmp_path / "cache", "skip").kept.tolist() == [149]
    images[-1].write_bytes(b"")
    with pytest.raises(UserError, match="None of the 150 images"):
        open_cache(images, CROP, tmp_path / "cache", "skip")


def test_no_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no images"):
        open_cache([], CROP, tmp_path, "skip")


def test_a_disk_too_small_is_said_before_decoding(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"needs 115\.2 kB; 1\.0 kB are free in"):
        open_cache(images, CROP, tmp_path / "cache", "error")


def test_opencv_does_not_write_into_the_progress(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "1.tiff"), np.zeros((8, 8), np.float32))
    with pytest.raises(UserError, match="8 or 16 bits"):
        open_cache([tmp_path / "1.tiff"], CROP, tmp_path / "cache", "error")
    assert "OpenCV" not in capfd.readouterr().err
    assert cv2.utils.logging.getLogLevel() > 0


def test_opencv_keeps_its_threads(images: list[Path], tmp_path: Path) -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        open_cache(images, CROP, tmp_path / "cache", "error")
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


def test_processes_starting_together_make_one_cache(images: list[Path], tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    work = (images, marks, tmp_path / "cache")
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        digests = pool.starmap(open_in_a_process, [work] * 8, chunksize=1)
    assert len(digests) == 8
    assert len(set(digests)) == 1
    assert marks.stat().st_size == len(images)
    assert len(made(tmp_path / "cache")) == 2


class Half(NamedTuple):
    """A cache folder with half a cache, the images and the crop it is of."""

    folder: Path
    images: list[Path]
    crop: CountingCrop

    def parts(self) -> list[Path]:
        return sorted(self.folder.glob("*.part"))

    def complete(self) -> int:
        """Opens the cache and compares it with another; returns how many images that took."""
        marks = Path(self.crop.marks)
        before = marks.stat().st_size
        cached = open_cache(self.images, self.crop, self.folder, "error")
        cropped = marks.stat().st_size - before
        other = open_cache(self.images, self.crop, self.folder / "other", "error")
        np.testing.assert_array_equal(pixels_of(cached), pixels_of(other))
        assert cached.digest == other.digest
        assert {file.name for file in self.folder.glob("*.*")} == {
            file.name for file in (self.folder / "other").iterdir()
        }
        return cropped


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Half:
    """What a process left that was killed in its third and last block."""
    folder = tmp_path_factory.mktemp("killed")
    images = write_images(folder / "images")
    half = Half(folder / "cache", images, CountingCrop(str(folder / "marks")))
    work = (images, folder / "marks", half.folder, 140)
    process = multiprocessing.get_context("spawn").Process(target=die_in_a_process, args=work)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(half.parts()) == 2
    return half


@pytest.fixture
def half_built(killed: Half, tmp_path: Path) -> Half:
    return killed._replace(folder=shutil.copytree(killed.folder, tmp_path / "cache"))


def test_what_a_killed_process_left_is_completed(half_built: Half) -> None:
    # Of its two blocks the second may be missing: it died in what it decoded ahead.
    assert half_built.complete() in {150 - 64, 150 - 128}


@pytest.mark.parametrize("which", ["journal", "pixels"])
@pytest.mark.parametrize("harm", ["short", "long", "empty", "half", "first", "middle", "last"])
def test_what_a_killed_process_left_is_not_trusted(half_built: Half, which: str, harm: str) -> None:
    part = half_built.parts()[which == "pixels"]
    part.write_bytes(harmed(part.read_bytes(), harm))
    half_built.complete()


def test_where_the_one_that_makes_it_is_killed_another_goes_on(images: list[Path], tmp_path: Path) -> None:
    marks, folder = tmp_path / "marks", tmp_path / "cache"
    work = (images, marks, folder, 140)
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=die_in_a_process, args=work) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sorted(process.exitcode for process in processes) == [-signal.SIGKILL, 0, 0]
    assert marks.stat().st_size < 140 + 150
    assert Half(folder, images, CountingCrop(str(marks))).complete() == 0


def test_an_interrupted_build_is_completed(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: str) -> bytes:
        raise KeyboardInterrupt

    half = Half(tmp_path / "cache", images, CountingCrop(str(tmp_path / "marks")))
    with monkeypatch.context() as patch:
        patch.setattr("galaxy.data.cache.last_line", interrupted)
        with pytest.raises(KeyboardInterrupt):
            open_cache(images, half.crop, half.folder, "error")
    assert half.complete() == 0


def test_forgotten_halves_of_other_caches_are_removed(half_built: Half) -> None:
    open_cache(half_built.images, CROP, half_built.folder, "error")
    assert len(half_built.parts()) == 2
    download = half_built.folder / "images.zip.part"  # where a user keeps both in one folder
    download.touch()
    yesterday = time.time() - 90_000
    for path in half_built.parts():
        os.utime(path, (yesterday, yesterday))
    open_cache(half_built.images[1:], CROP, half_built.folder, "error")
    assert half_built.parts() == [download]


def test_a_half_that_was_left_for_days_is_gone_on_with(half_built: Half) -> None:
    days_ago = time.time() - 3 * 86_400
    for path in half_built.parts():
        os.utime(path, (days_ago, days_ago))
    assert half_built.complete() in {150 - 64, 150 - 128}


def test_a_disk_that_fills_up_is_said_and_nothing_is_left(images: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    old = open_cache(images, CenterCrop(size=4, fraction=1.0), folder, "error")
    files = made(folder)
    with file_size_limit(64 * 16 * 16 * 3 + 1000), pytest.raises(UserError) as caught:  # its first block fits
        open_cache(images, CROP, folder, "error")
    message = str(caught.value)
    assert str(folder) in message
    assert "File too large" in message
    assert "needs 115.2 kB" in message
    assert "Raise the limit" in message
    assert made(folder) == files
    assert open_cache(images, CenterCrop(size=4, fraction=1.0), folder, "error").digest == old.digest
    np.testing.assert_array_equal(pixels_of(open_cache(images, CROP, folder, "error")), expected(images))


def test_the_digest_is_of_the_pixels_alone(images: list[Path], tmp_path: Path) -> None:
    images[2].write_bytes(b"")
    digest = open_cache(images, CROP, tmp_path / "cache", "skip").digest
    # The same images elsewhere, decoded at another time, have the same.
    copies = [path.rename(path.with_name(f"copy-{path.name}")) for path in images]
    assert open_cache(copies, CROP, tmp_path / "other", "skip").digest == digest
    del copies[2]  # which moves the images after it
    assert open_cache(copies, CROP, tmp_path / "other", "skip").digest == digest
    copies[3].write_bytes(copies[4].read_bytes())
    assert open_cache(copies, CROP, tmp_path / "other", "skip").digest != digest


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_every_truncation_is_noticed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"1{suffix}"
    pixels = write_image(path, 0)
    np.testing.assert_array_equal(decode(path), pixels)
    data = path.read_bytes()
    for length in range(0, len(data), max(1, len(data) // 50)):
        path.write_bytes(data[:length])
        with pytest.raises(BadImageError):
            decode(path)


def test_padding_after_the_end_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "1.jpg"
    pixels = write_image(path, 0)
    path.write_bytes(path.read_bytes() + b"\0" * 7 + b"written by a camera")
    np.testing.assert_array_equal(decode(path), pixels)


def test_a_folder_is_not_an_image(tmp_path: Path) -> None:
    with pytest.raises(BadImageError, match="Is a directory"):
        decode(tmp_path)
