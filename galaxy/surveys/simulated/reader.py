"""Simulated galaxies, written on first use and read as real ones are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galaxy.surveys.catalog import Catalog
from galaxy.surveys.kaggle import LABELS, read_kaggle
from galaxy.surveys.simulated.survey import PROBABILITIES, VOTES, Survey, write_survey
from galaxy.system.errors import UserError


def read_simulated(
    root: Path,
    on_bad: Literal["error", "skip"],
    *,
    count: int = 2000,
    seed: int = 0,
    volunteers: int = 45,
    workers: int | None = None,
) -> Catalog:
    """Reads a simulated survey; writes it first if `root` does not hold it.

    Args:
        root: Folder of simulated surveys, a sub-folder each.
        on_bad: What to do about files that were damaged since: "error" or "skip", as for real data.
        count: Number of galaxies; a larger survey of the same seed begins with the same ones.
        seed: Of the galaxies, their pictures and the votes.
        volunteers: Votes on the first question of each galaxy.
        workers: Processes that render; None for one per core.

    Returns:
        The catalog; targets (N, 37) float32 are cumulative vote fractions, `counts` the votes, and
        `expected` the probabilities they were drawn from, whose RMSE is the noise floor.

    Raises:
        UserError: A number is out of range, or the survey on disk was damaged.
    """
    for name, value, least in (("count", count, 1), ("seed", seed, 0), ("volunteers", volunteers, 1)):
        if value < least:
            raise UserError(f"data.catalog.{name} is {value}; it must be {least} or more.")
    if workers is not None and workers < 1:
        raise UserError(f"data.catalog.workers is {workers}; it must be 1 or more, or null for one per core.")
    folder = write_survey(Path(root).expanduser(), Survey(count, seed, volunteers), workers)
    catalog = read_kaggle(folder, on_bad)
    return replace(
        catalog,
        name="simulated",
        counts=_table(folder / VOTES, catalog),
        expected=_table(folder / PROBABILITIES, catalog),
    )


def _table(path: Path, catalog: Catalog) -> NDArray[np.float32]:
    """The catalog's rows and columns of a table beside the labels, (N, 37) float32."""
    try:
        table = pd.read_csv(path, index_col=0)
        return table.loc[catalog.ids, list(LABELS.columns)].to_numpy(np.float32)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} cannot be read: {error}\nDelete the folder {path.parent}; it is then simulated again."
        ) from error
