"""Writes files that are whole or absent: under a temporary name, which is changed once all is on the disk."""

from __future__ import annotations

import errno
import fcntl
import glob
import json
import logging
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.filesize import decimal

from galaxy.system.errors import UserError

# The remedies for errors of the system that keep a file from being written.
_REMEDIES = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some space, or ask for a larger quota",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f)",
    errno.EACCES: "Ask for the right to write there, or choose another folder",
    errno.EROFS: "Choose another folder, on a disk that can be written to",
    errno.EEXIST: "Choose another folder, as a part of the path is a file",
    errno.ENOTDIR: "Choose another folder, as a part of the path is a file",
    errno.EISDIR: "Choose another name, as this one is that of a folder",
    errno.ENAMETOOLONG: "Choose a shorter path",
}
# Seconds. `is_locked` holds a lock for less.
_GLANCE = 0.3
# File systems that cannot lock a file, or flush a folder, answer with one of these errors.
_UNSUPPORTED = {errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY}

_log = logging.getLogger(__name__)


@contextmanager
def replacing(path: Path, size: int | None = None) -> Iterator[Path]:
    """Yields a temporary path beside `path`, and renames it to `path` once the block has ended well.

    The content is flushed to the disk before the rename. A reader, or a machine that lost its power, sees
    the old file or the new one, and never a part. The temporary file is removed if the block raises; that of
    a killed process is removed when the same file is next written.

    Args:
        path: The file. Missing folders are made.
        size: The bytes of the file, if they are known beforehand. The message about a full disk names them.

    Raises:
        UserError: The disk is full, or does not let us write.
    """
    with explained(path, size):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
        temporary = Path(name)
        try:
            with suppress(OSError):  # Some file systems have no locks. Leftovers stay there.
                # The system frees the lock when the process dies, which marks the file as left over.
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield temporary
            # Only the owner can read what mkstemp makes, but results are meant to be shared.
            temporary.chmod(0o666 & ~_umask())
            _publish(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
            os.close(handle)


@contextmanager
def explained(path: Path, size: int | None = None, key: str = "") -> Iterator[None]:
    """Turns the error of a full disk, of a limit or of a missing right in the block into a `UserError`.

    Args:
        path: The file that the block writes.
        size: Its bytes, if they are known.
        key: The key that chooses the folder, if there is one.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _REMEDIES:
            raise
        folder = next(folder for folder in path.absolute().parents if os.path.exists(folder))  # noqa: PTH110
        needed = "" if size is None else f"It needs {decimal(size)}; "
        chosen = f" ({key}=DIR chooses the folder)" if key else ""
        raise UserError(
            f"{path} cannot be written: {os.strerror(error.errno)}. "
            f"{needed}{decimal(shutil.disk_usage(folder).free)} are free in {folder}.\n"
            f"What was there before is unchanged. {_REMEDIES[error.errno]}{chosen}, "
            "then start again or resume the run."
        ) from error


def check_writable(folder: Path) -> None:
    """Makes a folder, and checks that files can be written there, before hours are spent on their content.

    Raises:
        UserError: They cannot.
    """
    with explained(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError:  # the answer of /proc, and of other folders that only the system fills
            raise UserError(f"{folder} cannot be made: {folder.parent} takes no new folders") from None
        tempfile.TemporaryFile(dir=folder).close()


def _publish(temporary: Path, path: Path) -> None:
    """Flushes a file to the disk and then renames it to `path`, whose former file is replaced."""
    _flush(temporary)
    temporary.replace(path)
    _flush(path.parent)


def _flush(path: Path) -> None:
    """Flushes a file or a folder to the disk, where the file system can do that."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path, wait: bool = True, waiting: str = "") -> Iterator[bool]:
    """Holds the lock of a file, which one process has at a time; the system frees it when the process dies.

    Args:
        path: The file, which is made and stays.
        wait: Whether to wait for another process, longer than a glance at the lock takes.
        waiting: What to say while waiting.

    Yields:
        Whether there is a lock. Some file systems have none, which a warning says.

    Raises:
        Timeout: Another process holds the lock, and `wait` is false.
    """
    # The other kind of lock, a file that is there or not, would stay after a process that was killed.
    lock = FileLock(path, mode=0o666, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if waiting:
            _log.info("%s", waiting)
        lock.acquire(timeout=-1 if wait else _GLANCE)
    except (OSError, NotImplementedError) as error:  # filelock raises the latter for ENOSYS
        if isinstance(error, OSError) and error.errno not in _UNSUPPORTED:
            raise
        _log.warning("%s has no locks: let only one program at a time write there.", path.parent)
    try:
        yield lock.is_locked
    finally:
        lock.release()


def is_locked(path: Path) -> bool | None:
    """Whether a process holds the lock of a file; None if nobody can say."""
    if not path.exists():
        return None
    lock = FileLock(path, mode=0o666, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # no locks here, or no right to take one
        return None
    lock.release()
    return False


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Writes bytes, whole or not at all."""
    with replacing(path, len(content)) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON, whole or not at all. NaN and infinity, which JSON lacks, become null."""
    write_text(path, json.dumps(_finite(value), indent=2, allow_nan=False) + "\n")


def _remove_leftovers(path: Path) -> None:
    """Removes the temporary files of processes that were killed while they wrote `path`."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.????????{glob.escape(path.suffix)}"):
        with suppress(OSError), left.open("rb") as file:  # A process at work holds it, or it is gone.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
