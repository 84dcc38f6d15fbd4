"""Files that a server should refuse, each with a name that says what it is; made here, the same each time."""

import bz2
import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np
from astropy.io import fits
from PIL import Image

SECRET = "root:x:0:0"
_RNG = np.random.default_rng(0)
PIXELS = _RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)


def picture(kind: str, pixels: np.ndarray = PIXELS, **settings: object) -> bytes:
    """A file of a picture."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **settings)  # type: ignore[arg-type]
    return buffer.getvalue()


def fits_file(pixels: np.ndarray | None, *parts: object) -> bytes:
    """A FITS file with an image and further parts."""
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(pixels), *parts]).writeto(buffer)
    return buffer.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk with its length and checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of_size(width: int, height: int, content: bytes = b"") -> bytes:
    """A PNG that claims a size, whatever its pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(content)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff_of_size(width: int, height: int, *more: tuple[int, int, int, int], tail: bytes = b"") -> bytes:
    """A TIFF that claims a size, with further tags."""
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 4, 1, height),
        (279, 4, 1, min(width * height, 2**32 - 1)),
        *more,
    ]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + tail


def signed_tile() -> bytes:
    """A TIFF of 16 x 16 pixels in a tile of 2048 x 2048, whose sides are numbers with a sign."""
    side, start = 2048, 8 + 2 + 12 * 10 + 4
    pixels = zlib.compress(bytes(side * side))
    tags = [(256, 4, 1, 16), (257, 4, 1, 16), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
    tags += [(322, 9, 1, side), (323, 9, 1, side), (324, 4, 1, start), (325, 4, 1, len(pixels))]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + pixels


def fits_header(**cards: object) -> bytes:
    """A FITS header that claims anything, with no data."""
    lines = ["SIMPLE  =                    T", *(f"{key:<8}= {value!s:>20}" for key, value in cards.items())]
    text = "".join(f"{line:<80}" for line in [*lines, "END"])
    return text.ljust(-(-len(text) // 2880) * 2880).encode()


def others() -> Iterator[tuple[str, bytes]]:
    """Files that are no images, whatever they call themselves."""
    yield "nothing", b""
    yield "one byte", b"\xff"
    yield "text", b"A galaxy, honestly."
    yield "a secret", SECRET.encode()
    yield "a path", b"../../../../etc/passwd"
    yield "an absolute path", b"/etc/passwd"
    yield "zeros", bytes(100_000)
    yield "noise", _RNG.bytes(100_000)
    yield "html", b"<!doctype html><script>alert(1)</script>"
    yield "svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
    yield (
        "xml entities",
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    )
    yield "pdf", b"%PDF-1.7\n1 0 obj\n"
    yield "postscript", b"%!PS\n(/etc/passwd) (r) file"
    yield "pickle", b"cos\nsystem\n(S'true'\ntR."
    yield "php", b"GIF89a<?php system($_GET['c']); ?>"
    yield "elf", b"\x7fELF\x02\x01\x01" + bytes(64)
    yield "npy", b"\x93NUMPY\x01\x00" + bytes(118)
    yield "hdf5", b"\x89HDF\r\n\x1a\n" + bytes(100)
    yield "gif", picture("GIF")
    yield "bmp", picture("BMP")
    yield "webp", picture("WEBP")
    yield "animated webp", picture("WEBP", save_all=True, append_images=[Image.fromarray(255 - PIXELS)])
    yield "animated gif", picture("GIF", save_all=True, append_images=[Image.fromarray(255 - PIXELS)])
    yield "ico", picture("ICO")
    yield "ppm bomb", b"P6\n99999 99999\n255\n"
    yield "exr", b"\x76\x2f\x31\x01" + bytes(100)
    yield "jpeg 2000", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100)
    yield "heic", b"\0\0\0\x18ftypheic" + bytes(100)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("../../evil.jpg", bytes(1_000_000))
    yield "zip", archive.getvalue()
    yield "gzip bomb", gzip.compress(bytes(10_000_000))
    yield "bzip2 bomb", bz2.compress(bytes(10_000_000))
    yield "gzipped fits", gzip.compress(fits_file(PIXELS[..., 0].astype(np.float32)))


def damaged() -> Iterator[tuple[str, bytes]]:
    """Images of which parts are missing or changed."""
    whole = {kind: picture(kind) for kind in ("JPEG", "PNG", "TIFF")}
    whole["FITS"] = fits_file(PIXELS[..., 0].astype(np.float32))
    for kind, content in whole.items():
        # The last pixels of a TIFF or a FITS file may be padding, so that most of it is kept.
        for kept in (4, 12, 40, len(content) // 4, len(content) // 2):
            yield f"{kind} of {kept} bytes", content[:kept]
    for kind in ("JPEG", "PNG"):
        yield f"{kind} without its end", whole[kind][:-12]
        yield f"{kind} after a header of zeros", whole[kind][:20] + bytes(len(whole[kind]) - 20)
    for place in range(8, 48, 2):
        yield f"PNG with byte {place} changed", whole["PNG"][:place] + b"\xee\xee" + whole["PNG"][place + 2 :]
    yield "magic of a JPEG alone", b"\xff\xd8\xff\xe0" + _RNG.bytes(5000) + b"\xff\xd9"
    yield "magic of a PNG alone", b"\x89PNG\r\n\x1a\n" + _RNG.bytes(5000)
    yield "magic of a TIFF alone", b"II*\0" + _RNG.bytes(5000)
    yield "magic of a big TIFF alone", b"MM\0+" + _RNG.bytes(5000)
    yield "magic of a FITS file alone", b"SIMPLE  =" + _RNG.bytes(5000)


def bombs() -> Iterator[tuple[str, bytes]]:
    """Small files that would become large, or take long."""
    for width, height in (
        (2**31 - 1, 2**31 - 1),
        (30_000, 30_000),
        (4097, 4097),
        (2**24, 2),
        (0, 64),
        (1, 1),
    ):
        yield f"PNG of {width} x {height}", png_of_size(width, height, bytes(1_000_000))
        yield f"TIFF of {width} x {height}", tiff_of_size(width, height)
    side = 65_500
    jpeg = bytearray(picture("JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    yield f"JPEG of {side} x {side}", bytes(jpeg)
    progressive = picture("JPEG", progressive=True)
    scan = progressive[progressive.index(b"\xff\xda") : -2]
    yield "JPEG of ten thousand scans", progressive[:-2] + 10_000 * scan[:40] + b"\xff\xd9"
    text = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000)))
    yield "text bomb in a PNG", picture("PNG")[:33] + text + picture("PNG")[33:60]
    chunks = 20_000 * png_chunk(b"prVt", b"")
    yield "PNG of twenty thousand chunks", picture("PNG")[:33] + chunks + picture("PNG")[33:]
    shared = [(40_000 + i, 7, 1_000_000, 8) for i in range(100)]
    yield "TIFF of a hundred large tags", tiff_of_size(16, 16, *shared, tail=bytes(1_000_000))
    yield "TIFF of fractions", tiff_of_size(16, 16, (282, 5, 1_000_000, 8), tail=bytes(8_000_000))
    tile = [(322, 4, 1, 2**14), (323, 4, 1, 2**14)]
    yield "TIFF of a tile larger than the picture", tiff_of_size(16, 16, *tile, tail=bytes(1000))
    yield "TIFF of a tile of signed sides", signed_tile()
    yield "TIFF of two widths", tiff_of_size(400, 16, (256, 4, 1, 16), tail=bytes(400 * 16))
    loop = bytearray(tiff_of_size(16, 16))
    loop[-4:] = struct.pack("<I", 8)
    yield "TIFF whose pages go round", bytes(loop)
    yield "TIFF of two pages", picture("TIFF", save_all=True, append_images=[Image.fromarray(PIXELS)])
    yield "animated PNG", picture("PNG", save_all=True, append_images=[Image.fromarray(255 - PIXELS)])
    for size in (10**9, 2**40, -5):
        yield f"FITS of {size} squared", fits_header(BITPIX=-32, NAXIS=2, NAXIS1=size, NAXIS2=size)
    yield "FITS of 999 axes", fits_header(BITPIX=8, NAXIS=999)
    parts = [fits.ImageHDU(np.zeros((2, 2), np.uint8)) for _ in range(100)]
    yield "FITS of a hundred parts", fits_file(None, *parts)
    compressed = fits_file(None, fits.CompImageHDU(np.zeros((512, 512), np.int16)))
    yield "compressed FITS", compressed
    usual = b"ZIMAGE  =                    T"
    for card in (b"ZIMAGE= T", b"zimage  = T", b"HIERARCH ZIMAGE = T"):
        yield f"compressed FITS with {card.decode()}", compressed.replace(usual, card.ljust(len(usual)))


def odd() -> Iterator[tuple[str, bytes]]:
    """Whole files that show no galaxy."""
    yield "FITS of NaN", fits_file(np.full((64, 64), np.nan, np.float32))
    yield "FITS of infinities", fits_file(np.full((64, 64), np.inf, np.float32))
    yield "FITS of one value", fits_file(np.full((64, 64), 7, np.int16))
    rows = np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])
    yield "FITS table", fits_file(None, fits.BinTableHDU(rows))
    yield "FITS of four axes", fits_file(np.zeros((20, 20, 20, 20), np.uint8))
    yield "FITS of two planes", fits_file(_RNG.normal(size=(2, 64, 64)).astype(np.float32))
    yield "FITS of one axis", fits_file(np.zeros(64, np.float32))
    yield "FITS without an image", fits_file(None)
    yield "PNG of 12 bits", picture("PNG", (PIXELS[..., 0].astype(np.uint16) * 16))
    yield "TIFF of floats", picture("TIFF", PIXELS[..., 0].astype(np.float32))
    yield "seven pixels high", picture("PNG", PIXELS[:7])
    yield "one column", picture("JPEG", PIXELS[:, :1])


HOSTILE = {name: content for part in (others, damaged, bombs, odd) for name, content in part()}
