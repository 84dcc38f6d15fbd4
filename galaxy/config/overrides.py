"""Writes values in the notation of Hydra's overrides, and compares command lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def quoted(value: Any) -> str:
    """Writes a plain value so that Hydra reads the same value from the command line."""
    if isinstance(value, str):
        # A backslash has a meaning only in front of a quote, where it is doubled.
        return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + m[2].replace("'", "\\'"), value) + "'"
    if isinstance(value, list):
        return "[" + ",".join(quoted(item) for item in value) + "]"
    if isinstance(value, dict):
        # A key cannot be quoted, so the characters that would end it are escaped. It cannot hold quotes.
        keys = [re.sub(r"[\\()\[\]{}:=, ]", r"\\\g<0>", str(key)) for key in value]
        return (
            "{"
            + ",".join(f"{key}:{quoted(item)}" for key, item in zip(keys, value.values(), strict=True))
            + "}"
        )
    return json.dumps(value)  # Numbers, true, false and null are written as in JSON.


def key_of(override: str) -> str:
    """Returns the key, or the group, that an override sets, adds or deletes."""
    return override.partition("=")[0].lstrip("+~")


def is_within(key: str, nodes: Iterable[str]) -> bool:
    """Whether a key is one of some keys or groups, or lies below one of them."""
    return any(key == node or key.startswith(f"{node}.") for node in nodes)


def is_replaced(override: str, by: Iterable[str]) -> bool:
    """Whether some overrides take the place of an earlier one.

    They do if they set the same key or a node above it, because the values of one option do not suit another.
    What was deleted comes back if it is set.
    """
    key = key_of(override)
    keys = list(map(key_of, by))
    back = override.startswith("~") and any(other.startswith(f"{key}.") for other in keys)
    return back or is_within(key, keys)


def config_dir_of(arguments: Sequence[str]) -> list[str]:
    """Returns the option that names a folder of a user's own configuration, if there is one."""
    for place, argument in enumerate(arguments):
        if argument in ("--config-dir", "-cd"):
            return list(arguments[place : place + 2])
        if argument.startswith("--config-dir="):
            return [argument]
    return []


def with_whole_config_dir(arguments: Sequence[str]) -> list[str]:
    """Makes the folder of that option absolute, so that another working directory finds it as well."""
    option = config_dir_of(arguments)
    folder = option[-1].removeprefix("--config-dir=") if option else ""
    if folder in ("", "--config-dir", "-cd"):  # Hydra says that the folder is missing.
        return list(arguments)
    place = list(arguments).index(option[0])
    whole = str(Path(folder).expanduser().absolute())
    return [*arguments[:place], "--config-dir", whole, *arguments[place + len(option) :]]
