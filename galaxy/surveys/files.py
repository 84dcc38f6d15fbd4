"""Image files: in the folder of a user, and in the folder of a survey that names them by ids."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from galaxy.surveys.catalog import FitsImage, ImageSource
from galaxy.surveys.ids import is_id
from galaxy.surveys.problems import Mistakes
from galaxy.system.errors import UserError

FITS_ENDINGS = (".fits", ".fits.gz", ".fits.fz", ".fit", ".fit.gz", ".fts")
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", *FITS_ENDINGS)
_IMAGE = re.compile(
    rf"(?P<stem>.+?)({'|'.join(map(re.escape, IMAGE_ENDINGS))})", re.IGNORECASE | re.DOTALL | re.ASCII
)


@dataclass(frozen=True)
class Stretch:
    """How FITS files become pictures; see `FitsImage`.

    Attributes:
        bands: The planes of a cube that become red, green and blue, or one plane for a grey picture; from 0.
        softening: The softening of the asinh stretch, in standard deviations of the sky; above 0.

    Raises:
        ValueError: A number is out of range.
    """

    bands: Sequence[int] = (2, 1, 0)
    softening: float = 10.0

    def __post_init__(self) -> None:
        if len(self.bands) not in (1, 3) or min(self.bands) < 0:
            raise ValueError(
                f"bands is {list(self.bands)}; it must be three planes of a FITS cube, counted from 0, for "
                "red, green and blue, or one plane for a grey picture"
            )
        if not 0 < self.softening < float("inf"):
            raise ValueError(f"softening is {self.softening}; it must be a number above 0")

    def source(self, path: Path) -> ImageSource:
        """The image in a file, which may or may not be a FITS file."""
        if path.name.lower().endswith(FITS_ENDINGS):
            return FitsImage(path, tuple(self.bands), self.softening)
        return path


def without_ending(name: str) -> str:
    """Returns the name of a file without its ending, such as ngc1300 for ngc1300.fits.gz."""
    image = _IMAGE.fullmatch(name)
    return image["stem"] if image else Path(name).stem


def image_files(folder: Path) -> dict[str, str]:
    """Finds the images in a folder and the folders below it.

    Hidden files and folders are left out, and so are files whose ending, in small or capital letters, is none
    of `IMAGE_ENDINGS`.

    Args:
        folder: The folder. Links are followed.

    Returns:
        The path of each image relative to the folder, with "/", and the same without the ending; sorted by
        path.

    Raises:
        UserError: A folder cannot be read.
    """
    found: dict[str, str] = {}
    seen = set()
    for parent, folders, names in os.walk(folder, onerror=_unreadable, followlinks=True):
        # A link may lead back to a folder that has been read already.
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


def images_in(folder: Path, id_name: str, layout: str) -> tuple[dict[int, Path], Mistakes]:
    """Finds the JPEG files in a folder that are named by the ids of the galaxies.

    Files with other endings, and hidden ones (macOS makes some), are ignored.

    Args:
        folder: The folder of the images.
        id_name: The name of the ids in the survey.
        layout: What the folder of the survey must hold, for the error.

    Returns:
        The image of each id, and the mistakes: files that are not named by an id.

    Raises:
        UserError: The folder is missing or a file.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {what}.\n{layout}")
    images: dict[int, Path] = {}
    strangers = []
    with os.scandir(folder) as entries:
        for name in (entry.name for entry in entries):
            stem, ending = os.path.splitext(name)  # noqa: PTH122  a Path for each of 240,000 names takes a second
            if ending != ".jpg" or name.startswith("."):
                continue
            if is_id(stem):
                images[int(stem)] = folder / name
            else:
                strangers.append(f"{folder.name}/{name}: the name is not a {id_name}")
    return images, Mistakes(f"image file name(s) that are not a {id_name}", sorted(strangers))


def _unreadable(error: OSError) -> NoReturn:
    raise UserError(f"{error.filename} cannot be read: {error.strerror}.") from error
