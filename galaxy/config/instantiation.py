"""The one door through which configurations become objects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException

from galaxy.system.errors import UserError


@contextmanager
def refused(key: str) -> Iterator[None]:
    """Says which key holds the arguments that a constructor of somebody else's refuses in the block.

    Raises:
        UserError: It does, with a `ValueError` (of which Lightning's own error is one) or a `TypeError`.
    """
    try:
        yield
    except (InstantiationException, ValueError, TypeError) as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) else error
        if isinstance(cause, ValueError | TypeError):
            raise UserError(f"{key}: {cause}") from error
        raise


def instantiate(node: Any, **arguments: Any) -> Any:
    """Hydra's `instantiate`, with a user's mistake said as a constructor said it.

    Raises:
        UserError: A constructor refused its arguments.
    """
    try:
        return hydra.utils.instantiate(node, **arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise
