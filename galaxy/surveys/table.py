"""A table of the user: galaxies with images and perhaps with fractions, votes or classes."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from galaxy.labels.labels import Labels
from galaxy.surveys.catalog import Catalog
from galaxy.surveys.extra import other_columns, read_extra
from galaxy.surveys.files import Stretch
from galaxy.surveys.ids import id_of, identify
from galaxy.surveys.problems import raise_or_list, warn_of_rare
from galaxy.surveys.ready_splits import read_splits_of
from galaxy.surveys.several_tables import open_table
from galaxy.surveys.table_columns import Roles
from galaxy.surveys.table_files import LABEL_KEYS, find_table
from galaxy.surveys.table_images import images_of_rows
from galaxy.surveys.table_labels import LabelColumns
from galaxy.surveys.table_rows import Rows, check_names, read_rows
from galaxy.surveys.table_targets import (
    Targets,
    class_name,
    classes_of,
    read_targets,
    report_missing_words,
)
from galaxy.surveys.text_table import TextStyle
from galaxy.surveys.written_numbers import is_nothing
from galaxy.system.errors import UserError, listing

_log = logging.getLogger(__name__)


def read_table(
    root: Path,
    on_bad: Literal["error", "skip"] = "error",
    bands: Sequence[int] | None = None,
    softening: float = 10.0,
    file: str | None = None,
    id_column: str | None = None,
    image_column: str | None = None,
    images: str = "images",
    columns: list[str] | None = None,
    class_column: str | None = None,
    classes: list[str] | list[int] | None = None,
    questions: dict[str, dict[str, Any]] | None = None,
    meaning: str | None = None,
    votes: bool = False,
    percent: bool = False,
    group_column: str | None = None,
    split_column: str | None = "auto",
    hdu: int | str | list[int | str] | None = None,
    plane_axis: Literal["first", "last"] | None = None,
    white: float | None = None,
    extra_columns: list[str] | Literal["all"] | None = None,
    separator: Literal["comma", "semicolon", "tab", "bar", "space"] | None = None,
    decimal: Literal["point", "comma"] | None = None,
    encoding: str | None = None,
    header_line: int | None = None,
    band_files: Sequence[str] | None = None,
) -> Catalog:
    """Reads a table with a row for each galaxy.

    The targets are the fractions of `columns` or of the answers of `questions`, or the classes of
    `class_column`. With none of the three the galaxies have no labels and can only be predicted. Rows in
    which every column is empty are ignored. Images without a row are ignored as well, because a folder may
    hold more images than a table is about.

    An empty number is an unknown answer, whose weight is 0. Fractions may leave [0, 1] by what rounding does,
    and are clipped.

    Args:
        root: The folder of the table and the images.
        on_bad: What to do about rows that cannot be used: "error" lists them and stops, "skip" leaves them
            out and lists them in `Catalog.skipped`. A missing file or column always stops.
        bands: The planes of a FITS cube that become red, green and blue, or one for a grey picture; from 0;
            see `Stretch`.
        softening: The softening of the stretch of FITS images; see `FitsImage`.
        file: The table, inside `root` or absolute, or a pattern of files that make one table; None for the
            only one in `root`.
        id_column: The column of the numbers or names of the galaxies, each once. None for the first column
            that is not one of row numbers. If that one has another meaning, or is one that pandas has called
            `index`, None stands for the image column or, without one, for the next column. A name
            that is no number becomes an id by `id_of`. A name with folders before it or the ending of an
            image behind it is that of a file, and names its galaxy without them; files that share a name are
            told apart by their folders, and share a split.
        image_column: The column of the image files, absolute or inside `root` or the folder of images, each
            once; see `images_by_path`. Or a column of a Parquet table that holds the files themselves, as
            Hugging Face stores pictures. Two rows with the same pixels could be trained and tested on. None
            if files have the names of the galaxies, or if the table has one such column.
        images: The folder of these files, inside `root` or absolute. An image is `<name>.<ending>` in it, or
            in a folder below it; see `images_by_name`.
        columns: Columns of fractions in [0, 1], each a question of its own; of votes, the answers of one
            question.
        class_column: The column of the class of each galaxy.
        classes: All classes, in order; None for the classes in the table, sorted.
        questions: A tree whose answers are columns of fractions; see `Labels.from_plain`.
        meaning: The meaning of the fractions; see `Labels`. None for "cumulative" if questions have parents,
            else "fractions".
        votes: Whether the columns are numbers of votes. Fractions are made of them, and `counts` holds them.
        percent: Whether the columns are percent, from 0 to 100.
        group_column: A column of words or numbers. Galaxies with the same one share a split, as two
            observations of one galaxy must. A galaxy without one, or with a word such as NA for none, stands
            alone.
        split_column: A column of ready-made splits: train, val (or valid, validation) and test. "auto" takes
            a column called split, or the names of the files if the table lies in train.csv, val.csv and
            test.csv. None leaves the splits to the hashes of the ids, also where the column is empty.
        hdu: The part of each FITS file that holds the image, or several; see `Stretch`.
        plane_axis: The axis of a FITS cube that counts its planes; see `Stretch`.
        white: The value that becomes white in pictures of more than 8 bits; see `Stretch`.
        extra_columns: Further columns of the table, such as coordinates; see `Catalog.extra_columns`.
            "all" for each column that holds one value a row and has no other meaning.
        separator: What stands between two values of a text table; see `TextStyle`.
        decimal: What stands before the decimals of a number in a text table; see `TextStyle`.
        encoding: The encoding of a text table, as Python calls it; see `TextStyle`.
        header_line: The line of a text table that names the columns, from 1; see `TextStyle`.
        band_files: The names of bands, from blue to red, where each galaxy has a FITS file for each; see
            `Stretch`. The image column then names any of its files.

    Returns:
        The catalog, in the order of the table. `strata` are the classes.

    Raises:
        ValueError: The arguments are out of range or contradict each other.
        UserError: The questions are no tree, files or columns are missing, the table can be read in two
            ways, or (with "error") rows are bad. The message lists all of them, each row for the first
            mistake found in it.
    """
    stretch = Stretch(bands, softening, hdu, plane_axis, white, band_files)
    style = TextStyle(separator, decimal, encoding, header_line)
    asked = LabelColumns(columns, class_column, classes, questions, meaning, votes, percent)
    labels = asked.labels()
    numbers = {} if labels is None else dict.fromkeys(labels.columns, asked.key)
    root = Path(root).expanduser()
    table = open_table(find_table(root, file), style)
    roles = Roles(id_column or "", image_column, class_column, group_column, split_column)
    roles = roles.found_in(table, numbers)
    used = {roles.id_column, roles.split_column, *numbers, *table.picture_columns}
    extra = other_columns(table, used) if extra_columns == "all" else list(dict.fromkeys(extra_columns or ()))
    table.check(dict.fromkeys(extra, "data.catalog.extra_columns"))
    rows = read_rows(table, roles, numbers)
    check_names(rows, roles.id_column, id_column is not None)
    splits = None
    if roles.split_column is not None:
        splits = read_splits_of(rows, rows.frame[roles.split_column].tolist(), roles.split_column)
    targets, codes = None, None
    if labels is not None:
        targets = read_targets(rows, labels, asked.scale)
    sources = images_of_rows(rows, table, roles, root, root / Path(images).expanduser(), stretch)
    if class_column is not None:  # rows without an image make no classes
        labels, codes = _class_labels(rows, class_column, classes)
        targets = Targets(np.eye(labels.questions.size, dtype=np.float32)[codes])
        if extra_columns == "all":  # the predictions have columns of the names of the classes
            extra = [name for name in extra if name not in labels.columns]

    good, skipped = _good_rows(rows, on_bad, table.path)
    if labels is not None and codes is not None:
        warn_of_rare(labels, codes[good])
    ids, names = identify([rows.names[row] for row in good.tolist()])
    catalog = Catalog(
        name="table",
        ids=ids,
        images=tuple(sources[row] for row in good.tolist()),
        labels=labels,
        names=names,
        strata=None if codes is None else codes[good],
        extra_columns=read_extra(table, extra, rows.frame.index[good]) if extra else None,
        groups=_groups(rows, good, ids, group_column, splits),
        splits=None if splits is None else splits[good],
        any_frame=True,
        takes_groups=True,
        label_advice=f"a table has them once {LABEL_KEYS} is given",
        skipped=skipped,
    )
    return catalog if targets is None else _with_targets(catalog, targets, good)


def _with_targets(catalog: Catalog, targets: Targets, good: NDArray[np.int64]) -> Catalog:
    arrays = {name: array[good] for name, array in targets._asdict().items() if array is not None}
    return replace(
        catalog, targets=arrays["values"], weights=arrays.get("weights"), counts=arrays.get("counts")
    )


def _class_labels(
    rows: Rows, column: str, classes: list[str] | list[int] | None
) -> tuple[Labels, NDArray[np.int64]]:
    """The classes, and the number of each row's class (N,)."""
    texts = rows.frame[column].tolist()
    if classes is None:
        report_missing_words(rows, texts, column)
    return classes_of(rows, texts, column, classes, f"{rows.file}: data.catalog.class_column={column}")


def _good_rows(
    rows: Rows, on_bad: Literal["error", "skip"], path: Path
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The rows without a mistake, and a line for each of the others.

    Raises:
        UserError: There are mistakes and `on_bad` is "error", or no row is good.
    """
    owner = f"The galaxies in {path}"
    skipped = raise_or_list(rows.mistakes, on_bad, owner, "The images are opened once all rows can be used.")
    good = np.flatnonzero(~rows.bad)
    if not len(good):
        raise UserError(f"No usable galaxy in {path}.\n{listing(skipped)}")
    return good, skipped


def _groups(
    rows: Rows,
    good: NDArray[np.int64],
    ids: NDArray[np.int64],
    column: str | None,
    splits: NDArray[np.str_] | None,
) -> NDArray[np.int64] | None:
    """The id of each galaxy's group (N,), which is its own if it stands alone; None if there are no groups.

    Args:
        rows: The rows.
        good: The N rows that are used.
        ids: (N,) int64.
        column: The column of the groups. Without one, galaxies whose files share a name are a group.
        splits: The split that the table says of each row, "" where it says none. Galaxies that it puts into
            different splits are then no group.
    """
    if column is not None:
        names = rows.frame[column].iloc[good]
        # The id follows from the group's name, so that galaxies that are added to a group join its split.
        groups = {name: id_of(f"group {class_name(name)}") for name in names.unique()}
        alone = {name: is_nothing(name) for name in groups}
        return np.where(names.map(alone), ids, names.map(groups)).astype(np.int64)
    if rows.files is None:
        return None
    groups_of_rows = _groups_by_file(rows.files, splits)
    # A name that comes twice counts once. `check_names` has reported it.
    members = dict(zip(rows.names, groups_of_rows, strict=True))
    counts = Counter(members.values())
    if together := [name for name, group in members.items() if counts[group] > 1]:
        _log.warning(
            "%d images have the file name of another, such as %s and %s. They have names with the folder and "
            "share a split, as views of one galaxy must. data.catalog.id_column names a column of other "
            "names, data.catalog.group_column one of other groups.",
            len(together),
            *together[:2],
        )
    return identify([groups_of_rows[row] for row in good.tolist()])[0]


def _groups_by_file(files: Sequence[str], splits: NDArray[np.str_] | None) -> list[str]:
    """The name of each row's group: that of its file, and of its split if files of one name have several."""
    told = [""] * len(files) if splits is None else splits.tolist()
    splits_of: dict[str, set[str]] = defaultdict(set)
    for file, split in zip(files, told, strict=True):
        splits_of[file] |= {split} - {""}
    return [
        f"{split} {file}".strip() if len(splits_of[file]) > 1 else file
        for file, split in zip(files, told, strict=True)
    ]
