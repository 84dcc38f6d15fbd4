"""Image files: in the folder of a user, and in the folder of a survey that names them by ids."""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, NoReturn

from galaxy.surveys.catalog import DeepPicture, FitsImage, ImageSource
from galaxy.surveys.ids import is_id, written
from galaxy.surveys.problems import Mistakes
from galaxy.system.errors import UserError

_log = logging.getLogger(__name__)

FITS_ENDINGS = tuple(
    f"{ending}{packed}" for ending in (".fits", ".fit", ".fts") for packed in ("", ".gz", ".fz", ".bz2")
)
PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".avif", ".jp2")
IMAGE_ENDINGS = (*PICTURE_ENDINGS, *FITS_ENDINGS)
_IMAGE = re.compile(
    rf"(?P<stem>.+?)({'|'.join(map(re.escape, IMAGE_ENDINGS))})", re.IGNORECASE | re.DOTALL | re.ASCII
)


@dataclass(frozen=True)
class Stretch:
    """How files with more than 8 bits a sample become pictures.

    Attributes:
        bands: The planes of a cube that become red, green and blue, or one plane for a grey picture; from 0.
            None for cubes of three planes, from blue to red.
        softening: The softening of the asinh stretch of FITS images, in standard deviations of the sky; above
            0.
        hdu: The part of a FITS file that holds the image, by name or number, or several that are stacked to a
            cube; None for the only image.
        plane_axis: The axis of a cube that counts its planes; None for the one that is by far the shortest.
        white: The value that becomes white in other files; None for the largest value of 16 bits.
        band_files: The names of bands, from blue to red, that tell the files of one galaxy apart; see
            `galaxy.surveys.band_files`. Empty if each file is an image of its own. None refuses files whose
            names look like bands.

    Raises:
        ValueError: A number is out of range.
    """

    bands: Sequence[int] | None = None
    softening: float = 10.0
    hdu: int | str | Sequence[int | str] | None = None
    plane_axis: Literal["first", "last"] | None = None
    white: float | None = None
    band_files: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.bands is not None and (len(self.bands) not in (1, 3) or min(self.bands) < 0):
            raise ValueError(
                f"bands is {list(self.bands)}; it must be three planes of a FITS cube, counted from 0, for "
                "red, green and blue, or one plane for a grey picture"
            )
        if not 0 < self.softening < float("inf"):
            raise ValueError(f"softening is {self.softening}; it must be a number above 0")
        if self.hdu == [] or any(isinstance(part, int) and part < 0 for part in self._parts):
            raise ValueError(
                f"hdu is {self.hdu}; it must be the name or the number (from 0) of a part of a FITS file, or "
                "a list of them"
            )
        if self.plane_axis not in (None, "first", "last"):
            raise ValueError(f"plane_axis is {self.plane_axis}; it must be first, last or null")
        if self.white is not None and not 0 < self.white < float("inf"):
            raise ValueError(f"white is {self.white}; it must be a number above 0, or null")
        if self.band_files:
            self._check_band_files(list(self.band_files))

    def _check_band_files(self, names: list[str]) -> None:
        if len(names) == 1 or len({name.lower() for name in names}) < len(names) or "" in names:
            raise ValueError(
                f"band_files is {names}; it must name two bands or more, such as [g, r, z], each once, or be "
                "[] if each file is a galaxy"
            )
        if self.bands is None and len(names) != 3:
            raise ValueError(
                f"bands is null with {len(names)} band_files; it must say which of these, counted from 0, "
                "become red, green and blue, or which one becomes grey"
            )
        if self.bands is not None and max(self.bands) >= len(names):
            raise ValueError(
                f"bands is {list(self.bands)} with {len(names)} band_files; it must count these from 0"
            )

    @property
    def _parts(self) -> tuple[int | str, ...]:
        if self.hdu is None:
            return ()
        return (self.hdu,) if isinstance(self.hdu, int | str) else tuple(self.hdu)

    def source(self, path: Path, *further: Path) -> ImageSource:
        """The image in a file, which may or may not be a FITS file, or in one FITS file for each band."""
        if is_fits(path.name):
            bands, axis = tuple(self.bands or ()), self.plane_axis or ""
            return FitsImage(path, bands, self.softening, self._parts, axis, further)
        return path if self.white is None else DeepPicture(path, self.white)


def is_fits(name: str) -> bool:
    """Whether a file is a FITS file, as its name tells."""
    return name.lower().endswith(FITS_ENDINGS)


def is_image(name: str) -> bool:
    """Whether a file is an image, as its name tells."""
    return _IMAGE.fullmatch(name) is not None


def image_stem(name: str) -> str:
    """A name without the ending of an image, if it has one. Names of galaxies have points in them, too."""
    image = _IMAGE.fullmatch(name)
    return name if image is None else image["stem"]


def image_files(folder: Path) -> dict[str, str]:
    """Finds the images in a folder and the folders below it.

    Hidden files and folders are left out, and so are files whose ending, in small or capital letters, is none
    of `IMAGE_ENDINGS`. The log says how many of the latter there are.

    Args:
        folder: The folder. Links are followed.

    Returns:
        The path of each image relative to the folder, with "/", and the same without the ending; sorted by
        path. The latter has accented letters as one character each, as `written` makes them.

    Raises:
        UserError: A folder cannot be read.
    """
    found: dict[str, str] = {}
    others: Counter[str] = Counter()
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
            if name.startswith("."):
                continue
            if image := _IMAGE.fullmatch(name):
                found[prefix + name] = written(prefix + image["stem"])
            else:
                others[os.path.splitext(name)[1].lower() or "without an ending"] += 1  # noqa: PTH122
    if others:
        kinds = ", ".join(f"{ending} ({count:,})" for ending, count in others.most_common(10))
        text = kinds.encode(errors="backslashreplace").decode()
        _log.info("%s has files that do not end as images do, which are left out: %s", folder, text)
    return dict(sorted(found.items()))


def in_real_folder(path: str) -> str:
    """A path whose folder is written in one way, however many links lead to it."""
    folder, name = os.path.split(path)
    return os.path.join(_real(folder), name)  # noqa: PTH118  it is fast


@lru_cache(1024)
def _real(folder: str) -> str:
    return os.path.realpath(folder)


def no_folder(path: Path) -> str:
    """What is wrong with a path that is no folder."""
    return "is a file, not a folder" if path.exists() else "does not exist"


def existing(path: str) -> str:
    """Returns a path as it is on the disk, where accented letters may be written as one character or two."""
    forms = (path, written(path), unicodedata.normalize("NFD", path))
    return next(filter(os.path.isfile, forms), path)


def images_in(folder: Path, id_name: str, layout: str) -> tuple[dict[int, Path], Mistakes]:
    """Finds the JPEG and PNG files in a folder that are named by the ids of the galaxies.

    Files with other endings, and hidden ones (macOS makes some), are ignored. If the folder holds no image
    and a single folder, as some programs unpack an archive, the images are looked for in there.

    Args:
        folder: The folder of the images.
        id_name: The name of the ids in the survey.
        layout: What the folder of the survey must hold, for the error.

    Returns:
        The image of each id, and the mistakes: files that are not named by an id, or by the id of another.

    Raises:
        UserError: The folder is missing, a file, or holds no image.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} {no_folder(folder)}.\n{layout}")
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith((".", "__"))]
    images: dict[int, Path] = {}
    strangers = []
    found = False
    for name in names:
        stem, ending = os.path.splitext(name)  # noqa: PTH122  a Path for each of 240,000 names takes a second
        if ending.lower() not in (".jpg", ".jpeg", ".png"):
            continue
        found = True
        if not is_id(stem):
            strangers.append(f"{folder.name}/{name}: the name is not a {id_name}")
        elif int(stem) in images:
            strangers.append(f"{folder.name}/{name}: {images[int(stem)].name} has the same name")
        else:
            images[int(stem)] = folder / name
    if not found:
        deeper = [folder / name for name in names if (folder / name).is_dir()]
        if len(deeper) == 1:
            return images_in(deeper[0], id_name, layout)
        there = ", ".join(sorted(names)[:5]) + ", ..." * (len(names) > 5)
        raise UserError(
            f"No usable galaxy: {folder} holds no .jpg or .png file; it holds {there or 'nothing'}.\n{layout}"
        )
    return images, Mistakes(f"image file name(s) that are not a {id_name} of their own", sorted(strangers))


def _unreadable(error: OSError) -> NoReturn:
    raise UserError(f"{error.filename} cannot be read: {error.strerror}.") from error
