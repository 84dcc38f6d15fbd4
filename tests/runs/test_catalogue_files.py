"""Catalogues of predictions in the formats that people take away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.io.votable import parse_single_table
from astropy.table import Table

from galaxy.runs.catalogue_files import ENDINGS, check_catalogue, fits_names, is_catalogue, write_catalogue
from galaxy.system.errors import UserError

TABLE = pd.DataFrame(
    {
        "id": ["NGC 1300", "Größe"],
        "objid": [587722981742084144, 587722981742084145],
        "RA": [49.920832, 0.1],
        "ra": pd.array([1, None], dtype="Int64"),
        "note": [None, "ö"],
        "true/Class1.1": np.array([0.25, np.nan], np.float32),
    }
)
MEANINGS = {"true/Class1.1": "Is it smooth? (true)"}
FACTS = {"CHECKPT": f"/données/{'long/' * 20}best.ckpt"}


def test_a_fits_table_has_plain_names_all_digits_and_what_columns_mean(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    write_catalogue(TABLE, path, MEANINGS, FACTS)
    read = Table.read(path)
    assert read.colnames == ["id", "objid", "RA", "ra_2", "note", "true_Class1_1"]
    assert read["objid"].tolist() == TABLE["objid"].tolist()
    assert read["RA"].tolist() == TABLE["RA"].tolist()
    assert read["id"].tolist() == ["NGC 1300", r"Gr\xf6\xdfe"]
    assert read["note"].filled("").tolist() == ["", r"\xf6"]
    assert read["ra_2"].tolist() == [1, None]
    assert read["true_Class1_1"].dtype.itemsize == 4
    assert np.isnan(np.ma.filled(read["true_Class1_1"], np.nan)[1])
    with fits.open(path, checksum=True) as file:
        header = file["PREDICTIONS"].header
        assert header["TCOMM6"] == "true/Class1.1: Is it smooth? (true)"
        assert header["CHECKPT"].startswith(r"/donn\xe9es/long/")
        assert header["CHECKPT"].endswith("best.ckpt")


def test_parquet_says_what_columns_mean_and_where_they_come_from(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_catalogue(TABLE, path, MEANINGS, FACTS)
    assert pq.read_metadata(path).metadata[b"CHECKPT"].decode() == FACTS["CHECKPT"]
    schema = pq.read_schema(path)
    about = {b"description": b"Is it smooth? (true)", b"unit": b"1"}
    assert schema.field("true/Class1.1").metadata == about
    assert schema.field("RA").metadata is None


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".vot", ".ecsv", ".FITS"])
@pytest.mark.parametrize("rows", [2, 0])
def test_every_format_keeps_columns_rows_and_ids(tmp_path: Path, ending: str, rows: int) -> None:
    path = tmp_path / f"x{ending}"
    write_catalogue(TABLE[:rows], path, MEANINGS, FACTS)
    readers = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    if ending == ".vot":  # its columns also have identifiers, which `Table.read` takes for their names
        read = parse_single_table(path).to_table(use_names_over_ids=True).to_pandas()
    else:
        read = readers[ending](path) if ending in readers else Table.read(path).to_pandas()
    assert read["objid"].tolist() == TABLE["objid"].tolist()[:rows]
    assert len(read.columns) == len(TABLE.columns)
    if ending != ".FITS":
        assert list(read.columns) == list(TABLE.columns)
        assert read["id"].tolist() == TABLE["id"].tolist()[:rows]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_names_for_fits_differ_whatever_the_capitals() -> None:
    names = ["a.b", "a/b", "A b", "", "2", "x" * 80, "é"]
    assert fits_names(names) == ["a_b", "a_b_2", "A_b_3", "_", "_2", "x" * 60, "e"]


def test_out_is_a_table_by_its_ending_and_other_tables_are_refused(tmp_path: Path) -> None:
    assert all(is_catalogue(Path(f"x{ending}")) for ending in ENDINGS)
    assert not is_catalogue(Path("results/v1.2"))
    for name in ("x.xlsx", "x.fits.gz", "x.tsv"):
        with pytest.raises(UserError, match=r"a name that ends in \.csv, \.parquet, \.fits, \.vot, \.ecsv"):
            is_catalogue(Path(name))
    (tmp_path / "x.fits").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        check_catalogue(tmp_path / "x.fits")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        check_catalogue(tmp_path / "file" / "x.csv")
