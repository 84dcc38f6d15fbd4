"""What is said about images before a training: copies of images, and odd crops."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from galaxy.data.cache import open_cache
from galaxy.data.cautions import copies, crop_cautions
from galaxy.images.crops import Crop
from galaxy.images.crops.center import CenterCrop
from galaxy.images.crops.contour import ContourCrop
from galaxy.images.crops.roi import RoiCrop

TRAIN, VAL, TEST = np.arange(3, dtype=np.int8)


def write(folder: Path, count: int = 12, side: int = 60, sky: int = 0, radius: int = 6) -> list[Path]:
    """Images of a bright disc on a sky of one level."""
    folder.mkdir(exist_ok=True)
    paths = []
    for number in range(count):
        image = np.full((side, side, 3), sky, np.uint8)
        cv2.circle(image, (side // 2, side // 2), radius, (200, 180, 250 - number), -1)
        paths.append(folder / f"{number}.png")
        cv2.imwrite(str(paths[-1]), image)
    return paths


def cautions(paths: list[Path], crop: Crop, cache: Path) -> list[str]:
    found = crop_cautions(open_cache(paths, crop, cache, "error", 1, any_frame=True), crop)
    assert crop_cautions(open_cache(paths, crop, cache, "error", 1, any_frame=True), crop) == found
    return found


@pytest.mark.parametrize("crop", [RoiCrop(8), ContourCrop(8)])
def test_a_bright_sky_makes_a_search_keep_the_whole_frame(tmp_path: Path, crop: Crop) -> None:
    dark, bright = write(tmp_path / "dark"), write(tmp_path / "bright", sky=60)
    assert cautions(dark, crop, tmp_path / "cache") == []
    (said,) = cautions([*dark, *bright], crop, tmp_path / "cache")
    assert "keeps the whole frame of 12 of 24 images" in said


def test_a_center_crop_that_is_meant_to_keep_all_says_nothing(tmp_path: Path) -> None:
    assert cautions(write(tmp_path / "a"), CenterCrop(16, fraction=1.0), tmp_path / "cache") == []


@pytest.mark.parametrize(("fraction", "enlarged"), [(1.0, 12), (0.5, 24)])
def test_frames_with_fewer_pixels_than_the_crop_are_counted(
    tmp_path: Path, fraction: float, enlarged: int
) -> None:
    paths = [*write(tmp_path / "small", side=30), *write(tmp_path / "large", side=50)]
    (said,) = cautions(paths, CenterCrop(40, fraction), tmp_path / "cache")
    assert f"enlarges {enlarged} of 24 images" in said
    assert "crop.size=40" in said


def test_a_few_odd_images_are_no_caution(tmp_path: Path) -> None:
    paths = [*write(tmp_path / "large", 30), *write(tmp_path / "small", 2, side=20)]
    assert cautions(paths, CenterCrop(30, 1.0), tmp_path / "cache") == []


def test_a_crop_that_works_in_a_way_of_its_own_is_called_as_a_whole(tmp_path: Path) -> None:
    class Negative(CenterCrop):
        def __call__(self, image: np.ndarray) -> np.ndarray:
            return 255 - super().__call__(image)

    paths = write(tmp_path / "a", 1)
    cached = open_cache(paths, Negative(8, 1.0), tmp_path / "cache", "error", 1)
    (shard,) = cached.shards
    assert np.frombuffer(shard.read_bytes(), np.uint8)[:3].tolist() == [255, 255, 255]
    assert (cached.whole, cached.enlarged) == (0, 0)


@pytest.mark.parametrize("splits", [[TRAIN, TRAIN, TRAIN], [TRAIN, TRAIN, TEST], [VAL, TEST, TRAIN]])
def test_one_picture_under_two_names_is_said_with_its_splits(tmp_path: Path, splits: list[np.int8]) -> None:
    paths = write(tmp_path / "a", 3)
    paths[2].write_bytes(paths[0].read_bytes())
    cached = open_cache(paths, CenterCrop(8), tmp_path / "cache", "error", 1)
    names = ["one", "two", "other"]
    text, found = copies(cached, names, np.array(splits), may_group=True)
    assert found == (splits[0] != splits[2])
    assert "2 galaxies have the image of another one" in text
    if found:
        words = ["train", "val", "test"]
        assert f"one ({words[splits[0]]}) and other ({words[splits[2]]})" in text
        assert "data.catalog.group_column" in text
        # Not every survey has the setting.
        assert "group_column" not in copies(cached, names, np.array(splits), may_group=False)[0]


def test_pictures_that_all_differ_are_not_mentioned(tmp_path: Path) -> None:
    cached = open_cache(write(tmp_path / "a", 3), CenterCrop(8), tmp_path / "cache", "error", 1)
    assert copies(cached, ["a", "b", "c"], np.array([TRAIN, VAL, TEST]), may_group=True) == ("", False)
