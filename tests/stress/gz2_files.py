"""Files of invented galaxies in the layout of Galaxy Zoo 2, with the size and the gaps of the real ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.csv
from numpy.typing import NDArray

from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2, hart16_columns
from galaxy.surveys.gz2 import CLASS, IMAGES, MAPPING, SUFFIXES, TABLE

CHUNK = 20_000  # rows in memory
FIRST_ID = 587_722_981_741_363_294  # a real id; floats cannot tell it from its neighbours
VOLUNTEERS = 44  # the mean number for each galaxy (Willett et al. 2013)


@dataclass(frozen=True)
class Sizes:
    """The sizes of the files. The defaults are those of the published files.

    Attributes:
        rows: The number of rows of the label table.
        empty: The number of rows with an empty debiased fraction.
        unpictured: The number of other rows whose image is missing.
        lone_images: The number of images of galaxies that are not in the label table.
        objids: The number of galaxies in the mapping.
        twice: The number of these galaxies with a second asset, which has no image.
    """

    rows: int = 239_695
    empty: int = 306
    unpictured: int = 122
    lone_images: int = 3_861
    objids: int = 325_651
    twice: int = 30_339


def write_gz2(root: Path, sizes: Sizes, seed: int = 0) -> None:
    """Writes the label table with its 231 columns, the mapping, and images without content."""
    rng = np.random.default_rng(seed)
    objids = FIRST_ID + 97 * rng.permutation(sizes.objids)
    assets = 1 + np.arange(sizes.objids + sizes.twice)
    gaps = rng.permutation(sizes.rows)[: sizes.empty + sizes.unpictured]
    empty, unpictured = gaps[: sizes.empty], gaps[sizes.empty :]
    pictured = np.arange(sizes.objids) < sizes.rows + sizes.lone_images
    pictured[unpictured] = False
    (root / IMAGES).mkdir(parents=True)
    for asset in assets[: sizes.objids][pictured].tolist():
        (root / IMAGES / f"{asset}.jpg").touch()
    mapping = {
        "objid": np.concatenate([objids, objids[: sizes.twice]]),
        "sample": np.repeat(["original", "stripe82_coadd_2"], [sizes.objids, sizes.twice]),
        "asset_id": assets,
    }
    pyarrow.csv.write_csv(pyarrow.table(mapping), root / MAPPING)
    chunks = (np.arange(first, min(first + CHUNK, sizes.rows)) for first in range(0, sizes.rows, CHUNK))
    first = _labels(objids, next(chunks), empty, rng)
    with pyarrow.csv.CSVWriter(root / TABLE, first.schema) as writer:
        writer.write_table(first)
        for rows in chunks:
            writer.write_table(_labels(objids, rows, empty, rng))


def _labels(
    objids: NDArray[np.int64], rows: NDArray[np.int64], empty: NDArray[np.int64], rng: np.random.Generator
) -> pyarrow.Table:
    """A piece of the label table, with its columns in their order."""
    # The fourth power makes the fractions as uneven as those of real volunteers, who mostly agree.
    chances, _ = GALAXY_ZOO_2.conditional(rng.random((len(rows), GALAXY_ZOO_2.size)) ** 4)
    of_question = GALAXY_ZOO_2.question_of
    asked = np.round(VOLUNTEERS * GALAXY_ZOO_2.reach(chances))[:, of_question]
    count = np.round(chances * asked)
    fraction, _ = GALAXY_ZOO_2.conditional(count)
    debiased = np.minimum(fraction * rng.uniform(0.7, 1.3, fraction.shape), 1)
    values = {
        "count": count.astype(np.int64),
        "weight": count * 0.98,
        "fraction": fraction.round(3).astype(np.float32).astype(np.float64),
        "weighted_fraction": fraction.round(3).astype(np.float32).astype(np.float64),
        "debiased": debiased,
        "flag": ((debiased >= 0.8) & (asked >= 20)).astype(np.int64),
    }
    nulls = np.zeros(debiased.shape, dtype=bool)
    lost = np.flatnonzero(np.isin(rows, empty))
    nulls[lost, rng.integers(GALAXY_ZOO_2.size, size=len(lost))] = True
    columns: dict[str, object] = {
        "dr7objid": objids[rows],
        "ra": rng.uniform(0, 360, len(rows)),
        "dec": rng.uniform(-10, 70, len(rows)),
        "rastring": np.full(len(rows), "12:11:41.82"),
        "decstring": np.full(len(rows), "-01:05:33.9"),
        "sample": np.full(len(rows), "original"),
        CLASS: _classes(debiased),
        "total_classifications": np.full(len(rows), VOLUNTEERS),
        "total_votes": count.sum(axis=1).astype(np.int64),
    }
    for answer in range(GALAXY_ZOO_2.size):
        for suffix in SUFFIXES:
            name = hart16_columns(suffix)[answer]
            mask = nulls[:, answer] if suffix == "debiased" else None
            columns[name] = pyarrow.array(values[suffix][:, answer], mask=mask)
    return pyarrow.table(columns)


def _classes(debiased: NDArray[np.float64]) -> list[str]:
    """The `gz2_class` of each galaxy by the rules of Willett et al. 2013, appendix."""
    best = [debiased[:, columns].argmax(axis=1).tolist() for columns in GALAXY_ZOO_2.slices]
    classes = []
    for first, edge_on, bar, spiral, bulge, odd, round_, feature, shape, winding, arms in zip(
        *best, strict=True
    ):
        if first == 2:
            classes.append("A")
            continue
        if first == 0:
            name = "E" + "ric"[round_]
        elif edge_on == 0:
            name = "Se" + "rbn"[shape]
        else:
            name = "S" + ("B" if bar == 0 else "") + "dcba"[bulge]
            name += "1234+?"[arms] + "tml"[winding] if spiral == 0 else ""
        classes.append(name + (f"({'rldiomu'[feature]})" if odd == 0 else ""))
    return classes
