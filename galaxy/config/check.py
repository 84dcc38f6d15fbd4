"""Checks a composed configuration against the signatures of the code that it configures.

The keys of a node with a `_target_` must be parameters of the target, and their values must have the right
types. A node without a `_target_` is a list of nodes, such as `callbacks`, and must not hold a value that
nothing reads. A node can say with `requires` which other choices it works with:

    requires:
      head: [tree]                  # These options of the group `head` are allowed.
      data.counts: [true]           # A key of the configuration may have these values.
      trainer.precision=16-mixed:   # The lines below count only if this key has this value.
        trainer.accelerator: [auto, gpu]
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from galaxy.config.annotations import choices, describe, fits
from galaxy.config.objective import settle
from galaxy.config.problems import Problem
from galaxy.config.signatures import Parameter, Signature, UnknownNameError, signature_of
from galaxy.config.vocabulary import OTHER_NAMES, set_by_run
from galaxy.system.errors import nearest, pasteable

# These keys of a node are no parameters: Hydra reads them, and this module reads `requires`.
RESERVED = ("_target_", "_partial_", "_recursive_", "_convert_", "_args_", "requires")
# The program reads these keys of a node, whose constructor does not know them. The values are their types.
READ_BY_PROGRAM = {
    "model": {
        "input_size": "int",
        "weights": "str | None",
        "normalisation": "Literal['training', 'pretrained']",
        "frozen_epochs": "int",
        "trained_layers": "int | None",
        "body_lr_factor": "float",
        "layer_decay": "float",
        "ignores": "list[str]",
    },
    "optimizer": {"weight_decay_exclude_1d": "bool"},
}
# This stands for a value that is not checked: its fault has been reported, or it is a copy of a checked node.
UNKNOWN = object()


def plain(config: DictConfig) -> dict[str, Any]:
    """Turns a configuration into plain, resolved values, without `requires` and its own `_target_`."""
    settle(config)
    resolved: dict[str, Any] = _without_requires(OmegaConf.to_container(config, resolve=True))
    resolved.pop("_target_", None)
    return resolved


def check(config: DictConfig, top: Signature) -> list[Problem]:
    """Lists what is wrong with a configuration, in the order of its keys.

    Args:
        config: The composed configuration with its `hydra` node.
        top: The keys of the highest level.
    """
    return _Check(config).run(top)


def check_node(config: DictConfig, key: str, signature: Signature, owner: str) -> list[Problem]:
    """Lists what is wrong with the names and types in one node that Hydra itself reads.

    Args:
        config: The composed configuration with its `hydra` node.
        key: The key of the node.
        signature: What the node may hold.
        owner: What takes it, for messages.
    """
    return _Check(config).run_node(key, signature, owner)


class _Check:
    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self.options = dict(config.hydra.runtime.choices)
        self.problems: list[Problem] = []
        # Each key with the keys that its value refers to by `${...}`.
        self.copies: dict[str, set[str]] = {}
        for key, reference in _references(config):
            self.copies.setdefault(key, set()).add(reference)
        self.read = set().union(*self.copies.values())

    def run(self, top: Signature) -> list[Problem]:
        values = {str(key): self._value(self.config, key, str(key)) for key in self.config if key != "hydra"}
        self._bind("", values, top, "this configuration")
        missing = [name for name, given in top.parameters.items() if given.required and name not in values]
        for name in missing:
            self._report(name, f"is required: leave out ~{name}")
        self.whole = not missing  # What a missing node would read is no mistake.
        for key in values.keys() & top.parameters.keys():
            self._walk(values[key], key)
        self._ignores(values)
        order = {key: index for index, key in enumerate(values)}
        self.problems.sort(key=lambda problem: order.get(re.split(r"[.\[]", problem.key)[0], -1))
        # A wrong value is reported where it stands, but not where `${...}` copies it.
        wrong = {problem.key for problem in self.problems}
        return [problem for problem in self.problems if not self.copies.get(problem.key, set()) & wrong]

    def run_node(self, key: str, signature: Signature, owner: str) -> list[Problem]:
        parent, _, name = key.rpartition(".")
        self._bind(key, self._value(OmegaConf.select(self.config, parent), name, key), signature, owner)
        return self.problems

    def _report(
        self,
        key: str,
        text: str,
        allowed: Iterable[str] = (),
        word: str | None = None,
        at: str = "",
        surplus: str = "",
    ) -> None:
        names = tuple(allowed)
        near = nearest(word, names) or OTHER_NAMES.get(word) if word is not None else None
        self.problems.append(Problem(key, text, allowed=names, nearest=near, at=at, surplus=surplus))

    def _value(self, node: Any, key: Any, path: str) -> Any:
        """Reads the plain value of a key, in which `UNKNOWN` stands for what cannot be read."""
        value = UNKNOWN
        try:
            if OmegaConf.is_missing(node, key):
                self._report(path, f"is required: give {path}=...")
            else:
                value = node[key]
        except InterpolationToMissingValueError:
            pass  # The other key is reported.
        except OmegaConfBaseException as error:
            self._report(path, f"cannot be resolved: {str(error).splitlines()[0]}")
        if not isinstance(value, DictConfig | ListConfig):
            return value
        if OmegaConf.is_interpolation(node, key):
            return UNKNOWN  # This is a copy of a node that is checked where it stands.
        if isinstance(value, DictConfig):
            return {str(name): self._value(value, name, f"{path}.{name!s}") for name in value}
        return [self._value(value, index, f"{path}[{index}]") for index in range(len(value))]

    def _walk(self, value: Any, path: str, read: bool = False) -> None:
        """Checks a node and the nodes below it. If `read`, an object above the node reads its values."""
        if isinstance(value, list):
            for index, item in enumerate(value):
                self._walk(item, f"{path}[{index}]", read)
        if not isinstance(value, dict):
            return
        if "_target_" in value:
            self._target(path, value)
            read = True
        elif not read and self.whole:
            self._unread(path, value)
        if isinstance(value.get("requires"), dict):
            option = self.options.get(path)
            self._requires(f"{path}={option}" if option else path, value["requires"])
        for name, item in value.items():
            if name != "requires":
                self._walk(item, f"{path}.{name}", read)

    def _target(self, path: str, node: dict[str, Any]) -> None:
        target = node["_target_"]
        if not isinstance(target, str):
            return
        try:
            signature = signature_of(target)
        except UnknownNameError as error:
            text = f"is {target}, but {error}"
            self._report(f"{path}._target_", text, error.known, error.name)
            return
        if signature is None:
            return
        self._bind(path, node, signature, target)
        if node.get("_partial_") is True or "_args_" in node:
            return
        for name, parameter in signature.parameters.items():
            if parameter.required and name not in node:
                text = f"is required by {target}"
                if path == "head":
                    text += ", and the program gives it if the file says _partial_: true"
                self._report(f"{path}.{name}", text, at=f"{path}._target_")

    def _bind(self, path: str, node: dict[str, Any], signature: Signature, owner: str) -> None:
        """Checks names and types."""
        read = READ_BY_PROGRAM.get(path, {})
        for name in read.keys() & signature.parameters.keys():
            self._report(f"{path}.{name}", f"is read by the program, so {owner} must call it something else")
        for name, value in node.items():
            key = f"{path}.{name}" if path else name
            parameter = signature.parameters.get(name)
            if name in RESERVED:
                continue
            if name in read:
                parameter = Parameter(ast.parse(read[name], mode="eval").body, required=False)
            if parameter is None:
                if not signature.open:
                    known = signature.names(node.get("_partial_") is True) | read.keys()
                    self._report(key, f"is unknown to {owner}", sorted(known), name, surplus=key)
            elif text := set_by_run(key):
                self._report(key, text)
            elif _is_known(value) and not fits(parameter.annotation, value):
                assert parameter.annotation is not None  # Everything fits None.
                near = nearest(str(value), [_shown(choice) for choice in choices(parameter.annotation)])
                if isinstance(value, str) and fits(parameter.annotation, [value]):
                    near = pasteable(f"{key}=[{value}]")
                shown = f"{_shown(value)}{self._copied(path, name)}"
                text = f"is {shown}, but must be {describe(parameter.annotation)}"
                self.problems.append(Problem(key, text, nearest=near))

    def _copied(self, path: str, name: str) -> str:
        """Returns the interpolation that a value comes from, in brackets; nothing for any other value."""
        node = OmegaConf.select(self.config, path) if path else self.config
        if not isinstance(node, DictConfig) or not OmegaConf.is_interpolation(node, name):
            return ""
        raw: Any = OmegaConf.to_container(node, resolve=False)
        return f" ({raw[name]})"

    def _unread(self, path: str, node: dict[str, Any]) -> None:
        """Reports values that no code reads and that no `${...}` refers to."""
        if any(path == key or path.startswith(f"{key}.") for key in self.read):
            return
        for name, value in node.items():
            key = f"{path}.{name}"
            if (
                value is not None
                and not isinstance(value, dict)
                and key not in self.read | {f"{path}.requires"}
                and name not in READ_BY_PROGRAM.get(path, {})
            ):
                self._report(key, f"is read by nothing: {path} has no _target_", surplus=path)

    def _ignores(self, values: dict[str, Any]) -> None:
        """Reports names in `model.ignores` that are neither a group nor a key."""
        model = values.get("model")
        names = model.get("ignores") if isinstance(model, dict) else None
        for name in names if isinstance(names, list) else ():
            if self._actual(str(name)) is UNKNOWN:
                self._report("model.ignores", f"names {name}, which is no key", values, str(name))

    def _requires(self, owner: str, requirements: dict[str, Any]) -> None:
        for key, allowed in requirements.items():
            where, is_condition, value = key.partition("=")
            if is_condition:
                if _shown(self._actual(where)) == value:
                    self._requires(key, allowed)
                continue
            actual = self._actual(key)
            if key in self.options and not self._is_ours(key, str(actual)):
                continue  # nobody but the user knows what an option of their own works with
            if actual is not UNKNOWN and actual not in allowed:
                text = f"is {_shown(actual)}, which does not work with {owner}"
                self._report(key, text, map(_shown, allowed), str(actual))

    def _is_ours(self, group: str, option: str) -> bool:
        """Whether an option, or what it is misspelt for, is the program's and not the user's own."""
        sources = self.config.hydra.runtime.config_sources
        own = [source.path for source in sources if source.provider != "main" and source.schema == "file"]
        return not any(Path(folder, group, f"{option}.yaml").exists() for folder in own)

    def _actual(self, key: str) -> Any:
        """Looks up the option of a group, or the value of a key; UNKNOWN if the program has neither."""
        if key in self.options:
            return self.options[key]
        try:
            return OmegaConf.select(self.config, key, default=UNKNOWN)
        except OmegaConfBaseException:
            return UNKNOWN


def _without_requires(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_requires(item) for key, item in value.items() if key != "requires"}
    return [_without_requires(item) for item in value] if isinstance(value, list) else value


def _is_known(value: Any) -> bool:
    return all(item is not UNKNOWN for _, item in nodes([value]))


def nodes(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Lists every dotted key below a plain value, with the value of the key."""
    for name, item in value.items() if isinstance(value, dict) else enumerate(value):
        key = f"{path}[{name}]" if isinstance(value, list) else f"{path}.{name}" if path else str(name)
        yield key, item
        if isinstance(item, dict | list):
            yield from nodes(item, key)


def leaves(node: dict[str, Any], owner: str = "") -> Iterator[tuple[str, Any]]:
    """Lists every value below a plain node with its dotted key. A list is one value."""
    for name, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{owner}{name}.")
        else:
            yield f"{owner}{name}", value


def _references(config: DictConfig) -> Iterator[tuple[str, str]]:
    """Lists each key with a `${other.key}` in its value, and the full name of that other key."""
    for path, value in nodes(OmegaConf.to_container(config, resolve=False)):
        for dots, name in re.findall(r"\$\{(\.*)([\w./@\[\]]+)\}", value) if isinstance(value, str) else ():
            # One dot is the node that holds the key, and each further dot is a level up.
            parents = path.split(".")[: -len(dots)] if dots else []
            yield path, ".".join([*parents, name])


def _shown(value: Any) -> str:
    """Writes a value as YAML does."""
    if value is None:
        return "null"
    if value == "":
        return "''"
    return str(value).lower() if isinstance(value, bool) else str(value)
