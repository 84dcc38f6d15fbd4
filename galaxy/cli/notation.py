"""Arguments as people and shells write them, turned into the notation of Hydra's grammar.

Hydra gives commas, brackets, equals signs and numbers a meaning, and stumbles at letters outside ASCII. Here
a value that is the name of a file, a folder or a column becomes text, whatever characters it has.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, QuotedString
from hydra.errors import HydraException

from galaxy.config import ConfigError, Problem
from galaxy.config.overrides import quoted
from galaxy.system.errors import pasteable

MULTIRUN = ("-m", "--multirun")
# The values of these keys are paths or names, so a number or a comma in one is text.
_TEXT_KEYS = re.compile(
    r"(.*\.)?(run|checkpoint|resume|out|like|root|cache|file|folder|images|weights|dir|dirpath|save_dir"
    r"|\w+_(column|file|dir|path))"
)
# A column may be called [OIII], which would be a list. These keys name one column each.
_COLUMN_KEY = re.compile(r"(.*\.)?\w+_column")
_BRACKETED = re.compile(r"\[[^\[\],'\"]+\]")
# A shell leaves these as they are within single quotes.
_VARIABLE = re.compile(r"\$(\{)?([A-Z_][A-Z0-9_]*)(?(1)\})")
_PARSER = OverridesParser.create()
_HOME = re.compile(r"(^|(?<=[\[,]))~(?=/|$)")


def in_hydras_notation(arguments: Sequence[str]) -> list[str]:
    """Rewrites the arguments that Hydra would misread, and puts the home folder in place of `~`.

    Raises:
        ConfigError: A path is empty, or a comma could be read in two ways.
    """
    swept = any(argument in MULTIRUN or argument.startswith("sweep=") for argument in arguments)
    for previous, argument in zip(["", *arguments], arguments, strict=False):
        of_option = previous.startswith("-") and previous not in MULTIRUN  # such as that of --config-dir
        if not of_option and not argument.startswith("-") and _exists(argument):
            text = "is a file or a folder, and settings are written key=value"
            meant = pasteable(f"run={argument}")
            raise ConfigError([Problem(argument, text, nearest=meant, source=argument)])
    return [_rewritten(argument, swept) for argument in arguments]


def value_of(argument: str) -> Any:
    """Returns the plain value of an override in Hydra's notation; None if it cannot be read."""
    override = _parsed(argument)
    return None if override is None or override.is_sweep_override() else override.value()


def with_text(argument: str, change: Callable[[str], str]) -> str:
    """Changes the text that an override in Hydra's notation gives, or each text that it sweeps over."""
    override = _parsed(argument)
    if override is None or not (override.is_choice_sweep() or isinstance(override.value(), str)):
        return argument
    swept = override.value()
    values = swept.list if isinstance(swept, ChoiceSweep) else [swept]
    plain = [value.text if isinstance(value, QuotedString) else value for value in values]
    changed = [change(value) if isinstance(value, str) else value for value in plain]
    if changed == plain:
        return argument
    return f"{argument.partition('=')[0]}={','.join(map(quoted, changed))}"


def _rewritten(argument: str, swept: bool) -> str:
    key, is_override, value = argument.partition("=")
    if not is_override or key.startswith("~"):
        return argument
    value = _HOME.sub(lambda _: str(Path.home()), value)
    written = f"{key}={value}"
    if key.startswith("-"):
        return written
    swept = swept and not key.startswith("hydra.")  # A sweep cannot vary the settings of Hydra.
    is_text = _TEXT_KEYS.fullmatch(key.lstrip("+")) is not None
    if is_text:
        _check_text(key, value)
    if _COLUMN_KEY.fullmatch(key.lstrip("+")) and _BRACKETED.fullmatch(value):
        return f"{key}={quoted(value)}"
    override = _parsed(written)
    if override is not None and override.is_sweep_override():
        return f"{key}={quoted(value)}" if _comma_is_text(key, value, is_text, swept) else written
    plain = None if override is None else override.value()
    names_file = (is_text or "/" in value) and plain != value and _exists(value)
    if names_file or (is_text and isinstance(plain, bool | int | float)):
        return f"{key}={quoted(value)}"
    is_wrong = override is None or (is_text and isinstance(plain, list))
    return f"{key}={_mended(value, is_text, swept)}" if is_wrong else written


def _check_text(key: str, value: str) -> None:
    """Refuses what is empty, and a path with a variable in whose place the shell has put no value.

    Raises:
        ConfigError: The message has the path with the values of the variables.
    """
    if not value:
        text = "is empty: was a variable of the shell not set? null leaves it out"
        raise ConfigError([Problem(key, text, source=f"{key}=")])
    names = [match[2] for match in _VARIABLE.finditer(value) if match[2] in os.environ]
    if names and not _COLUMN_KEY.fullmatch(key.lstrip("+")) and not _exists(value):
        whole = _VARIABLE.sub(lambda match: os.environ.get(match[2], match[0]), value)
        text = f"holds ${names[0]}, which a shell leaves as it is within single quotes"
        raise ConfigError([Problem(key, text, nearest=pasteable(f"{key}={whole}"), source=f"{key}={value}")])


def _comma_is_text(key: str, value: str, is_text: bool, swept: bool) -> bool:
    """Decides whether a value that Hydra reads as several values is one path or name.

    Raises:
        ConfigError: The whole and a part of it exist, so that both readings make sense.
    """
    if re.match(r"\w+\(", value):  # choice(...), range(...) and so on
        return is_text and _exists(value)
    parts = [_exists(part) for part in _split(value)]
    if _exists(value):
        if swept and any(parts):
            one, several = (pasteable(f"{key}={text}") for text in (quoted(value), f"choice({value})"))
            text = f"may be one path with a comma or several paths: write {one} or {several}"
            raise ConfigError([Problem(key, text, source=f"{key}={value}")])
        return True
    return is_text and not swept and not all(parts)


def _mended(value: str, is_text: bool, swept: bool) -> str:
    """Quotes a value, or the parts of a list, a mapping or a sweep, where Hydra cannot read them as text."""
    if is_text and _exists(value):
        return quoted(value)
    if value.startswith("[") and value.endswith("]"):
        items = _joined(_split(value[1:-1]), _exists) if is_text else _split(value[1:-1])
        return f"[{','.join(_item(item, is_text) for item in items)}]"
    if value.startswith("{") and value.endswith("}") and not is_text:
        pairs = [item.partition(":") for item in _split(value[1:-1])]
        return "{" + ",".join(f"{name}{colon}{_item(item, False)}" for name, colon, item in pairs) + "}"
    if value[:1] in ("[", "{") and not is_text:
        return value  # A bracket is missing, which Hydra says.
    if swept and "," in value:
        return ",".join(_item(item, is_text) for item in _split(value))
    return quoted(value)


def _item(item: str, is_text: bool) -> str:
    item = item.strip()
    override = _parsed(f"key={item}")
    is_read = override is not None and not override.is_sweep_override()
    if item[:1] in ("[", "{"):
        return item if is_read else _mended(item, is_text, swept=False)
    if override is not None and is_read and not (is_text and not isinstance(override.value(), str)):
        return item
    return quoted(item)


def _joined(parts: list[str], exists: Callable[[str], bool]) -> list[str]:
    """Joins neighbours in a list that are one path with commas."""
    joined: list[str] = []
    while parts:
        ends = range(len(parts), 1, -1)
        end = next((end for end in ends if exists(",".join(parts[:end]))), 1)
        joined.append(",".join(parts[:end]))
        parts = parts[end:]
    return joined


def _split(text: str) -> list[str]:
    """Splits at the commas that stand outside brackets and outside items in quotes."""
    parts, depth, quote = [""], 0, ""
    for previous, character in zip(f",{text}", text, strict=False):
        if quote:
            quote = "" if character == quote and previous != "\\" else quote
        elif character in "'\"" and not parts[-1].strip(" [{:"):
            quote = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        if character == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _exists(path: str) -> bool:
    try:
        return bool(path) and Path(path).exists()
    except (OSError, ValueError):  # such as a name that is too long
        return False


def _parsed(argument: str) -> Override | None:
    try:
        return _PARSER.parse_override(argument)
    except HydraException:
        return None
