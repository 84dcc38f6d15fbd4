"""The one exception for mistakes that the person at the keyboard can mend, and the words of its messages."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in the configuration, the data or the command line.

    The message is all that the user sees: what is wrong, where (file, row, key), what is allowed and
    what to do. The command line prints it without a traceback and exits with status 1.
    """


def listing(items: list[str], limit: int = 10) -> str:
    """Formats one item a line, and counts those left out beyond `limit`."""
    lines = [f"  {item}" for item in items[:limit]]
    if len(items) > limit:
        lines.append(f"  ... and {len(items) - limit:,} more")
    return "\n".join(lines)


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that a misspelt word most likely meant, if any is near."""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return by_lower[found[0]] if found else None


def meant(word: str, candidates: Iterable[str]) -> str:
    """The end of a sentence about a misspelt word, such as "; did you mean smooth?"; or nothing."""
    near = nearest(word, candidates)
    return "" if near is None else f"; did you mean {near}?"
