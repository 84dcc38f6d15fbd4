"""Images that strangers send: what they may be, and how they become pixels.

What a file claims about itself is checked before anything is decoded. A file is known by its first bytes; the
name that it was sent with is never looked at.
"""

from __future__ import annotations

import re
from pathlib import Path

from galaxy.demo.headers import claimed_size
from galaxy.images import BadImageError
from galaxy.images.crops import Pixels
from galaxy.images.decode import Decoder
from galaxy.images.given import SMALLEST
from galaxy.surveys.files import Stretch
from galaxy.system.errors import UserError

# The bytes of a request, the images in it, and the pixels of an image.
LARGEST_REQUEST, MOST_IMAGES, MOST_PIXELS = 16 * 2**20, 16, 2**24
_PICTURES = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
}
_FITS = b"SIMPLE  ="
_PACKED = {b"\x1f\x8b": "gunzip", b"BZh": "bunzip2"}
# The parts of a FITS file are read one by one. astropy knows these names also in small letters, and with any
# number of spaces behind them.
_MOST_PARTS = 64
_PART, _COMPRESSED = (re.compile(name + rb"\s*=", re.IGNORECASE) for name in (b"XTENSION", b"ZIMAGE"))


def read_upload(content: bytes, stretch: Stretch, decode: Decoder) -> Pixels:
    """Decodes an image that somebody has sent.

    Args:
        content: The bytes of the file.
        stretch: How files with more than 8 bits a sample become pictures.
        decode: The decoder.

    Returns:
        (H, W, 3) uint8 RGB, of `MOST_PIXELS` at most.

    Raises:
        BadImageError: The file is no image, damaged or too large, in words for people who cannot change any
            setting.
    """
    if not content:
        raise BadImageError("the file is empty")
    is_fits = content.startswith(_FITS)
    (_check_fits if is_fits else _check_picture)(content)
    # Nothing is read from this path; its ending tells FITS files from pictures.
    source = stretch.source(Path("upload.fits" if is_fits else "upload"))
    try:
        pixels = decode(source, content)
    except BadImageError as error:
        raise BadImageError(_for_visitors(str(error))) from error
    except (UserError, MemoryError) as error:
        if isinstance(error.__cause__, ImportError):  # astropy is optional
            raise BadImageError("FITS files are not read here: send a JPEG, PNG or TIFF image") from error
        raise BadImageError("the image cannot be decoded in the memory that is left here") from error
    height, width = pixels.shape[:2]
    _check_size(width, height)
    return pixels


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise BadImageError(
            f"the image has {width:,} x {height:,} pixels; at most {MOST_PIXELS:,} are accepted"
        )
    if min(width, height) < SMALLEST:
        raise BadImageError(f"the image has {width} x {height} pixels; {SMALLEST} x {SMALLEST} is the least")


def _check_fits(content: bytes) -> None:
    if _COMPRESSED.search(content):
        raise BadImageError("the image in this FITS file is compressed: unpack it first (funpack)")
    if len(_PART.findall(content)) > _MOST_PARTS:
        raise BadImageError(f"the FITS file has more than {_MOST_PARTS} parts: send the image alone")


def _check_picture(content: bytes) -> None:
    kind = next((kind for kind, magics in _PICTURES.items() if content.startswith(magics)), None)
    if kind is None:
        advice = next((f": unpack it first ({by})" for m, by in _PACKED.items() if content.startswith(m)), "")
        raise BadImageError(f"the file is no JPEG, PNG, TIFF or FITS image{advice}")
    if (size := claimed_size(kind, content)) is not None:
        _check_size(*size)


def _for_visitors(reason: str) -> str:
    """Makes a sentence of what is wrong with an image, for somebody who has no settings."""
    what = reason
    if "data.catalog." in reason:
        what = reason.partition("data.catalog.")[0].rpartition(": ")[0]
        what += ": send an 8-bit picture (JPEG or PNG), or a FITS file with one image of two axes"
    first = what.partition(" ")[0]
    return f"the file {what}" if first in ("has", "holds", "is", "cannot") else what
