"""A table of the user: galaxies with images and perhaps with fractions, votes or classes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galaxy.labels.labels import Labels
from galaxy.surveys.band_files import BandFiles
from galaxy.surveys.binary_table import ParquetTable
from galaxy.surveys.catalog import Catalog, ImageSource
from galaxy.surveys.extra import other_columns, read_extra
from galaxy.surveys.files import Stretch, image_files, is_image, written
from galaxy.surveys.ids import id_of, identify, is_float, is_id, lost_digits, refuse_floats
from galaxy.surveys.locate import images_by_name, images_by_path
from galaxy.surveys.name_column import name_column_of
from galaxy.surveys.names import file_names, names_by_path
from galaxy.surveys.problems import RowCheck, raise_or_list, warn_of_rare
from galaxy.surveys.ready_splits import SPLIT, read_splits_of
from galaxy.surveys.several_tables import open_table
from galaxy.surveys.table_files import LABEL_KEYS, find_table
from galaxy.surveys.table_reader import Table
from galaxy.surveys.table_targets import (
    Scale,
    Targets,
    class_name,
    classes_of,
    read_targets,
    report_missing_words,
    vote_questions,
)
from galaxy.surveys.text_table import TextStyle
from galaxy.surveys.written_numbers import is_nothing
from galaxy.system.errors import UserError, listing

_KEY = "data.catalog"
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
            that is not one of row numbers, or for the image column if that one has another meaning. A column
            that pandas has called `index` is passed over if a column of names follows. A name
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
    labels = _number_labels(columns, class_column, classes, questions, meaning, votes, percent)
    root = Path(root).expanduser()
    table = open_table(find_table(root, file, _KEY), style)
    parquet = table.parquet
    image_column = image_column or (None if parquet is None else _only_picture(parquet))
    pictures = image_column if parquet is not None and image_column in parquet.picture_columns else None
    others = {"class_column": class_column, "group_column": group_column}
    if split_column == "auto":
        taken = {id_column, image_column, *others.values(), *(labels.columns if labels is not None else ())}
        split_column = next((n for n in table.header if n.lower() == SPLIT and n not in taken), None)
    others["split_column"] = split_column
    name_column = id_column or name_column_of(table, image_column, [*others.values()], labels, _KEY)
    roles = {"id_column": name_column, "image_column": image_column, **others}
    used = [name_column, pictures, split_column, *(labels.columns if labels is not None else ())]
    extra = other_columns(table, used) if extra_columns == "all" else list(dict.fromkeys(extra_columns or ()))
    table.check(dict.fromkeys(extra, f"{_KEY}.extra_columns"))
    key = f"{_KEY}.questions" if questions else f"{_KEY}.columns"
    rows = _read_rows(table, roles, labels, key, pictures)
    _check_names(rows, name_column, id_column is not None)
    splits = None
    if split_column is not None:
        splits = read_splits_of(rows, rows.frame[split_column].tolist(), split_column, _KEY)
    targets, codes = None, None
    if labels is not None:
        scale: Scale = "votes" if votes else "percent" if percent else "fractions"
        targets = read_targets(rows, rows.file, rows.frame[list(labels.columns)], labels, scale, _KEY)
    sources: Sequence[ImageSource]
    if parquet is not None and pictures is not None:
        sources = parquet.pictures(pictures, white)
    else:
        folders, folder = [root, table.path.parent], root / Path(images).expanduser()
        sources = _files(rows, name_column, image_column, folders, folder, stretch)
    if class_column is not None:  # rows without an image make no classes
        where = f"{rows.file}: {_KEY}.class_column={class_column}"
        texts = rows.frame[class_column].tolist()
        if classes is None:
            report_missing_words(rows, texts, class_column, _KEY)
        labels, codes = classes_of(rows, texts, class_column, classes, where, _KEY)
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


class _Rows(RowCheck):
    """The rows of a table, the names of their galaxies, and what is wrong with them.

    Args:
        file: The name of the table.
        frame: The columns that are needed.
        names: The names of the galaxies, as the table has them.
        are_paths: Which of the names are those of files.

    Attributes:
        names: The names of the galaxies; those of files without folder and ending.
        files: The file names of the galaxies, where some of them share one; None where none does.
    """

    def __init__(
        self, file: str, frame: pd.DataFrame, names: Sequence[str], are_paths: Sequence[bool]
    ) -> None:
        super().__init__(len(frame), self._where)
        self.file = file
        self.frame = frame
        paths = [name for name, is_path in zip(names, are_paths, strict=True) if is_path]
        shortened, of_files = iter(names_by_path(paths)), iter(file_names(paths))
        plain = [None if is_path else written(name) for name, is_path in zip(names, are_paths, strict=True)]
        self.names = tuple(next(shortened) if name is None else name for name in plain)
        files = tuple(next(of_files) if name is None else name for name in plain)
        self.files = None if files == self.names else files

    def place(self, row: int) -> str:
        """The place of a row in the file, such as "line 7"."""
        return f"{self.frame.index.name} {self.frame.index[row]}"

    def _where(self, row: int) -> str:
        return ", ".join(part for part in (self.file, self.place(row), self.names[row]) if part)


def _number_labels(
    columns: list[str] | None,
    class_column: str | None,
    classes: list[str] | list[int] | None,
    questions: dict[str, dict[str, Any]] | None,
    meaning: str | None,
    votes: bool,
    percent: bool,
) -> Labels | None:
    """The labels that the arguments describe; None if these are classes, or none at all."""
    given = {"columns": columns, "questions": questions, "class_column": class_column}
    used = [name for name, value in given.items() if value is not None]
    if len(used) > 1:
        raise ValueError(
            f"{used[0]} is given together with {' and '.join(used[1:])}; the targets are one of them"
        )
    if classes is not None and class_column is None:
        raise ValueError("classes is given without class_column, the column that holds them")
    if meaning is not None and columns is None and questions is None:
        raise ValueError("meaning is given without fractions, which columns or questions would name")
    if votes and percent:
        raise ValueError("votes is true together with percent; the numbers are one of them")
    if votes and class_column is not None:
        raise ValueError(
            f"votes is true together with class_column={class_column}; votes are in columns or questions "
            "(data.counts=true asks for votes)"
        )
    if questions is not None:
        single = [
            name
            for name, node in questions.items()
            if isinstance(node, Mapping) and len(node.get("answers") or ()) == 1
        ]
        if votes and single:
            raise ValueError(
                f"questions.{single[0]} has one answer; with votes it must name all answers of the question"
            )
        return _tree_labels("questions", questions, meaning)
    if columns is None:
        return None
    if not columns or len(set(columns)) < len(columns):
        raise ValueError(f"columns is {columns}; it must name one column or more, each once")
    if votes:
        return _tree_labels("columns", vote_questions(columns, _KEY), meaning)
    return _tree_labels("columns", {column: {"answers": [column]} for column in columns}, meaning)


def _tree_labels(parameter: str, questions: Mapping[str, Any], meaning: str | None) -> Labels:
    try:
        return Labels.from_plain({"questions": questions, "meaning": meaning})
    except ValueError as error:
        raise UserError(f"{_KEY}.{parameter}: {error}") from error


def _only_picture(parquet: ParquetTable) -> str | None:
    """The column that holds pictures, if there is one and the user names no other."""
    columns = parquet.picture_columns
    if len(columns) > 1:
        raise UserError(
            f"{parquet.paths[0]} holds pictures in the columns {' and '.join(columns)}: choose one with "
            f"{_KEY}.image_column"
        )
    return columns[0] if columns else None


def _read_rows(
    table: Table, roles: dict[str, str | None], labels: Labels | None, key: str, pictures: str | None
) -> _Rows:
    """Reads the columns that are needed.

    Args:
        table: The table.
        roles: The columns of text; the first holds the names. Each has the last part of its key.
        labels: The labels whose columns are numbers, if there are any.
        key: The key that names these columns.
        pictures: A column that holds pictures, and so is not read here.
    """
    text = {column: f"{_KEY}.{role}" for role, column in roles.items() if column is not None}
    numbers = dict.fromkeys(labels.columns if labels else (), key)
    table.check(numbers | text)
    frame = table.read([column for column in text if column != pictures], list(numbers))
    name_column = next(iter(text))
    if table.parquet is not None and name_column == pictures:
        names = table.parquet.picture_names(name_column)
    else:
        names = frame[name_column].tolist()
    # A name leads to the image where no column does. Elsewhere 4038/9 is no path.
    of_files = roles["image_column"] in (None, name_column)
    return _Rows(table.name, frame, names, [of_files or is_image(name) for name in names])


def _check_names(rows: _Rows, column: str, chosen: bool) -> None:
    """Reports galaxies without a name, or with the name of another; `chosen` says who chose the column."""
    names = rows.names
    advice = "" if chosen else f" (another column may hold the names: {_KEY}.id_column)"
    refuse_floats(names, column, rows.file, advice)
    if lost_digits([int(name) for name in names if is_id(name)]):
        _log.warning(
            "%s: the ids in %s seem to have lost their last digits, because a program took them for floats, "
            "such as %s. They are then not those of the survey: save the table again from its source",
            rows.file,
            column,
            names[0],
        )
    rows.report(f"row(s) without a {column}", [not name for name in names], lambda _: f"{column} is empty")
    # If all names are numbers, one with a decimal point or an exponent was a whole number before.
    numbers = all(name.lstrip("+-").isdigit() or is_float(name) for name in names if name)
    floats = [numbers and is_float(name) for name in names]
    rows.report(
        f"row(s) whose {column} is no whole number, as the others are or were",
        floats,
        lambda row: f"{column} is {names[row]} (was the table saved with ids as floats?)",
    )
    first = {name: row for row, name in reversed(list(enumerate(names)))}
    rows.report(
        f"row(s) whose {column} came before{advice}",
        [first[name] != row for row, name in enumerate(names)],
        lambda row: f"is already on {rows.place(first[names[row]])}",
    )


def _files(
    rows: _Rows,
    name_column: str,
    image_column: str | None,
    folders: Sequence[Path],
    images: Path,
    stretch: Stretch,
) -> list[ImageSource]:
    """The image of each row: a file, or one for each band. Arguments as of `_paths`."""
    by_band = BandFiles(stretch.band_files) if stretch.band_files else None
    paths = _paths(rows, name_column, image_column, folders, images, by_band)
    files = [(Path(path),) if by_band is None or not path else by_band.files(path) for path in paths]
    return [stretch.source(*several) for several in files]


def _paths(
    rows: _Rows,
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
        for folder in dict.fromkeys([*folders, images]) if image_column is not None else ():
            if folder.is_dir():  # paths that are right have been looked for in no folder
                by_band.list(folder)
        found, paths = paths, [by_band.shared(path) for path in paths]
        rows.report(
            f"row(s) whose image is none of several files, one for each of {_KEY}.band_files",
            [not path for path in paths],
            lambda row: found[row],
        )
    _check_shared(rows, paths)
    return paths


def _good_rows(
    rows: _Rows, on_bad: Literal["error", "skip"], path: Path
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The rows without a mistake, and a line for each of the others.

    Raises:
        UserError: There are mistakes and `on_bad` is "error", or no row is good.
    """
    owner = f"The galaxies in {path}"
    skipped = raise_or_list(rows.mistakes, on_bad, owner, "The images are opened once all rows can be used.")
    good = np.flatnonzero(~rows.bad)
    if not len(good):
        raise UserError(f"No usable galaxy in {path}.\n{listing(list(skipped))}")
    return good, skipped


def _groups(
    rows: _Rows,
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
        splits: The split that the table says of each row, which files that share a name do not leave.
    """
    if column is not None:
        names = rows.frame[column].iloc[good]
        # The id follows from the group's name, so that galaxies that are added to a group join its split.
        groups = {name: id_of(f"group {class_name(name)}") for name in names.unique()}
        alone = {name: is_nothing(name) for name in groups}
        return np.where(names.map(alone), ids, names.map(groups)).astype(np.int64)
    if rows.files is None:
        return None
    changed = [name for name, file in zip(rows.names, rows.files, strict=True) if file != name]
    _log.warning(
        "%d images have the file name of another, such as %s and %s. They have names with the folder and "
        "share a split, as views of one galaxy must. %s.id_column names a column of other names, "
        "%s.group_column one of other groups.",
        len(changed),
        *changed[:2],
        _KEY,
        _KEY,
    )
    files = rows.files
    if splits is not None:
        files = tuple(f"{split} {file}".strip() for split, file in zip(splits, files, strict=True))
    return identify([files[row] for row in good.tolist()])[0]


def _check_shared(rows: _Rows, paths: Sequence[str]) -> None:
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
