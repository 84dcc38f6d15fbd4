"""Which code a file may call that was read from a folder or a checkpoint.

Such a file may come from somebody else, so what it names in `_target_` is held to a list. It may name

- a target that stands in the `conf/` of Galaxy or of an installed plugin,
- a subclass of Galaxy's bases that Galaxy or a plugin defines,
- anything that a package defines which the user trusts: `trust=[package]`, or `GALAXY_TRUST=package,other`.

Nothing is imported before its package is trusted. What a command line composes by itself needs no trust.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from galaxy.config.paths import CONF
from galaxy.config.plugins import plugins
from galaxy.config.signatures import missing
from galaxy.system.errors import UserError

# The processes that a program starts inherit this variable, so that they trust what it does.
VARIABLE = "GALAXY_TRUST"
BASES = (
    "galaxy.models.encoder.Encoder",
    "galaxy.models.heads.head.Head",
    "galaxy.models.fitted.Fitted",
    "galaxy.learning.losses.loss.Loss",
    "galaxy.images.crops.crop.Crop",
    "galaxy.images.augment.Augment",
)
# `${key}`, and the resolvers whose values are plain, or nodes that exist: others could make a new node with a
# `_target_`.
_HARMLESS = re.compile(
    r"\$\{\s*("
    r"[-.\w@/\[\]]+\s*\}|(now|pid|job_name|console_level|given|hydra|oc\.env)\s*:|"
    r"oc\.select\s*:\s*[-.\w@/]+\s*(,\s*[-.\w]*\s*)?\}"
    r")"
)


class UntrustedError(UserError):
    """A file would call code that is not trusted.

    Args:
        message: What the file would call.
        packages: The packages that would have to be trusted.
        arguments: What the user would have to type himself.
    """

    def __init__(self, message: str, packages: Iterable[str] = (), arguments: Iterable[str] = ()) -> None:
        self.packages = sorted(set(packages))
        self.arguments = list(arguments)
        if self.packages:
            message += f"\nIf you trust this code, allow it with trust=[{','.join(self.packages)}]"
        super().__init__(message)


class Trust:
    """What may be called.

    Args:
        packages: Packages that the user trusts, beside those of `GALAXY_TRUST`.
    """

    def __init__(self, packages: Iterable[str] = ()) -> None:
        self.packages = (*packages, *trusted_packages())
        self.installed = ("galaxy", *(plugin.package for plugin in plugins()))
        self.named = _named_targets()

    def lacks(self, target: str) -> str | None:
        """Returns the package that would have to be trusted for a target.

        Returns:
            None if the target may be called; "" if no package could make it right.

        Raises:
            UserError: A trusted package cannot be imported.
        """
        if target in self.named:
            return None
        if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", target) or "__main__" in target.split("."):
            return ""
        if not _within(target, (*self.packages, *self.installed)):
            return target.partition(".")[0]
        found = _find(target)
        module = str(getattr(found, "__module__", ""))
        if _within(module, self.packages):
            return None
        if _within(module, self.installed) and (
            f"{module}.{getattr(found, '__qualname__', '')}" in self.named or _has_base(found)
        ):
            return None
        return module.partition(".")[0]


def check_trusted(nodes: Mapping[str, Any], file: Path, trust: Iterable[str] = ()) -> None:
    """Refuses nodes that would call what is not trusted.

    Args:
        nodes: Nodes of a configuration as plain values, by their keys.
        file: The file that holds them, for the message.
        trust: Packages that the user trusts.

    Raises:
        UntrustedError: The message says which key names which target.
    """
    refused = Refusals(Trust(trust))
    for key, target in targets(nodes):
        refused.add(key, target, str(file))
    refused.raise_if_any()


class Refusals:
    """Collects targets that are not trusted, for one message.

    Args:
        trust: What may be called.
    """

    def __init__(self, trust: Trust) -> None:
        self.trust = trust
        self.packages: set[str] = set()
        self.lines: dict[str, None] = {}

    def add(self, key: str, target: str, place: str) -> None:
        """Notes a target if it is not trusted.

        Args:
            key: The key of its node.
            target: The target.
            place: The file that names it.
        """
        package = self.trust.lacks(target)
        if package is None:
            return
        note = ""
        if package and package == target.partition(".")[0]:
            note = "" if _exists(package) else missing(package)
        elif package:
            note = f"it is defined in {package}"
        elif "${" in target:
            note = "what this becomes is not known before it is called"
        self.lines[f"  {place}: {key} would call {target}{f' ({note})' if note else ''}"] = None
        self.packages |= {package} - {""}

    def raise_if_any(self) -> None:
        """Raises `UntrustedError` if a target was not trusted."""
        if self.lines:
            what = "This code is not part of Galaxy, and it was not called:"
            raise UntrustedError("\n".join([what, *self.lines]), self.packages)


def targets(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yields everything that Hydra would call to build a plain value, with the key of its node.

    An interpolation that can become a node with a target is yielded as well.
    """
    if isinstance(value, Mapping):
        if "_target_" in value:
            yield key, str(value["_target_"])
        for name, item in value.items():
            if name != "_target_":
                yield from targets(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from targets(item, f"{key}[{index}]")
    elif isinstance(value, str) and value.count("${") > len(_HARMLESS.findall(value)):
        yield key, value


def trusted_packages() -> list[str]:
    """Returns the packages that `GALAXY_TRUST` names."""
    return [name for name in re.split(r"[\s,]+", os.environ.get(VARIABLE, "")) if name]


def trust_arguments(*configs: Mapping[str, Any]) -> list[str]:
    """Returns the `trust=[package]` that a later command needs for what this process has composed itself.

    Args:
        configs: Configurations that the process has run, as plain values.

    Returns:
        One argument with what is trusted and what the configurations need beside that; empty if nothing is
        needed. It never names a module of Python's own library: such a target is left to be refused and read.
    """
    needed = {target for config in configs for _, target in targets(config)}
    further: set[str] = set()
    if needed:
        trust = Trust()
        for target in needed:
            with suppress(UserError):  # It is of a trusted package that cannot be imported.
                further.add(trust.lacks(target) or "")
        further -= {"", *sys.stdlib_module_names}
    packages = list(dict.fromkeys([*trusted_packages(), *sorted(further)]))
    return [f"trust=[{','.join(packages)}]"] if packages else []


@contextmanager
def trusting(packages: Iterable[str]) -> Iterator[None]:
    """Trusts packages in the block, and in the processes that it starts."""
    before = os.environ.get(VARIABLE)
    if given := [*trusted_packages(), *packages]:
        os.environ[VARIABLE] = ",".join(dict.fromkeys(given))
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before


def _named_targets() -> set[str]:
    """Returns all targets in the options of Galaxy and of the plugins."""
    # The wheels of PyYAML have the fast loader that is written in C.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    named = set()
    for folder in [CONF, *(plugin.conf for plugin in plugins() if plugin.conf is not None)]:
        for file in folder.glob("*/**/*.yaml"):
            with suppress(yaml.YAMLError, UnicodeDecodeError):  # Composing names the mistake.
                content = yaml.load(file.read_text(encoding="utf-8"), Loader=loader)
                named |= {target for _, target in targets(content)}
    return {target for target in named if "${" not in target}


def _within(name: str, packages: Iterable[str]) -> bool:
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def _exists(package: str) -> bool:
    """Returns whether Python finds a package. This imports nothing, as the name has no dot."""
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _find(target: str) -> Any:
    """Finds what a dotted name stands for as Hydra does; None if it stands for nothing."""
    top, *names = target.split(".")
    path = top
    try:
        found: Any = import_module(top)
        for name in names:
            path += f".{name}"
            if not hasattr(found, name) and not isinstance(found, ModuleType):
                return None
            found = getattr(found, name) if hasattr(found, name) else import_module(path)
    except Exception as error:  # The module may raise anything.
        if isinstance(error, ModuleNotFoundError) and path.startswith(str(error.name)) and path != top:
            return None
        reason = f"{type(error).__name__}: {error}" if _exists(top) else missing(top)
        raise UserError(f"{target} cannot be imported: {reason}") from error
    return found


def _has_base(found: Any) -> bool:
    """Returns whether a class has one of the bases. Their modules need not be imported to know it."""
    return isinstance(found, type) and any(
        f"{base.__module__}.{base.__qualname__}" in BASES for base in found.__mro__[1:]
    )


def trusted_in(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Takes `trust=[package]` out of a command line, so that it is recorded nowhere.

    Returns:
        The packages, and the command line without them.

    Raises:
        UserError: A package has no name that Python could import.
    """
    packages: list[str] = []
    others = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key.lstrip("+") != "trust":
            others.append(argument)
            continue
        names = [name.strip(" '\"") for name in value.strip(" '\"[]").split(",")]
        for name in names:
            if name and not all(part.isidentifier() for part in name.split(".")):
                raise UserError(
                    f"trust={name} names no package: give names to import, as in trust=[own_models]"
                )
        packages += [name for name in names if name]
    return packages, others
