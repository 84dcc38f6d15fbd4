"""A table of the user, CSV or Parquet: galaxies with images and perhaps with fractions or classes."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galaxy.labels.labels import Labels, class_labels
from galaxy.surveys.catalog import Catalog
from galaxy.surveys.extra import read_extra
from galaxy.surveys.files import IMAGE_ENDINGS, Stretch, existing, image_files, written
from galaxy.surveys.ids import id_of, identify, is_float, refuse_floats
from galaxy.surveys.problems import RowCheck, describe_fractions, describe_tree, raise_or_list, warn_of_rare
from galaxy.surveys.table_reader import TABLE_ENDINGS, Table, fractions
from galaxy.system.errors import UserError, listing, meant

# The largest error of a fraction that is rounded to two decimals. The sum of a question's answers differs
# from the parent by no more than all their errors together. Conditional fractions that are given as
# cumulative ones differ by far more.
ROUNDING = 0.005
# A column with more values than this, or with more than FEW_CLASSES and a new one in every other row, does
# not hold classes.
MAX_CLASSES = 1000
FEW_CLASSES = 20
_KEY = "data.catalog"


def read_table(
    root: Path,
    on_bad: Literal["error", "skip"] = "error",
    bands: Sequence[int] = (2, 1, 0),
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
    group_column: str | None = None,
    hdu: int | str | list[int | str] | None = None,
    plane_axis: Literal["first", "last"] | None = None,
    white: float | None = None,
    extra_columns: list[str] | None = None,
) -> Catalog:
    """Reads a table with a row for each galaxy.

    The targets are the fractions of `columns` or of the answers of `questions`, or the classes of
    `class_column`. With none of the three the galaxies have no labels and can only be predicted. Rows in
    which every column is empty are ignored. Images without a row are ignored as well, because a folder may
    hold more images than a table is about.

    Args:
        root: The folder of the table and the images.
        on_bad: What to do about rows that cannot be used: "error" lists them and stops, "skip" leaves them
            out and lists them in `Catalog.skipped`. A missing file or column always stops.
        bands: The planes of a FITS cube that become red, green and blue, or one for a grey picture; from 0.
        softening: The softening of the stretch of FITS images; see `FitsImage`.
        file: The table, inside `root` or absolute; None for the only one in `root`.
        id_column: The column of the numbers or names of the galaxies, each once. None for the image column
            or, without one, for the first column. A name that is no number becomes an id by `id_of`.
        image_column: The column of the image files, inside `root` or absolute, each once. Two rows with the
            same pixels could be trained and tested on. None if files have the names of the galaxies.
        images: The folder of these files, inside `root` or absolute. An image is `<name>.<ending>` in it, or
            in a folder below it.
        columns: Columns of fractions in [0, 1], each a question of its own.
        class_column: The column of the class of each galaxy.
        classes: All classes, in order; None for the classes in the table, sorted.
        questions: A tree whose answers are columns of fractions; see `Labels.from_plain`.
        meaning: The meaning of the fractions; see `Labels`. None for "cumulative" if questions have parents,
            else "fractions".
        group_column: A column of words or numbers. Galaxies with the same one share a split, as two
            observations of one galaxy must. A galaxy without one stands alone.
        hdu: The part of each FITS file that holds the image, or several; see `Stretch`.
        plane_axis: The axis of a FITS cube that counts its planes; see `Stretch`.
        white: The value that becomes white in pictures of more than 8 bits; see `Stretch`.
        extra_columns: Further columns of the table, such as coordinates; see `Catalog.extra_columns`.

    Returns:
        The catalog, in the order of the table. `strata` are the classes.

    Raises:
        ValueError: The arguments are out of range or contradict each other.
        UserError: The questions are no tree, files or columns are missing, or (with "error") rows are bad.
            The message lists all of them, each row for the first mistake found in it.
    """
    stretch = Stretch(bands, softening, hdu, plane_axis, white)
    labels = _fraction_labels(columns, class_column, classes, questions, meaning)
    root = Path(root).expanduser()
    table = Table(_find(root, file))
    roles = {
        "id_column": id_column or image_column or table.header[0],
        "image_column": image_column,
        "class_column": class_column,
        "group_column": group_column,
    }
    extra = list(dict.fromkeys(extra_columns or ()))
    table.check(dict.fromkeys(extra, f"{_KEY}.extra_columns"))
    rows = _read_rows(table, roles, labels, f"{_KEY}.questions" if questions else f"{_KEY}.columns")
    labels, targets, codes = _read_targets(rows, labels, class_column, classes)
    paths = (
        _listed(rows, root, image_column) if image_column else _named(rows, root / Path(images).expanduser())
    )
    _check_shared(rows, paths)

    good, skipped = _good_rows(rows, on_bad, table.path)
    if labels is not None and codes is not None:
        warn_of_rare(labels, codes[good])
    ids, names = identify([rows.names[row] for row in good.tolist()])
    return Catalog(
        name="table",
        ids=ids,
        images=tuple(stretch.source(Path(paths[row])) for row in good.tolist()),
        labels=labels,
        targets=None if targets is None else targets[good],
        names=names,
        strata=None if codes is None else codes[good],
        extra_columns=read_extra(table, extra, rows.frame.index[good]) if extra else None,
        groups=None if group_column is None else _groups(ids, rows.frame[group_column].iloc[good]),
        any_frame=True,
        skipped=skipped,
    )


class _Rows(RowCheck):
    """The rows of a table, the names of their galaxies, and what is wrong with them."""

    def __init__(self, file: str, frame: pd.DataFrame, names: Sequence[str]) -> None:
        super().__init__(len(frame), self._where)
        self.file = file
        self.frame = frame
        self.names = names

    def place(self, row: int) -> str:
        """The place of a row in the file, such as "line 7"."""
        return f"{self.frame.index.name} {self.frame.index[row]}"

    def _where(self, row: int) -> str:
        return ", ".join(part for part in (self.file, self.place(row), self.names[row]) if part)


def _fraction_labels(
    columns: list[str] | None,
    class_column: str | None,
    classes: list[str] | list[int] | None,
    questions: dict[str, dict[str, Any]] | None,
    meaning: str | None,
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
    if questions is not None:
        return _tree_labels("questions", questions, meaning)
    if columns is None:
        return None
    if not columns or len(set(columns)) < len(columns):
        raise ValueError(f"columns is {columns}; it must name one column or more, each once")
    return _tree_labels("columns", {column: {"answers": [column]} for column in columns}, meaning)


def _tree_labels(parameter: str, questions: Mapping[str, Any], meaning: str | None) -> Labels:
    try:
        return Labels.from_plain({"questions": questions, "meaning": meaning})
    except ValueError as error:
        raise UserError(f"{_KEY}.{parameter}: {error}") from error


def _find(root: Path, file: str | None) -> Path:
    """The path of the table."""
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise UserError(f"{root} {what}; data.root must be the folder of the table and its images.")
    if file is not None:
        return root / Path(file).expanduser()
    found = sorted(
        path.name
        for path in root.iterdir()
        if path.name.lower().endswith(TABLE_ENDINGS) and not path.name.startswith(".")
    )
    if not found:
        raise UserError(
            f"{root} holds no table ({', '.join(TABLE_ENDINGS)}); say where it is: {_KEY}.file=..."
        )
    if len(found) > 1:
        raise UserError(f"{root} holds {len(found)} tables; choose one with {_KEY}.file:\n{listing(found)}")
    return root / found[0]


def _read_rows(table: Table, roles: dict[str, str | None], labels: Labels | None, key: str) -> _Rows:
    """Reads the columns that are needed and checks the names of the galaxies.

    Args:
        table: The table.
        roles: The columns of text; the first holds the names. Each has the last part of its key.
        labels: The labels whose columns are numbers, if there are any.
        key: The key that names these columns.
    """
    text = {column: f"{_KEY}.{role}" for role, column in roles.items() if column is not None}
    numbers = dict.fromkeys(labels.columns if labels else (), key)
    table.check(numbers | text)
    frame = table.read(list(text), list(numbers))
    name_column = next(iter(text))
    rows = _Rows(table.path.name, frame, frame[name_column].tolist())
    _check_names(rows, name_column)
    return rows


def _check_names(rows: _Rows, column: str) -> None:
    names = rows.names
    refuse_floats(names, column, rows.file)
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
        f"row(s) whose {column} came before",
        [first[name] != row for row, name in enumerate(names)],
        lambda row: f"is already on {rows.place(first[names[row]])}",
    )


def _good_rows(
    rows: _Rows, on_bad: Literal["error", "skip"], path: Path
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The rows without a mistake, and a line for each of the others.

    Raises:
        UserError: There are mistakes and `on_bad` is "error", or no row is good.
    """
    skipped = raise_or_list(rows.mistakes, on_bad, f"The galaxies in {path}")
    good = np.flatnonzero(~rows.bad)
    if not len(good):
        raise UserError(f"No usable galaxy in {path}.\n{listing(list(skipped))}")
    return good, skipped


def _read_targets(
    rows: _Rows,
    labels: Labels | None,
    class_column: str | None,
    classes: Sequence[str] | Sequence[int] | None,
) -> tuple[Labels | None, NDArray[np.float32] | None, NDArray[np.int64] | None]:
    """The labels, the targets (N, K) and the number of each galaxy's class (N,); None if there are none."""
    if class_column is not None:
        of_classes, codes = _read_classes(rows, class_column, classes)
        return of_classes, np.eye(of_classes.questions.size, dtype=np.float32)[codes], codes
    return labels, None if labels is None else _read_fractions(rows, labels), None


def _read_fractions(rows: _Rows, labels: Labels) -> NDArray[np.float32]:
    """The targets (N, K), NaN in bad rows."""
    table = rows.frame[list(labels.columns)]
    values, out_of_range = fractions(table)
    rows.report(
        "row(s) with labels that are not fractions in [0, 1]",
        out_of_range.any(axis=1),
        lambda row: describe_fractions(table.iloc[row], out_of_range[row]),
    )
    residuals = labels.questions.residuals(values)
    # Without any parent, fractions may have any sum.
    cumulative = any(parent is not None for parent in labels.questions.parents)
    # A single answer is a part of its parent's fraction. The rest of that fraction has no column.
    alone = np.array(labels.questions.sizes) == 1
    tolerance = ROUNDING * (np.array(labels.questions.sizes) + 1) + 1e-9
    off = cumulative & (np.where(alone, residuals, np.abs(residuals)) > tolerance)
    rows.report(
        "row(s) with answers that do not sum to their parent's value, or 1, within rounding to two decimals",
        off.any(axis=1),
        lambda row: describe_tree(labels, values[row], off[row]),
    )
    return values.astype(np.float32)


def _read_classes(
    rows: _Rows, column: str, classes: Sequence[str] | Sequence[int] | None
) -> tuple[Labels, NDArray[np.int64]]:
    """The labels, and the number of each row's class (N,), which is 0 in bad rows."""
    texts = [_class_name(text) for text in rows.frame[column].tolist()]
    found = set(texts) - {""}
    names = tuple(sorted(found, key=_natural) if classes is None else (_class_name(str(c)) for c in classes))
    if len(set(names)) < max(2, len(names)):
        where = f"{_KEY}.class_column={column} holds" if classes is None else f"{_KEY}.classes is"
        what = ", ".join(names) or "nothing"
        raise UserError(f"{where} {what}; there must be two classes or more, each once")
    if classes is None and (
        len(names) > MAX_CLASSES or (len(names) > FEW_CLASSES and 2 * len(names) > len(texts))
    ):
        raise UserError(
            f"{_KEY}.class_column is {column}, which has {len(names):,} different values in {len(texts):,} "
            f"rows: that is no column of classes. For fractions, give {_KEY}.columns"
        )
    number = {name: i for i, name in enumerate(names)}
    rows.report(f"row(s) without a {column}", [not text for text in texts], lambda _: f"{column} is empty")
    rows.report(
        f"row(s) whose {column} is none of {_KEY}.classes",
        [text not in number for text in texts],
        lambda row: f"{column} is {texts[row]}{meant(texts[row], names)}",
    )
    try:
        labels = class_labels(names, column)
    except ValueError as error:
        raise UserError(f"{_KEY}.class_column={column}: {error}") from error
    return labels, np.array([number.get(text, 0) for text in texts], dtype=np.int64)


def _class_name(text: str) -> str:
    """The name of a class. A column of whole numbers with gaps is often saved as 1.0, 2.0."""
    return re.sub(r"^(-?\d+)\.0+$", r"\1", text)


def _groups(ids: NDArray[np.int64], names: pd.Series) -> NDArray[np.int64]:
    """The id of each galaxy's group (N,). A galaxy without a group has its own id."""
    # The id follows from the group's name, so that galaxies that are added to a group join its split.
    groups = {name: id_of(f"group {name}") for name in names.unique()}
    return np.where(names == "", ids, names.map(groups)).astype(np.int64)


def _listed(rows: _Rows, root: Path, column: str) -> list[str]:
    """The path of each row's image according to a column, "" in bad rows."""
    texts = rows.frame[column].tolist()
    paths = [existing(str(root / text)) if text else "" for text in texts]
    rows.report(f"row(s) without a {column}", [not path for path in paths], lambda _: f"{column} is empty")
    rows.report(
        "row(s) whose image does not exist",
        [not os.path.isfile(path) for path in paths],  # noqa: PTH113  a Path for each of 240,000 takes seconds
        lambda row: f"no {paths[row]}",
    )
    return paths


def _named(rows: _Rows, folder: Path) -> list[str]:
    """The path of each row's image according to the galaxy's name, "" in bad rows."""
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise UserError(
            f"The folder of the images, {folder}, {what}.\nSay where it is, {_KEY}.images=DIR, or which "
            f"column of the table names the files, {_KEY}.image_column=..."
        )
    names = [written(name) for name in rows.names]
    files = image_files(folder)
    found: dict[str, list[str]] = defaultdict(list)
    for path, stem in files.items():
        for key in {stem, stem.rpartition("/")[2]}:
            found[key].append(path)
    example = f", such as {next(iter(files))}" if files else ""
    rows.report(
        f"row(s) without an image in {folder} (it has {len(files):,}{example}; {', '.join(IMAGE_ENDINGS)})",
        [name not in found for name in names],
        lambda row: f"no {folder.name}/{names[row]}.*",
    )
    rows.report(
        "row(s) with more than one image",
        [len(found.get(name, ())) > 1 for name in names],
        lambda row: " and ".join(found[names[row]]),
    )
    return [str(folder / found[name][0]) if name in found else "" for name in names]


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
        lambda row: f"{paths[row]} is on {rows.place(first[os.path.normpath(paths[row])])}",
    )


def _natural(text: str) -> tuple[list[str | int], str]:
    """A key that sorts Sa2 before Sa10, and ignores case."""
    # Words and numbers alternate, so that like is compared with like. Python refuses to read thousands of
    # digits.
    parts = re.split(r"([0-9]{1,18})", text)
    return [int(part) if i % 2 else part.casefold() for i, part in enumerate(parts)], text
