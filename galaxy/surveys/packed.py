"""Text files that may be compressed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from pathlib import Path
from typing import IO, Any


def open_text(path: Path, encoding: str) -> IO[str]:
    """Opens a text file, which may be compressed by gzip, bzip2, xz or zip, without changing its line ends.

    Raises:
        ValueError: A zip file holds more or less than one file.
    """
    return io.TextIOWrapper(open_bytes(path), encoding, newline="")


def open_bytes(path: Path) -> IO[bytes]:
    """Opens a file, which may be compressed, as `open_text` does."""
    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zip": _open_zip}
    file: IO[bytes] = openers.get(path.suffix.lower(), open)(path, "rb")
    return file


def _open_zip(path: Path, mode: str) -> IO[bytes]:
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{error}") from error
    # macOS adds a file about each file.
    names = [name for name in archive.namelist() if not name.startswith("__MACOSX/") and name[-1] != "/"]
    if len(names) != 1:
        raise ValueError(f"it must hold one file, and holds {', '.join(names[:5]) or 'nothing'}")
    return archive.open(names[0])
