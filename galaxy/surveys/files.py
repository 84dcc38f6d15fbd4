"""What a user's own tables and folders share: the image files, and the ids of galaxies that have names."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from galaxy.surveys.catalog import FitsImage, ImageSource, id_of
from galaxy.surveys.problems import is_id
from galaxy.system.errors import UserError

FITS_ENDINGS = (".fits", ".fits.gz", ".fits.fz", ".fit", ".fit.gz", ".fts")
ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", *FITS_ENDINGS)
_IMAGE = re.compile(
    rf"(?P<stem>.+?)({'|'.join(map(re.escape, ENDINGS))})", re.IGNORECASE | re.DOTALL | re.ASCII
)


class Stretch(NamedTuple):
    """How the FITS files among the images become pictures; see `FitsImage`."""

    bands: tuple[int, ...]
    softening: float

    def check(self) -> None:
        """Raises UserError where the numbers make no sense."""
        if len(self.bands) not in (1, 3) or min(self.bands) < 0:
            raise UserError(
                f"data.catalog.bands is {list(self.bands)}; it must be three planes of a FITS cube, counted "
                "from 0, for red, green and blue, or one plane for a grey picture"
            )
        if not 0 < self.softening < float("inf"):
            raise UserError(f"data.catalog.softening is {self.softening}; it must be a number above 0")

    def source(self, path: Path) -> ImageSource:
        """The image in a file of either kind."""
        if path.name.lower().endswith(FITS_ENDINGS):
            return FitsImage(path, self.bands, self.softening)
        return path


def image_files(folder: Path) -> dict[str, str]:
    """The images in a folder and the folders below it.

    Hidden files and folders, and files with other endings than `ENDINGS` in either case, are left out.

    Args:
        folder: Where to look. Links are followed.

    Returns:
        Path relative to the folder, with "/", and the same without the ending; sorted by path.

    Raises:
        UserError: A folder cannot be read.
    """
    found: dict[str, str] = {}
    seen = set()
    for parent, folders, names in os.walk(folder, onerror=_unreadable, followlinks=True):
        # A link may lead back to a folder that was read before.
        real = os.path.realpath(parent)
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        if real in seen:
            continue
        seen.add(real)
        inside = Path(parent).relative_to(folder).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        for name in names:
            if not name.startswith(".") and (image := _IMAGE.fullmatch(name)):
                found[prefix + name] = prefix + image["stem"]
    return dict(sorted(found.items()))


def identify(names: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...] | None]:
    """The ids of galaxies that a user calls by these names.

    A name that is a whole number is the id; any other name has the id of `id_of`. So each id depends on its
    own name alone, and galaxies stay in their splits when others are added.

    Returns:
        (N,) int64, and the names where some are no numbers.
    """
    ids = np.array([int(name) if is_id(name) else id_of(name) for name in names], dtype=np.int64)
    return ids, None if all(map(is_id, names)) else tuple(names)


def _unreadable(error: OSError) -> NoReturn:
    raise UserError(f"{error.filename} cannot be read: {error.strerror}.") from error
