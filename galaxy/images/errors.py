"""What is wrong with images, told by whoever tried to read them."""

from __future__ import annotations

from collections.abc import Sequence

from galaxy.system.errors import UserError, listing


class BadImageError(Exception):
    """An image that cannot be used; the message is the reason, without the image's name."""


def bad_images(lines: Sequence[str]) -> UserError:
    """The error where no image may be left out.

    Args:
        lines: Each bad image, with the reason.
    """
    return UserError(
        f"{len(lines):,} image(s) cannot be used:\n{listing(list(lines))}\n"
        "Get these files again, or leave these galaxies out with data.on_bad=skip."
    )
