"""Kaggle, *Galaxy Zoo - The Galaxy Challenge* (2013-2014): 424 x 424 images and 37 cumulative vote fractions.

https://www.kaggle.com/c/galaxy-zoo-the-galaxy-challenge. 61,578 galaxies with labels, 79,975 without.
"""

from __future__ import annotations

import csv
import difflib
import os
import re
import warnings
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galaxy.catalogs.catalog import Catalog
from galaxy.errors import UserError, listing
from galaxy.questions import GALAXY_ZOO_2

LABELS = "training_solutions_rev1.csv"
FOLDERS = {"training": "images_training_rev1", "test": "images_test_rev1"}
# The files say GalaxyID, the competition's evaluation page says GalaxyId.
ID_COLUMNS = ("GalaxyID", "GalaxyId")
# Labels are rounded to six decimals, so a question's sum may be off by some 1e-6. The winner's own check
# (benanne/kaggle-galaxies, check_label_constraints.py) allows 1e-5 too.
TREE_TOLERANCE = 1e-5

_LAYOUT = f"""The folder given by data.root must hold, unpacked from the competition's zip files:
  {FOLDERS["training"]}/<GalaxyID>.jpg
  {LABELS}
  {FOLDERS["test"]}/<GalaxyID>.jpg (only for data.catalog.part=test)"""
_ADVICE = "Mend the files, or leave these galaxies out with data.on_bad=skip."


class _Problem(NamedTuple):
    """One kind of mistake, and a line for each row or file that makes it."""

    what: str
    cases: list[str]


def read_kaggle(
    root: Path, on_bad: Literal["error", "skip"], part: Literal["training", "test"] = "training"
) -> Catalog:
    """Reads the competition's files, as they come out of its zip files.

    Args:
        root: The folder with `images_training_rev1/`, `training_solutions_rev1.csv` and, for the test part,
            `images_test_rev1/`.
        on_bad: What to do about rows and images that cannot be used: "error" lists them and stops, "skip"
            leaves them out and lists them in `Catalog.skipped`. A missing file or column always stops.
        part: "training", in the order of the CSV, or "test", which has no labels, in the order of the ids.

    Returns:
        The catalog; targets (N, 37) float32 are cumulative: a question's answers sum to its parent's value.

    Raises:
        UserError: Files or columns are missing, or (with "error") rows or images are bad. All of them are
            reported at once, each row for the first mistake found in it.
    """
    root = Path(root).expanduser()
    needed = [FOLDERS[part], LABELS] if part == "training" else [FOLDERS[part]]
    missing = [str(root / name) for name in needed if not (root / name).exists()]
    if missing:
        raise UserError(f"Kaggle data not found:\n{listing(missing)}\n{_LAYOUT}")
    images, problems = _images(root / FOLDERS[part])
    if part == "training":
        ids, targets, more = _labelled(root / LABELS, images.keys())
        problems += more
    else:
        ids, targets = np.array(sorted(images), dtype=np.int64), None
    problems = [problem for problem in problems if problem.cases]
    if problems and on_bad == "error":
        found = "\n".join(f"{len(p.cases):,} {p.what}:\n{listing(p.cases)}" for p in problems)
        raise UserError(f"The Kaggle data in {root} cannot be used as they are.\n{found}\n{_ADVICE}")
    skipped = tuple(chain.from_iterable(p.cases for p in problems))
    if not len(ids):
        raise UserError(f"No usable galaxy in {root}.\n{listing(list(skipped))}\n{_LAYOUT}")
    return Catalog(
        name="kaggle",
        ids=ids,
        images=tuple(images[i] for i in ids.tolist()),
        columns=GALAXY_ZOO_2.kaggle_columns,
        targets=targets,
        meaning="cumulative",
        questions=GALAXY_ZOO_2,
        skipped=skipped,
    )


def _images(folder: Path) -> tuple[dict[int, Path], list[_Problem]]:
    """The image of each id. Files that are no JPEGs, and hidden ones (macOS), are none of ours."""
    if not folder.is_dir():
        raise UserError(f"{folder} is a file, not a folder.\n{_LAYOUT}")
    images: dict[int, Path] = {}
    strangers = []
    with os.scandir(folder) as entries:
        for name in (entry.name for entry in entries):
            if not name.endswith(".jpg") or name.startswith("."):
                continue
            if _is_id(name[:-4]):
                images[int(name[:-4])] = folder / name
            else:
                strangers.append(f"{folder.name}/{name}: the name is not a GalaxyID")
    return images, [_Problem("image file name(s) that are not a GalaxyID", sorted(strangers))]


def _labelled(
    path: Path, with_image: Iterable[int]
) -> tuple[NDArray[np.int64], NDArray[np.float32], list[_Problem]]:
    """The ids (N,) and targets (N, 37) of the good rows, and what is wrong with the others."""
    table = _read_csv(path)
    ids, problem = _check_ids(table[table.columns[0]])
    problems = [problem]
    table = table.loc[ids.index]
    pictured = np.fromiter(with_image, dtype=np.int64)
    # A row that is left out for its labels is still a row: its image is not a stranger.
    lone_images = np.setdiff1d(pictured, ids.to_numpy()).tolist()

    labels = table[list(GALAXY_ZOO_2.kaggle_columns)].apply(pd.to_numeric, errors="coerce")
    values = labels.to_numpy(np.float64, copy=True)
    out_of_range = ~((values >= 0) & (values <= 1))  # NaN compares false
    values[out_of_range] = np.nan
    off = np.abs(GALAXY_ZOO_2.residuals(values)) > TREE_TOLERANCE
    bad_labels = out_of_range.any(1)
    bad_tree = off.any(1) & ~bad_labels
    no_image = ~np.isin(ids.to_numpy(), pictured) & ~bad_labels & ~bad_tree

    def rows(what: str, bad: NDArray[np.bool_], describe: Callable[[int], str]) -> _Problem:
        where = [(r, f"{path.name}, line {ids.index[r]}, GalaxyID {ids.iloc[r]}") for r in _rows(bad)]
        return _Problem(what, [f"{row}: {describe(r)}" for r, row in where])

    folder = FOLDERS["training"]
    problems += [
        rows(
            "row(s) with labels that are not fractions in [0, 1]",
            bad_labels,
            lambda r: _describe_labels(table.iloc[r], out_of_range[r]),
        ),
        rows(
            f"row(s) with answers that do not sum to their parent's value within {TREE_TOLERANCE:g}",
            bad_tree,
            lambda r: _describe_tree(values[r], off[r]),
        ),
        rows("row(s) without an image", no_image, lambda r: f"no {folder}/{ids.iloc[r]}.jpg"),
        _Problem(
            "image(s) without a row",
            [f"{folder}/{i}.jpg: no such GalaxyID in {path.name}" for i in lone_images],
        ),
    ]
    good = ~(bad_labels | bad_tree | no_image)
    return ids.to_numpy(np.int64)[good], values[good].astype(np.float32), problems


def _read_csv(path: Path) -> pd.DataFrame:
    """The CSV with its id column first, as text; the index is the line number in the file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
        _check_header(path, header)
        id_column = next(name for name in header if name in ID_COLUMNS)
        with warnings.catch_warnings():
            # Where the first row has more fields than the header, pandas only warns.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path,
                header=None,
                skiprows=1,
                names=header,
                index_col=False,
                dtype={id_column: "string"},
                skip_blank_lines=False,  # the index counts them; they are dropped below
                low_memory=False,
                encoding="utf-8-sig",
            )
    except (ValueError, OSError, csv.Error, pd.errors.ParserWarning) as error:
        # pandas' and Unicode errors are ValueErrors.
        raise UserError(
            f"{path} cannot be read as a CSV file: {str(error).strip()}\nDownload or unpack it again."
        ) from error
    table.index += 2  # the header is line 1
    table = table[[id_column, *GALAXY_ZOO_2.kaggle_columns]].dropna(how="all")
    if table.empty:
        raise UserError(f"{path} has a header and no rows.\nDownload or unpack it again.")
    return table


def _check_header(path: Path, header: list[str]) -> None:
    if not header:
        raise UserError(f"{path} is empty.\nDownload or unpack it again.")
    columns = list(GALAXY_ZOO_2.kaggle_columns)
    problems = []
    if not set(header) & set(ID_COLUMNS):
        problems.append("missing: " + " or ".join(ID_COLUMNS))
    extra = [name for name in header if name not in columns and name not in ID_COLUMNS]
    for name in columns:
        if name not in header:
            near = difflib.get_close_matches(name, extra, n=1, cutoff=0.85)
            problems.append(f"missing: {name}" + (f" (is it the column {near[0]!r}?)" if near else ""))
    problems += [f"unknown: {name!r}" for name in extra]
    problems += [f"twice: {name}" for name in dict.fromkeys(header) if header.count(name) > 1]
    if set(ID_COLUMNS) <= set(header):
        problems.append("twice: " + " and ".join(ID_COLUMNS))
    if problems:
        expected = f"{ID_COLUMNS[0]}, {columns[0]}, {columns[1]}, ... {columns[-1]}"
        raise UserError(
            f"{path} has the wrong columns:\n{listing(problems)}\nExpected: {expected} (38 columns)."
        )


def _is_id(text: str) -> bool:
    return re.fullmatch(r"0|[1-9][0-9]{0,17}", text) is not None  # at most 18 digits fit an int64


def _check_ids(texts: pd.Series) -> tuple[pd.Series, _Problem]:
    """The usable ids, int64, indexed by line number; where an id comes twice, its first row."""
    texts = texts.fillna("").str.strip()
    valid = texts.map(_is_id).astype(bool)
    ids = texts[valid].astype(np.int64)
    again = ids.duplicated()
    bad = zip(texts[~valid].index.tolist(), texts[~valid].tolist(), strict=True)
    cases = [(line, f"{text!r} is not a whole number") for line, text in bad]
    if again.any():
        first = dict(zip(ids[~again].tolist(), ids[~again].index.tolist(), strict=True))
        repeats = zip(ids[again].tolist(), ids[again].index.tolist(), strict=True)
        cases += [(line, f"{i} is already on line {first[i]}") for i, line in repeats]
    lines = [f"{LABELS}, line {line}: GalaxyID {case}" for line, case in sorted(cases)]
    return ids[~again], _Problem("row(s) with an unusable GalaxyID", lines)


def _rows(mask: NDArray[np.bool_]) -> list[int]:
    return np.flatnonzero(mask).tolist()


def _describe_labels(row: pd.Series, bad: NDArray[np.bool_]) -> str:
    """The first bad label of a row, and how many more there are; `row` still has what the file says."""
    names = [name for name, is_bad in zip(GALAXY_ZOO_2.kaggle_columns, bad, strict=True) if is_bad]
    value = row[names[0]]
    text = "empty or NaN" if pd.isna(value) else f"{value}"
    return f"{names[0]} is {text}" + (f" (and {len(names) - 1} more columns)" if len(names) > 1 else "")


def _describe_tree(values: NDArray[np.float64], off: NDArray[np.bool_]) -> str:
    parts = []
    for q in _rows(off):
        parent = GALAXY_ZOO_2.parents[q]
        of = "1" if parent is None else f"{GALAXY_ZOO_2.kaggle_columns[parent]} = {values[parent]:.6f}"
        total = values[GALAXY_ZOO_2.slices[q]].sum()
        parts.append(f"{GALAXY_ZOO_2.questions[q].key} sums to {total:.6f}, not {of}")
    return "; ".join(parts)
