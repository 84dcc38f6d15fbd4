"""The images of the rows of a table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from galaxy.surveys.band_files import BandFiles, refuse_bands
from galaxy.surveys.catalog import ImageSource
from galaxy.surveys.files import Stretch, image_files, in_real_folder
from galaxy.surveys.locate import images_by_name, images_by_path
from galaxy.surveys.table_columns import Roles
from galaxy.surveys.table_reader import Table
from galaxy.surveys.table_rows import Rows


def images_of_rows(
    rows: Rows, table: Table, roles: Roles, root: Path, images: Path, stretch: Stretch
) -> Sequence[ImageSource]:
    """The image of each row: a picture in the table, a file, or a file for each band.

    Args:
        rows: The rows, where mistakes are reported.
        table: Their table.
        roles: Its columns.
        root: The folder of the data. Paths begin in it, in the folder of the table, or in that of the images.
        images: The folder of the images.
        stretch: How files become pictures.

    Raises:
        UserError: Each file plainly is one band of a galaxy, and `stretch` does not say what that means.
    """
    if table.parquet is not None and roles.image_column in table.picture_columns:
        return table.parquet.pictures(roles.image_column, stretch.white)
    folders = list(dict.fromkeys([root, table.path.parent, images]))
    by_band = BandFiles(stretch.band_files) if stretch.band_files else None
    paths = _paths(rows, roles, folders, images, by_band)
    if stretch.band_files is None:
        refuse_bands(_without_common_folder(paths), rows.file)
    files = [(Path(path),) if by_band is None or not path else by_band.files(path) for path in paths]
    return [stretch.source(*several) for several in files]


def _paths(
    rows: Rows, roles: Roles, folders: Sequence[Path], images: Path, by_band: BandFiles | None
) -> list[str]:
    """The path of each row's image, "" in bad rows; `folders` are where paths begin."""
    listed = image_files if by_band is None else by_band.list
    if roles.image_column is None:
        paths = images_by_name(rows, rows.frame[roles.id_column].tolist(), folders[0], images, listed)
    else:
        texts = rows.frame[roles.image_column].tolist()
        paths = images_by_path(rows, texts, folders, roles.image_column, listed)
    if by_band is not None:
        if any(path and not by_band.shared(path) for path in paths):
            # No folder is listed for paths that are right as they are.
            for folder in filter(Path.is_dir, folders):
                by_band.list(folder)
        found, paths = paths, [by_band.shared(path) for path in paths]
        rows.report(
            "row(s) whose image is none of several files, one for each of data.catalog.band_files",
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
    for row, path in enumerate(map(in_real_folder, paths)):
        usable = not rows.bad[row]
        again.append(usable and first.setdefault(path, row) != row)
    rows.report(
        "row(s) with the image of another row",
        again,
        lambda row: f"{os.path.normpath(paths[row])} is on {rows.place(first[in_real_folder(paths[row])])}",
    )
