"""Files that a catalogue of predictions is handed out in: CSV, Parquet, FITS, VOTable and ECSV."""

from __future__ import annotations

import importlib.util
import io
import re
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from galaxy.surveys.table_reader import is_table
from galaxy.system.errors import UserError
from galaxy.system.files import check_writable, replacing

if TYPE_CHECKING:
    from astropy.table import Table

# The formats that astropy writes, by its names.
_ASTROPY = {".fits": "fits", ".vot": "votable", ".ecsv": "ascii.ecsv"}
ENDINGS = (".csv", ".parquet", *_ASTROPY)
# The keywords of FITS, 8 letters at most, for facts with longer names or ones that FITS has itself.
_KEYWORDS = {"checkpoints": "CHECKPT", "fingerprint": "DATAHASH", "calibration": "CALIBRAT"}
# Longer names of FITS columns, after a keyword and quotes, do not fit the 80 characters of a card.
_LONGEST_NAME = 60


def is_catalogue(path: Path) -> bool:
    """Whether a path is that of a catalogue, as its ending tells.

    Raises:
        UserError: It has the ending of a table of another format.
    """
    if path.suffix.lower() in ENDINGS:
        return True
    if is_table(path.name):
        raise UserError(
            f"out={path}: predictions are not written in this format; a name that ends in "
            f"{', '.join(ENDINGS)} is a table, and any other name a folder"
        )
    return False


def check_catalogue(path: Path) -> None:
    """Makes the folder of a catalogue, and checks that a file can be written there.

    Raises:
        UserError: It cannot, `path` is there already, or astropy is missing for its format.
    """
    if path.is_dir():
        raise UserError(f"out={path} is a folder, and its name ends as that of a table: give another name")
    if path.exists():
        raise UserError(f"out={path} is there already: remove it, or give another name")
    if path.suffix.lower() in _ASTROPY and importlib.util.find_spec("astropy") is None:
        raise UserError(
            f"out={path} is written with astropy, which is not installed.\n"
            "Install it (pip install 'galaxy-morphology[fits]'), or give a name that ends in .csv or .parquet"
        )
    check_writable(path.parent)


def write_catalogue(
    table: pd.DataFrame, path: Path, meanings: Mapping[str, str], facts: Mapping[str, str]
) -> None:
    """Writes a table, whole or not at all. CSV holds the columns alone.

    FITS allows neither signs nor accents in the names of columns. There `true/Class1.1` is `true_Class1_1`;
    see `fits_names`. The comment of the column (TCOMM) begins with the name that it had. Text in FITS is
    ASCII: any other character is written as Python escapes it, so that different names stay different.

    Args:
        table: The table. Its columns are numbers, truth values or text, and any may be missing.
        path: The file, with one of `ENDINGS`.
        meanings: What columns mean.
        facts: Where the table comes from: texts by names, which have 8 letters at most or a shorter form in
            `_KEYWORDS`.

    Raises:
        UserError: The file cannot be written.
    """
    ending = path.suffix.lower()
    with replacing(path) as temporary:
        if ending == ".csv":
            table.to_csv(temporary, index=False)
        elif ending == ".parquet":
            _write_parquet(table, temporary, meanings, facts)
        else:
            with warnings.catch_warnings():
                # Astropy warns of names that are no identifiers, which these formats allow.
                warnings.filterwarnings("ignore", module=r"astropy\.|galaxy\.")
                _write_by_astropy(table, temporary, _ASTROPY[ending], meanings, facts)


def described(schema: pa.Schema, meanings: Mapping[str, str]) -> pa.Schema:
    """Adds to the metadata of columns what they mean, and that numbers have no unit."""
    fields = []
    for field in schema:
        about = {"description": meanings[field.name]} if field.name in meanings else {}
        if about and pa.types.is_floating(field.type):
            about["unit"] = "1"
        fields.append(field.with_metadata(about) if about else field)
    return pa.schema(fields, metadata=schema.metadata)


def _write_parquet(
    table: pd.DataFrame, path: Path, meanings: Mapping[str, str], facts: Mapping[str, str]
) -> None:
    made = pa.Table.from_pandas(table, preserve_index=False)
    schema = described(made.schema, meanings)
    pq.write_table(made.cast(schema.with_metadata({**schema.metadata, **facts})), path)


def fits_names(names: Sequence[str]) -> list[str]:
    """Names of columns for FITS: letters without accents, digits and underscores, in the order of `names`.

    Any other character becomes an underscore. A name begins with a letter or an underscore, and is not that
    of another column in capital letters or small ones.

    Example:
        >>> fits_names(["true/Class1.1", "Größe", "2mass", "RA", "ra"])
        ['true_Class1_1', 'Gro_e', '_2mass', 'RA', 'ra_2']
    """
    made: list[str] = []
    taken: set[str] = set()
    for name in names:
        letters = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
        plain = re.sub(r"[^A-Za-z0-9_]", "_", letters)[:_LONGEST_NAME]
        plain = plain if re.match(r"[A-Za-z_]", plain) else f"_{plain}"
        free, number = plain, 1
        while free.lower() in taken:
            number += 1
            free = f"{plain}_{number}"
        taken.add(free.lower())
        made.append(free)
    return made


def _write_by_astropy(
    table: pd.DataFrame, path: Path, written_as: str, meanings: Mapping[str, str], facts: Mapping[str, str]
) -> None:
    if written_as == "fits":
        path.write_bytes(_as_fits(table, meanings, facts))
        return
    made = _of_pandas(table)
    for name in made.colnames:
        made[name].description = meanings.get(name)
    made.meta.update(facts)
    if written_as == "votable":  # astropy writes nothing else of `meta` there
        made.meta["description"] = "; ".join(f"{name}: {fact}" for name, fact in facts.items())
    made.write(path, format=written_as, overwrite=True)


def _as_fits(table: pd.DataFrame, meanings: Mapping[str, str], facts: Mapping[str, str]) -> bytes:
    from astropy.io import fits  # noqa: PLC0415  few evaluations need it

    made = _of_pandas(table)
    for name in made.colnames:
        if made[name].dtype.kind == "U":
            made[name] = np.array([_ascii(text) for text in made[name].tolist()], dtype="S")
    names = [str(name) for name in table.columns]
    made.rename_columns(list(made.colnames), fits_names(names))
    hdu = fits.table_to_hdu(made)
    hdu.name = "PREDICTIONS"
    for number, name in enumerate(names, start=1):
        meaning = meanings.get(name, "")
        hdu.header[f"TCOMM{number}"] = _ascii(f"{name}: {meaning}" if meaning else name)
    for keyword, fact in facts.items():
        hdu.header[_KEYWORDS.get(keyword, keyword.upper())] = _ascii(fact)
    # astropy raises errors of its own for a full disk, so it does not write to the disk itself.
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(buffer, checksum=True)
    return buffer.getvalue()


def _of_pandas(table: pd.DataFrame) -> Table:
    """A table of astropy. Missing text is empty."""
    from astropy.table import Table  # noqa: PLC0415  few evaluations need it

    texts = {name: column for name, column in table.items() if column.dtype.kind == "O"}
    made = Table.from_pandas(table.drop(columns=list(texts)))
    for place, name in enumerate(table.columns):
        if name in texts:
            values = ["" if pd.isna(value) else str(value) for value in texts[name]]
            made.add_column(np.array(values, dtype=str), name=name, index=place)
    return made


def _ascii(text: str) -> str:
    """Text as FITS allows it: printable ASCII, and escapes for all other characters."""
    escaped = text.encode("ascii", "backslashreplace").decode()
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in escaped)
