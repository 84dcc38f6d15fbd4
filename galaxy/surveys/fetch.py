"""Downloads a survey into the layout that its reader wants: `python -m galaxy.surveys.fetch SURVEY`."""

from __future__ import annotations

import argparse
import io
import sys
import zipfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from galaxy.surveys import gz2, kaggle
from galaxy.surveys.downloads import Download, check_space, download, is_there, unpack
from galaxy.system.errors import UserError


@dataclass(frozen=True)
class Survey:
    """What a survey consists of.

    Attributes:
        files: What to download.
        competition: The page of the Kaggle competition that gives the files, to those who have an account;
            None for files that anybody may download.
    """

    files: tuple[Download, ...]
    competition: str | None = None


_CHALLENGE = "https://www.kaggle.com/competitions/galaxy-zoo-the-galaxy-challenge"
_GZ2_IMAGES = "https://zenodo.org/records/3565489/files"
SURVEYS = {
    "simulated": Survey(()),
    # Names and sizes are on the competition's data page, which gives no checksums.
    "kaggle": Survey(
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
    "gz2": Survey(
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
    "galaxy10": Survey(
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


def fetch(survey: Survey, root: Path, mirror: str | None = None) -> None:
    """Downloads and unpacks what `root` lacks of a survey.

    Args:
        survey: What to download.
        root: The survey's folder, made if need be.
        mirror: An address below which the files are, in place of the published ones.

    Raises:
        UserError: What keeps the files from being there, and what to do about it.
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
        with FileLock(root / ".fetch.lock", timeout=0):
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
    """Downloads with Kaggle's own client, which goes on where it was cut off."""
    # A whole zip file was there before: it was not unpacked to its end, or was put there by hand.
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
        # The import looks for credentials already. Where there are none, it prints its own advice twice.
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


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m galaxy.surveys.fetch",
        description="Downloads a survey. What was cut off is continued, and what is there is left alone.",
        epilog="surveys:\n" + "\n".join(_describe(*item) for item in SURVEYS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("survey", choices=SURVEYS, metavar="SURVEY", help=", ".join(SURVEYS))
    parser.add_argument("--root", type=Path, metavar="DIR", help="its folder (default: data/SURVEY)")
    parser.add_argument("--mirror", metavar="URL", help="take the files from this address instead")
    options = parser.parse_args(arguments)
    survey = SURVEYS[options.survey]
    root = (options.root or Path("data", options.survey)).expanduser()
    try:
        fetch(survey, root, options.mirror)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{root} cannot be used: {error}\nChoose another folder with --root.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"Stopped. What was downloaded is kept in {root}; the same command goes on.", file=sys.stderr)
        return 130  # as shells do
    where = f" data.root={root}" if survey.files else ""
    print(f"Train on it with: python train.py data={options.survey}{where}")
    return 0


def _describe(name: str, survey: Survey) -> str:
    if not survey.files:
        return f"  {name:<10} nothing to download: it is made when it is first used"
    size = sum(file.size for file in survey.files) / 1e9
    account = " (needs a Kaggle account)" if survey.competition else ""
    lines = [f"{'':13}{file.becomes}" for file in survey.files]
    return "\n".join([f"  {name:<10} {size:.1f} GB into data/{name}{account}:", *lines])


if __name__ == "__main__":
    raise SystemExit(main())
