"""Decodes images in FITS files: measured brightnesses are stretched to the 8 bits of a picture."""

from __future__ import annotations

import gzip
import io
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
_GZIP = b"\x1f\x8b"
# The standard deviation of a normal distribution over its median absolute deviation.
_NORMAL = 1.4826


def decoded_fits(source: FitsImage, content: bytes) -> Pixels:
    """Decodes the first image of a FITS file, compressed (`.fz`, `.gz`) or not, and stretches it.

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
        source: The file, the planes to show and the softening. For an image with two axes `bands` is ignored.
        content: The bytes of the file.

    Returns:
        (H, W, 3) uint8 RGB; a single plane is repeated three times.

    Raises:
        BadImageError: The file is damaged, as far as its length and its checksums tell. Or it has no image,
            too few planes, or a plane without content.
        UserError: astropy is not installed, or the system failed.
    """
    planes, bands = _planes(source, content)
    x = np.stack([_above_sky(planes[band], band) for band in bands]) + _BLACK
    mean = x.mean(0)
    white = max(np.percentile(mean, _DARKER_THAN_WHITE), _BLACK + _LEAST_WHITE)
    stretched = np.arcsinh(mean / source.softening) / np.arcsinh(white / source.softening)
    x *= np.divide(np.minimum(stretched, 1), mean, out=np.zeros_like(mean), where=mean > 0)
    x /= np.maximum(x.max(0), 1)
    picture = (255 * x.clip(0)).round().astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(picture, (3, *mean.shape)).transpose(1, 2, 0)[::-1])


def _planes(source: FitsImage, content: bytes) -> tuple[NDArray[np.generic], tuple[int, ...]]:
    """Reads the first image with two or three axes as (planes, H, W); adds which planes to show."""
    try:
        from astropy.io import fits  # noqa: PLC0415  It is optional, and slow to import.
    except ImportError as error:
        raise UserError(
            "Images in FITS files are read with astropy, which is not installed.\n"
            "Install it: pip install 'galaxy-morphology[fits]'"
        ) from error
    try:
        if content.startswith(_GZIP):
            content = gzip.decompress(content)  # Reading all of it checks its checksum.
        with fits.open(io.BytesIO(content)) as file:
            hdu = next((hdu for hdu in file if hdu.is_image and len(hdu.shape) in (2, 3)), None)
            if hdu is None:
                raise BadImageError("the file has no image with two or three axes")
            if isinstance(hdu, fits.CompImageHDU):
                # The checksum of a compressed image is that of the table it is stored in.
                with fits.open(io.BytesIO(content), disable_image_compression=True) as stored:
                    _check(stored[file.index(hdu)], len(content))
            else:
                _check(hdu, len(content))
            data = hdu.data
    except (BadImageError, MemoryError):
        raise
    except Exception as error:  # A damaged file makes astropy raise nearly anything.
        refuse_passing(source.path, error)
        raise BadImageError(
            f"cannot be read as a FITS file ({str(error) or type(error).__name__})"
        ) from error
    if data is None or data.size == 0:
        raise BadImageError("the image has no pixels")
    if data.ndim == 2:
        return data[None], (0,)
    if max(source.bands) >= len(data):
        raise BadImageError(
            f"the image has {len(data)} planes; plane {max(source.bands)} (from 0) is missing"
        )
    return data, source.bands


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
