"""Galaxy10 DECaLS: 17,736 colour images of 256 x 256 pixels, each of one of ten classes.

https://astronn.readthedocs.io/en/latest/galaxy10.html (Leung and Bovy). The images are from the DESI Legacy
Imaging Surveys; the classes are those on which more than 55 % of the Galaxy Zoo volunteers agreed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galaxy.labels.labels import class_labels
from galaxy.surveys.catalog import Catalog, Hdf5Image
from galaxy.surveys.problems import RowCheck, raise_or_list, warn_of_rare
from galaxy.system.errors import UserError, listing, meant

# The classes, in the order and the words of astroNN's documentation. Its code misnames the fourth.
CLASSES = {
    "disturbed": "Disturbed",
    "merging": "Merging",
    "round_smooth": "Round Smooth",
    "in_between_round_smooth": "In-between Round Smooth",
    "cigar_shaped_smooth": "Cigar Shaped Smooth",
    "barred_spiral": "Barred Spiral",
    "unbarred_tight_spiral": "Unbarred Tight Spiral",
    "unbarred_loose_spiral": "Unbarred Loose Spiral",
    "edge_on_without_bulge": "Edge-on without Bulge",
    "edge_on_with_bulge": "Edge-on with Bulge",
}
LABELS = class_labels(tuple(CLASSES.values()), "Which kind of galaxy is it?", tuple(CLASSES))

_FRAME = (256, 256, 3)
_SOURCE = (
    "Download it (2.5 GB) from https://zenodo.org/records/10845026; its SHA-256 is\n"
    "19aefc477c41bb7f77ff07599a6b82a038dc042f889a111b0d4d98bb755c1571."
)
_Columns = dict[str, NDArray[Any]]


def read_galaxy10(
    root: Path,
    on_bad: Literal["error", "skip"] = "error",
    file: str = "Galaxy10_DECals.h5",
    separation: float = 33.0,
) -> Catalog:
    """Reads the HDF5 file except its images, which are read later.

    Galaxies that are closer on the sky than `separation` share a group because each is in the picture of the
    other. In the published coordinates, 59 pairs of galaxies are in the very same place, with different
    classes.

    Args:
        root: The folder with the file.
        on_bad: What to do about rows that cannot be used: "error" lists them and stops, "skip" leaves them
            out and lists them in `Catalog.skipped`. A file that is not as it should be always stops.
        file: The name of the file. It holds `images` (N, 256, 256, 3) uint8 and `ans` (N,), the classes from
            0 to 9. It may hold `ra` and `dec` (N,) in degrees; without them there are no groups.
        separation: The distance in seconds of arc, above 0 and at most 3600. Half the side of an image is
            33.5 seconds of arc, at 0.262 a pixel.

    Returns:
        The catalog. Ids are the rows of the file, targets (N, 10) float32 are one-hot, strata are the
        classes.

    Raises:
        ValueError: The separation is out of range.
        UserError: The file is missing, damaged or not Galaxy10 DECaLS, or (with "error") rows are bad. The
            message lists all of them, each for the first mistake found in it.
    """
    if not 0 < separation <= 3600:
        raise ValueError(f"separation is {separation}; it must be above 0 and at most 3600 (seconds of arc)")
    path = Path(root).expanduser() / file
    columns = _read(path)
    check = _check_rows(path.name, columns)
    skipped = raise_or_list(check.mistakes, on_bad, f"The galaxies of {path}")
    rows = np.flatnonzero(~check.bad)
    if not len(rows):
        raise UserError(f"No usable galaxy in {path}.\n{listing(skipped)}".rstrip())
    classes = columns["ans"][rows].astype(np.int64)
    warn_of_rare(LABELS, classes)
    groups = sky = None
    if "ra" in columns:
        sky = pd.DataFrame({name: columns[name][rows] for name in ("ra", "dec")})
        groups = sky_groups(rows, columns["ra"][rows], columns["dec"][rows], separation)
    return Catalog(
        name="galaxy10",
        ids=rows,
        images=tuple(Hdf5Image(path, "images", row) for row in rows.tolist()),
        labels=LABELS,
        targets=np.eye(len(CLASSES), dtype=np.float32)[classes],
        strata=classes,
        extra_columns=sky,
        groups=groups,
        skipped=skipped,
    )


def _read(path: Path) -> _Columns:
    """The columns `ans` and, if the file has coordinates, `ra` and `dec`."""
    import h5py  # noqa: PLC0415  few surveys need it

    if path.parent.is_file():
        raise UserError(
            f"{path.parent} is a file, not a folder. Give the folder as data.root "
            f"and the name as data.catalog.file={path.parent.name}."
        )
    if not path.is_file():
        raise UserError(f"There is no file {path}.\n{_SOURCE}")
    try:
        with h5py.File(path) as file:
            columns = _datasets(path, file)
            _check_layout(path, columns)
            return {name: column[:] for name, column in columns.items() if name != "images"}
    except (OSError, RuntimeError, LookupError, TypeError, ValueError) as error:
        # h5py raises any of these where the file is damaged.
        raise UserError(f"{path} cannot be read as an HDF5 file: {error}\n{_SOURCE}") from error


def _datasets(path: Path, file: Mapping[str, Any]) -> dict[str, Any]:
    """The datasets that are needed, by name."""
    needed = ["images", "ans"]
    if "ra" in file or "dec" in file:
        needed += ["ra", "dec"]
    others = [name for name in file if name not in needed]
    missing = [f"{name}{meant(name, others)}" for name in needed if name not in file]
    if missing:
        there = ", ".join(map(str, file)) or "none"
        raise UserError(f"{path} lacks datasets:\n{listing(missing)}\nIt has: {there}.\n{_SOURCE}")
    return {name: file[name] for name in needed}


def _check_layout(path: Path, columns: Mapping[str, Any]) -> None:
    wrong = [f"{name} is not a dataset" for name, column in columns.items() if not hasattr(column, "shape")]
    if not wrong:
        images = columns["images"]
        if images.shape[1:] != _FRAME or images.dtype != np.uint8:
            wrong.append(f"images is {images.shape} {images.dtype}, not (N, 256, 256, 3) uint8")
        for name, kinds, what in (("ans", "iu", "integers"), ("ra", "f", "floats"), ("dec", "f", "floats")):
            if name in columns and (
                columns[name].shape != images.shape[:1] or columns[name].dtype.kind not in kinds
            ):
                column = columns[name]
                wrong.append(f"{name} is {column.shape} {column.dtype}, not {images.shape[:1]} {what}")
    if wrong:
        raise UserError(f"{path} is not Galaxy10 DECaLS:\n{listing(wrong)}\n{_SOURCE}")


def _check_rows(name: str, columns: _Columns) -> RowCheck:
    """Checks the class and the coordinates of each row."""
    classes = columns["ans"]
    check = RowCheck(len(classes), lambda row: f"{name}, row {row}")
    check.report(
        "row(s) with a class outside 0 to 9",
        (classes < 0) | (classes >= len(CLASSES)),
        lambda row: f"ans is {classes[row]}",
    )
    if "ra" in columns:
        ra, dec = columns["ra"], columns["dec"]
        check.report(
            "row(s) with ra outside 0 to 360 or dec outside -90 to 90 degrees",
            ~((ra >= 0) & (ra <= 360) & (np.abs(dec) <= 90)),  # NaN compares false
            lambda row: f"ra is {ra[row]:g} and dec {dec[row]:g}",
        )
    return check


def sky_groups(
    ids: NDArray[np.int64], ra: NDArray[np.float64], dec: NDArray[np.float64], separation: float
) -> NDArray[np.int64]:
    """Groups galaxies on the sky that are connected by steps of at most `separation`.

    Args:
        ids: (N,) the ids of the galaxies.
        ra: (N,) right ascension in degrees.
        dec: (N,) declination in degrees.
        separation: The length of a step in seconds of arc, above 0.

    Returns:
        (N,) the smallest id in each galaxy's group. A galaxy that stands alone has its own id.
    """
    from sklearn.cluster import DBSCAN  # noqa: PLC0415  it takes a second to import

    # If one point is enough for a cluster, the clusters are the connected components.
    steps = DBSCAN(
        eps=np.radians(separation / 3600), min_samples=1, metric="haversine", algorithm="ball_tree"
    )
    cluster = steps.fit_predict(np.radians(np.column_stack([dec, ra])))
    smallest = np.full(len(ids), np.iinfo(np.int64).max)
    np.minimum.at(smallest, cluster, ids)
    return smallest[cluster]
