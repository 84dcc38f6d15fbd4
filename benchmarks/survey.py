"""The images that a benchmark measures on: somebody's own in Kaggle's layout, or simulated ones."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.options import add_count, add_repeats
from galaxy.surveys.simulated.survey import Survey, write_survey
from galaxy.system.errors import UserError


def add_options(parser: argparse.ArgumentParser, repeats: int, least: int = 1) -> None:
    """Adds --root, --images (at least so many) and --repeats (with this default)."""
    parser.add_argument("--root", type=Path, metavar="DIR", help="images in Kaggle's layout (else simulated)")
    add_count(parser, "images", 2000, "how many", least)
    add_repeats(parser, repeats)


@contextmanager
def survey(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Iterator[tuple[Path, str]]:
    """The folder of the images, and a note that says which they are; a mistake ends the program in words."""
    try:
        if options.root:
            yield options.root, "Images: those of --root."
            return
        with TemporaryDirectory() as folder:
            root = write_survey(Path(folder), Survey(options.images, seed=0, volunteers=45))
            yield root, "Images: simulated, 424 x 424 JPEG."
    except UserError as error:
        parser.error(str(error))
