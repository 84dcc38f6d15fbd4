"""The one door through which configurations become objects."""

from __future__ import annotations

from typing import Any

import hydra.utils
from hydra.errors import InstantiationException

from galaxy.errors import UserError


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
