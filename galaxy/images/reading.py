"""Reads files, and tells errors of the file from errors that pass."""

from __future__ import annotations

import errno
from pathlib import Path

from galaxy.images import BadImageError
from galaxy.system.errors import UserError

# These errors are the file's own: it is missing, a folder or not readable for us, or HDF5 looks for a part
# of it at an impossible place. Another try cannot help.
_LASTING = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.EACCES,
    errno.EPERM,
    errno.EINVAL,
    errno.EOVERFLOW,
}


def read_file(path: Path) -> bytes:
    """Reads a whole file.

    Raises:
        BadImageError: The file is missing, a folder or not readable for us.
        UserError: The disk or the system failed.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        refuse_passing(path, error)
        raise BadImageError(f"cannot be read ({error.strerror})") from error


def refuse_passing(path: Path, error: BaseException) -> None:
    """Raises a `UserError` if another try may read the same file, so that no good image counts as bad.

    Args:
        path: The file.
        error: The error. One that Python itself or a library raises for damage has no number.
    """
    if isinstance(error, OSError) and error.errno and error.errno not in _LASTING:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
