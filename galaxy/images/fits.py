"""Decodes images in FITS files: measured brightnesses are stretched to the 8 bits of a picture."""

from __future__ import annotations

import bz2
import gzip
import io
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galaxy.images import BadImageError
from galaxy.images.crops import Pixels
from galaxy.images.reading import refuse_passing
from galaxy.surveys.catalog import FitsImage
from galaxy.system.errors import UserError

# Black lies this many standard deviations of the sky below the sky, so that neither its noise nor an object
# as faint as the noise is cut in half.
_BLACK = 2.0
# White lies at least this many standard deviations above the sky. A frame of nothing but sky stays dark then.
_LEAST_WHITE = 20.0
# This percentage of the pixels is darker than white: all but the core of a galaxy, or of a star beside it.
_DARKER_THAN_WHITE = 99.8
# Compressed files begin with these bytes, whatever their names.
_COMPRESSED = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress}
# The pipelines of HST, JWST, DES, HSC and MUSE give the science image, beside its errors and its mask, one of
# these names.
_SCIENCE = ("SCI", "IMAGE", "DATA")
# An axis that is longer than this is not taken for that of the planes, unless the user says so.
_MOST_PLANES = 16
# The filters of the large surveys, from blue to red.
_FROM_BLUE_TO_RED = ("u", "g", "r", "i", "z", "y")
# The planes that become red, green and blue where there are three, from blue to red.
_BLUE_TO_RED = (2, 1, 0)
# The standard deviation of a normal distribution over its median absolute deviation.
_NORMAL = 1.4826


def decoded_fits(source: FitsImage, content: bytes, warn: Callable[[str], None]) -> Pixels:
    """Decodes the image of a FITS file, compressed (`.fz`, `.gz`, `.bz2`) or not, and stretches it.

    Axes of length 1 are dropped. What then has two axes is grey, and what has three is a cube of planes.

    Each plane p is measured against its own sky, x = (p - sky) / scatter + 2. The sky is the median of its
    pixels, and the scatter 1.4826 times their median absolute deviation, so that bands of different units or
    depths become comparable. Pixels without a value (NaN) count as sky. The stretch is that of Lupton et al.
    2004 (PASP 116, 133), which keeps colours in bright places. With the mean I of the planes at a pixel, and
    white w as the 99.8th percentile of I, each plane becomes

        x f(I) / I,  f(I) = min(1, asinh(I / softening) / asinh(w / softening)).

    Where a plane exceeds 1, all planes are divided by the largest. The stretch is linear for I well below
    `softening` and logarithmic above.

    The first row of a FITS image is the bottom of the picture. It becomes the last row, as viewers show it.

    Args:
        source: The file, and what to show of it. For an image with two axes `bands` is ignored.
        content: The bytes of the file, or of several as `joined` makes them.
        warn: Called with what should be said once for all images.

    Returns:
        (H, W, 3) uint8 RGB; a single plane is repeated three times.

    Raises:
        BadImageError: The file is damaged, as far as its length and its checksums tell. Or it has no image or
            several, too few planes, axes or planes that can be read in two ways, or a plane without content.
        UserError: astropy is not installed, or the system failed.
    """
    planes, bands = _planes(source, content, warn)
    x = np.stack([_above_sky(planes[band], band) for band in bands]) + _BLACK
    mean = x.mean(0)
    white = max(np.percentile(mean, _DARKER_THAN_WHITE), _BLACK + _LEAST_WHITE)
    stretched = np.arcsinh(mean / source.softening) / np.arcsinh(white / source.softening)
    x *= np.divide(np.minimum(stretched, 1), mean, out=np.zeros_like(mean), where=mean > 0)
    x /= np.maximum(x.max(0), 1)
    picture = (255 * x.clip(0)).round().astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(picture, (3, *mean.shape)).transpose(1, 2, 0)[::-1])


def _planes(
    source: FitsImage, content: bytes, warn: Callable[[str], None]
) -> tuple[NDArray[np.generic], Sequence[int]]:
    """Reads the image as (planes, H, W); adds which planes to show."""
    cube, filters = _cube_and_filters(source, content)
    if len(cube) == 1:
        return cube, (0,)
    if not source.bands:
        return cube, _usual_bands(source, len(cube), filters, warn)
    if max(source.bands) >= len(cube):
        raise BadImageError(
            f"the image has {len(cube)} planes; plane {max(source.bands)} (from 0) is missing: choose others "
            "with data.catalog.bands"
        )
    return cube, source.bands


def _usual_bands(
    source: FitsImage, planes: int, filters: str, warn: Callable[[str], None]
) -> tuple[int, ...]:
    """The planes that become red, green and blue where the user does not say which.

    Args:
        source: The image.
        planes: The number of its planes.
        filters: The filters of the planes, as the file names them; empty if it does not.
        warn: Called with a warning if only the user can know the order of the planes.

    Raises:
        BadImageError: There are not three planes, or their filters are known not to go from blue to red.
    """
    known = f" ({', '.join(filters)})" if len(filters) == planes else ""
    order = [_FROM_BLUE_TO_RED.index(name) for name in filters.lower() if name in _FROM_BLUE_TO_RED]
    ordered = len(order) == planes and order == sorted(order)
    if planes != len(_BLUE_TO_RED) or (known and not ordered):
        example = "0" if planes < len(_BLUE_TO_RED) else "0,1,2" if planes == len(_BLUE_TO_RED) else "3,2,1"
        raise BadImageError(
            f"the image has {planes} planes{known}: say which of them, counted from 0, become red, green and "
            "blue, or which one becomes grey, with data.catalog.bands, such as "
            f"data.catalog.bands=[{example}]"
        )
    if not known and len(source.hdu) <= 1 and not source.further:
        warn(
            f"FITS cubes of three planes, such as {source}, are taken for bands from blue to red: the last "
            "plane becomes red. data.catalog.bands=[2,1,0] says so too, and data.catalog.bands=[0,1,2] says "
            "that the first plane is red"
        )
    return _BLUE_TO_RED


def joined(files: Sequence[bytes]) -> bytes:
    """Makes one content of several files, each after the 8 bytes of its length."""
    return b"".join(len(file).to_bytes(8) + file for file in files)


def _separate(content: bytes) -> Iterator[bytes]:
    """Yields the files of which `joined` made one content."""
    start = 0
    while start < len(content):
        end = start + 8 + int.from_bytes(content[start : start + 8])
        yield content[start + 8 : end]
        start = end


def _cube_and_filters(source: FitsImage, content: bytes) -> tuple[NDArray[np.generic], str]:
    """Reads the image as (planes, H, W), and the filters of its planes if the file names them."""
    if not source.further:
        arrays, filters = _arrays(source, content)
        return _cube([_without_single_axes(array) for array in arrays], source.plane_axis), filters
    planes = []
    for path, file in zip((source.path, *source.further), _separate(content), strict=True):
        try:
            plane, _ = _cube_and_filters(source._replace(path=path, further=()), file)
            if len(plane) > 1:
                raise BadImageError(f"the image has {len(plane)} planes; a file of one band must have one")
        except BadImageError as error:
            raise BadImageError(f"{path.name}: {error}") from error
        planes.append(plane[0])
    if len({plane.shape for plane in planes}) > 1:
        shapes = _words([plane.shape for plane in planes])
        raise BadImageError(f"the files of its bands have images of {shapes}; they must have the same size")
    return np.stack(planes), ""


def _arrays(source: FitsImage, content: bytes) -> tuple[list[NDArray[np.generic]], str]:
    """Reads the parts of a file that hold the image, and the filters of its planes if the file names them."""
    try:
        from astropy.io import fits  # noqa: PLC0415  It is optional, and slow to import.
    except ImportError as error:
        raise UserError(
            "Images in FITS files are read with astropy, which is not installed.\n"
            "Install it: pip install 'galaxy-morphology[fits]'"
        ) from error
    arrays, filters = [], ""
    try:
        for magic, decompress in _COMPRESSED.items():
            if content.startswith(magic):
                content = decompress(content)  # Reading all of it checks its checksum.
        with fits.open(io.BytesIO(content)) as file:
            for hdu in _chosen(file, source.hdu):
                if isinstance(hdu, fits.CompImageHDU):
                    # The checksum of a compressed image is that of the table it is stored in.
                    with fits.open(io.BytesIO(content), disable_image_compression=True) as stored:
                        _check(stored[file.index(hdu)], len(content))
                else:
                    _check(hdu, len(content))
                arrays.append(hdu.data)
                # The Legacy Surveys write "grz" there.
                filters = re.sub(r"[\s,;]", "", str(hdu.header.get("BANDS", "")))
    except (BadImageError, MemoryError):
        raise
    except Exception as error:  # A damaged file makes astropy raise nearly anything.
        refuse_passing(source.path, error)
        raise BadImageError(
            f"cannot be read as a FITS file ({str(error) or type(error).__name__})"
        ) from error
    if any(array is None or array.size == 0 for array in arrays):
        raise BadImageError("the image has no pixels")
    return arrays, filters


def _chosen(file: Any, names: Sequence[int | str]) -> list[Any]:
    """Chooses the parts of an open file that hold the image. Tables and arrays of one axis are passed over.

    Args:
        file: The parts of the file.
        names: The names or numbers of the parts; empty for the only image. Of several images the one that has
            a usual name for the science image, and not for its errors or its mask, is the only one.
    """
    images = {number: hdu for number, hdu in enumerate(file) if hdu.is_image and len(hdu.shape) >= 2}
    if not images:
        raise BadImageError("the file has no image with two axes or more")
    if not names:
        science = [number for number, hdu in images.items() if hdu.name.upper() in _SCIENCE]
        only = science if len(science) == 1 else list(images)
        if len(only) > 1:
            raise BadImageError(
                f"the file has {len(images)} images, {_listed(images)}: name one, or those of three bands, "
                "with data.catalog.hdu"
            )
        return [images[only[0]]]
    chosen = []
    for name in names:
        found = [number for number, hdu in images.items() if name in (number, hdu.name)]
        found = found or [number for number, hdu in images.items() if str(name).upper() == hdu.name.upper()]
        if len(found) != 1:
            what = "several images" if found else "no image"
            raise BadImageError(
                f"data.catalog.hdu is {name}, but the file has {what} of this name: {_listed(images)}"
            )
        chosen.append(images[found[0]])
    return chosen


def _listed(images: dict[int, Any]) -> str:
    """Lists images by number, name and NumPy's shape."""
    return ", ".join(
        f"{number} {hdu.name}".rstrip() + f" ({_words([hdu.shape])})" for number, hdu in images.items()
    )


def _without_single_axes(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Drops axes of length 1, as radio astronomers write for the frequency and the polarisation."""
    while array.ndim > 2 and 1 in array.shape:
        array = array.squeeze(array.shape.index(1))
    return array


def _cube(arrays: list[NDArray[np.generic]], plane_axis: str) -> NDArray[np.generic]:
    """Makes a cube (planes, H, W) of one array with two or three axes, or of several with two."""
    shapes = [array.shape for array in arrays]
    if len(arrays) > 1:
        if len(set(shapes)) > 1 or len(shapes[0]) != 2:
            raise BadImageError(
                f"the images that data.catalog.hdu names are {_words(shapes)}; they must have two axes, and "
                "all the same size"
            )
        return np.stack(arrays)
    if len(shapes[0]) == 2:
        return arrays[0][None]
    if len(shapes[0]) > 3:
        raise BadImageError(f"the image is {_words(shapes)}; it must have two or three axes longer than 1")
    if not plane_axis:
        shortest = [axis for axis in (0, 1, 2) if shapes[0][axis] == min(shapes[0])]
        if min(shapes[0]) > _MOST_PLANES or shortest not in ([0], [2]):
            raise BadImageError(
                f"the image is {_words(shapes)}, so that its first or its last axis may count the planes: "
                "say which with data.catalog.plane_axis=first or data.catalog.plane_axis=last"
            )
        plane_axis = "last" if shortest == [2] else "first"
    return np.moveaxis(arrays[0], -1, 0) if plane_axis == "last" else arrays[0]


def _words(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(" x ".join(map(str, shape)) for shape in shapes)


def _check(hdu: Any, length: int) -> None:
    """Raises BadImageError if a part of a file of `length` bytes is incomplete or not as it was written."""
    place = hdu.fileinfo()
    end = place["datLoc"] + place["datSpan"]
    if end > length:  # Astropy only warns of it.
        raise BadImageError(f"the file is truncated: it has {length:,} of {end:,} bytes")
    if not hdu.verify_datasum():  # It accepts files without a checksum.
        raise BadImageError("the file is damaged: the data do not have the checksum DATASUM")


def _above_sky(plane: NDArray[np.generic], band: int) -> NDArray[np.float64]:
    """Converts a plane to standard deviations of its sky above the sky's level."""
    with np.errstate(invalid="ignore"):  # Converting a signalling NaN raises the flag.
        plane = plane.astype(np.float64)
    known = np.isfinite(plane)
    values = plane[known]
    if not values.size:
        raise BadImageError(f"plane {band} (from 0) has no pixel with a value")
    sky = np.median(values)
    # More than half of the pixels have one value in a drawing, or in a frame that is filled up with zeros.
    scatter = _NORMAL * np.median(np.abs(values - sky)) or values.std()
    if scatter == 0:
        raise BadImageError(f"plane {band} (from 0) is empty: all its pixels are {sky:g}")
    return np.divide(plane - sky, scatter, out=np.zeros_like(plane), where=known)
