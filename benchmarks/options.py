"""Options that a benchmark counts with."""

from __future__ import annotations

import argparse


def add_count(parser: argparse.ArgumentParser, name: str, default: int, what: str, least: int = 1) -> None:
    """Adds an option for a whole number.

    Args:
        parser: Of the program.
        name: Of the option, without its dashes.
        default: Its value where it is not given.
        what: What the program says of it.
        least: The smallest number that makes sense.
    """

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be {least} or more")
        return value

    help_ = f"{what} (default {default})"
    parser.add_argument(f"--{name}", type=number, default=default, metavar="N", help=help_)


def add_repeats(parser: argparse.ArgumentParser, default: int) -> None:
    """Adds --repeats."""
    add_count(parser, "repeats", default, "of each measurement")
