"""Images in HDF5 files."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from galaxy.catalogs.catalog import Hdf5Image
from galaxy.images.crops import Pixels
from galaxy.images.errors import BadImageError

if TYPE_CHECKING:
    import h5py


class Hdf5Files:
    """Reads images of HDF5 files, each opened once and kept open. Threads may share it: h5py takes turns."""

    def __init__(self) -> None:
        self._files = ExitStack()
        self._datasets: dict[tuple[Path, str], h5py.Dataset] = {}
        self._opening = Lock()

    def read(self, source: Hdf5Image) -> Pixels:
        """One image, (H, W, 3) uint8; only its own part of the file is read.

        Raises:
            BadImageError: The file cannot be opened, or this image in it is damaged.
        """
        try:
            with self._opening:
                dataset = self._dataset(source.path, source.dataset)
            return dataset[source.row]
        except (OSError, LookupError) as error:
            raise BadImageError(f"cannot be read ({error})") from error

    def close(self) -> None:
        """Closes all files."""
        self._files.close()

    def _dataset(self, path: Path, name: str) -> h5py.Dataset:
        # Imported on use: few surveys are in HDF5.
        import h5py  # noqa: PLC0415

        if (path, name) not in self._datasets:
            self._datasets[path, name] = self._files.enter_context(h5py.File(path))[name]
        return self._datasets[path, name]
