"""Reads images in HDF5 files."""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from galaxy.images import BadImageError
from galaxy.images.crops import Pixels
from galaxy.images.reading import refuse_passing
from galaxy.surveys.catalog import Hdf5Image

if TYPE_CHECKING:
    import h5py


# The errors that h5py raises for a damaged file.
_DAMAGED = (OSError, RuntimeError, LookupError, TypeError, ValueError)
# The most bytes of decompressed chunks that h5py keeps, where a chunk holds parts of many images.
_MOST_KEPT = 2**30


class Hdf5Files:
    """Reads images of HDF5 files. Each file is opened once and kept open.

    Threads may share an object, because h5py lets only one of them read at a time.
    """

    def __init__(self) -> None:
        self._files = ExitStack()
        self._datasets: dict[tuple[Path, str], tuple[h5py.Dataset, NDArray[np.bool_]]] = {}
        self._opening = Lock()

    def read(self, source: Hdf5Image) -> Pixels:
        """Reads one image, (H, W, 3) uint8, and no other part of the file.

        Raises:
            BadImageError: The file cannot be opened, or this image in it is damaged or was never written.
            UserError: The disk or the system failed, or a program is writing the file.
        """
        try:
            dataset, stored = self._dataset(source)
            image: Pixels = dataset[source.row]
            whole = stored[source.row] and image.any()
        except _DAMAGED as error:
            refuse_passing(source.path, error)
            raise BadImageError(f"cannot be read ({error})") from error
        if not whole:  # HDF5 returns zeros for chunks that it does not find.
            raise BadImageError("is not in the file: it was never written, or its place is lost")
        return image

    def close(self) -> None:
        """Closes all files."""
        self._files.close()

    def _dataset(self, source: Hdf5Image) -> tuple[h5py.Dataset, NDArray[np.bool_]]:
        """Opens a dataset; returns it, and whether each of its images is stored, (N,)."""
        # Few surveys are in HDF5, and others need not wait for the import.
        import h5py  # noqa: PLC0415

        key = source.path, source.dataset
        with self._opening:
            if key not in self._datasets:
                with h5py.File(source.path) as file:
                    room = _room(file[source.dataset])
                file = self._files.enter_context(h5py.File(source.path, **room))
                self._datasets[key] = file[source.dataset], _stored(file[source.dataset])
            return self._datasets[key]


def _stored(dataset: h5py.Dataset) -> NDArray[np.bool_]:
    """Finds which images the file holds completely, as far as its index tells, (N,)."""
    if dataset.chunks is None:
        return np.full(len(dataset), dataset.id.get_storage_size() >= dataset.nbytes)
    grid = [math.ceil(side / part) for side, part in zip(dataset.shape, dataset.chunks, strict=True)]
    found = np.zeros(grid, dtype=bool)

    def note(chunk: Any) -> None:
        place = [divmod(start, part) for start, part in zip(chunk.chunk_offset, dataset.chunks, strict=True)]
        # A chunk whose recorded place is damaged does not count: reading would not find it.
        if all(not rest and number < side for (number, rest), side in zip(place, grid, strict=True)):
            found[tuple(number for number, _ in place)] = True

    dataset.id.chunk_iter(note)
    return np.repeat(found.all(axis=(1, 2, 3)), dataset.chunks[0])[: len(dataset)]


def _room(dataset: h5py.Dataset) -> dict[str, int]:
    """Returns the options to open a file with, so that h5py keeps the chunks of two neighbouring images.

    By default h5py writes chunks that hold some hundred pixels of some hundred images, and keeps a megabyte
    of them. Each image would then cost the decompression of some hundred.
    """
    if dataset.chunks is None or dataset.chunks[0] == 1:
        return {}
    sides = zip(dataset.shape[1:], dataset.chunks[1:], strict=True)
    pieces = math.prod(math.ceil(side / part) for side, part in sides)
    size = 2 * pieces * math.prod(dataset.chunks)
    # With a hundred slots for each chunk, two chunks hardly ever share one. With `rdcc_w0` at 1, chunks that
    # were read completely are dropped first.
    return {"rdcc_nbytes": min(size, _MOST_KEPT), "rdcc_nslots": 200 * pieces + 1, "rdcc_w0": 1}
