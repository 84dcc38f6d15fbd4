"""One image, wherever it is, to pixels, or the reason why not."""

from __future__ import annotations

import errno
import os
import struct
import warnings
import zlib
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
import simplejpeg

from galaxy.images.crops import Pixels
from galaxy.images.errors import BadImageError
from galaxy.images.fits import read_fits
from galaxy.images.hdf5 import Hdf5Files
from galaxy.surveys.catalog import FitsImage, Hdf5Image, ImageSource
from galaxy.system.errors import UserError

__all__ = ["BadImageError", "Decoder", "decode"]

# Errors that are a file's own: it is missing, a folder, or not ours to read.
_LASTING = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EACCES, errno.EPERM}
# Bytes read at first: more than most images have.
_READ = 2**17
_JPEG, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PNG = b"\x89PNG\r\n\x1a\n"
# Some writers pad a JPEG, or add bytes of their own after its end.
_TAIL = 1024
# Pixels of the largest image that OpenCV decodes: a damaged size must not take all memory.
_LARGEST = 2**30
# Begins what says, among other things, how a JPEG is to be turned.
_EXIF = b"Exif\0\0"
# How a JPEG begins whose colours are YCbCr, if it has three.
_JFIF = b"\xff\xd8\xff\xe0\0\x10JFIF\0"
# The segments that tell the size of a JPEG: of sequential and progressive ones. Beside them a usual one has
# its name, tables and comments before the scan; behind that OpenCV looks for no EXIF data either.
_FRAMES = (b"\xff\xc0", b"\xff\xc1", b"\xff\xc2")
_USUAL = (*_FRAMES, b"\xff\xe0", b"\xff\xdb", b"\xff\xc4", b"\xff\xdd", b"\xff\xfe")
_SCAN = b"\xff\xda"
_TIFF = (b"II*\0", b"MM\0*")


class Decoder:
    """Reads images: `with Decoder() as decode: pixels = decode(source)`.

    Files that hold many images stay open until the end of the block. Threads may share a decoder.
    """

    def __init__(self) -> None:
        self._hdf5 = Hdf5Files()
        self._warnings = warnings.catch_warnings()

    def __enter__(self) -> Decoder:
        # Here, for threads share these filters. What astropy warns about is no mistake or is reported as one.
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

    def __call__(self, source: ImageSource, spent: Pixels | None = None) -> Pixels:
        """Reads one image.

        Args:
            source: A path is that of a JPEG, PNG, TIFF, BMP, WebP or whatever else OpenCV can decode. A grey
                picture becomes RGB, transparency is dropped, a JPEG is turned as its EXIF data say, and of
                16-bit samples the upper 8 bits are kept: pictures for eyes, not measurements. Samples of 32
                or 64 bits, which have no white, are refused.
            spent: An image from here that nobody needs any more. The next one may take its memory, which this
                thread's processor still has in its cache.

        Returns:
            (H, W, 3) uint8 RGB.

        Raises:
            BadImageError: The file is missing, empty, truncated, not an image or not ours to read. Damage
                inside a JPEG that leaves its end alone is noticed where libjpeg does: JPEG has no checksum,
                and most flipped bits make another sound picture.
            UserError: The package that reads the format is not installed, or the disk or the system failed.
        """
        match source:
            case Hdf5Image():
                return self._hdf5.read(source)
            case FitsImage():
                return read_fits(source)
            case _:
                return _read_file(source, spent)

    def shape(self, source: ImageSource) -> tuple[int, ...]:
        """The (H, W, 3) of an image.

        Raises:
            BadImageError: As when the image is read.
        """
        if isinstance(source, Hdf5Image):
            return self._hdf5.shape(source)
        if isinstance(source, Path) and (shape := _jpeg_shape(source)) is not None:
            return shape
        return self(source).shape


def decode(source: ImageSource) -> Pixels:
    """Reads a single image, as `Decoder` does."""
    with Decoder() as decoder:
        return decoder(source)


def _content(path: Path) -> bytes:
    """The bytes of a file.

    By calls of the system: for a small file a file object makes twice as many, and after each a thread may
    wait for Python's lock.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        part = os.read(file, _READ)
        if len(part) < _READ and part.endswith(_JPEG_END):  # else the end is where there is no more to read
            return part
        parts = []
        while part:
            parts.append(part)
            part = os.read(file, _READ << len(parts))
    finally:
        os.close(file)
    return b"".join(parts)


def _read_file(path: Path, spent: Pixels | None) -> Pixels:
    try:
        data = _content(path)
    except OSError as error:
        if error.errno not in _LASTING:  # another try may find the same file sound
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        raise BadImageError(f"cannot be read ({error.strerror})") from error
    if not data:
        raise BadImageError("the file is empty")
    if data.startswith(_JPEG):
        if not data.endswith(_JPEG_END) and _JPEG_END not in data[-_TAIL:]:
            # OpenCV would fill the missing part with grey and say nothing.
            raise BadImageError("the file is truncated: its end is missing")
        if (image := _decoded_jpeg(data, spent)) is not None:
            return image
    if data.startswith(_PNG):
        _check_png(data)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise BadImageError(f"cannot be decoded ({error.err})") from error
    if image is None and data.startswith(_TIFF):
        raise BadImageError("a TIFF that is damaged, or whose samples have not 8 or 16 bits")
    if image is None:
        raise BadImageError("not an image that OpenCV can decode")
    return image


def _jpeg_kind(data: bytes) -> tuple[int, int, str] | None:
    """Height, width and colours of a JPEG; None where libjpeg does not know, or will not have it."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except (ValueError, KeyError):  # the latter of colours that are sampled in a way it does not know
        return None
    return (height, width, colours) if height * width <= _LARGEST else None


def _is_usual(colours: str, data: bytes) -> bool:
    """Whether a JPEG is as most are: grey or YCbCr, and not to be turned."""
    return colours in ("YCbCr", "Gray") and _EXIF not in data


def _usual_size(data: bytes) -> tuple[int, int] | None:
    """Height and width of a usual JPEG that says so in the usual way; None of others.

    After simplejpeg has read a header, a thread may wait for Python's lock. Nobody believes the size: it is
    that of the memory which simplejpeg is given, and the image has the size that simplejpeg finds.
    """
    if not data.startswith(_JFIF):
        return None
    place, frame = 2, b""
    while (marker := data[place : place + 2]) != _SCAN:
        if marker not in _USUAL:  # EXIF data among them
            return None
        if marker in _FRAMES:
            frame = data[place + 4 : place + 10]
        place += 2 + int.from_bytes(data[place + 2 : place + 4])
    if len(frame) < 6:
        return None
    bits, height, width, colours = struct.unpack(">BHHB", frame)
    usual = bits == 8 and colours in (1, 3) and 0 < height * width <= _LARGEST
    return (height, width) if usual else None


def _jpeg_shape(path: Path) -> tuple[int, int, int] | None:
    """The (H, W, 3) of a usual JPEG, from its header."""
    try:
        data = _content(path)
    except OSError:
        return None
    kind = _jpeg_kind(data)
    return (*kind[:2], 3) if kind is not None and _is_usual(kind[2], data) else None


def _decoded_jpeg(data: bytes, spent: Pixels | None) -> Pixels | None:
    """Decodes a usual JPEG; of others, which are for OpenCV to turn or to mix the colours of, None.

    The pixels are OpenCV's, for both use libjpeg-turbo in the same way. And what libjpeg warns of, which
    OpenCV passes over, is an error here, in whatever JPEG.
    """
    if (size := _usual_size(data)) is not None:
        frame = _frame(*size, 3) if spent is None or spent.shape != (*size, 3) else spent
        try:
            return simplejpeg.decode_jpeg(data, "RGB", buffer=frame)
        except ValueError:
            pass  # what is wrong is found out below
    kind = _jpeg_kind(data)
    if kind is None:
        return None
    height, width, colours = kind
    inks = colours in ("CMYK", "YCCK")
    frame = _frame(height, width, 4 if inks else 3)
    try:
        image: Pixels = simplejpeg.decode_jpeg(data, "CMYK" if inks else "RGB", buffer=frame)
    except ValueError as error:
        raise BadImageError(f"a damaged JPEG ({error})") from error
    return image if _is_usual(colours, data) else None


def _frame(height: int, width: int, channels: int) -> Pixels:
    """Memory for pixels that stay in the processor's cache until they are cropped.

    libjpeg-turbo writes rows that begin at a multiple of 32 bytes past the cache. Those of the surveys' 424
    pixels are a multiple of 8 bytes long: if the first one begins at 4, none does, and decoding and cropping
    take a tenth less than if some do.
    """
    size = height * width * channels
    memory = np.empty(size + 32, np.uint8)
    begin = (4 - memory.ctypes.data) % 32
    return memory[begin : begin + size].reshape(height, width, channels)


def _check_png(data: bytes) -> None:
    """Raises BadImageError unless a PNG is whole: OpenCV takes whatever memory a damaged length asks for."""
    view = memoryview(data)
    start, kind = len(_PNG), b""
    while kind != b"IEND":
        # A chunk: 4 bytes of length, 4 of kind, the content, and 4 of a checksum of kind and content.
        end = start + 12 + int.from_bytes(data[start : start + 4])
        kind = data[start + 4 : start + 8]
        if end > len(data):
            raise BadImageError("the file is truncated: its end is missing")
        if zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            raise BadImageError("the file is damaged: a chunk of the PNG does not have its checksum")
        start = end
