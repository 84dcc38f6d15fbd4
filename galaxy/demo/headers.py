"""What the header of a picture claims, read before anything is decoded.

Pillow would read all of the header. Some files make it take gigabytes, others a quarter of a minute.
"""

from __future__ import annotations

import struct

import simplejpeg

from galaxy.images import BadImageError
from galaxy.images.decode import MORE_THAN_ONE

# A progressive JPEG may have thousands of scans, each of which is decoded for all pixels. Ten are usual.
_MOST_SCANS, _SCAN = 64, b"\xff\xda"
# libpng writes a chunk for 8 KiB of pixels, so 16 MiB have 2,000.
_MOST_CHUNKS = 10_000
# The tags of a TIFF may all lead to the same bytes. libtiff copies them for each tag.
_MOST_TAGS, _MOST_TAG_BYTES = 200, 2 * 2**20
# The bytes of a value of each type of TIFF, and the types that a width may have.
_TAG_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TAG_BYTES |= {16: 8, 17: 8, 18: 8}
_WHOLE = {3: "H", 4: "I", 16: "Q"}
_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 322, 323
_SIZES = (_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT)


def claimed_size(kind: str, content: bytes) -> tuple[int, int] | None:
    """Returns the width and the height that a picture claims to have.

    Args:
        kind: JPEG, PNG or TIFF.
        content: The bytes of the file.

    Returns:
        The larger of the picture and a tile of it. None for a JPEG of which only the decoder can tell.

    Raises:
        BadImageError: The header is damaged, or has too many parts.
    """
    try:
        return _READERS[kind](content)
    except (ValueError, OverflowError, struct.error) as error:
        raise BadImageError(f"the {kind} file is damaged: its header cannot be read") from error


def _jpeg(content: bytes) -> tuple[int, int] | None:
    if content.count(_SCAN) > _MOST_SCANS:
        raise BadImageError(f"the JPEG has more than {_MOST_SCANS} scans: save it again as a usual one")
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(content)
    except KeyError:  # simplejpeg has no name for the sampling of the colours
        return None
    return width, height


def _png(content: bytes) -> tuple[int, int]:
    start = 8
    for _ in range(_MOST_CHUNKS):
        if start >= len(content):
            break
        start += 12 + int.from_bytes(content[start : start + 4])
    else:
        raise BadImageError(f"the PNG has more than {_MOST_CHUNKS:,} chunks: save it again as a usual one")
    if content[12:16] != b"IHDR":
        raise ValueError
    width, height = struct.unpack_from(">II", content, 16)
    return width, height


def _tiff(content: bytes) -> tuple[int, int]:
    order = "<" if content.startswith(b"II") else ">"
    big = content[2:4] in (b"+\0", b"\0+")
    offset, number, entry = ("Q", "Q", "HHQ") if big else ("I", "H", "HHI")
    (start,) = struct.unpack_from(order + offset, content, 8 if big else 4)
    (count,) = struct.unpack_from(order + number, content, start)
    start += struct.calcsize(order + number)
    if count > _MOST_TAGS:
        raise BadImageError(f"the TIFF has more than {_MOST_TAGS} tags: save it again as a usual one")
    tags: set[int] = set()
    found, size = {_TILE_WIDTH: 0, _TILE_HEIGHT: 0}, 0
    for _ in range(count):
        tag, kind, values = struct.unpack_from(order + entry, content, start)
        start += struct.calcsize(order + entry)
        size += values * _TAG_BYTES.get(kind, 1)
        if tag in tags:  # libtiff takes the first of them
            raise BadImageError(f"the TIFF has the tag {tag} twice: save it again as a usual one")
        tags.add(tag)
        if tag in _SIZES:
            if kind not in _WHOLE or values != 1:  # libtiff also takes numbers with a sign
                raise ValueError
            (found[tag],) = struct.unpack_from(order + _WHOLE[kind], content, start)
        start += struct.calcsize(order + offset)
    if size > _MOST_TAG_BYTES:
        raise BadImageError(
            f"the TIFF has more than {_MOST_TAG_BYTES // 2**20} MiB beside its pixels: save it again without"
        )
    if struct.unpack_from(order + offset, content, start) != (0,):
        raise BadImageError(f"the file {MORE_THAN_ONE}")
    if not {_WIDTH, _HEIGHT} <= found.keys():
        raise ValueError
    return max((found[_WIDTH], found[_HEIGHT]), (found[_TILE_WIDTH], found[_TILE_HEIGHT]), key=_pixels)


def _pixels(size: tuple[int, int]) -> int:
    return size[0] * size[1]


_READERS = {"JPEG": _jpeg, "PNG": _png, "TIFF": _tiff}
