"""Kaggle, *Galaxy Zoo - The Galaxy Challenge* (2013-2014): 424 x 424 images and 37 cumulative vote fractions.

https://www.kaggle.com/c/galaxy-zoo-the-galaxy-challenge. 61,578 galaxies with labels, 79,975 without.
"""

from __future__ import annotations

import csv
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galaxy.labels.labels import Labels
from galaxy.labels.tree import GALAXY_ZOO_2
from galaxy.surveys.catalog import Catalog
from galaxy.surveys.problems import (
    Problem,
    check_header,
    check_ids,
    describe_fractions,
    describe_tree,
    fractions,
    images_in,
    lines,
    settle,
)
from galaxy.system.errors import UserError, listing

TABLE = "training_solutions_rev1.csv"
FOLDERS = {"training": "images_training_rev1", "test": "images_test_rev1"}
# The files say GalaxyID, the competition's evaluation page says GalaxyId.
ID_COLUMNS = ("GalaxyID", "GalaxyId")
# Labels are rounded to six decimals, so a question's sum may be off by some 1e-6. The winner's own check
# (benanne/kaggle-galaxies, check_label_constraints.py) allows 1e-5 too.
TREE_TOLERANCE = 1e-5
LABELS = Labels(GALAXY_ZOO_2, GALAXY_ZOO_2.kaggle_columns, "cumulative")

_LAYOUT = f"""The folder given by data.root must hold, unpacked from the competition's zip files:
  {FOLDERS["training"]}/<GalaxyID>.jpg
  {TABLE}
  {FOLDERS["test"]}/<GalaxyID>.jpg (only for data.catalog.part=test)"""


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
    needed = [FOLDERS[part], TABLE] if part == "training" else [FOLDERS[part]]
    missing = [str(root / name) for name in needed if not (root / name).exists()]
    if missing:
        raise UserError(f"Kaggle data not found:\n{listing(missing)}\n{_LAYOUT}")
    images, problem = images_in(root / FOLDERS[part], "GalaxyID", layout=_LAYOUT)
    problems = [problem]
    if part == "training":
        ids, targets, more = _labelled(root / TABLE, images.keys())
        problems += more
    else:
        ids, targets = np.array(sorted(images), dtype=np.int64), None
    skipped = settle(problems, on_bad, f"The Kaggle data in {root}")
    if not len(ids):
        raise UserError(f"No usable galaxy in {root}.\n{listing(list(skipped))}\n{_LAYOUT}")
    return Catalog(
        name="kaggle",
        ids=ids,
        images=tuple(images[i] for i in ids.tolist()),
        labels=LABELS,
        targets=targets,
        skipped=skipped,
    )


def _labelled(
    path: Path, with_image: Iterable[int]
) -> tuple[NDArray[np.int64], NDArray[np.float32], list[Problem]]:
    """The ids (N,) and targets (N, 37) of the good rows, and what is wrong with the others."""
    table = _read_csv(path)
    ids, problem = check_ids(table[table.columns[0]], path.name, "GalaxyID")
    labels = table.loc[ids.index, list(LABELS.columns)]
    pictured = np.fromiter(with_image, dtype=np.int64)
    # A row that is left out for its labels is still a row: its image is not a stranger.
    lone_images = np.setdiff1d(pictured, ids.to_numpy()).tolist()

    values, out_of_range = fractions(labels)
    off = np.abs(GALAXY_ZOO_2.residuals(values)) > TREE_TOLERANCE
    bad_labels: NDArray[np.bool_] = np.any(out_of_range, axis=1)
    bad_tree: NDArray[np.bool_] = np.any(off, axis=1) & ~bad_labels
    no_image = ~np.isin(ids.to_numpy(), pictured) & ~bad_labels & ~bad_tree

    def where(row: int) -> str:
        return f"{path.name}, line {ids.index[row]}, GalaxyID {ids.iloc[row]}"

    folder = FOLDERS["training"]
    problems = [
        problem,
        lines(
            "row(s) with labels that are not fractions in [0, 1]",
            bad_labels,
            where,
            lambda row: describe_fractions(labels.iloc[row], out_of_range[row]),
        ),
        lines(
            f"row(s) with answers that do not sum to their parent's value within {TREE_TOLERANCE:g}",
            bad_tree,
            where,
            lambda row: describe_tree(LABELS, values[row], off[row]),
        ),
        lines("row(s) without an image", no_image, where, lambda row: f"no {folder}/{ids.iloc[row]}.jpg"),
        Problem(
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
        check_header(path, header, ID_COLUMNS, LABELS.columns)
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
    table = table[[id_column, *LABELS.columns]].dropna(how="all")
    if table.empty:
        raise UserError(f"{path} has a header and no rows.\nDownload or unpack it again.")
    return table
