"""Kaggle's submission file for the Galaxy Zoo challenge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galaxy.labels.tree import GALAXY_ZOO_2
from galaxy.system.errors import UserError, listing
from galaxy.system.files import replacing


def write_submission(path: Path, root: Path, ids: NDArray[np.int64], fractions: NDArray[np.float32]) -> None:
    """Writes predictions in the format and the order of the challenge's benchmark files.

    The header and the order of the galaxies are copied from a `*_benchmark.csv` in the challenge's folder,
    where there is one; else the galaxies are in the order of their ids.

    Args:
        path: The file to write.
        root: Folder of the challenge's files.
        ids: (N,) int64.
        fractions: (N, 37) float32; clipped to [0, 1], where every true fraction lies.

    Raises:
        UserError: The benchmark lists galaxies that were not predicted, or has other columns.
    """
    header = ["GalaxyID", *GALAXY_ZOO_2.kaggle_columns]
    order = np.sort(ids)
    benchmarks = sorted(root.glob("*_benchmark.csv"))
    if benchmarks:
        benchmark = pd.read_csv(benchmarks[0])
        if benchmark.columns[1:].tolist() != header[1:]:
            raise UserError(f"{benchmarks[0]} has other columns than GalaxyID, {header[1]} ... {header[-1]}")
        header = benchmark.columns.tolist()
        order = benchmark.iloc[:, 0].to_numpy(np.int64)
    table = pd.DataFrame(np.clip(fractions, 0, 1), index=ids, columns=list(GALAXY_ZOO_2.kaggle_columns))
    missing = order[~np.isin(order, ids)]
    if len(missing):
        raise UserError(
            f"{path} is not written, but the predictions beside it are: {benchmarks[0]} lists "
            f"{len(missing):,} galaxies that were not predicted, for they have no image in "
            f"{root / 'images_test_rev1'}, or were left out by data.limit or data.on_bad=skip:\n"
            f"{listing([str(i) for i in missing])}"
        )
    table = table.loc[order]
    table.insert(0, header[0], order)
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, header=header, float_format="%.9g")
