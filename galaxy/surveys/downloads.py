"""Published files: downloaded and unpacked whole or not at all, and continued where a download broke off."""

from __future__ import annotations

import gzip
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import DownloadColumn, Progress, TransferSpeedColumn, track

import galaxy
from galaxy.system.errors import UserError
from galaxy.system.files import replacing

# Seconds without a connection or a byte; a busy archive may take some ten of them to answer.
TIMEOUT = 60.0
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Download:
    """A published file, and what it becomes in the survey's folder.

    Attributes:
        url: Its address, which ends in its name.
        becomes: The file or folder that the reader wants. Of a zip file only the members of this name are
            unpacked; an archive is deleted once that is done.
        size: Bytes to download, rounded.
        checksum: `algorithm:digest` in lower case, or None where none is published. Archives also carry sums
            of their own, which unpacking checks.
    """

    url: str
    becomes: str
    size: int
    checksum: str | None = None

    @property
    def name(self) -> str:
        """The file's name as it is published."""
        return self.url.rpartition("/")[2]

    @property
    def packed(self) -> bool:
        """Whether it is an archive of what is wanted."""
        return self.name != self.becomes


def is_there(root: Path, file: Download) -> bool:
    """Whether `root` holds what the file becomes. What is unpacked appears there only when it is whole.

    Raises:
        UserError: There is a file of this name that is not the published one.
    """
    import pooch  # noqa: PLC0415  only downloads need it

    path = root / file.becomes
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return False
    if file.checksum is not None and not file.packed:
        algorithm, digest = file.checksum.split(":")
        found = pooch.file_hash(str(path), algorithm)
        if found != digest:
            raise UserError(
                f"{path} is not the published file: its {algorithm} is {found}, not {digest}.\n"
                "Nothing was changed. Delete or move it to download it again."
            )
    return True


def check_space(root: Path, files: Iterable[Download]) -> None:
    """Raises a UserError if the disk is too small for the files."""
    needed = 0
    for file in files:
        # What is unpacked lies beside its archive for a while. JPEGs do not get smaller in a zip file.
        needed += 2 * file.size if file.packed else file.size
        here = [root / file.name, _part(root / file.name)]
        needed -= sum(path.stat().st_size for path in here if path.exists())
    free = shutil.disk_usage(root).free
    if needed > free:
        raise UserError(
            f"{needed / 1e9:.1f} GB are needed, and {free / 1e9:.1f} GB are free in {root}.\n"
            "Free some space, or choose a folder on another disk with --root."
        )


def download(url: str, path: Path, checksum: str | None) -> None:
    """Downloads a file to `path`, going on from `<name>.part` if an earlier call was cut off.

    Raises:
        UserError: The server cannot be reached or refuses, the connection breaks, or the checksum is wrong.
    """
    import pooch  # noqa: PLC0415  only downloads need it, and what it is built on
    from requests import RequestException  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    pooch.get_logger().setLevel("WARNING")
    part = _part(path)
    again = "Run the same command again, or take another server that has the file with --mirror."
    try:
        # It renames the file if its checksum is right, and deletes it if it is wrong.
        pooch.retrieve(url, checksum, path.name, path.parent, downloader=partial(_continue, part))
    except (RequestException, HTTPError) as error:
        kept = f"The first {part.stat().st_size:,} bytes are kept in {part}.\n" if part.exists() else ""
        raise UserError(f"{url} cannot be downloaded: {error}\n{kept}{again}") from error
    except ValueError as error:
        raise UserError(f"{url} does not give the published file: {error}\n{again}") from error


def _continue(part: Path, url: str, output: str, _pooch: object) -> None:
    """A downloader for pooch, whose own ones begin anew each time."""
    import requests  # noqa: PLC0415  only downloads need it

    # Zenodo asks programs to name themselves, and slows down those that do not.
    headers = {"User-Agent": f"galaxy/{galaxy.__version__}", "Accept-Encoding": "identity"}
    kept = part.stat().st_size if part.exists() else 0
    if kept:
        headers["Range"] = f"bytes={kept}-"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if kept and response.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()  # it is no beginning of this file
            _continue(part, url, output, _pooch)
            return
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            kept = 0  # the server does not know ranges, and sends the whole file
        total = (
            kept + int(response.headers["Content-Length"]) if "Content-Length" in response.headers else None
        )
        columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
        with part.open("ab" if kept else "wb") as file, Progress(*columns, console=_console()) as progress:
            task = progress.add_task(part.stem, completed=kept, total=total)
            # The bytes as they are published: a server may call .gz an encoding, which requests would undo.
            for chunk in response.raw.stream(_CHUNK, decode_content=False):
                file.write(chunk)
                progress.advance(task, len(chunk))
            file.flush()
            os.fsync(file.fileno())
    part.replace(output)


def unpack(archive: Path, target: Path) -> None:
    """Makes `target`, a file or a folder, from a .zip or .gz file, and deletes the archive.

    Raises:
        UserError: The archive is damaged, which deletes it too, or does not hold the target.
    """
    try:
        (_unzip if archive.suffix == ".zip" else _gunzip)(archive, target)
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError) as error:
        archive.unlink()
        raise UserError(
            f"{archive} is damaged and was deleted: {error}\nRun the same command to download it again."
        ) from error
    archive.unlink()


def _unzip(archive: Path, target: Path) -> None:
    part = _part(target)
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
    try:
        with zipfile.ZipFile(archive) as file:
            # Others are notes that macOS leaves: __MACOSX/ and ._*.
            members = [
                name
                for name in file.namelist()
                if name.partition("/")[0] == target.name and not Path(name).name.startswith("._")
            ]
            if not members:
                raise UserError(
                    f"{archive} holds no {target.name}. Delete it and run the same command again."
                )
            for name in track(members, f"Unpacking {archive.name}", console=_console()):
                file.extract(name, part)  # never outside of it: zipfile leaves out ".." and the like
        os.sync()  # one flush for all; flushing each would take longer than unpacking
        (part / target.name).replace(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _gunzip(archive: Path, target: Path) -> None:
    with gzip.open(archive) as packed, replacing(target) as temporary, temporary.open("wb") as file:
        shutil.copyfileobj(packed, file, _CHUNK)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _console() -> Console:
    return Console(stderr=True)
