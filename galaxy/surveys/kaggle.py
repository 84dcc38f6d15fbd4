"""Kaggle, *Galaxy Zoo - The Galaxy Challenge* (2013-2014): 424 x 424 images and 37 cumulative vote fractions.

https://www.kaggle.com/c/galaxy-zoo-the-galaxy-challenge. 61,578 galaxies have labels, 79,975 have none.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2, KAGGLE_COLUMNS
from galaxy.labels.labels import Labels
from galaxy.surveys.catalog import Catalog
from galaxy.surveys.files import images_in
from galaxy.surveys.ids import check_ids
from galaxy.surveys.problems import Mistakes, RowCheck, describe_fractions, describe_tree, raise_or_list
from galaxy.surveys.table_reader import Table, fractions
from galaxy.system.errors import UserError, listing
from galaxy.system.files import replacing

TABLE = "training_solutions_rev1.csv"
FOLDERS = {"training": "images_training_rev1", "test": "images_test_rev1"}
# The files say GalaxyID, the competition's evaluation page says GalaxyId.
ID_COLUMNS = ("GalaxyID", "GalaxyId")
# Labels are rounded to six decimals, so the sum of a question may be off by some 1e-6. The winner's own check
# (benanne/kaggle-galaxies, check_label_constraints.py) allows 1e-5 too.
TREE_TOLERANCE = 1e-5
LABELS = Labels(GALAXY_ZOO_2, KAGGLE_COLUMNS, "cumulative")

_LAYOUT = f"""The folder given by data.root must hold, unpacked from the competition's zip files:
  {FOLDERS["training"]}/<GalaxyID>.jpg
  {TABLE}
  {FOLDERS["test"]}/<GalaxyID>.jpg (only for data.catalog.part=test)"""


def read_kaggle(
    root: Path, on_bad: Literal["error", "skip"] = "error", part: Literal["training", "test"] = "training"
) -> Catalog:
    """Reads the competition's files, as they come out of its zip files.

    Args:
        root: The folder with `images_training_rev1/`, `training_solutions_rev1.csv` and, for the test part,
            `images_test_rev1/`.
        on_bad: What to do about rows and images that cannot be used: "error" lists them and stops, "skip"
            leaves them out and lists them in `Catalog.skipped`. A missing file or column always stops.
        part: "training", in the order of the CSV, or "test", which has no labels, in the order of the ids.

    Returns:
        The catalog. Targets (N, 37) float32 are cumulative: the answers of a question sum to the value of its
        parent. The test part has a writer of submissions.

    Raises:
        UserError: Files or columns are missing, or (with "error") rows or images are bad. The message lists
            all of them, each row for the first mistake found in it.
    """
    root = Path(root).expanduser()
    needed = [FOLDERS[part], TABLE] if part == "training" else [FOLDERS[part]]
    missing = [str(root / name) for name in needed if not (root / name).exists()]
    if missing:
        raise UserError(f"Kaggle data not found:\n{listing(missing)}\n{_LAYOUT}")
    images, bad_names = images_in(root / FOLDERS[part], "GalaxyID", _LAYOUT)
    mistakes = [bad_names]
    if part == "training":
        ids, targets, more = _labelled(root / TABLE, images.keys())
        mistakes += more
    else:
        ids, targets = np.array(sorted(images), dtype=np.int64), None
    skipped = raise_or_list(mistakes, on_bad, f"The Kaggle data in {root}")
    if not len(ids):
        raise UserError(f"No usable galaxy in {root}.\n{listing(skipped)}\n{_LAYOUT}")
    return Catalog(
        name="kaggle",
        ids=ids,
        images=tuple(images[i] for i in ids.tolist()),
        labels=LABELS,
        targets=targets,
        skipped=skipped,
        writer=partial(write_submission, root) if part == "test" else None,
    )


def _labelled(
    path: Path, with_image: Iterable[int]
) -> tuple[NDArray[np.int64], NDArray[np.float32], list[Mistakes]]:
    """The ids (N,) and targets (N, 37) of the good rows, and the mistakes in the others."""
    table = _read_solutions(path)
    ids, bad_ids = check_ids(table["GalaxyID"], path.name)
    labels = table.loc[ids.index, list(KAGGLE_COLUMNS)]
    pictured = np.fromiter(with_image, dtype=np.int64)
    values, missing, wrong = fractions(labels)
    out_of_range = missing | wrong
    off = np.abs(GALAXY_ZOO_2.residuals(values)) > TREE_TOLERANCE
    folder = FOLDERS["training"]
    check = RowCheck(len(ids), lambda row: f"{path.name}, line {ids.index[row]}, GalaxyID {ids.iloc[row]}")
    check.report(
        "row(s) with labels that are not fractions in [0, 1]",
        out_of_range.any(axis=1),
        lambda row: describe_fractions(labels.iloc[row], out_of_range[row]),
    )
    check.report(
        f"row(s) with answers that do not sum to their parent's value within {TREE_TOLERANCE:g}",
        off.any(axis=1),
        lambda row: describe_tree(LABELS, values[row], off[row]),
    )
    check.report(
        "row(s) without an image",
        ~np.isin(ids.to_numpy(), pictured),
        lambda row: f"no {folder}/{ids.iloc[row]}.jpg",
    )
    # A row that is left out for its labels is a row all the same, so its image is no mistake.
    lone_images = np.setdiff1d(pictured, ids.to_numpy()).tolist()
    lone = [f"{folder}/{i}.jpg: no such GalaxyID in {path.name}" for i in lone_images]
    mistakes = [bad_ids, *check.mistakes, Mistakes("image(s) without a row", lone)]
    return ids.to_numpy(np.int64)[~check.bad], values[~check.bad].astype(np.float32), mistakes


def _read_solutions(path: Path) -> pd.DataFrame:
    """The table of labels. Its column of ids is called GalaxyID, whichever way the file writes it."""
    table = Table(path, published=True)
    found = [name for name in ID_COLUMNS if name in table.header]
    if len(found) > 1:
        raise UserError(f"{path} has more than one column of ids: {' and '.join(found)}.")
    column = found[0] if found else ID_COLUMNS[0]
    table.check(dict.fromkeys([column, *KAGGLE_COLUMNS], ""))
    return table.read([column], KAGGLE_COLUMNS).rename(columns={column: "GalaxyID"})


def write_submission(
    root: Path, path: Path, ids: NDArray[np.int64], labels: Labels, fractions: NDArray[np.float32]
) -> None:
    """Writes predictions in the format and the order of the challenge's benchmark files.

    The header and the order of the galaxies are copied from a `*_benchmark.csv` in the challenge's folder, if
    there is one. Otherwise the galaxies are in the order of their ids. Predictions with other labels than the
    challenge's are no submission, and nothing is written.

    Args:
        root: The folder of the challenge's files.
        path: The file to write.
        ids: (N,) int64.
        labels: The labels of the fractions.
        fractions: (N, 37) float32, which are clipped to [0, 1].

    Raises:
        UserError: The benchmark lists galaxies that were not predicted, has other columns, or is no table.
    """
    if not labels.compatible(LABELS):
        return
    header = ["GalaxyID", *KAGGLE_COLUMNS]
    order = np.sort(ids)
    benchmarks = sorted(root.glob("[!.]*_benchmark.csv"))
    if benchmarks:
        try:
            benchmark = pd.read_csv(benchmarks[0])
        except ValueError as error:  # it is empty, or no text
            raise UserError(f"{path} is not written: {benchmarks[0]} is no table ({error})") from error
        if benchmark.columns[1:].tolist() != header[1:]:
            raise UserError(f"{benchmarks[0]} has other columns than GalaxyID, {header[1]} ... {header[-1]}")
        header = benchmark.columns.tolist()
        order = benchmark.iloc[:, 0].to_numpy(np.int64)
    table = pd.DataFrame(np.clip(fractions, 0, 1), index=ids, columns=list(KAGGLE_COLUMNS))
    missing = order[~np.isin(order, ids)]
    if len(missing):
        raise UserError(
            f"{path} is not written, but the predictions beside it are: {benchmarks[0]} lists "
            f"{len(missing):,} galaxies that were not predicted. They have no image in "
            f"{root / FOLDERS['test']}, or were left out by data.limit or data.on_bad=skip:\n"
            f"{listing([str(i) for i in missing])}"
        )
    table = table.loc[order]
    table.insert(0, header[0], order)
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, header=header, float_format="%.9g")
