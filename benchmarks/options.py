"""Command-line options that the benchmarks share."""

from __future__ import annotations

import argparse


def add_count(parser: argparse.ArgumentParser, name: str, default: int, what: str, least: int = 1) -> None:
    """Adds an option for a whole number.

    Args:
        parser: The parser of the program.
        name: The name of the option, without its dashes.
        default: The value if the option is not given.
        what: The text of the help.
        least: The smallest number that is allowed.
    """

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be {least} or more")
        return value

    help_ = f"{what} (default {default})"
    parser.add_argument(f"--{name}", type=number, default=default, metavar="N", help=help_)


def add_repeats(parser: argparse.ArgumentParser, default: int) -> None:
    """Adds the option --repeats."""
    add_count(parser, "repeats", default, "repeats of each measurement")
