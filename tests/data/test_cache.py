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
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import torch
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from galaxy.data.cache import CachedImages, open_cache
from galaxy.data.cache_folders import list_caches
from galaxy.data.cropping import BLOCK, crop_images
from galaxy.data.pixels import OnDisk
from galaxy.data.shards import read_index
from galaxy.images import BadImageError
from galaxy.images.crops.center import CenterCrop
from galaxy.images.crops.roi import RoiCrop
from galaxy.images.decode import decode
from galaxy.surveys.catalog import FitsImage, Hdf5Image
from galaxy.system.errors import UserError
from tests.conftest import pixels_of
from tests.helpers.cache_processes import CountingCrop, die_in_a_process, open_in_a_process
from tests.helpers.full_disk import file_size_limit

CROP = CenterCrop(size=16, fraction=1.0)


def write_image(path: Path, seed: int, side: int = 64) -> NDArray[np.uint8]:
    """A galaxy-like blob as a JPEG that was written long ago; returns its pixels, RGB."""
    y, x = np.mgrid[:side, :side] - side / 2
    rng = np.random.default_rng(seed)
    blob = np.exp(-((x / rng.uniform(5, 15)) ** 2 + (y / rng.uniform(5, 15)) ** 2))
    rgb = (blob[..., None] * rng.uniform(60, 250, 3)).astype(np.uint8)
    _, data = cv2.imencode(path.suffix, rgb[..., ::-1])
    path.write_bytes(data.tobytes())
    os.utime(path, ns=(10**18, 10**18))
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


def shards(folder: Path) -> list[Path]:
    """The shards of all caches in a folder."""
    return sorted(folder.glob("*/[!.]*.shard"))


def unfinished(folder: Path) -> list[Path]:
    """The files that were not finished."""
    return [*folder.glob("*/.*"), *folder.glob(".*")]


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


def test_is_opened_and_not_made_again(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_cache(images, CROP, tmp_path / "cache", "error")
    (stored,) = shards(tmp_path / "cache")
    before = stored.stat().st_mtime_ns, stored.stat().st_ino
    monkeypatch.setattr("galaxy.data.cache.crop_images", None)
    again = open_cache(images, CenterCrop(size=16, fraction=1.0), tmp_path / "cache", "error")
    assert (stored.stat().st_mtime_ns, stored.stat().st_ino) == before
    np.testing.assert_array_equal(pixels_of(again), expected(images))
    reverse = open_cache(images[::-1], CROP, tmp_path / "cache", "error")
    np.testing.assert_array_equal(pixels_of(reverse), expected(images[::-1]))


def counted(tmp_path: Path) -> tuple[CountingCrop, Callable[[], int]]:
    """A crop, and a function that returns how many images it cropped since it was last asked."""
    marks = tmp_path / "marks"
    marks.touch()
    told = 0

    def count() -> int:
        nonlocal told
        before, told = told, marks.stat().st_size
        return told - before

    return CountingCrop(str(marks)), count


def test_a_run_decodes_only_what_no_run_before_it_has(images: list[Path], tmp_path: Path) -> None:
    crop, cropped = counted(tmp_path)
    folder = tmp_path / "cache"
    for some, new in ((images[10:60], 50), (images[:30], 10), (images, 90), (images[::7], 0)):
        open_cache(some, crop, folder, "error")
        assert cropped() == new
    assert len(shards(folder)) == 3
    whole = open_cache(images, crop, folder, "error")
    other = open_cache(images, crop, tmp_path / "other", "error")
    np.testing.assert_array_equal(pixels_of(whole), pixels_of(other))
    assert whole.digest == other.digest


def test_another_crop_has_another_cache(images: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    for crop in (CROP, CenterCrop(size=16, fraction=0.5)):
        open_cache(images, crop, folder, "error")
    names = [path.parent.name for path in shards(folder)]
    assert len(set(names)) == 2
    assert all(name.startswith("images-center16-") for name in names)


def test_a_changed_image_is_decoded_again(images: list[Path], tmp_path: Path) -> None:
    crop, cropped = counted(tmp_path)
    open_cache(images, crop, tmp_path / "cache", "error")
    cropped()
    write_image(images[3], 999)
    os.utime(images[3], ns=(1, 1))
    cached = open_cache(images, crop, tmp_path / "cache", "error")
    assert cropped() == 1
    other = open_cache(images, crop, tmp_path / "other", "error")
    np.testing.assert_array_equal(pixels_of(cached), pixels_of(other))


def test_files_that_were_touched_moved_or_copied_are_not_decoded_again(
    images: list[Path], tmp_path: Path
) -> None:
    crop, cropped = counted(tmp_path)
    folder, root = tmp_path / "cache", images[0].parent
    digest = open_cache(images, crop, folder, "error", root=root).digest
    cropped()
    for path in images[:9]:
        os.utime(path)
    assert open_cache(images, crop, folder, "error", root=root).digest == digest
    copy = shutil.copytree(root, tmp_path / "elsewhere" / "images")
    copies = [copy / path.name for path in images]
    assert open_cache(copies, crop, folder, "error", root=copy).digest == digest
    assert cropped() == 0
    assert len(shards(folder)) == 1
    (info,) = list_caches(folder)
    assert info.roots == (str(root), str(copy))


def write_band(folder: Path, band: int) -> list[FitsImage]:
    """Images whose names, sizes and modification times do not depend on the band."""
    folder.mkdir(parents=True)
    images = [FitsImage(folder / f"{number}.fits", (0,), 10.0) for number in range(5)]
    for number, image in enumerate(images):
        noise = np.random.default_rng([band, number]).normal(size=(32, 32))
        fits.PrimaryHDU(noise).writeto(image.path)
        os.utime(image.path, ns=(10**18, 10**18))
    return images


@pytest.mark.parametrize("names", [("g", "r"), ("g/images", "r/images")])
def test_two_folders_with_the_same_names_sizes_and_times_never_share_pixels(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    one, other = (write_band(tmp_path / name, band) for band, name in enumerate(names))
    for images in (one, other, one):
        cached = open_cache(images, CROP, tmp_path / "cache", "error")
        np.testing.assert_array_equal(pixels_of(cached), [CROP(decode(image)) for image in images])


def test_other_files_at_the_same_path_never_get_the_old_pixels(tmp_path: Path) -> None:
    here, folder = tmp_path / "here", tmp_path / "cache"
    images = write_band(here, 0)
    before = open_cache(images, CROP, folder, "error")
    here.rename(tmp_path / "old")
    write_band(tmp_path / "new", 1)
    (tmp_path / "new").rename(here)
    after = open_cache(images, CROP, folder, "error")
    assert before.digest != after.digest
    np.testing.assert_array_equal(pixels_of(after), [CROP(decode(image)) for image in images])


def test_equal_images_share_their_pixels(images: list[Path], tmp_path: Path) -> None:
    images[4].write_bytes(images[3].read_bytes())
    cached = open_cache(images, CROP, tmp_path / "cache", "error", workers=1)
    assert cached.row[3] == cached.row[4]
    np.testing.assert_array_equal(pixels_of(cached), expected(images))


def harmed(data: bytes, harm: str) -> bytes:
    """Some bytes after an accident."""
    where = {"first": 0, "middle": len(data) // 2, "last": len(data) - 1}
    if harm in where:
        place = where[harm]
        return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    return {"short": data[:-1], "long": data + b"\0", "empty": b"", "half": data[: len(data) // 2]}[harm]


@pytest.mark.parametrize("name", ["*.shard", "known_files"])
@pytest.mark.parametrize("harm", ["short", "long", "empty", "half", "first", "middle", "last", "missing"])
def test_a_damaged_cache_is_mended_and_says_so(
    images: list[Path], tmp_path: Path, name: str, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "cache"
    whole = open_cache(images, CROP, folder, "error")
    at_work = OnDisk(whole)  # of a process that goes on
    (damaged,) = folder.glob(f"*/{name}")
    content = damaged.read_bytes()
    damaged.unlink()
    if harm != "missing":
        damaged.write_bytes(harmed(content, harm))
    with caplog.at_level(logging.WARNING):
        cached = open_cache(images, CROP, folder, "error")
    if harm != "missing":
        (record,) = caplog.records
        assert "is made again" in record.message
        assert str(damaged) in record.message
    np.testing.assert_array_equal(pixels_of(cached), expected(images))
    assert cached.digest == whole.digest
    assert len(shards(folder)) == 1
    assert np.array_equal(at_work.gather(torch.arange(150)), expected(images))


def test_only_a_damaged_shard_is_decoded_again(images: list[Path], tmp_path: Path) -> None:
    crop, cropped = counted(tmp_path)
    folder = tmp_path / "cache"
    open_cache(images[:100], crop, folder, "error")
    first = shards(folder)
    open_cache(images[100:130], crop, folder, "error")
    (damaged,) = set(shards(folder)).difference(first)
    open_cache(images, crop, folder, "error")
    cropped()
    damaged.write_bytes(harmed(damaged.read_bytes(), "first"))
    open_cache(images[:100], crop, folder, "error")  # needs none of its images
    assert cropped() == 0
    open_cache(images, crop, folder, "error")
    assert cropped() == 30
    assert not damaged.exists()


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_no_changed_byte_goes_unnoticed(data: st.DataObject) -> None:
    """The byte may be anywhere in either file; the cache has 70 images, more than a block, and a bad one."""
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / f"{i}.png" for i in range(70)]
        for path in paths[1:]:
            cv2.imwrite(str(path), np.full((4, 4, 3), int(path.stem), np.uint8))
        crop, folder = CenterCrop(size=4, fraction=1.0), Path(name) / "cache"
        whole = open_cache(paths, crop, folder, "skip", workers=1)
        pixels = pixels_of(whole)
        (shard,) = whole.shards
        file = data.draw(st.sampled_from([shard, shard.with_name("known_files")]))
        content = bytearray(file.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
        file.write_bytes(content)
        again = open_cache(paths, crop, folder, "skip", workers=1)
        assert not file.exists() or file.read_bytes() != content
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
    images: list[Path], tmp_path: Path
) -> None:
    crop, cropped = counted(tmp_path)
    reasons = spoil(images)
    with pytest.raises(UserError) as caught:
        open_cache(images, crop, tmp_path / "cache", "error")
    cropped()
    message = str(caught.value)
    assert "5 image(s)" in message
    assert "data.on_bad=skip" in message
    for row, reason in reasons.items():
        (line,) = (line for line in message.splitlines() if str(images[row]) in line)
        assert reason in line
    assert len(open_cache(images, crop, tmp_path / "cache", "skip").kept) == 145
    assert cropped() == 0


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
    open_cache(images, CROP, tmp_path / "cache", "skip")
    images[70].chmod(0o644)
    assert len(open_cache(images, CROP, tmp_path / "cache", "skip").kept) == 150


def test_an_image_that_is_there_now_is_read(images: list[Path], tmp_path: Path) -> None:
    away = images[70].rename(tmp_path / "away.jpg")
    assert len(open_cache(images, CROP, tmp_path / "cache", "skip").kept) == 149
    away.rename(images[70])
    assert len(open_cache(images, CROP, tmp_path / "cache", "skip").kept) == 150


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
    assert one.shards != other.shards
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
    assert len(open_cache(images, CROP, folder, "skip").kept) == 149


def test_the_usual_frame_is_that_of_the_images_of_the_run(images: list[Path], tmp_path: Path) -> None:
    """Whatever smaller or larger runs found before."""
    for path in images[:20]:
        write_image(path, 0, side=96)
    folder = tmp_path / "cache"
    for _ in range(2):
        assert open_cache(images[:30], CROP, folder, "skip").kept.tolist() == list(range(20))
        assert open_cache(images, CROP, folder, "skip").kept.tolist() == list(range(20, 150))


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
    with pytest.raises(UserError, match=r"type float32.*data\.catalog\.white"):
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
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        digests = pool.starmap(open_in_a_process, [work] * 3, chunksize=1)
    assert len(digests) == 3
    assert len(set(digests)) == 1
    assert marks.stat().st_size == len(images)
    assert len(shards(tmp_path / "cache")) == 1
    assert not unfinished(tmp_path / "cache")


def test_a_killed_process_loses_its_own_shard_only(images: list[Path], tmp_path: Path) -> None:
    crop, cropped = counted(tmp_path)
    folder = tmp_path / "cache"
    work = (images, tmp_path / "marks", folder, 140, 64)
    process = multiprocessing.get_context("spawn").Process(target=die_in_a_process, args=work)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    there = 64 * len(shards(folder))  # the second may be missing: the process decodes ahead
    assert there in {64, 128}
    cropped()
    cached = open_cache(images, crop, folder, "error")
    assert cropped() == 150 - there
    assert not unfinished(folder)
    other = open_cache(images, crop, tmp_path / "other", "error")
    np.testing.assert_array_equal(pixels_of(cached), pixels_of(other))
    assert cached.digest == other.digest


def test_where_the_one_that_makes_it_is_killed_another_makes_it(images: list[Path], tmp_path: Path) -> None:
    marks, folder = tmp_path / "marks", tmp_path / "cache"
    work = (images, marks, folder, 140)
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=die_in_a_process, args=work) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sorted(process.exitcode for process in processes) == [-signal.SIGKILL, 0]
    assert marks.stat().st_size == 140 + 150
    assert len(shards(folder)) == 1
    assert not unfinished(folder)


def test_an_interrupted_build_leaves_nothing_unfinished(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("galaxy.data.cache.write_index", interrupted)
        with pytest.raises(KeyboardInterrupt):
            open_cache(images, CROP, tmp_path / "cache", "error")
    assert not shards(tmp_path / "cache")
    assert not unfinished(tmp_path / "cache")
    cached = open_cache(images, CROP, tmp_path / "cache", "error")
    np.testing.assert_array_equal(pixels_of(cached), expected(images))


def test_a_file_system_without_locks_will_do(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    cached = open_cache(images, CROP, tmp_path / "cache", "error")
    np.testing.assert_array_equal(pixels_of(cached), expected(images))


def test_a_disk_that_fills_up_is_said_and_nothing_is_left(images: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    old = open_cache(images, CenterCrop(size=4, fraction=1.0), folder, "error")
    before = shards(folder)
    with file_size_limit(64 * 16 * 16 * 3 + 1000), pytest.raises(UserError) as caught:  # a part of it fits
        open_cache(images, CROP, folder, "error")
    message = str(caught.value)
    assert str(folder) in message
    assert "File too large" in message
    assert "needs 115.2 kB" in message
    assert "Raise the limit" in message
    assert shards(folder) == before
    assert not unfinished(folder)
    assert open_cache(images, CenterCrop(size=4, fraction=1.0), folder, "error").digest == old.digest
    np.testing.assert_array_equal(pixels_of(open_cache(images, CROP, folder, "error")), expected(images))


def test_a_cache_that_cannot_be_written_is_named_and_one_that_is_whole_is_used(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = open_cache(images, CROP, tmp_path / "cache", "error")

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(Path, "touch", refuse)
    assert open_cache(images, CROP, tmp_path / "cache", "error").digest == whole.digest
    with pytest.raises(UserError, match=r"other.* cannot be written: Read-only file system"):
        open_cache(images, CROP, tmp_path / "other", "error")


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


def test_a_file_that_is_replaced_while_it_is_read_keeps_no_wrong_pixels(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_bytes, whole = Path.read_bytes, expected(images)

    def replaced(path: Path) -> bytes:
        content = read_bytes(path)
        if path == images[3]:
            write_image(path, 999)
        return content

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", replaced)
        np.testing.assert_array_equal(pixels_of(open_cache(images, CROP, tmp_path / "cache", "error")), whole)
    again = open_cache(images, CROP, tmp_path / "cache", "error")
    np.testing.assert_array_equal(pixels_of(again), expected(images))
    assert (expected(images)[3] != whole[3]).any()


def test_an_image_that_this_user_may_not_read_is_not_bad_for_others(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_bytes = Path.read_bytes

    def forbid(path: Path) -> bytes:
        if path == images[70]:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return read_bytes(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", forbid)
        for _ in range(2):
            cached = open_cache(images, CROP, tmp_path / "cache", "skip")
            assert cached.skipped == (f"{images[70]}: cannot be read (Permission denied)",)
    assert len(open_cache(images, CROP, tmp_path / "cache", "skip").kept) == 150


def test_shards_that_are_damaged_once_written_end_the_run(images: list[Path], tmp_path: Path) -> None:
    class Floats(CenterCrop):
        def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
            return super().__call__(image) / 255

    with pytest.raises(UserError, match="right after it was written"):
        open_cache(images, Floats(16), tmp_path / "cache", "error")


def test_a_name_of_a_shard_is_never_given_again_and_unfinished_ones_are_removed(
    images: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    (shard,) = open_cache(images, CROP, folder, "error").shards
    unfinished_one = shard.with_name(".ab.shard.12345678.shard")
    unfinished_one.write_bytes(shard.read_bytes())
    shard.unlink()
    (other,) = open_cache(images, CROP, folder, "error").shards
    assert other.name != shard.name
    assert not unfinished(folder)


def test_only_the_shards_that_are_used_are_kept_open(images: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    first = open_cache(images[:50], CROP, folder, "error")
    whole = open_cache(images, CROP, folder, "error")
    assert len(whole.shards) == 2
    again = open_cache(images[:50], CROP, folder, "error")
    assert again.shards == first.shards
    np.testing.assert_array_equal(pixels_of(again), expected(images[:50]))
    np.testing.assert_array_equal(pixels_of(whole), expected(images))


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EMFILE, errno.EACCES])
def test_an_error_that_may_pass_removes_no_shard(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    folder = tmp_path / "cache"
    open_cache(images, CROP, folder, "error")
    before, path_open = shards(folder), Path.open

    def fail(path: Path, *arguments: Any, **settings: Any) -> Any:
        if path in before:
            raise OSError(number, os.strerror(number))
        return path_open(path, *arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fail)
        with pytest.raises(UserError, match=rf"shard cannot be read: {os.strerror(number)}"):
            open_cache(images, CROP, folder, "error")
    assert shards(folder) == before


def test_a_cache_that_can_only_be_read_serves_files_in_another_state(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images[7].write_bytes(b"no image")
    folder = tmp_path / "cache"
    whole = open_cache(images, CROP, folder, "skip")
    for path in images:
        os.utime(path, ns=(10**17, 10**17))

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(Path, "touch", refuse)
    again = open_cache(images, CROP, folder, "skip")
    assert again.digest == whole.digest
    assert again.skipped == whole.skipped


def test_the_state_of_a_new_file_is_not_noted(images: list[Path], tmp_path: Path) -> None:
    """The clock of its disk may be too coarse to tell it from one that is written next."""
    crop, cropped = counted(tmp_path)
    folder = tmp_path / "cache"
    os.utime(images[3])
    open_cache(images, crop, folder, "error")
    assert cropped() == 150
    (notes,) = (read_index(path)[0] for path in folder.glob("*/known_files"))
    assert notes[str(images[3])][0] == "new"
    state = images[3].stat()
    write_image(images[3], 999)
    os.utime(images[3], ns=(state.st_atime_ns, state.st_mtime_ns))
    cached = open_cache(images, crop, folder, "error")
    assert cropped() == 1
    other = open_cache(images, crop, tmp_path / "other", "error")
    assert cached.digest == other.digest
    (notes,) = (read_index(path)[0] for path in folder.glob("*/known_files"))
    assert notes[str(images[4])][0] != "new"


def test_an_interrupted_build_waits_for_the_blocks_at_work_alone(
    images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    go, cropped, first = threading.Event(), [], decode(images[0])
    shutdown = ThreadPoolExecutor.shutdown

    class Interrupted(CenterCrop):
        def region(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
            cropped.append(1)
            if np.array_equal(image, first):
                raise KeyboardInterrupt
            go.wait()
            return super().region(image)

    def told(pool: ThreadPoolExecutor, wait: bool = True, *, cancel_futures: bool = False) -> None:
        shutdown(pool, wait=False, cancel_futures=cancel_futures)
        go.set()
        shutdown(pool, wait=wait)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", told)
    with pytest.raises(KeyboardInterrupt):
        list(crop_images(images[:1] + images[1:2] * 8 * BLOCK, Interrupted(16), (), threads=2))
    assert len(cropped) <= 1 + 2 * BLOCK  # of the four blocks that were handed out


def test_a_folder_that_is_forbidden_is_named(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "exists", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match=r"cannot be written: Permission denied"):
        open_cache(images, CROP, tmp_path / "cache", "error")
