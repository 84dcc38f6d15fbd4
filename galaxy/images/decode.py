"""Reads one image, wherever it is, as pixels, or says why it cannot be used."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
import simplejpeg

from galaxy.images import BadImageError
from galaxy.images.crops import Pixels
from galaxy.images.fits import decoded_fits
from galaxy.images.hdf5 import Hdf5Files
from galaxy.images.reading import read_file
from galaxy.surveys.catalog import FitsImage, Hdf5Image, ImageSource
from galaxy.system.errors import UserError, listing

_JPEG, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*")
# Some writers pad a JPEG, or add bytes of their own after its end. The end must be within these last bytes.
_TAIL = 1024
# The largest number of pixels that OpenCV decodes. A damaged size must not take all memory.
_LARGEST = 2**30
# EXIF data begin with these bytes. They may say that a JPEG is to be turned.
_EXIF = b"Exif\0\0"


class Decoder:
    """Reads images: `with Decoder() as decode: pixels = decode(source)`.

    Files that hold many images stay open until the end of the block. Threads may share a decoder.
    """

    def __init__(self) -> None:
        self._hdf5 = Hdf5Files()
        self._warnings = warnings.catch_warnings()

    def __enter__(self) -> Decoder:
        # The filters are set once and not for each image, because all threads share them. Whatever astropy
        # warns about is either harmless or reported as an error.
        self._warnings.__enter__()
        warnings.filterwarnings("ignore", module=r"astropy\.")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hdf5.close()
        self._warnings.__exit__(kind, error, traceback)

    def __call__(self, source: ImageSource, content: bytes | None = None) -> Pixels:
        """Reads one image.

        Args:
            source: The place of the image. A path leads to a JPEG, PNG, TIFF, BMP, WebP or another file that
                OpenCV can decode. A grey picture becomes RGB, transparency is dropped, and a JPEG is turned
                as its EXIF data say. Of 16-bit samples the upper 8 bits are kept, because pictures are for
                eyes and are no measurements. Samples of 32 or 64 bits have no white level and are refused.
            content: The bytes of the image's file, if they have been read. An image in an HDF5 file is
                always read from there.

        Returns:
            (H, W, 3) uint8 RGB.

        Raises:
            BadImageError: The file is missing, empty, truncated, not an image or not readable for us. Damage
                inside a JPEG whose end is in place is noticed where libjpeg notices it. A JPEG has no
                checksum, and most flipped bits give another valid picture.
            UserError: The package that reads the format is not installed, or the disk or the system failed.
        """
        if isinstance(source, Hdf5Image):
            return self._hdf5.read(source)
        if content is None:
            content = read_file(source if isinstance(source, Path) else source.path)
        if isinstance(source, FitsImage):
            return decoded_fits(source, content)
        return _decoded_picture(source, content)


def decode(source: ImageSource) -> Pixels:
    """Reads a single image, as `Decoder` does."""
    with Decoder() as decoder:
        return decoder(source)


def bad_images_error(lines: Sequence[str]) -> UserError:
    """Makes the error for bad images where none may be left out.

    Args:
        lines: One line for each bad image, with the reason.
    """
    return UserError(
        f"{len(lines):,} image(s) cannot be used:\n{listing(list(lines))}\n"
        "Get these files again, or leave these galaxies out with data.on_bad=skip."
    )


def _decoded_picture(path: Path, data: bytes) -> Pixels:
    """Decodes the content of the file at `path`."""
    if not data:
        raise BadImageError("the file is empty")
    if data.startswith(_JPEG):
        if not data.endswith(_JPEG_END) and _JPEG_END not in data[-_TAIL:]:
            # OpenCV would fill the missing part with grey and say nothing.
            raise BadImageError("the file is truncated: its end is missing")
        if (image := _decoded_jpeg(data)) is not None:
            return image
    if data.startswith(_PNG):
        _check_png(data)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise UserError(f"{path} cannot be decoded: there is not enough memory") from error
        raise BadImageError(f"cannot be decoded ({error.err})") from error
    if image is None and data.startswith(_TIFF):
        raise BadImageError("a TIFF that is damaged, or whose samples have not 8 or 16 bits")
    if image is None:
        raise BadImageError("not an image that OpenCV can decode")
    return image


def _decoded_jpeg(data: bytes) -> Pixels | None:
    """Decodes a usual JPEG; None for one that OpenCV has to turn or whose colours it has to mix.

    Simplejpeg raises an error for the damage that libjpeg warns of and OpenCV ignores. Every JPEG is decoded
    here for that reason, also where OpenCV decodes it again. The pixels are OpenCV's, because both use
    libjpeg-turbo in the same way.
    """
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except (ValueError, KeyError):  # KeyError where simplejpeg has no name for the sampling of the colours
        return None
    if height * width > _LARGEST:
        return None
    try:
        image: Pixels = simplejpeg.decode_jpeg(data, "CMYK" if colours in ("CMYK", "YCCK") else "RGB")
    except ValueError as error:
        raise BadImageError(f"a damaged JPEG ({error})") from error
    return image if colours in ("YCbCr", "Gray") and _EXIF not in data else None


def _check_png(data: bytes) -> None:
    """Raises BadImageError unless a PNG is whole.

    OpenCV would allocate whatever memory a damaged length asks for.
    """
    view = memoryview(data)
    start, kind = len(_PNG), b""
    while kind != b"IEND":
        # A chunk has 4 bytes of length, 4 of kind, the content, and a 4-byte checksum of kind and content.
        end = start + 12 + int.from_bytes(data[start : start + 4])
        kind = data[start + 4 : start + 8]
        if end > len(data):
            raise BadImageError("the file is truncated: its end is missing")
        if zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            raise BadImageError("the file is damaged: a chunk of the PNG does not have its checksum")
        start = end
