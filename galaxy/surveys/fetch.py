"""Downloads a survey into the layout that its reader needs: `galaxy fetch SURVEY`.

Files are downloaded and unpacked whole or not at all. An interrupted download is continued.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from filelock import Timeout
from rich.console import Console
from rich.progress import DownloadColumn, Progress, TransferSpeedColumn, track

import galaxy
from galaxy.surveys import gz2, kaggle
from galaxy.system.errors import UserError
from galaxy.system.files import locked, replacing

# The longest time in seconds without a connection or a byte. A busy archive may take ten to answer.
TIMEOUT = 60.0
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Download:
    """A published file, and the file or folder that is made of it.

    Attributes:
        url: The address of the file, which ends in its name.
        becomes: The file or folder that the reader needs. Only the members of this name are unpacked from a
            zip file. An archive is deleted when it has been unpacked.
        size: The number of bytes to download, rounded.
        checksum: `algorithm:digest` in lower case, or None if none is published. Archives also contain
            checksums, which are checked when they are unpacked.
    """

    url: str
    becomes: str
    size: int
    checksum: str | None = None

    @property
    def name(self) -> str:
        """The name of the published file."""
        return self.url.rpartition("/")[2]

    @property
    def packed(self) -> bool:
        """Whether the published file is an archive."""
        return self.name != self.becomes


@dataclass(frozen=True)
class PublishedSurvey:
    """The published files of a survey.

    Attributes:
        files: The files to download.
        competition: The page of the Kaggle competition that gives the files to those who have an account;
            None for files that anybody may download.
    """

    files: tuple[Download, ...]
    competition: str | None = None


_CHALLENGE = "https://www.kaggle.com/competitions/galaxy-zoo-the-galaxy-challenge"
_GZ2_IMAGES = "https://zenodo.org/records/3565489/files"
SURVEYS = {
    "simulated": PublishedSurvey(()),
    # Names and sizes are on the competition's data page, which gives no checksums.
    "kaggle": PublishedSurvey(
        (
            Download(f"{_CHALLENGE}/data/training_solutions_rev1.zip", kaggle.TABLE, 4_630_000),
            Download(f"{_CHALLENGE}/data/images_training_rev1.zip", kaggle.FOLDERS["training"], 792_000_000),
            Download(f"{_CHALLENGE}/data/images_test_rev1.zip", kaggle.FOLDERS["test"], 1_010_000_000),
            Download(
                f"{_CHALLENGE}/data/central_pixel_benchmark.zip", "central_pixel_benchmark.csv", 520_000
            ),
        ),
        competition=_CHALLENGE,
    ),
    "gz2": PublishedSurvey(
        (
            # Hart et al. 2016, Table 1, at https://data.galaxyzoo.org, which gives neither size nor checksum.
            # The CSV has 364 MB; packed it is less.
            Download("https://gz2hart.s3.amazonaws.com/gz2_hart16.csv.gz", gz2.TABLE, 364_000_000),
            Download(
                f"{_GZ2_IMAGES}/gz2_filename_mapping.csv",
                gz2.MAPPING,
                13_000_000,
                "md5:7e28465e6dfbf96c0d828c595a5bbd80",
            ),
            Download(
                f"{_GZ2_IMAGES}/images_gz2.zip",
                gz2.IMAGES,
                3_400_000_000,
                "md5:bc647032d31e50c798770cf4430525c7",
            ),
        )
    ),
    "galaxy10": PublishedSurvey(
        (
            # The checksum is the one in astroNN's documentation, by the makers of the file.
            Download(
                "https://zenodo.org/records/10845026/files/Galaxy10_DECals.h5",
                "Galaxy10_DECals.h5",
                2_730_000_000,
                "sha256:19aefc477c41bb7f77ff07599a6b82a038dc042f889a111b0d4d98bb755c1571",
            ),
        )
    ),
}


def fetch(survey: PublishedSurvey, root: Path, mirror: str | None = None) -> None:
    """Downloads and unpacks the files of a survey that `root` lacks.

    Args:
        survey: The survey.
        root: The survey's folder, which is made if it is missing.
        mirror: An address below which the files are, in place of the published addresses.

    Raises:
        UserError: A file cannot be had. The message says why and what to do about it.
        OSError: `root` cannot be written.
    """
    missing = [file for file in survey.files if not is_there(root, file)]
    for file in survey.files:
        if file not in missing:
            print(f"{root / file.becomes} is already there.")
    if not missing:
        return
    root.mkdir(parents=True, exist_ok=True)
    try:
        with locked(root / ".fetch.lock", wait=False):
            check_space(root, missing)
            if survey.competition is not None and mirror is None:
                _from_kaggle(survey.competition, missing, root)
            else:
                for file in missing:
                    url = file.url if mirror is None else f"{mirror.rstrip('/')}/{file.name}"
                    download(url, root / file.name, file.checksum)
            for file in missing:
                if file.packed:
                    unpack(root / file.name, root / file.becomes)
    except Timeout as error:
        raise UserError(f"Another process is downloading into {root}. Wait until it has ended.") from error


def _from_kaggle(page: str, files: list[Download], root: Path) -> None:
    """Downloads with Kaggle's own client, which continues interrupted downloads."""
    # A zip file that is whole was not unpacked to its end, or was put there by hand.
    names = [file.name for file in files if not zipfile.is_zipfile(root / file.name)]
    if not names:
        return
    from requests import RequestException  # noqa: PLC0415  only downloads need it

    advice = {
        401: "Your credentials are not valid. Make new ones at https://www.kaggle.com/settings.",
        403: f"Accept the competition's rules at {page}/rules.",
    }
    try:
        client = _kaggle_client(page, root)
        for name in names:
            client.competition_download_file(page.rpartition("/")[2], name, path=str(root))
    except RequestException as error:
        status = getattr(error.response, "status_code", 0)
        mend = advice.get(status, f"What was downloaded is kept in {root}.")
        raise UserError(
            f"{page} gives no files: {error}\n{mend}\nThen run the same command again."
        ) from error


def _kaggle_client(page: str, root: Path) -> Any:
    try:
        # The import already looks for credentials. If there are none, it prints its own advice twice.
        with redirect_stdout(io.StringIO()):
            import kaggle as package  # noqa: PLC0415  an optional package

            package.api.authenticate()
    except ImportError as error:
        raise UserError(
            f"Kaggle's client cannot be imported: {error}\n"
            "Install it with: pip install 'galaxy-morphology[kaggle]'"
        ) from error
    except SystemExit as error:
        raise UserError(
            "Kaggle gives its files to those who have an account there, and found no valid credentials.\n"
            "Make a token at https://www.kaggle.com/settings. Then set KAGGLE_API_TOKEN, or KAGGLE_USERNAME\n"
            "and KAGGLE_KEY, or save the kaggle.json that you get there in ~/.kaggle, and run this again.\n"
            f"Or download the zip files by hand from {page}/data\ninto {root}, and run this again."
        ) from error
    return package.api


def is_there(root: Path, file: Download) -> bool:
    """Whether `root` holds the file or folder that is made of a download. It appears only when it is whole.

    Raises:
        UserError: `root` holds a file of this name that is not the published one.
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
        # The unpacked files lie beside their archive for a while. JPEGs are no smaller in a zip file.
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
    """Downloads a file to `path`. If an earlier call was interrupted, it continues `<name>.part`.

    Raises:
        UserError: The server cannot be reached or refuses, the connection breaks, or the checksum is wrong.
    """
    import pooch  # noqa: PLC0415  only downloads need it and its dependencies
    from requests import RequestException  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    pooch.get_logger().setLevel("WARNING")
    part = _part(path)
    again = "Run the same command again, or take another server that has the file with --mirror."
    try:
        # `retrieve` renames the file if its checksum is right, and deletes it otherwise.
        pooch.retrieve(url, checksum, path.name, path.parent, downloader=partial(_continue, part))
    except (RequestException, HTTPError) as error:
        kept = f"The first {part.stat().st_size:,} bytes are kept in {part}.\n" if part.exists() else ""
        raise UserError(f"{url} cannot be downloaded: {error}\n{kept}{again}") from error
    except ValueError as error:
        raise UserError(f"{url} does not give the published file: {error}\n{again}") from error


def _continue(part: Path, url: str, output: str, _pooch: object) -> None:
    """A downloader for pooch that continues an interrupted download. Its own downloaders begin anew."""
    import requests  # noqa: PLC0415  only downloads need it

    # Zenodo slows down programs that do not name themselves.
    headers = {"User-Agent": f"galaxy/{galaxy.__version__}", "Accept-Encoding": "identity"}
    kept = part.stat().st_size if part.exists() else 0
    if kept:
        headers["Range"] = f"bytes={kept}-"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if kept and response.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()  # it is not the beginning of this file
            _continue(part, url, output, _pooch)
            return
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            kept = 0  # the server does not support ranges and sends the whole file
        total = (
            kept + int(response.headers["Content-Length"]) if "Content-Length" in response.headers else None
        )
        columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
        with part.open("ab" if kept else "wb") as file, Progress(*columns, console=_console()) as progress:
            task = progress.add_task(part.stem, completed=kept, total=total)
            # The bytes must not be decoded: a server may declare .gz an encoding, which requests would undo.
            for chunk in response.raw.stream(_CHUNK, decode_content=False):
                file.write(chunk)
                progress.advance(task, len(chunk))
            file.flush()
            os.fsync(file.fileno())
    part.replace(output)


def unpack(archive: Path, target: Path) -> None:
    """Unpacks a .zip or .gz file into `target`, a file or a folder, and deletes the archive.

    Raises:
        UserError: The archive is damaged and was deleted, or it does not hold the target.
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
    shutil.rmtree(part, ignore_errors=True)  # left by a process that was killed
    try:
        with zipfile.ZipFile(archive) as file:
            # macOS adds other members, __MACOSX/ and ._*.
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
                file.extract(name, part)  # zipfile never writes outside of it
        os.sync()  # one flush for all files; flushing each would take longer than unpacking
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
