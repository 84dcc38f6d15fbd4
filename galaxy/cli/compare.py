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
    parser.add_argument("--all", action="store_true", help="show runs that failed before they trained, too")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the whole table there too")
    options = parser.parse_args(arguments)

    from galaxy.reports.compare import (  # noqa: PLC0415  pandas takes longer to import than `--help` may
        comparison,
        never_trained,
        print_comparison,
        print_errors,
        write_comparison,
    )
    from galaxy.runs.folder import find_runs  # noqa: PLC0415

    try:
        runs = [run for folder in options.folders for run in find_runs(folder.expanduser())]
        shown = runs if options.all else [run for run in runs if not never_trained(run)]
        if left_out := len(runs) - len(shown):
            what = (
                "1 run that failed before it trained is"
                if left_out == 1
                else (f"{left_out} runs that failed before they trained are")
            )
            print(f"{what} left out; --all shows them")
        if not shown:
            return 0
        table = comparison(shown)
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
