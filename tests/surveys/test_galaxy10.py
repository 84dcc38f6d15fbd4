"""Galaxy10 DECaLS: what is read, which galaxies belong together, and what is said of bad files."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from galaxy.data.cache import open_cache
from galaxy.images.crops.center import CenterCrop
from galaxy.images.decode import decode
from galaxy.surveys.galaxy10 import LABELS, read_galaxy10, sky_groups
from galaxy.system.errors import UserError
from tests.conftest import pixels_of

NAME = "Galaxy10_DECals.h5"
CROP = CenterCrop(size=8, fraction=1.0)


def write(root: Path, **columns: Any) -> Path:
    """A file with a few plain images; the given columns replace its own, None leaves one out."""
    count = 12
    shades = np.arange(10, 10 + count, dtype=np.uint8)
    own = {
        "images": np.broadcast_to(shades[:, None, None, None], (count, 256, 256, 3)),
        "ans": np.arange(count, dtype=np.uint8) % 10,
        "ra": np.linspace(0, 300, count),
        "dec": np.linspace(-80, 80, count),
        "redshift": np.zeros(count),
        "pxscale": np.full(count, 0.262),
    }
    with h5py.File(root / NAME, "w") as file:
        for name, column in (own | columns).items():
            if column is None:
                continue
            packing = {"chunks": (1, *column.shape[1:]), "compression": "gzip"} if name == "images" else {}
            file.create_dataset(name, data=column, **packing)
    return root


def changed(values: NDArray[Any], **rows: Any) -> NDArray[Any]:
    """A copy with other values in the rows r0, r1 and so on."""
    values = values.copy()
    for row, value in rows.items():
        values[int(row[1:])] = value
    return values


def message(root: Path, **arguments: Any) -> str:
    with pytest.raises(UserError) as caught:
        read_galaxy10(root, "error", **arguments)
    return str(caught.value)


def test_reads_everything(tmp_path: Path) -> None:
    catalog = read_galaxy10(write(tmp_path), "error")
    assert catalog.ids.tolist() == list(range(12))
    assert catalog.ids.dtype == np.int64
    assert catalog.labels is LABELS
    assert (LABELS.kind, LABELS.meaning, LABELS.questions.size) == ("classes", "classes", 10)
    assert LABELS.texts[3] == "In-between Round Smooth"
    assert catalog.targets is not None
    assert catalog.targets.dtype == np.float32
    assert (catalog.targets.sum(1) == 1).all()
    assert catalog.targets.argmax(1).tolist() == [*range(10), 0, 1]
    assert catalog.strata is not None
    assert catalog.strata.tolist() == [*range(10), 0, 1]
    assert catalog.groups is not None
    assert catalog.groups.tolist() == list(range(12))
    assert decode(catalog.images[7]).shape == (256, 256, 3)
    assert (decode(catalog.images[7]) == 17).all()


def test_classes_that_cannot_be_in_every_split_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read_galaxy10(write(tmp_path, ans=np.array([0] * 4 + [1] * 2 + [2] * 3 + [9] * 3)), "error")
    (message,) = caplog.messages
    assert message.splitlines()[1:3] == ["  merging: 2", "  in_between_round_smooth: 0"]


def test_images_are_cached_one_at_a_time(tmp_path: Path) -> None:
    catalog = read_galaxy10(write(tmp_path), "error")
    cached = open_cache(catalog.images, CROP, tmp_path / "cache", "error", workers=3)
    assert (pixels_of(cached) == np.arange(10, 22)[:, None, None, None]).all()


def test_a_large_file_costs_no_memory(tmp_path: Path) -> None:
    with h5py.File(tmp_path / NAME, "w") as file:
        # 3.5 GB of images, of which not one is stored.
        file.create_dataset("images", (17736, 256, 256, 3), np.uint8, chunks=(1, 256, 256, 3))
        file["ans"] = np.zeros(17736, np.uint8)
    tracemalloc.start()
    try:
        catalog = read_galaxy10(tmp_path, "error")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(catalog) == 17736
    assert catalog.groups is None
    assert peak < 50e6


def test_neighbours_share_a_group(tmp_path: Path) -> None:
    ra, dec = np.linspace(20, 300, 12), np.linspace(-80, 60, 12)
    ra[3], dec[3] = ra[9], dec[9]  # the very same place
    # A chain, 20 seconds of arc a step, across the beginning of right ascension.
    ra[[5, 7, 11]], dec[[5, 7, 11]] = (360 - 20 / 3600, 0, 20 / 3600), 0
    catalog = read_galaxy10(write(tmp_path, ra=ra, dec=dec), "error")
    assert catalog.groups is not None
    assert catalog.groups.tolist() == [0, 1, 2, 3, 4, 5, 6, 5, 8, 3, 10, 5]
    apart = read_galaxy10(tmp_path, "error", separation=10.0)
    assert apart.groups is not None
    assert apart.groups.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 3, 10, 11]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([-90.0, -60.0, 0.0, 45.0, 90.0]), st.floats(1, 300))
def test_groups_are_the_connected_components(seed: int, centre: float, separation: float) -> None:
    rng = np.random.default_rng(seed)
    count = 40
    dec = np.clip(centre + rng.uniform(-0.2, 0.2, count), -90, 90)
    ra = (rng.uniform(-0.3, 0.3, count) / max(np.cos(np.radians(centre)), 1e-3)) % 360
    ids = rng.permutation(1000)[:count]
    a, d = np.radians(ra), np.radians(dec)
    places = np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=1)
    chords = np.linalg.norm(places[:, None] - places, axis=-1)
    groups = sky_groups(ids, ra, dec, separation)
    # By hand: the smallest id spreads from neighbour to neighbour until nothing changes.
    near = chords <= 2 * np.sin(np.radians(separation / 3600) / 2)
    expected = ids
    while (spread := np.where(near, expected, 1000).min(1)).tolist() != expected.tolist():
        expected = spread
    assert groups.tolist() == expected.tolist()


def test_bad_rows_are_all_named_or_left_out(tmp_path: Path) -> None:
    ans = changed(np.arange(12) % 10, r2=10, r3=-1)
    ra = changed(np.linspace(0, 300, 12), r5=np.nan, r3=np.nan, r6=361)
    dec = changed(np.linspace(-80, 80, 12), r8=-90.5, r0=-90)
    root = write(tmp_path, ans=ans, ra=ra, dec=dec)
    said = message(root)
    for case in ("row 2: ans is 10", "row 3: ans is -1", "row 5: ra is nan", "row 6: ra is 361"):
        assert f"{NAME}, {case}" in said
    assert "and dec -90.5" in said
    assert said.count("row 3:") == 1
    assert "data.on_bad=skip" in said
    catalog = read_galaxy10(root, "skip")
    assert catalog.ids.tolist() == [0, 1, 4, 7, 9, 10, 11]
    assert catalog.strata is not None
    assert catalog.strata.tolist() == [0, 1, 4, 7, 9, 0, 1]
    assert (decode(catalog.images[3]) == 17).all()  # row 7 still
    assert len(catalog.skipped) == 5


def test_no_good_row_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, ans=np.full(12, 77))
    with pytest.raises(UserError, match="No usable galaxy"):
        read_galaxy10(tmp_path, "skip")


def test_a_damaged_image_is_left_out_alone(tmp_path: Path) -> None:
    catalog = read_galaxy10(write(tmp_path), "error")
    with h5py.File(tmp_path / NAME) as file:
        chunk = file["images"].id.get_chunk_info(4)
    with (tmp_path / NAME).open("r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(b"\xff" * chunk.size)
    with pytest.raises(UserError, match=r"1 image\(s\) cannot be used:\n.*images\[4\]: cannot be read"):
        open_cache(catalog.images, CROP, tmp_path / "cache", "error")
    cached = open_cache(catalog.images, CROP, tmp_path / "cache", "skip")
    assert cached.kept.tolist() == [0, 1, 2, 3, *range(5, 12)]


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    said = message(tmp_path)
    assert f"There is no file {tmp_path / NAME}" in said
    assert "zenodo.org/records/10845026" in said
    write(tmp_path)
    said = message(tmp_path / NAME)
    assert "is a file, not a folder" in said
    assert "data.catalog.file" in said


@pytest.mark.parametrize("length", [0, 100, 4000, -1])
def test_a_part_of_the_file_is_refused(tmp_path: Path, length: int) -> None:
    path = write(tmp_path) / NAME
    path.write_bytes(path.read_bytes()[:length])
    said = message(tmp_path)
    assert f"{path} cannot be read as an HDF5 file" in said
    assert "zenodo" in said


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            {"ans": None, "answ": np.zeros(12, int)},
            ["  ans; did you mean answ?", "It has: answ, dec, images"],
        ),
        ({"images": None, "ans": None}, ["  images", "  ans"]),
        ({"ra": None}, ["  ra", "redshift"]),
        ({"images": np.zeros((12, 69, 69, 3), np.uint8)}, ["images is (12, 69, 69, 3) uint8, not"]),
        (
            {"images": np.zeros((12, 256, 256, 3), np.float32)},
            ["256, 3) float32, not (N, 256, 256, 3) uint8"],
        ),
        ({"ans": np.zeros(11, int)}, ["ans is (11,) int64, not (12,) integers"]),
        ({"ans": np.eye(12)}, ["ans is (12, 12) float64"]),
        ({"ans": np.zeros(12)}, ["ans is (12,) float64"]),
        (
            {"dec": np.zeros(3), "ans": np.zeros(1, int)},
            ["dec is (3,) float64, not (12,) floats", "ans is (1,)"],
        ),
        ({"images": np.uint8(0), "ans": np.uint8(0)}, ["images is () uint8"]),
    ],
)
def test_another_layout_is_refused(tmp_path: Path, columns: dict[str, Any], said: list[str]) -> None:
    if columns.get("images") is not None and columns["images"].ndim == 0:
        with h5py.File(tmp_path / NAME, "w") as file:
            file.update(columns)
    else:
        write(tmp_path, **columns)
    text = message(tmp_path)
    for part in said:
        assert part in text


def test_a_group_in_the_place_of_a_dataset_is_refused(tmp_path: Path) -> None:
    write(tmp_path, images=None)
    with h5py.File(tmp_path / NAME, "a") as file:
        file.create_group("images")
    assert "images is not a dataset" in message(tmp_path)


@pytest.mark.parametrize("separation", [0.0, -1.0, 3601.0, float("nan")])
def test_separation_has_a_range(tmp_path: Path, separation: float) -> None:
    with pytest.raises(ValueError, match=r"^separation is "):
        read_galaxy10(write(tmp_path), "error", separation=separation)
