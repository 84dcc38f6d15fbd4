"""`galaxy fetch SURVEY`: download a survey into the layout that its reader wants."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from galaxy.surveys.fetch import SURVEYS, PublishedSurvey, fetch
from galaxy.system.errors import UserError, pasteable


def main(arguments: list[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="galaxy fetch",
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
    where = f" {pasteable(f'data.root={root}')}" if survey.files else ""
    print(f"Train on it with: galaxy train data={options.survey}{where}")
    return 0


def _describe(name: str, survey: PublishedSurvey) -> str:
    if not survey.files:
        return f"  {name:<10} nothing to download: it is made when it is first used"
    size = sum(file.size for file in survey.files) / 1e9
    account = " (needs a Kaggle account)" if survey.competition else ""
    lines = [f"{'':13}{file.becomes}" for file in survey.files]
    return "\n".join([f"  {name:<10} {size:.1f} GB into data/{name}{account}:", *lines])


if __name__ == "__main__":
    raise SystemExit(main())
