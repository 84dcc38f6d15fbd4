"""Tables that are no plain text, of astronomy and of spreadsheets, and Parquet with pictures inside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import MaskedColumn
from astropy.table import Table as Astropy
from astropy.time import Time
from numpy.typing import NDArray

from galaxy.data.cache import open_cache
from galaxy.images import BadImageError
from galaxy.images.crops.center import CenterCrop
from galaxy.images.decode import decode
from galaxy.images.parquet import ParquetFiles
from galaxy.surveys.catalog import Catalog, ParquetImage
from galaxy.surveys.table import read_table
from galaxy.system.errors import UserError
from tests.conftest import pixels_of
from tests.helpers.spreadsheet import write_ods, write_xlsx

IDS = [587722981741363294, 587722981741363295, 7]


def read(root: Path, on_bad: str = "error", **arguments: Any) -> Catalog:
    return read_table(root, on_bad, bands=[2, 1, 0], softening=10.0, **arguments)  # type: ignore[arg-type]


def error(root: Path, **arguments: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(root, **arguments)
    return str(caught.value)


def of_astropy(path: Path, **options: Any) -> None:
    table = Astropy({"objid": IDS, "kind": ["Sa", "E", "E"]})
    table["smooth"] = MaskedColumn([0.5, 0.25, 0.0], mask=[False, False, True])
    # Astropy does not write float32 as such a table.
    table["bar"] = np.array([0, 1, 0.5], float if options.get("format") == "ascii.mrt" else np.float32)
    table.write(path, **options)


def feather(path: Path) -> None:
    frame = pd.DataFrame(
        {"objid": IDS, "kind": ["Sa", "E", "E"], "smooth": [0.5, 0.25, None], "bar": [0, 1, 0.5]}
    )
    frame.to_feather(path)


SHEET: list[list[str | float | None]] = [
    ["objid", "kind", "smooth", "bar"],
    [str(IDS[0]), "Sa", 0.5, 0.0],
    [str(IDS[1]), "E", 0.25, 1.0],
    [None, None, None, None],
    [7.0, "E", "n/a", 0.5],
]


def indexed(path: Path) -> None:
    frame = pd.DataFrame(
        {"objid": IDS, "kind": ["Sa", "E", "E"], "smooth": [0.5, 0.25, None], "bar": [0, 1, 0.5]}
    )
    frame.astype({"kind": "category"}).set_index("objid").to_parquet(path)


@pytest.mark.parametrize(
    ("file", "write"),
    [
        ("a.fits", of_astropy),
        ("a.vot", lambda path: of_astropy(path, format="votable")),
        ("a.xml", lambda path: of_astropy(path, format="votable")),
        ("a.ecsv", of_astropy),
        ("a.tbl", lambda path: of_astropy(path, format="ascii.ipac")),
        ("datafile1.txt", lambda path: of_astropy(path, format="ascii.mrt")),
        ("a.xlsx", lambda path: write_xlsx(path, SHEET, [])),
        ("a.ods", lambda path: write_ods(path, SHEET)),
        ("a.feather", feather),
        ("a.parquet", indexed),
    ],
)
def test_every_kind_of_table_is_read(tmp_path: Path, file: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / file)
    (tmp_path / "images").mkdir()
    for number in IDS:
        (tmp_path / "images" / f"{number}.jpg").touch()
    catalog = read(tmp_path, columns=["smooth", "bar"], group_column="kind")
    assert catalog.ids.tolist() == IDS
    assert catalog.targets is not None
    assert catalog.targets.tolist() == [[0.5, 0], [0.25, 1], [0, 0.5]]
    assert catalog.weights is not None
    assert catalog.weights.tolist() == [[1, 1], [1, 1], [0, 1]]
    assert catalog.groups is not None
    assert catalog.groups[1] == catalog.groups[2] != catalog.groups[0]
    labels = read(tmp_path, class_column="kind").labels
    assert labels is not None
    assert labels.columns == ("E", "Sa")


@pytest.mark.parametrize("file", ["a.fits", "a.vot", "a.ecsv", "a.feather", "a.parquet", "a.xlsx"])
def test_a_damaged_table_is_named(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_bytes(b"nothing of this kind" * 100)
    assert f"{tmp_path / file} cannot be read as a" in error(tmp_path)
    assert "no.fits does not exist" in error(tmp_path, file="no.fits")


def test_a_file_of_several_tables_is_refused(tmp_path: Path) -> None:
    from astropy.io import fits

    one = fits.table_to_hdu(Astropy({"a": [1]}))
    fits.HDUList([fits.PrimaryHDU(), one, one.copy()]).writeto(tmp_path / "a.fits")
    assert "it holds several tables" in error(tmp_path)


def test_a_spreadsheet_is_one_table_below_its_title(tmp_path: Path) -> None:
    write_xlsx(tmp_path / "a.xlsx", SHEET, SHEET)
    assert "it holds several sheets (S1, S2); save one of them" in error(tmp_path)
    (tmp_path / "7.png").touch()
    write_xlsx(tmp_path / "a.xlsx", [["Galaxies"], [], *SHEET])
    assert "Line 3 has them: data.catalog.header_line=3" in error(tmp_path, columns=["smooth"])
    message = error(tmp_path, columns=["bar"], header_line=3)
    assert f"a.xlsx, row 4, {IDS[0]}: no " in message
    assert "row 7" not in message


def test_ids_that_a_spreadsheet_has_cut_are_refused(tmp_path: Path) -> None:
    write_xlsx(tmp_path / "a.xlsx", [["objid", "smooth"], [1.23764872069376e18, 0.5]])
    assert "were saved as floats, such as 1.23764872069376e+18" in error(tmp_path, columns=["smooth"])


def test_classes_of_hugging_face_have_their_names(tmp_path: Path) -> None:
    feature = {"names": ["spiral", "elliptical"], "_type": "ClassLabel"}
    about = json.dumps({"info": {"features": {"name": {"_type": "Value"}, "label": feature}}})
    table = pa.table({"name": ["a", "b", "c"], "label": [0, 1, -1]})
    pq.write_table(table.replace_schema_metadata({"huggingface": about}), tmp_path / "a.parquet")
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.png").touch()
    catalog = read(tmp_path, "skip", class_column="label", extra_columns=["name"])
    assert catalog.labels is not None
    assert catalog.labels.columns == ("elliptical", "spiral")
    assert catalog.targets is not None
    assert catalog.targets.tolist() == [[0, 1], [1, 0]]
    assert catalog.skipped == ("a.parquet, row 3, c: label is empty",)
    extra = read(tmp_path, extra_columns=["label"]).extra_columns
    assert extra is not None
    assert extra["label"].tolist() == ["spiral", "elliptical", None]


# Pictures in Parquet.


def picture(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def encoded(seed: int) -> bytes:
    return cv2.imencode(".png", picture(seed)[..., ::-1])[1].tobytes()


def shards(root: Path, sizes: list[int], rows: int = 3, named: bool = True) -> None:
    """Writes pictures as Hugging Face does, in row groups of `rows` pictures."""
    root.mkdir(exist_ok=True)
    first = 0
    for number, size in enumerate(sizes):
        seeds = range(first, first + size)
        image = [{"bytes": encoded(seed), "path": f"{100 + seed}.png" if named else None} for seed in seeds]
        table = pa.table({"image": image, "label": [seed % 2 for seed in seeds]})
        path = root / f"train-{number:05}-of-{len(sizes):05}.parquet"
        pq.write_table(table, path, row_group_size=rows)
        first += size


def test_pictures_in_parquet_are_read_from_several_files(tmp_path: Path) -> None:
    shards(tmp_path / "data", [5, 4])
    catalog = read(tmp_path, class_column="label")
    assert catalog.ids.tolist() == list(range(100, 109))
    assert catalog.images[5] == ParquetImage(tmp_path / "data/train-00001-of-00002.parquet", "image.bytes", 0)
    assert catalog.strata is not None
    assert catalog.strata.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0]
    for seed in (8, 0, 4, 5):
        np.testing.assert_array_equal(decode(catalog.images[seed]), picture(seed))


@pytest.mark.parametrize("rows", [3, 1000])
def test_the_cache_holds_the_pictures_in_order_whatever_the_row_groups(tmp_path: Path, rows: int) -> None:
    shards(tmp_path / "data", [150, 50], rows)
    images = read(tmp_path, class_column="label").images
    cached = open_cache(images, CenterCrop(8, 1), tmp_path / "cache", "error", 4, True, tmp_path)
    expected = np.stack([picture(seed) for seed in range(200)])
    np.testing.assert_array_equal(pixels_of(cached), expected)


def test_plain_bytes_and_a_column_of_names_are_read_too(tmp_path: Path) -> None:
    table = pa.table({"name": ["a", "b"], "png": [encoded(0), encoded(1)], "p": [0.5, 1.0]})
    pq.write_table(table, tmp_path / "a.parquet")
    catalog = read(tmp_path, columns=["p"])
    assert catalog.names == ("a", "b")
    np.testing.assert_array_equal(decode(catalog.images[1]), picture(1))


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary(4)])
def test_text_that_is_stored_as_bytes_is_text(tmp_path: Path, kind: pa.DataType) -> None:
    for name in ("BM12", "GIF8", "x\u00e9"):
        (tmp_path / f"{name}.png").touch()
    names = [name.encode().ljust(4, b"\0") for name in ("BM12", "GIF8", "x\u00e9")]
    bands = pa.array([b"0.5 ", None, b"1.0 "], kind)
    pq.write_table(pa.table({"name": pa.array(names, kind), "p": bands}), tmp_path / "a.parquet")
    catalog = read(tmp_path, extra_columns=["p"])
    assert catalog.names == ("BM12", "GIF8", "x\u00e9")


def test_bytes_that_are_neither_picture_nor_text_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"name": [b"Andr\xe9"]}), tmp_path / "a.parquet")
    assert "the column name holds bytes that are neither pictures nor text in UTF-8" in error(tmp_path)


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tiff", "webp"])
def test_bytes_that_are_a_picture_are_one(tmp_path: Path, ending: str) -> None:
    content = cv2.imencode(f".{ending}", picture(0))[1].tobytes()
    table = pa.table({"name": ["a", "b", "c"], "image": [None, b"", content]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path).images[2] == ParquetImage(tmp_path / "a.parquet", "image", 2)


def test_pictures_in_a_large_row_group_are_read_once_whatever_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [str(row) for row in range(9000)]
    table = pa.table({"image": [name.encode() for name in names]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=8000)
    started = []
    batches = pq.ParquetFile.iter_batches

    def iter_batches(self: pq.ParquetFile, *args: Any, **settings: Any) -> Any:
        started.append(settings["row_groups"][0])
        return batches(self, *args, **settings)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", iter_batches)
    files = ParquetFiles()
    for row in (0, 3000, 7000, 7001, 8500, 100):
        assert files.read(ParquetImage(tmp_path / "a.parquet", "image", row)) == names[row].encode()
    assert started == [0, 1, 0]
    files.close()


def test_pictures_without_names_are_called_by_their_rows_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shards(tmp_path, [2, 2], named=False)
    assert read(tmp_path).ids.tolist() == [1, 2, 3, 4]
    assert "have no file names, so the galaxies are called by their rows" in caplog.text


def test_several_columns_of_pictures_are_refused_with_the_key(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": ["a"], "g": [encoded(0)], "r": [encoded(1)]}), tmp_path / "a.parquet")
    assert "pictures in the columns g and r: choose one with data.catalog.image_column" in error(tmp_path)
    assert read(tmp_path, image_column="r").images == (ParquetImage(tmp_path / "a.parquet", "r", 0),)


def test_a_missing_part_of_a_table_is_named(tmp_path: Path) -> None:
    shards(tmp_path, [2, 2, 2])
    (tmp_path / "train-00001-of-00003.parquet").unlink()
    assert "holds 2 of 3 parts of train; part 1 is missing" in error(tmp_path)


def test_parts_of_several_tables_are_told_apart(tmp_path: Path) -> None:
    shards(tmp_path, [2, 2])
    for path in list(tmp_path.glob("train-*")):
        (tmp_path / path.name.replace("train", "other")).write_bytes(path.read_bytes())
    assert "  train-*-of-00002.parquet" in error(tmp_path)
    assert len(read(tmp_path, file="train-*-of-00002.parquet")) == 4
    assert "No file is called" in error(tmp_path, file="valid-*.parquet")


def test_pictures_that_are_none_are_bad(tmp_path: Path) -> None:
    image = [
        {"bytes": b"no picture", "path": "1.png"},
        {"bytes": None, "path": "2.png"},
        {"bytes": b"SIMPLE  =", "path": "3.fits"},
    ]
    pq.write_table(pa.table({"image": image}), tmp_path / "a.parquet")
    images = read(tmp_path).images
    words = ("not an image", "perhaps only the path of one", "a FITS file inside a table")
    for source, said in zip(images, words, strict=True):
        with pytest.raises(BadImageError, match=said):
            decode(source)
    with pytest.raises(BadImageError, match="cannot be read"):
        decode(ParquetImage(tmp_path / "a.parquet", "image.bytes", 3))
    with pytest.raises(BadImageError, match="cannot be read"):
        decode(ParquetImage(tmp_path / "none.parquet", "image.bytes", 0))


def test_times_and_coordinates_are_no_numbers(tmp_path: Path) -> None:
    table = Astropy({"name": ["a"], "ring": [0.5]})
    table["seen"] = Time([59000.0], format="mjd")
    table.write(tmp_path / "a.ecsv")
    (tmp_path / "a.png").touch()
    assert "the column seen holds Time, not numbers or text" in error(tmp_path, group_column="seen")
    assert read(tmp_path, columns=["ring"], extra_columns="all").names == ("a",)
