"""`galaxy compare FOLDER...`: one table of every run at or below some folders."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from galaxy.system.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="galaxy compare", description="Compares every run at or below these folders."
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the whole table there too")
    options = parser.parse_args(arguments)

    from galaxy.reports.compare import (  # noqa: PLC0415  pandas takes longer to import than `--help` may
        comparison,
        print_comparison,
        print_errors,
        write_comparison,
    )
    from galaxy.runs.folder import find_runs  # noqa: PLC0415

    try:
        table = comparison([run for folder in options.folders for run in find_runs(folder.expanduser())])
        print_comparison(table)
        print_errors(table)
        if options.csv:
            write_comparison(table, options.csv.expanduser())
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
