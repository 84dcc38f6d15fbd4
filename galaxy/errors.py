"""The one exception for mistakes that the person at the keyboard can mend."""


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
