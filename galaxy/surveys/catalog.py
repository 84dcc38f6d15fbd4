"""What every survey's reader returns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from galaxy.labels.labels import Labels


class Hdf5Image(NamedTuple):
    """One image of a dataset (N, H, W, 3) uint8 in an HDF5 file."""

    path: Path
    dataset: str
    row: int

    def __str__(self) -> str:
        return f"{self.path}, {self.dataset}[{self.row}]"


class FitsImage(NamedTuple):
    """An image in a FITS file, to be stretched to 8 bits.

    Attributes:
        path: The file.
        bands: Planes of a cube that become red, green and blue; one plane for a grey picture.
        softening: Of the asinh stretch, in standard deviations of the sky.
    """

    path: Path
    bands: tuple[int, ...]
    softening: float

    def __str__(self) -> str:
        return str(self.path)


# Where the pixels of a galaxy are; a path is an image file.
ImageSource: TypeAlias = Path | Hdf5Image | FitsImage


@dataclass(frozen=True)
class Catalog:
    """Galaxies with their images and, if they have any, their labels; row i is the same galaxy everywhere.

    Attributes:
        name: The survey, as in `data=`.
        ids: (N,) int64, unique.
        images: N places of images.
        labels: What the targets are, or None where the survey has no labels at all.
        targets: (N, K) float32 fractions in [0, 1], one-hot for classes that are known for sure; None where
            these galaxies have no labels.
        weights: (N, K) float32 in [0, 1], how far each target can be trusted; None if all alike.
        counts: (N, K) float32 votes each answer got, or None where the survey does not say.
        expected: (N, K) float32 probabilities that the votes were drawn from, known for simulated galaxies
            only. A perfect model predicts these; its RMSE is the noise floor.
        names: What the survey calls the galaxies, where that is not the id.
        strata: (N,) int64 kind of each galaxy, for splits that hold each kind in the same share; None where
            the survey has no kinds.
        groups: (N,) int64; galaxies of the same group belong in the same split, for they show the same
            piece of sky. None where each galaxy stands alone.
        any_frame: Whether the images may differ in width and height, as cutouts scaled to each galaxy do;
            where they may not, one that does is bad.
        skipped: One line for each row or file left out under `on_bad="skip"`.
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
    groups: NDArray[np.int64] | None = None
    any_frame: bool = False
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def identifiers(self) -> NDArray[np.generic]:
        """What tables call the galaxies: their names, else their ids; (N,)."""
        return self.ids if self.names is None else np.array(self.names, dtype=object)

    def take(self, rows: NDArray[np.int64], skipped: tuple[str, ...] = ()) -> Catalog:
        """The galaxies of these rows, in this order; `skipped` is added to the report of those left out."""
        arrays = ("ids", "targets", "weights", "counts", "expected", "strata", "groups")
        tuples = ("images", "names")
        taken: dict[str, Any] = {}
        for name in arrays:
            values = getattr(self, name)
            taken[name] = None if values is None else values[rows]
        for name in tuples:
            items = getattr(self, name)
            taken[name] = None if items is None else tuple(items[row] for row in rows.tolist())
        return replace(self, **taken, skipped=self.skipped + skipped)


def id_of(name: str) -> int:
    """The id of a galaxy that its survey calls by a name: 63 bits of a hash, the same everywhere."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") >> 1
