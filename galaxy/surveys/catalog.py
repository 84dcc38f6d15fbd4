"""The catalog, which the reader of every survey returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galaxy.labels.labels import Labels


class Hdf5Image(NamedTuple):
    """One image of a dataset in an HDF5 file.

    Attributes:
        path: The file.
        dataset: The name of the dataset, which is (N, H, W, 3) uint8.
        row: The place of the image in the dataset.
    """

    path: Path
    dataset: str
    row: int

    def __str__(self) -> str:
        return f"{self.path}, {self.dataset}[{self.row}]"


class FitsImage(NamedTuple):
    """An image in a FITS file, which is stretched to 8 bits when it is read.

    Attributes:
        path: The file.
        bands: The planes of a cube that become red, green and blue, or one plane for a grey picture. Empty
            for a cube of three planes, from blue to red.
        softening: The softening of the asinh stretch, in standard deviations of the sky.
        hdu: The names or numbers (from 0) of the parts of the file that hold the image. Several are stacked
            to a cube. Empty for the only image of the file.
        plane_axis: The axis of a cube that counts its planes, "first" or "last" in NumPy's order; empty for
            the one that is by far the shortest.
        further: The files of further bands, whose planes follow those of `path`.
    """

    path: Path
    bands: tuple[int, ...]
    softening: float
    hdu: tuple[int | str, ...] = ()
    plane_axis: str = ""
    further: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return str(self.path)


class DeepPicture(NamedTuple):
    """A file of a picture, with the white level of samples that have more than 8 bits.

    Attributes:
        path: The file.
        white: The value that becomes white; above 0. Samples of 8 bits are left as they are.
    """

    path: Path
    white: float

    def __str__(self) -> str:
        return str(self.path)


class ParquetImage(NamedTuple):
    """An image file that is stored in a Parquet file.

    Attributes:
        path: The Parquet file.
        column: The column of bytes. One inside a struct has the name of the struct before it: `image.bytes`.
        row: The place of the image in the file, from 0.
        white: The value that becomes white in samples of more than 8 bits; see `DeepPicture`. None for the
            largest value of 16 bits.
    """

    path: Path
    column: str
    row: int
    white: float | None = None

    def __str__(self) -> str:
        return f"{self.path}, {self.column}[{self.row}]"


# The place of a galaxy's pixels. A path is a file of a picture.
ImageSource: TypeAlias = Path | Hdf5Image | FitsImage | DeepPicture | ParquetImage

# Batches and tables of predictions have columns of these names themselves.
TAKEN_NAMES = frozenset(
    ("image", "row", "target", "weight", "counts", "warp", "quarters", "mirror", "gains", "id", "class")
)


def is_taken(name: str) -> bool:
    """Whether batches or tables of predictions have columns of this name themselves."""
    return name in TAKEN_NAMES or name.startswith("true/")


# Writes predictions in a survey's own format into a file, from ids (N,) and fractions (N, K) of known labels.
Writer: TypeAlias = Callable[[Path, NDArray[np.int64], Labels, NDArray[np.float32]], None]


@dataclass(frozen=True)
class Catalog:
    """Galaxies with their images and, if they have any, their labels. Row i is the same galaxy everywhere.

    Example:
        >>> table = pd.DataFrame({"redshift": [0.1, 0.2], "survey": ["SDSS", "DECaLS"]})
        >>> images = (Path("1.jpg"), Path("2.jpg"))
        >>> catalog = Catalog("mine", np.array([1, 2]), images, extra_columns=table)
        >>> catalog.take(np.array([1])).extra_numbers
        {'redshift': array([0.2], dtype=float32)}

    Attributes:
        name: The name of the survey, as in `data=`.
        ids: (N,) int64, each once.
        images: The N places of the images.
        labels: The meaning of the targets, or None if the survey has no labels at all.
        targets: (N, K) float32 fractions in [0, 1], which are one-hot for classes that are known for sure;
            None if these galaxies have no labels.
        weights: (N, K) float32 in [0, 1], how far each target can be trusted; None if all are alike.
        counts: (N, K) float32, the number of votes for each answer; None if the survey does not say.
        expected: (N, K) float32, the probabilities that the votes were drawn from, which are known for
            simulated galaxies only. A perfect model predicts them, and its RMSE is the noise floor.
        names: The names of the galaxies; None if these are the ids.
        strata: (N,) int64, the kind of each galaxy, for splits that hold each kind in the same share; None if
            the survey has no kinds.
        extra_columns: Further columns of the survey's table, N rows, such as ra and redshift; None if there
            are none. Tables of predictions carry all of them. Batches hold the numbers among them, each
            under its own name as (B,) float32, NaN where one is missing.
        groups: (N,) int64. Galaxies of one group belong in the same split because they show the same piece
            of sky. None if each galaxy stands alone.
        splits: (N,) text, "train", "val" or "test" for galaxies whose split the survey has fixed, "" for the
            others; None if it fixes none.
        any_frame: Whether the images may differ in width and height, as cutouts scaled to each galaxy do. If
            not, an image of another size is bad.
        takes_groups: Whether the survey's reader has the setting `group_column`.
        label_advice: How this data gets labels, in words, where it has none.
        skipped: One line for each row or file that was left out under `on_bad="skip"`.
        writer: Writes predictions in the survey's own format, for surveys that ask for predictions; called
            with the file, ids (N,), labels and fractions (N, K). None if the survey has no such format.

    Raises:
        ValueError: An extra column has a name that is taken.
    """

    name: str
    ids: NDArray[np.int64]
    images: tuple[ImageSource, ...]
    labels: Labels | None = None
    targets: NDArray[np.float32] | None = None
    weights: NDArray[np.float32] | None = None
    counts: NDArray[np.float32] | None = None
    expected: NDArray[np.float32] | None = None
    names: tuple[str, ...] | None = None
    strata: NDArray[np.int64] | None = None
    extra_columns: pd.DataFrame | None = None
    groups: NDArray[np.int64] | None = None
    splits: NDArray[np.str_] | None = None
    any_frame: bool = False
    takes_groups: bool = False
    label_advice: str = ""
    skipped: tuple[str, ...] = ()
    writer: Writer | None = None

    def __post_init__(self) -> None:
        if self.extra_columns is None:
            return
        names = [str(name) for name in self.extra_columns]
        answers = () if self.labels is None else self.labels.columns
        for name in names:
            if is_taken(name):
                raise ValueError(
                    f"extra_columns holds {name}, which batches or tables of predictions have themselves: "
                    "rename it in the table, or leave it out"
                )
            if name in answers or names.count(name) > 1:
                what = "is one of the answers" if name in answers else "comes twice"
                raise ValueError(f"extra_columns holds {name}, which {what}: leave it out")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def identifiers(self) -> NDArray[np.generic]:
        """The names of the galaxies in tables, (N,); their ids if they have no names."""
        return self.ids if self.names is None else np.array(self.names, dtype=object)

    @property
    def extra_numbers(self) -> dict[str, NDArray[np.float32]]:
        """The extra columns that are numbers, (N,) float32 each, with NaN for missing ones."""
        if self.extra_columns is None:
            return {}
        numbers = self.extra_columns.select_dtypes(["number", "bool"])
        return {str(name): numbers[name].to_numpy(np.float32, na_value=np.nan) for name in numbers}

    @property
    def known_targets(self) -> NDArray[np.float32] | None:
        """Returns the (N, K) float32 targets, with NaN in place of unknown ones, whose weight is 0."""
        if self.targets is None or self.weights is None:
            return self.targets
        return np.where(self.weights > 0, self.targets, np.float32(np.nan))

    def take(self, rows: NDArray[np.int64], skipped: tuple[str, ...] = ()) -> Catalog:
        """Selects galaxies.

        Args:
            rows: The rows of the galaxies to take, in this order.
            skipped: Lines to add to `Catalog.skipped`.
        """
        arrays = ("ids", "targets", "weights", "counts", "expected", "strata", "groups", "splits")
        tuples = ("images", "names")
        taken: dict[str, Any] = {}
        for name in arrays:
            values = getattr(self, name)
            taken[name] = None if values is None else values[rows]
        for name in tuples:
            items = getattr(self, name)
            taken[name] = None if items is None else tuple(items[row] for row in rows.tolist())
        if self.extra_columns is not None:
            taken["extra_columns"] = self.extra_columns.iloc[rows].reset_index(drop=True)
        return replace(self, **taken, skipped=self.skipped + skipped)
