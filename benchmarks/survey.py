"""The images that a benchmark reads: your own in Kaggle's layout, or simulated ones."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.options import add_count, add_repeats
from galaxy.surveys.simulated.survey import SimulatedSurvey, write_survey
from galaxy.system.errors import UserError


def add_options(parser: argparse.ArgumentParser, repeats: int, least: int = 1) -> None:
    """Adds the options --root, --images (`least` or more) and --repeats (`repeats` by default)."""
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="images in Kaggle's layout (default: simulated)"
    )
    add_count(parser, "images", 2000, "number of images", least)
    add_repeats(parser, repeats)


@contextmanager
def survey(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Iterator[tuple[Path, str]]:
    """Yields the folder of the images and a note that says which they are. A mistake ends the program."""
    try:
        if options.root:
            yield options.root, "The images are those of --root."
            return
        with TemporaryDirectory() as folder:
            root = write_survey(Path(folder), SimulatedSurvey(options.images, seed=0, volunteers=45))
            yield root, "The images are simulated JPEGs of 424 x 424 pixels."
    except UserError as error:
        parser.error(str(error))
