"""`galaxy cache`: lists the image caches, and removes those that nobody needs."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from galaxy.data.cache_folders import CacheInfo, list_caches, prune
from galaxy.system.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """The command line.

    Args:
        arguments: What follows `galaxy cache`; None for the arguments of this process.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="galaxy cache", description=__doc__)
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path("cache"),
        metavar="DIR",
        help="of the caches (default: cache)",
    )
    parser.add_argument(
        "--prune",
        action="store_true",
        help="remove caches whose images are gone, that an older Galaxy made, or that another environment "
        "(other code, or other versions of the packages that decode) made and no run has used for 30 days",
    )
    parser.add_argument(
        "--older-than", type=float, metavar="DAYS", help="remove caches that were not used for so many days"
    )
    options = parser.parse_args(arguments)
    if options.older_than is not None and not options.older_than >= 0:
        parser.error("--older-than must be 0 or more")
    folder = options.folder.expanduser()
    if not folder.is_dir():
        print(f"there is no folder {folder}", file=sys.stderr)
        return 1
    console = Console()
    if options.prune or options.older_than is not None:
        try:
            removed = prune(folder, options.prune, options.older_than)
        except UserError as error:
            print(error, file=sys.stderr)
            return 1
        for info in removed:
            _say(console, f"removed {info.folder} ({decimal(info.size)})")
        _say(console, f"{decimal(sum(info.size for info in removed))} freed")
    caches = list_caches(folder)
    if caches:
        console.print(_table(caches))
    _say(console, f"{len(caches)} cache(s) in {folder}: {decimal(sum(info.size for info in caches))}")
    return 0


def _table(caches: Sequence[CacheInfo]) -> Table:
    table = Table(show_lines=True)
    for name in ("name, crop and surveys", "images", "size", "last use"):
        figure = name in ("images", "size")
        table.add_column(name, justify="right" if figure else "left", no_wrap=figure, overflow="fold")
    for info in caches:
        stale = [f"not used any more: {info.stale}"] if info.stale else []
        cells = (
            "\n".join([info.folder.name, info.crop, *info.roots, *stale]),
            f"{info.images:,}",
            decimal(info.size),
            time.strftime("%Y-%m-%d\n%H:%M", time.localtime(info.last_use)),
        )
        table.add_row(*map(Text, cells))  # names are text, even if they have brackets
    return table


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
