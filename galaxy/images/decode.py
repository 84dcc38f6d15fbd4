"""One image file to pixels, or the reason why not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from galaxy.images.crops import Pixels

# How a format begins and how a whole file of it ends. OpenCV fills the missing part of a truncated file with
# grey and says nothing.
_ENDS = {
    b"\xff\xd8": b"\xff\xd9",  # JPEG: start and end of image
    b"\x89PNG\r\n\x1a\n": b"IEND\xaeB`\x82",  # PNG: the empty last chunk with its checksum
}


# Some writers pad a file, or add bytes of their own after its end.
_TAIL = 1024


class BadImageError(Exception):
    """An image that cannot be used; the message is the reason."""


def decode(path: Path) -> Pixels:
    """Reads an image file.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        BadImageError: The file cannot be read, is empty, is truncated or is not an image. Damage inside a
            JPEG that leaves its end alone is not noticed: OpenCV decodes what it can.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadImageError(f"cannot be read ({error.strerror})") from error
    if not data:
        raise BadImageError("the file is empty")
    for start, end in _ENDS.items():
        if data.startswith(start) and end not in data[-_TAIL:]:
            raise BadImageError("the file is truncated: its end is missing")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise BadImageError(f"cannot be decoded ({error.err})") from error
    if image is None:
        raise BadImageError("not an image that OpenCV can decode")
    return image
