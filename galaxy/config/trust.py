"""Which code a configuration may call that was read from a folder or a checkpoint.

Such a file may come from somebody else. What a process composes for itself is not held to this list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from galaxy.system.errors import UserError

# A checkpoint may name classes that are defined in these modules, or in modules below them.
TRUSTED_MODULES = tuple(
    f"galaxy.{name}."
    for name in ("data.targets", "images.augment", "images.crops", "models", "learning.losses")
)
# The data of a run folder may be read by these. The pattern is enough, so that nothing has to be imported.
TRUSTED_READERS = re.compile(r"galaxy\.data\.datamodule\.GalaxyDataModule|galaxy\.surveys(\.\w+)+\.read_\w+")


def check_model(nodes: Iterable[Any], file: Path) -> None:
    """Refuses nodes of a checkpoint's configuration that would call anything but this project's models.

    Args:
        nodes: The nodes that predicting builds.
        file: The checkpoint, for the message.

    Raises:
        UserError: A node names another target.
    """
    for target in _targets(list(nodes)):
        if not _is_trusted_class(target):
            raise UserError(
                f"{file} would call {target}, which is not a model of this project; it is refused"
            )


def check_data(node: Any, file: Path) -> None:
    """Refuses recorded data that anything but this project's readers would read.

    Args:
        node: The node `data` of a run's configuration.
        file: The file that holds it, for the message.

    Raises:
        UserError: The node names another target.
    """
    for target in _targets(node):
        if not TRUSTED_READERS.fullmatch(target):
            raise UserError(
                f"{file} would call {target} to read the data, which is not a reader of this project: "
                "give the data yourself, with data=... (and the --config-dir that has them)"
            )


def _targets(value: Any) -> Iterator[str]:
    """Yields everything that Hydra would call to build a value."""
    if isinstance(value, dict):
        if "_target_" in value:
            yield str(value["_target_"])
        for item in value.values():
            yield from _targets(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _targets(item)
    elif isinstance(value, str) and "${" in value:
        # An interpolation can grow into a node with a target. A resolved configuration has none.
        yield value


def _is_trusted_class(target: str) -> bool:
    """Returns whether a target is a class that a trusted module defines.

    The beginning of the name is not enough: `galaxy.system.files.os.system` begins well too.
    """
    module, _, name = target.rpartition(".")
    if not f"{module}.".startswith(TRUSTED_MODULES):
        return False
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError):
        return False
    return isinstance(found, type) and found.__module__ == module
