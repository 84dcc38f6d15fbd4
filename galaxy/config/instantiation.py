"""Builds the objects that a configuration describes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException

from galaxy.config.check import READ_BY_PROGRAM
from galaxy.system.errors import UserError

# A message begins with the name of a parameter.
_PARAMETER = re.compile(
    r"(?!there |it |this |that )[a-z_]\w* (is|must|and|holds|cannot|needs) ", re.IGNORECASE
)


@contextmanager
def naming(key: str) -> Iterator[None]:
    """Puts the key of a configuration in front of what a constructor in the block refuses.

    A message that begins with a parameter, such as "size is 16; it must be 32 or more", becomes
    "crop.size is 16; it must be 32 or more". Any other message comes after the key and a colon.

    Args:
        key: The dotted key of the node, such as `crop`.

    Raises:
        UserError: The block raised a `ValueError` or a `TypeError`, or Hydra raised one for it or refused the
            `_target_`.
    """
    try:
        yield
    except (InstantiationException, ValueError, TypeError) as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) else error
        # Hydra found that the target cannot be imported or cannot be called.
        if cause is None or isinstance(cause, ImportError):
            raise UserError(f"{key}._target_: {' '.join(str(cause or error).split())}") from error
        if isinstance(cause, UserError):
            raise cause from None
        if not isinstance(cause, ValueError | TypeError):
            raise
        joint = "." if _PARAMETER.match(str(cause)) else ": "
        raise UserError(f"{key}{joint}{cause}") from error


def instantiate(node: Any, key: str, **arguments: Any) -> Any:
    """Builds the object that a node of the configuration describes.

    Args:
        node: The node, with a `_target_`. The constructor is not given the keys that the program reads.
        key: The dotted key of the node, for the message if the constructor refuses its arguments.
        **arguments: What the program adds. The node must then be `_partial_`, and the result is complete.

    Returns:
        The object; of a partial node without arguments, a function that waits for the rest.

    Raises:
        UserError: The constructor refuses its arguments, or the node sets what the program adds.
    """
    for name in arguments.keys() & dict(node).keys():
        raise UserError(f"{key}.{name} is set by the program itself: leave it out")
    if read := READ_BY_PROGRAM.get(key):
        node = {name: value for name, value in node.items() if name not in read}
    with naming(key):
        # Constructors get lists and mappings of Python; `Trainer(max_time=...)` does not know OmegaConf's.
        made = hydra.utils.instantiate(node, _convert_=node.get("_convert_", "all"))
        return made(**arguments) if arguments else made
