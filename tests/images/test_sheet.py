"""Contact sheets of generated images."""

from __future__ import annotations

from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from galaxy.images.crops.center import CenterCrop
from galaxy.images.sheet import contact_sheet
from galaxy.surveys.catalog import Hdf5Image
from galaxy.system.errors import UserError


def colour(path: Path, rgb: tuple[int, int, int]) -> Path:
    cv2.imwrite(str(path), np.full((64, 64, 3), rgb[::-1], np.uint8))
    return path


def test_sheet_shows_each_image_and_each_crop(tmp_path: Path) -> None:
    red, blue = (220, 10, 10), (10, 10, 220)
    images = {"1": colour(tmp_path / "1.png", red), "2": colour(tmp_path / "2.png", blue)}
    out = tmp_path / "new" / "sheet.png"
    contact_sheet(images, {"rgb": CenterCrop(8), "grey": CenterCrop(8, channels=1)}, out)
    sheet = cv2.cvtColor(cv2.imread(str(out)), cv2.COLOR_BGR2RGB)
    height, width = sheet.shape[:2]
    third = width // 3
    for top, shade, grey in ((0, red, 73), (height // 2, blue, 34)):
        columns = [sheet[top : top + height // 2, i * third : (i + 1) * third] for i in range(3)]
        for column, expected in zip(columns, (shade, shade, (grey,) * 3), strict=True):
            alike = (np.abs(column.astype(int) - expected) <= 2).all(-1).mean()
            assert alike > 0.5  # the picture fills most of its cell
    assert [path.name for path in out.parent.iterdir()] == ["sheet.png"]


def test_sheet_shows_rows_of_hdf5_files(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "1.h5", "w") as file:
        file["images"] = np.full((2, 64, 64, 3), 255, np.uint8)
    images = {str(row): Hdf5Image(tmp_path / "1.h5", "images", row) for row in range(2)}
    contact_sheet(images, {}, tmp_path / "sheet.png")
    assert cv2.imread(str(tmp_path / "sheet.png")).size
    with pytest.raises(UserError, match=r"1\.h5, images\[2\]: cannot be read"):
        contact_sheet({"2": Hdf5Image(tmp_path / "1.h5", "images", 2)}, {}, tmp_path / "sheet.png")


def test_a_name_with_dollar_signs_is_no_formula(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((8, 8, 3), np.uint8))
    assert not contact_sheet({r"$\x$": tmp_path / "1.png"}, {}, tmp_path / "sheet.png")


def test_sheet_refuses_what_it_cannot_show(tmp_path: Path) -> None:
    image = colour(tmp_path / "1.png", (1, 2, 3))
    with pytest.raises(UserError, match="no images"):
        contact_sheet({}, {}, tmp_path / "sheet.png")
    with pytest.raises(UserError, match=r"may end in .*\.png"):
        contact_sheet({"1": image}, {}, tmp_path / "sheet.txt")
    image.write_bytes(b"")
    with pytest.raises(UserError, match=r"1\.png: the file is empty"):
        contact_sheet({"1": image}, {}, tmp_path / "sheet.png")
    with pytest.raises(UserError, match=r"no images to show.\n.*1\.png: the file is empty"):
        contact_sheet({"1": image}, {}, tmp_path / "sheet.png", on_bad="skip")
    assert not (tmp_path / "sheet.png").exists()
