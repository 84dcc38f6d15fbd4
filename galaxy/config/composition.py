"""Composes a configuration piece by piece, so that all its mistakes are found and not only the first."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from galaxy.config.check import RESERVED
from galaxy.config.origins import display, line_of
from galaxy.config.problems import Problem
from galaxy.config.signatures import UnknownNameError, signature_of
from galaxy.system.errors import nearest

# What the grammar of the command line allows, in short.
OVERRIDES = ("key=value", "+key=value", "~key", "\"key='a, b'\"", "'key=[a, b]'")


class Composer:
    """Composes configurations as far as their arguments allow.

    Args:
        loader: Hydra's loader.
        config_name: Name of the primary configuration.
    """

    def __init__(self, loader: ConfigLoader, config_name: str | None) -> None:
        self.loader = loader
        self.config_name = config_name
        self.files: dict[tuple[str, ...], DictConfig | Problem] = {}
        self.options: dict[str, list[str]] = {}

    def compose(self, arguments: Sequence[str]) -> tuple[DictConfig | None, list[Problem]]:
        """Composes the chosen options, then sets the values.

        Args:
            arguments: Overrides as on the command line; those that are wrong are reported and left out.

        Returns:
            The configuration with its `hydra` node, or None where not even the files fit together; and what
            is wrong with the arguments or the files.
        """
        problems: list[Problem] = []
        groups: list[str] = []
        values: list[Override] = []
        for argument in arguments:
            override, problem = _parsed(argument)
            if override is not None and problem is None:
                options = self._options(override.key_or_group)
                if options and not isinstance(override.value(), dict):
                    problem = _group_problem(override, argument, options)
                    groups += [] if problem else [argument]
                elif override.key_or_group == "hydra.searchpath":
                    groups.append(argument)
                else:
                    values.append(override)
            problems += [problem] if problem else []
        config = self._from_files(tuple(groups))
        if isinstance(config, Problem):
            return None, [*problems, config]
        for override in values:
            problem = _apply(config, override, self.loader)
            problems += [problem] if problem else []
        return config, problems

    def _options(self, group: str) -> list[str]:
        """The options of a group; none if it is not a group."""
        if group not in self.options:
            self.options[group] = self.loader.get_group_options(group)
        return self.options[group]

    def _from_files(self, groups: tuple[str, ...]) -> DictConfig | Problem:
        """Reads the files once for all jobs of a sweep that choose the same options."""
        if groups not in self.files:
            try:
                config = self.loader.load_configuration(self.config_name, list(groups), RunMode.RUN)
                OmegaConf.set_readonly(config.hydra, False)
                self.files[groups] = config
            except Exception as error:  # Hydra raises ValueError, YAMLError, OSError and its own
                self.files[groups] = self._foreign_group(error, groups) or explain(error, self.loader)
        return copy.deepcopy(self.files[groups])

    def _foreign_group(self, error: Exception, arguments: Sequence[str]) -> Problem | None:
        """An argument that chooses an option of a group which only other programs have."""
        match = re.search(r"Could not override '([^']*)'", str(error))
        given = [argument for argument in arguments if match and argument.partition("=")[0] == match[1]]
        own = self._from_files(()) if given else None
        if not isinstance(own, DictConfig):
            return None
        group, _, option = given[0].partition("=")
        groups = [str(name) for name in own.hydra.runtime.choices if not re.search("[/@]", str(name))]
        keys = sorted({*map(str, own), *groups}.difference(RESERVED, ["hydra"]))
        near = nearest(group, keys)
        if near in own and isinstance(OmegaConf.select(own, str(near)), ListConfig):
            near = f"'{near}=[{option}]'"
        return Problem(group, f"is not a group of {self.config_name}", tuple(keys), near, given[0])


def explain(error: BaseException, loader: ConfigLoader) -> Problem:
    """Says why the files cannot be composed, with the place if Hydra or the YAML reader names one."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        place = f"{display(Path(error.problem_mark.name))}, line {error.problem_mark.line + 1}"
        return Problem(place, f"is not YAML: {error.problem}")
    if isinstance(error, UnicodeDecodeError):  # which does not say what it was reading
        named = (display(file) for file in _files(loader) if bytes(error.object) in file.read_bytes())
        return Problem(next(named, "The configuration"), "is not UTF-8: save it in that encoding")
    text = " ".join(str(error).split())
    if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
        group, _, option = error.missing_cfg_file.rpartition("/")
        options = tuple(name for name in loader.get_group_options(group) if not name.startswith("_"))
        # By its group, or by itself where the option that asks for it is of the same group.
        name = rf"\b{re.escape(option)}\b"
        source = _mention(loader, rf"\b{re.escape(group)}\b.*:.*{name}") if group else ""
        source = source or _mention(loader, rf"^ *(defaults:|-) .*{name}")
        key = group or "--config-name"
        return Problem(key, f"has no option {option}", options, nearest(option, options), source)
    if match := re.search(r"Could not override '([^']*)'", text):
        groups = tuple(group for group in loader.list_groups("") if group != "hydra")
        source = _mention(loader, rf"override .*\b{re.escape(match[1])}\b.*:")
        return Problem(match[1], "is not a group that is used", groups, nearest(match[1], groups), source)
    if (file := _unreadable(loader, error)) is not None:
        return Problem(display(file), f"cannot be used: {text}")
    cause = f" {error.__cause__}" if isinstance(error.__cause__, OmegaConfBaseException) else ""
    return Problem("The configuration", f"cannot be composed: {text}{cause}")


def _mention(loader: ConfigLoader, pattern: str) -> str:
    """The first line of the files that has a pattern: Hydra does not say who asked for an option."""
    for file in _files(loader):
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if re.search(pattern, line):
                return f"{display(file)}, line {number}"
    return ""


def _unreadable(loader: ConfigLoader, error: BaseException) -> Path | None:
    """The file that is nested too deeply to be read, or whose `defaults` are no list of options."""
    for file in _files(loader):
        content = None
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except RecursionError:
            if isinstance(error, RecursionError):
                return file
        except (yaml.YAMLError, UnicodeDecodeError):
            pass  # which would be another error
        defaults = content.get("defaults", []) if isinstance(content, dict) else []
        listed = isinstance(defaults, list) and all(isinstance(item, str | dict) for item in defaults)
        listed &= content is None or isinstance(content, dict)
        if "defaults" in str(error) and not listed:
            return file
    return None


def _files(loader: ConfigLoader) -> Iterator[Path]:
    """Every file that could have been asked for."""
    for source in loader.get_sources():
        if source.scheme() == "file":
            yield from sorted(Path(source.path).rglob("*.yaml"))


def _parsed(argument: str) -> tuple[Override | None, Problem | None]:
    try:
        override = OverridesParser.create().parse_override(argument)
    except HydraException as error:
        reason = str(error).splitlines()[0]
        return None, Problem(argument, f"is not an override: {reason}", OVERRIDES)
    if not override.key_or_group:
        return None, Problem(argument, "is not an override: = has no space around it", OVERRIDES)
    if override.is_sweep_override():
        return override, Problem(argument, "gives several values: add -m to run one job for each")
    return override, None


def _group_problem(override: Override, argument: str, options: Sequence[str]) -> Problem | None:
    """What is wrong with the choice of a group's options."""
    key = override.key_or_group
    value = override.value()
    if override.is_delete():
        return None
    if value is None:
        return Problem(key, f"cannot be null here: write ~{key}", source=argument)
    for name in value if isinstance(value, list) else [value]:
        if str(name) not in options:
            text = f"has no option {name}"
            return Problem(key, text, tuple(options), nearest(str(name), options), argument)
    return None


def _apply(config: DictConfig, override: Override, loader: ConfigLoader) -> Problem | None:
    """Sets, adds or deletes one value, as Hydra would."""
    key, value, argument = override.key_or_group, override.value(), override.input_line or ""
    owner, _, name = key.rpartition(".")
    try:
        parent = OmegaConf.select(config, owner) if owner else config
        exists = isinstance(parent, DictConfig) and name in list(parent)
        exists = exists or (isinstance(parent, ListConfig) and name.isdigit() and int(name) < len(parent))
        if not exists and not override.is_add() and not override.is_force_add():
            return _unknown_key(config, key, argument, loader)
        if override.is_delete():
            with open_dict(parent):
                del parent[name]
        elif exists and override.is_add() and not isinstance(value, dict | list):
            return Problem(key, f"is there already: write {argument.lstrip('+')}", source=argument)
        else:
            OmegaConf.update(config, key, copy.deepcopy(value), merge=True, force_add=True)
    except Exception as error:  # OmegaConf lets AttributeError and others of its own through
        return Problem(key, f"cannot be set: {str(error).splitlines()[0]}", source=argument)
    return None


def _unknown_key(config: DictConfig, key: str, argument: str, loader: ConfigLoader) -> Problem:
    """A key that does not exist, and the key that was most likely meant."""
    keys = _keys(config)
    owner, _, name = key.rpartition(".")
    siblings = {other.rpartition(".")[2] for other in keys if other.rpartition(".")[0] == owner}
    if having := _options_with(loader, config, key):
        group = key.partition(".")[0]
        chosen = config.hydra.runtime.choices[group]
        text = f"does not exist with {group}={chosen or 'null'}, but with {group}={' or '.join(having)}"
        return Problem(key, text, source=argument)
    if not siblings or "/" in key:  # the mistake is further up, or it is no group
        top = tuple(str(other) for other in config if other != "hydra")
        return Problem(key, "does not exist", top, nearest(key.replace("/", "."), keys), argument)
    target = OmegaConf.select(config, f"{owner}._target_") if owner else None
    try:
        signature = signature_of(target) if isinstance(target, str) else None
    except UnknownNameError:
        signature = None
    partial = bool(owner) and OmegaConf.select(config, f"{owner}._partial_") is True
    taken = signature.names(partial) if signature is not None else set()
    if name in taken:
        text = f"is not in the files, but {target} takes it: write +{argument.lstrip('+')}"
        return Problem(key, text, source=argument)
    # Some groups, such as experiment, are not the key that they set.
    choices = [] if owner else map(str, config.hydra.runtime.choices)
    groups = [group for group in choices if not {"/", "@"} & set(group)]
    known = sorted({*siblings, *taken, *groups}.difference(RESERVED, ["hydra"]))
    close = nearest(name, known)
    return Problem(
        key, "does not exist", tuple(known), f"{owner}.{close}" if close and owner else close, argument
    )


def _options_with(loader: ConfigLoader, config: DictConfig, key: str) -> list[str]:
    """The options of the key's group, other than the chosen one, that set the key."""
    group, *parts = key.split(".")
    choices = config.hydra.runtime.choices
    if not parts or group not in choices:
        return []
    folders = [Path(source.path) / group for source in loader.get_sources() if source.scheme() == "file"]
    files = {file.stem: file for folder in folders for file in sorted(folder.glob("*.yaml"))}
    return [name for name, file in files.items() if name != choices[group] and _sets(file, parts)]


def _sets(file: Path, keys: list[str]) -> bool:
    try:
        return line_of(file, keys) is not None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        return False  # which would be another mistake


def _keys(node: DictConfig, prefix: str = "") -> list[str]:
    """Every dotted key."""
    keys = []
    for name in map(str, node):
        keys.append(f"{prefix}{name}")
        if OmegaConf.is_missing(node, name) or OmegaConf.is_interpolation(node, name):
            continue
        if isinstance(node[name], DictConfig):
            keys += _keys(node[name], f"{prefix}{name}.")
    return keys
