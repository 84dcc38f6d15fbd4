"""The exception for mistakes that the user can correct, and helpers that word its messages."""

import difflib
import shlex
from collections.abc import Iterable, Sequence


class UserError(Exception):
    """A mistake in the configuration, the data or the command line.

    The user sees nothing but the message. It says what is wrong, where it is wrong (file, row, key), what is
    allowed and what to do. The command line prints it without a traceback and exits with status 1.
    """


def listing(items: Sequence[str], limit: int = 10) -> str:
    """Writes one item a line. Items beyond `limit` are only counted."""
    lines = [f"  {item}" for item in items[:limit]]
    if len(items) > limit:
        lines.append(f"  ... and {len(items) - limit:,} more")
    return "\n".join(lines)


def pasteable(argument: str) -> str:
    """Quotes an argument for a shell, in double quotes if it has single ones that those leave as they are."""
    quoted = shlex.quote(argument)
    return f'"{argument}"' if "'" in argument and not set('"$`\\!') & set(argument) else quoted


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Finds the candidate that is most like a misspelt word, if any is like it."""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    longer = sorted(name for name in by_lower if len(word) > 2 and name.startswith(word.lower()))
    if longer:  # the first letters were right, as in resnet for resnet18
        return by_lower[longer[0]]
    found = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return by_lower[found[0]] if found else None


def meant(word: str, candidates: Iterable[str]) -> str:
    """Ends a sentence about a misspelt word, such as with "; did you mean smooth?", or with nothing."""
    near = nearest(word, candidates)
    return "" if near is None else f"; did you mean {near}?"
