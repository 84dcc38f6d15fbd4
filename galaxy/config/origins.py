"""Finds out where a key was set: in which argument, or on which line of which file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from galaxy.config.problems import display


def origin_of(key: str, arguments: Sequence[str], files: Sequence[tuple[list[str], Path]]) -> str:
    """Names the place where a key was set.

    Args:
        key: The dotted key.
        arguments: The overrides of the command line.
        files: The files of the configuration, the last to set a key first, and the node that each one fills.

    Returns:
        An argument or "FILE, line N". A key that is set nowhere has the place of the nearest node above it.
    """
    parts = key.split(".")
    for argument in reversed(arguments):
        name, _, value = argument.lstrip("+~").partition("=")
        if key == name or (key.startswith(f"{name}.") and value.startswith("{")):
            return argument
    for _, file in files:
        if len(parts) == 1 and (line := _line_of_choice(file, key)) is not None:
            return f"{display(file)}, line {line}"
    for package, file in files:
        inside = parts[: len(package)] == package
        if inside and (line := _line_of(file, parts[len(package) :])) is not None:
            return f"{display(file)}, line {line}"
    return origin_of(".".join(parts[:-1]), arguments, files) if len(parts) > 1 else ""


def _line_of_choice(file: Path, group: str) -> int | None:
    """The line of a YAML file, from 1, on which another option of a group is chosen; None if it does not."""
    for number, text in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if re.match(rf"\s*-\s+override\s+/?{re.escape(group)}\s*:", text):
            return number
    return None


def _line_of(file: Path, keys: list[str]) -> int | None:
    """The line of a YAML file, from 1, on which a nested key stands; None if the file does not set it."""
    # The wheels of PyYAML have the fast loader that is written in C.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    node, line = yaml.compose(file.read_text(encoding="utf-8"), Loader=loader), 1
    for key in keys:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        found = [pair for pair in pairs if pair[0].value == key.partition("[")[0]]
        if not found:
            return None
        line, node = found[0][0].start_mark.line + 1, found[0][1]
    return line
