"""The images of the rows of a table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from galaxy.surveys.band_files import BandFiles, refuse_bands
from galaxy.surveys.binary_table import ParquetTable
from galaxy.surveys.catalog import ImageSource
from galaxy.surveys.files import Stretch, image_files
from galaxy.surveys.locate import images_by_name, images_by_path
from galaxy.surveys.table_rows import Rows
from galaxy.system.errors import UserError

_KEY = "data.catalog"


def only_picture(parquet: ParquetTable) -> str | None:
    """The column that holds pictures, if there is one and the user names no other."""
    columns = parquet.picture_columns
    if len(columns) > 1:
        raise UserError(
            f"{parquet.paths[0]} holds pictures in the columns {' and '.join(columns)}: choose one with "
            f"{_KEY}.image_column"
        )
    return columns[0] if columns else None


def images_of_rows(
    rows: Rows,
    name_column: str,
    image_column: str | None,
    folders: Sequence[Path],
    images: Path,
    stretch: Stretch,
) -> list[ImageSource]:
    """The image of each row: a file, or one for each band; `folders` are where paths begin.

    Raises:
        UserError: Each file plainly is one band of a galaxy, and `stretch` does not say what that means.
    """
    by_band = BandFiles(stretch.band_files) if stretch.band_files else None
    paths = _paths(rows, name_column, image_column, folders, images, by_band)
    if stretch.band_files is None:
        refuse_bands(_without_common_folder(paths), rows.file, _KEY)
    files = [(Path(path),) if by_band is None or not path else by_band.files(path) for path in paths]
    return [stretch.source(*several) for several in files]


def _paths(
    rows: Rows,
    name_column: str,
    image_column: str | None,
    folders: Sequence[Path],
    images: Path,
    by_band: BandFiles | None,
) -> list[str]:
    """The path of each row's image, "" in bad rows; `folders` are where paths begin."""
    listed = image_files if by_band is None else by_band.list
    if image_column is None:
        paths = images_by_name(rows, rows.frame[name_column].tolist(), folders[0], images, _KEY, listed)
    else:
        texts = rows.frame[image_column].tolist()
        paths = images_by_path(rows, texts, list(dict.fromkeys([*folders, images])), image_column, listed)
    if by_band is not None:
        if any(path and not by_band.shared(path) for path in paths):
            # Paths that are right have been looked for in no folder.
            for folder in dict.fromkeys([*folders, images]):
                if folder.is_dir():
                    by_band.list(folder)
        found, paths = paths, [by_band.shared(path) for path in paths]
        rows.report(
            f"row(s) whose image is none of several files, one for each of {_KEY}.band_files",
            [not path for path in paths],
            lambda row: found[row],
        )
    _check_shared(rows, paths)
    return paths


def _without_common_folder(paths: Sequence[str]) -> list[str]:
    """The paths that there are, without the folder in which all of them are."""
    absolute = [os.path.abspath(path) for path in paths if path]  # noqa: PTH100  it is fast
    folder = os.path.commonpath(list(map(os.path.dirname, absolute))) if absolute else ""
    return [path[len(folder) :].lstrip("/") for path in absolute]


def _check_shared(rows: Rows, paths: Sequence[str]) -> None:
    """Refuses an image that two rows share, because the same pixels could be trained and tested on."""
    first: dict[str, int] = {}
    again = []
    for row, path in enumerate(map(os.path.normpath, paths)):
        usable = not rows.bad[row]
        again.append(usable and first.setdefault(path, row) != row)
    rows.report(
        "row(s) with the image of another row",
        again,
        lambda row: f"{os.path.normpath(paths[row])} is on {rows.place(first[os.path.normpath(paths[row])])}",
    )
