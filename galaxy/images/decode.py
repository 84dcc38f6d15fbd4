"""Reads one image, wherever it is, as pixels, or says why it cannot be used."""

from __future__ import annotations

import logging
import struct
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
from galaxy.images.fits import decoded_fits, joined
from galaxy.images.hdf5 import Hdf5Files
from galaxy.images.parquet import ParquetFiles
from galaxy.images.reading import read_file
from galaxy.surveys.catalog import DeepPicture, FitsImage, Hdf5Image, ImageSource, ParquetImage
from galaxy.system.errors import UserError, listing

_log = logging.getLogger(__name__)
_JPEG, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Two tags of TIFF, the second with its value for samples that are not multiplied by the alpha.
_PHOTOMETRIC, _EXTRA_SAMPLES, _UNASSOCIATED = 262, 338, 2
# TIFF, GIF, WebP and, by what follows the fourth byte, AVIF.
_SEVERAL = (*_TIFF, b"GIF8", b"RIFF")
# OpenCV 5.0 ignores IMREAD_COLOR_RGB where a TIFF has 16 bits a sample.
_BGR = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
# The first bytes, in small letters, of files that people take for images.
_OTHER_FORMATS = {
    "a FITS file, whose name must end in .fits": (b"simple  =",),
    "a page of the web, perhaps the message of a failed download": (b"<!doctype", b"<html", b"<?xml"),
    "an array of NumPy": (b"\x93numpy",),
    "an HDF5 file": (b"\x89hdf",),
    "a HEIC file": (b"ftypheic", b"ftypheix", b"ftypmif1"),
    "a JPEG XL file": (b"\xff\x0a", b"\0\0\0\x0cjxl"),
    "a PDF file": (b"%pdf",),
    "a PostScript file": (b"%!ps",),
    "an archive": (b"pk\x03\x04", b"\x1f\x8b", b"bzh", b"7z\xbc"),
    "a pointer of Git LFS, whose file was not downloaded": (b"version https://git-lfs",),
}
# Some writers pad a JPEG, or add bytes of their own after its end. The end must be within these last bytes.
_TAIL = 1024
# A damaged TIFF may tell any number of tags.
_MOST_TAGS = 1000
# The largest number of pixels that OpenCV decodes. A damaged size must not take all memory.
_LARGEST = 2**30
MORE_THAN_ONE = "holds more than one picture: save the right one as a file of its own"
# EXIF data begin with these bytes. They may say that a JPEG is to be turned.
_EXIF = b"Exif\0\0"


class Decoder:
    """Reads images: `with Decoder() as decode: pixels = decode(source)`.

    Files that hold many images stay open until the end of the block. Threads may share a decoder.
    """

    def __init__(self) -> None:
        self._hdf5 = Hdf5Files()
        self._parquet = ParquetFiles()
        self._warned = False
        self._warnings = warnings.catch_warnings()
        self._log_level = cv2.utils.logging.getLogLevel()

    def __enter__(self) -> Decoder:
        # The filters are set once and not for each image, because all threads share them. Whatever astropy
        # warns about is either harmless or reported as an error.
        self._warnings.__enter__()
        warnings.filterwarnings("ignore", module=r"astropy\.")
        # OpenCV prints what it reports as an error too.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hdf5.close()
        self._parquet.close()
        cv2.utils.logging.setLogLevel(self._log_level)
        self._warnings.__exit__(kind, error, traceback)

    def __call__(self, source: ImageSource, content: bytes | None = None) -> Pixels:
        """Reads one image.

        Args:
            source: The place of the image. A path leads to a JPEG, PNG, TIFF, BMP, WebP or another file that
                OpenCV can decode. A grey picture becomes RGB, transparency is dropped, and a picture is
                turned as its EXIF data say, except in AVIF, which OpenCV never turns. Samples of more than
                8 bits are scaled linearly, by the same white level in all images: that of a `DeepPicture`, or
                else 65,535 for samples of 16 bits.
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
            content = self.content(source)
        if isinstance(source, FitsImage):
            return decoded_fits(source, content, self._warn)
        if isinstance(source, ParquetImage):
            if not content:
                raise BadImageError("the row holds no picture, perhaps only the path of one")
            if content.startswith(b"SIMPLE  ="):
                raise BadImageError("a FITS file inside a table is not read: save it as a file of its own")
            return _decoded_picture(source.path, content, source.white)
        path, white = source if isinstance(source, DeepPicture) else (source, None)
        return _decoded_picture(path, content, white)

    def _warn(self, text: str) -> None:
        """Warns once, although many images may give reason to."""
        if not self._warned:
            self._warned = True
            _log.warning("%s", text)

    def content(self, source: Path | FitsImage | DeepPicture | ParquetImage) -> bytes:
        """Reads the bytes of an image's file, or of the files of its bands.

        Raises:
            BadImageError: The file is missing or not readable for us.
            UserError: The disk or the system failed.
        """
        if isinstance(source, ParquetImage):
            return self._parquet.read(source)
        if isinstance(source, FitsImage) and source.further:
            return joined([read_file(path) for path in (source.path, *source.further)])
        return read_file(source if isinstance(source, Path) else source.path)


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
        f"{len(lines):,} image(s) cannot be used:\n{listing(lines)}\n"
        "Get these files again, set the key that is named, or leave these galaxies out with data.on_bad=skip."
    )


def _decoded_picture(path: Path, data: bytes, white: float | None) -> Pixels:
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
    tags = _tiff_tags(data) if data.startswith(_TIFF) else {}
    if tags.get(_EXTRA_SAMPLES, (0, 0))[0] == _UNASSOCIATED:
        data = _as_associated(data, tags[_EXTRA_SAMPLES][1])
    several = data.startswith(_SEVERAL) or data[4:8] == b"ftyp"
    try:
        image = _only_picture(data) if several else cv2.imdecode(np.frombuffer(data, np.uint8), _BGR)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise UserError(f"{path} cannot be decoded: there is not enough memory") from error
        raise BadImageError(f"cannot be decoded ({error.err})") from error
    if image is None:
        raise BadImageError(_not_a_picture(data))
    if image.dtype != np.uint8 and tags.get(_PHOTOMETRIC, (1, 0))[0] == 0:
        raise BadImageError(
            "a TIFF in which 0 is white and whose samples have more than 8 bits: save it with 0 as black"
        )
    image = _as_rgb(image)
    return image if image.dtype == np.uint8 else _to_8_bits(image, white)


def _tiff_tags(data: bytes) -> dict[int, tuple[int, int]]:
    """The tags of the first picture of a TIFF: as 16 bits each value, or the first of two, and its place.

    The values of other tags are arbitrary. A damaged file has no tags.
    """
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    first, count, entry, value = ("Q", "Q", 20, 12) if big else ("I", "H", 12, 8)
    try:
        (start,) = struct.unpack_from(order + first, data, 8 if big else 4)
        (number,) = struct.unpack_from(order + count, data, start)
        start += struct.calcsize(order + count)
        places = range(start, start + entry * min(number, _MOST_TAGS), entry)
        return {
            struct.unpack_from(f"{order}H", data, place)[0]: (
                struct.unpack_from(f"{order}H", data, place + value)[0],
                place + value,
            )
            for place in places
        }
    except (struct.error, OverflowError):  # the latter where a place has 64 bits
        return {}


def _as_associated(data: bytes, place: int) -> bytes:
    """A TIFF whose tag at a place says that its colours have been multiplied by the alpha.

    Libtiff multiplies them where the tag says that they have not been.
    """
    one = (1).to_bytes(2, "little" if data.startswith(b"II") else "big")
    return data[:place] + one + data[place + 2 :]


def _only_picture(data: bytes) -> Pixels | None:
    """Decodes the picture of a file that may hold several, as TIFF files and animations do.

    Returns:
        BGR, or anything that OpenCV reads where it makes no colours; None if it reads nothing.
    """
    buffer = np.frombuffer(data, np.uint8)
    # OpenCV makes no colours of samples that are floats or have 32 bits.
    for flags in (_BGR, cv2.IMREAD_UNCHANGED):
        _, pictures = cv2.imdecodemulti(buffer, flags, range=(0, 2))
        if len(pictures) > 1:
            raise BadImageError(MORE_THAN_ONE)
        if pictures:
            picture: Pixels = pictures[0]
            return picture
    return None


def _as_rgb(picture: Pixels) -> Pixels:
    """Makes (H, W, 3) RGB of grey, BGR or BGRA."""
    if picture.ndim == 2 or picture.shape[2] < 3:
        grey = picture.reshape(*picture.shape[:2], -1)[..., :1]
        return np.repeat(grey, 3, axis=2)
    return np.ascontiguousarray(picture[..., 2::-1])


def _to_8_bits(image: Pixels, white: float | None) -> Pixels:
    """Scales samples of more than 8 bits so that `white` becomes 255 and 0 stays 0.

    Without `white` only samples of 16 bits are scaled, and by their largest possible value. A camera of 12
    bits leaves the upper bits unused, which would make its pictures black; so the highest bit must be used.
    """
    if white is None:
        if image.dtype != np.uint16:
            raise BadImageError(
                f"has samples of type {image.dtype}, which have no largest value: say which value is white "
                "with data.catalog.white"
            )
        largest = int(image.max())
        white = float(np.iinfo(np.uint16).max)
        if largest < 2**15:
            raise BadImageError(
                f"has samples of 16 bits, but none above {largest:,}: say which value is white with "
                f"data.catalog.white={2 ** largest.bit_length() - 1}, or 65535 if the picture is a dark one"
            )
    scaled = np.nan_to_num(image.astype(np.float64), posinf=white, neginf=0) * (255 / white)
    return scaled.clip(0, 255).round().astype(np.uint8)


def _not_a_picture(data: bytes) -> str:
    """Says what a file is that OpenCV cannot decode, as far as its first bytes tell."""
    if data.startswith(_TIFF):
        return "a TIFF that is damaged, or of a kind that OpenCV cannot decode"
    for name, magics in _OTHER_FORMATS.items():
        if data[:64].lstrip().lower().startswith(magics) or data[4:12] in magics:
            return f"is {name}; images may be JPEG, PNG, TIFF, BMP, GIF, WebP, AVIF, JPEG 2000 or FITS"
    return "not an image that OpenCV can decode"


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
    """Raises BadImageError unless a PNG is whole and holds a single picture.

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
        # The chunk of an animation begins with the number of pictures. OpenCV would show one of them.
        if kind == b"acTL" and int.from_bytes(data[start + 8 : start + 12]) > 1:
            raise BadImageError(MORE_THAN_ONE)
        start = end
