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
    parser.add_argument(
        "--by",
        metavar="METRIC",
        help="a metric of the validation split, such as val/r2 (default: the objective)",
    )
    parser.add_argument("--test", action="store_true", help="show the test split of every setting")
    parser.add_argument("--all", action="store_true", help="show runs too that ended before they trained")
    parser.add_argument("--watch", action="store_true", help="follow runs until the last one is over")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with tables and charts")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a row for each run")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables as Markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the comparison as JSON")
    options = parser.parse_args(arguments)
    options.folders = [folder.expanduser() for folder in options.folders]
    try:
        if options.watch:
            from galaxy.reports.watch import follow  # noqa: PLC0415  see below

            follow(options.folders, options.by, options.test, options.all)
        return _compare(options)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130


def _compare(options: argparse.Namespace) -> int:
    # pandas takes longer to import than `--help` may.
    from galaxy.reports.compare import compare_runs  # noqa: PLC0415
    from galaxy.reports.comparison_text import (  # noqa: PLC0415
        as_json,
        markdown,
        print_errors,
        print_groups,
        print_searches,
    )
    from galaxy.reports.records import read_record  # noqa: PLC0415
    from galaxy.reports.run_table import run_table, write_run_table  # noqa: PLC0415
    from galaxy.reports.search import find_searches  # noqa: PLC0415
    from galaxy.runs.folder import RunFolder, find_runs  # noqa: PLC0415
    from galaxy.system.files import write_json, write_text  # noqa: PLC0415

    runs: dict[Path, RunFolder] = {}
    searches = find_searches(options.folders)
    status = 0
    for folder in options.folders:
        try:
            # One folder may lie in another.
            runs |= {run.path.resolve(): run for run in find_runs(folder)}
        except UserError as error:  # the other folders are compared all the same
            if any(search.folder.is_relative_to(folder) for search in searches):
                continue  # No trial could run.
            print(error, file=sys.stderr)
            status = 1
    if not runs and not searches:
        return status
    records = [read_record(run) for run in runs.values()]
    shown = records if options.all else [record for record in records if record.trained]
    groups = compare_runs(shown, options.by)
    print_groups(groups, options.test)
    print_searches(searches)
    print_errors(shown)
    if hidden := len(records) - len(shown):
        few = "1 run ended before it trained; --all shows it"
        print(f"\n{few if hidden == 1 else f'{hidden} runs ended before they trained; --all shows them'}")
    if options.html:
        from galaxy.reports.page.page import write_page  # noqa: PLC0415  it imports matplotlib

        write_page(options.html.expanduser(), groups, searches, shown, options.test)
    if options.csv and records:
        write_run_table(run_table(records), options.csv.expanduser())
    if options.markdown:
        write_text(options.markdown.expanduser(), markdown(groups, searches, options.test))
    if options.json:
        write_json(options.json.expanduser(), as_json(groups, searches))
    return status


if __name__ == "__main__":
    raise SystemExit(main())
