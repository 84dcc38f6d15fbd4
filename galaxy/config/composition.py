"""Composes a configuration piece by piece, so that all its mistakes are found and not only the first."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException, MissingConfigException
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from galaxy.config.check import RESERVED, nodes
from galaxy.config.objective import check_objective
from galaxy.config.problems import Problem, display
from galaxy.config.signatures import UnknownNameError, signature_of
from galaxy.config.vocabulary import OTHER_NAMES, set_by_run
from galaxy.system.errors import nearest, pasteable

# What the grammar of the command line allows, in short.
OVERRIDES = ("key=value", "+key=value", "~key", "\"key='a, b'\"", "'key=[a, b]'")

_PARSER = OverridesParser.create()

# A group cannot be given a mapping of one's own.
NO_MAPPING = (
    "takes the name of an option: set keys of an option one by one, or write an option of your own into a "
    "file of a folder that --config-dir names"
)


class Composer:
    """Composes configurations as far as their arguments allow.

    Args:
        search_path: Where Hydra looks for files.
        config_name: The name of the primary configuration.
        arguments: The command line, which may set `hydra.searchpath`.
    """

    def __init__(self, search_path: ConfigSearchPath, config_name: str, arguments: Sequence[str]) -> None:
        for folder in _searchpath(ConfigLoaderImpl(search_path), config_name, arguments):
            search_path.prepend("hydra.searchpath", folder, SearchPathQuery(provider="schema"))
        self.loader = ConfigLoaderImpl(search_path)
        self.config_name = config_name
        # Pickled, because unpickling copies a configuration six times as fast as `copy.deepcopy`.
        self._composed: dict[tuple[str, ...], bytes] = {}
        JobRuntime.instance().set("name", config_name)  # Hydra does this before it composes.

    def compose(self, arguments: Sequence[str]) -> tuple[DictConfig | None, list[Problem]]:
        """Composes the chosen options, then sets the values.

        Args:
            arguments: Overrides as on the command line. A wrong one is reported and left out.

        Returns:
            The configuration with its `hydra` node, or None if the files do not fit together; and the
            mistakes in the arguments or the files.
        """
        problems: list[Problem | None] = []
        groups: list[str] = []
        values: list[Override] = []
        unchosen: list[str] = []
        for argument in arguments:
            override, problem = _parsed(argument)
            if override is not None and problem is not None and override.is_sweep_override():
                problem = self._several(override, problem)
            if override is not None and problem is None:
                options = self.loader.repository.get_group_options(override.key_or_group)
                if options and not isinstance(override.value(), dict):
                    problem = _wrong_choice(override, argument, options)
                    groups += [] if problem else [argument]
                    unchosen += [f"{override.key_or_group.replace('/', '.')}."] if problem else []
                elif override.key_or_group == "hydra.searchpath":
                    groups.append(argument)
                else:
                    values.append(override)
            problems.append(problem)
        config = self._from_files(tuple(groups))
        if isinstance(config, Problem):
            problems.append(config)
            return None, [problem for problem in problems if problem]
        # Which keys a group has depends on its option.
        settable = [one for one in values if not one.key_or_group.startswith(tuple(unchosen))]
        problems += [self._apply(config, override) for override in settable]
        problems += check_objective(config)
        return config, [problem for problem in problems if problem]

    @cached_property
    def primary(self) -> ConfigResult:
        """The primary file alone, which must exist."""
        loaded = self.loader.repository.load_config(self.config_name)
        assert loaded is not None
        return loaded

    def files(self, config: DictConfig) -> Iterator[tuple[list[str], Path]]:
        """The files of a configuration, the last to set a key first, and the node that each one fills."""
        groups = [*config.hydra.overrides.hydra, *config.hydra.overrides.task]
        found = self.loader.compute_defaults_list(self.config_name, groups, RunMode.RUN)
        for default in reversed(found.defaults):
            if (file := self.file(str(default.config_path))) is not None:
                yield default.package.split(".") if default.package else [], file

    def file(self, name: str) -> Path | None:
        """The file of an option, such as `model/mlp`."""
        folders = [source.path for source in self.loader.get_sources() if source.scheme() == "file"]
        files = [Path(folder) / f"{name.removesuffix('.yaml')}.yaml" for folder in folders]
        return next((file for file in files if file.is_file()), None)

    def _from_files(self, groups: tuple[str, ...]) -> DictConfig | Problem:
        """Reads the files once for all jobs of a sweep that choose the same options."""
        if groups not in self._composed:
            composed: DictConfig | Problem
            try:
                composed = self.loader.load_configuration(self.config_name, list(groups), RunMode.RUN)
            except Exception as error:  # Hydra raises ValueError, YAMLError, OSError and its own.
                composed = self._explained(error, groups)
            self._composed[groups] = pickle.dumps(composed)
        own_copy: DictConfig | Problem = pickle.loads(self._composed[groups])
        return own_copy

    def _explained(self, error: Exception, groups: Sequence[str]) -> Problem:
        """Says why files cannot be composed, and where if Hydra or the YAML reader says so."""
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
            place = f"{display(Path(error.problem_mark.name))}, line {error.problem_mark.line + 1}"
            return Problem(place, f"is not YAML: {error.problem}")
        text = " ".join(str(error).split())
        if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
            group, _, option = error.missing_cfg_file.rpartition("/")
            options = tuple(self.loader.repository.get_group_options(group))
            near, key = nearest(option, options), group or "--config-name"
            return Problem(key, f"has no option {option}", options, near, self._mention(option))
        if match := re.search(r"Could not override '([^']*)'", text):
            given = [argument for argument in groups if argument.partition("=")[0] == match[1]]
            return self._unused_group(match[1], given[0] if given else self._mention(match[1]), groups)
        named = re.match(r"In '([^']*)'", text)
        file = self.file(named[1]) if named else self._unreadable(error)
        if file is not None and isinstance(error, UnicodeDecodeError):
            return Problem(display(file), "is not UTF-8: save it in that encoding")
        if file is not None:
            return Problem(display(file), f"cannot be used: {text}")
        cause = f" {error.__cause__}" if isinstance(error.__cause__, OmegaConfBaseException) else ""
        return Problem("The configuration", f"cannot be composed: {text}{cause}")

    def _unused_group(self, group: str, source: str, groups: Sequence[str]) -> Problem:
        """Names a group of which this program uses no option."""
        own = self._from_files(()) if groups else None
        if not isinstance(own, DictConfig):
            return Problem(group, f"is not a group of {self.config_name}", source=source)
        keys = _top_keys(own)
        near = nearest(group, keys)
        if near and isinstance(OmegaConf.select(own, near), ListConfig):
            near = f"'{near}=[{source.partition('=')[2]}]'"
        return Problem(group, f"is not a group of {self.config_name}", keys, near, source)

    def _own_files(self) -> Iterator[tuple[str, Path]]:
        """Lists every option of every group, and its file."""
        for source in self.loader.get_sources():
            for file in sorted(Path(source.path).rglob("*.yaml")) if source.scheme() == "file" else ():
                yield str(file.relative_to(source.path).with_suffix("")), file

    def _mention(self, name: str) -> str:
        """The first line of a defaults list that has a name: Hydra does not always say who asked for it."""
        for _, file in self._own_files():
            for number, line in enumerate(file.read_text("utf-8", errors="replace").splitlines(), 1):
                if re.search(rf"^ *(defaults:|-) .*\b{re.escape(name)}\b", line):
                    return f"{display(file)}, line {number}"
        return ""

    def _unreadable(self, error: Exception) -> Path | None:
        """Finds the file that Hydra failed to read: it does not say which."""
        for name, file in self._own_files():
            try:
                self.loader.repository.load_config(name)
            except Exception as other:
                same = str(other) == str(error) or isinstance(error, RecursionError)
                if same and type(other) is type(error):
                    return file
        return None

    def _apply(self, config: DictConfig, override: Override) -> Problem | None:
        """Sets, adds or deletes one value, as Hydra would."""
        key, value, argument = override.key_or_group, override.value(), override.input_line or ""
        owner, _, name = key.rpartition(".")
        try:
            parent = OmegaConf.select(config, owner) if owner else config
            exists = isinstance(parent, DictConfig) and name in list(parent)
            exists |= isinstance(parent, ListConfig) and name.isdigit() and int(name) < len(parent)
            if not exists and not override.is_add() and not override.is_force_add():
                return self._unknown_key(config, key, parent, argument)
            adds = override.is_add() and not isinstance(value, dict | list)
            if exists and adds and OmegaConf.select(config, key) is not None:
                return Problem(key, f"is there already: write {argument.lstrip('+')}", source=argument)
            ConfigLoaderImpl._apply_overrides_to_config([override], config)
        except Exception as error:  # OmegaConf lets AttributeError and others through.
            if isinstance(value, dict) and (options := self.loader.get_group_options(key)):
                return Problem(key, NO_MAPPING, tuple(options), source=argument)
            return Problem(key, f"cannot be set: {str(error).splitlines()[0]}", source=argument)
        return None

    def _several(self, override: Override, problem: Problem) -> Problem:
        """Adds the notation of a list to a problem with several values for a key whose value is a list."""
        key, value = override.key_or_group, (override.input_line or "").partition("=")[2]
        config = self._from_files(())
        is_list = isinstance(config, DictConfig) and isinstance(OmegaConf.select(config, key), ListConfig)
        return replace(problem, nearest=pasteable(f"{key}=[{value}]")) if is_list else problem

    def _unknown_key(self, config: DictConfig, key: str, parent: Any, argument: str) -> Problem:
        """Says that a key does not exist, and which key was most likely meant."""
        owner, _, name = key.rpartition(".")
        if having := self._options_with(config, key):
            group = key.partition(".")[0]
            chosen = config.hydra.runtime.choices[group]
            text = f"does not exist with {group}={chosen or 'null'}, but with {group}={' or '.join(having)}"
            return Problem(key, text, source=argument)
        if not owner or not isinstance(parent, DictConfig) or "/" in key:
            allowed = _top_keys(config)
            # The mistake may be further up, as in modl.width.
            keys = [*allowed, *(other for other, _ in nodes(OmegaConf.to_container(config)))]
            near = nearest(key.replace("/", "."), keys if "." in key or "/" in key else allowed)
            near = _whole_keys(config, key) or near or self._elsewhere(config, name)
            return Problem(key, "does not exist", allowed, near, argument)
        target, taken = parent.get("_target_"), set()
        with suppress(UnknownNameError):
            signature = signature_of(target) if isinstance(target, str) else None
            taken = signature.names(parent.get("_partial_") is True) if signature else set()
        if name in taken:
            advice = f"is not in the files, but {target} takes it: write {pasteable('+' + argument)}"
            return Problem(key, set_by_run(key) or advice, source=argument)
        known = tuple(sorted({*map(str, parent), *taken}.difference(RESERVED)))
        near = nearest(name, known)
        near = _whole_keys(config, name) or (f"{owner}.{near}" if near else self._elsewhere(config, name))
        return Problem(key, "does not exist", known, near, argument)

    def _elsewhere(self, config: DictConfig, name: str) -> str | None:
        """Finds the keys, of the chosen options or of others, that the last part of a key may mean."""
        if whole := _whole_keys(config, name):
            return whole
        for group in map(str, config.hydra.runtime.choices):
            if options := self._options_with(config, f"{group}.{name}"):
                return f"{group}.{name} (with {group}={' or '.join(options)})"
        near = nearest(name, [*OTHER_NAMES, *(key.rpartition(".")[2] for key in _set_keys(config))])
        return None if near is None else _whole_keys(config, near)

    def _options_with(self, config: DictConfig, key: str) -> list[str]:
        """The options of the key's group, other than the chosen one, that set the key."""
        group, _, rest = key.partition(".")
        choices = config.hydra.runtime.choices
        found = []
        for option in self.loader.repository.get_group_options(group) if rest and group in choices else ():
            with suppress(Exception):  # A file that cannot be read is another mistake.
                loaded = self.loader.repository.load_config(f"{group}/{option}")
                assert loaded is not None  # It is one of the options.
                parent = OmegaConf.select(loaded.config, rest.rpartition(".")[0] or ".")
                if option != choices[group] and rest.rpartition(".")[2] in list(parent):
                    found.append(option)
        return found


def _searchpath(loader: ConfigLoaderImpl, config_name: str, arguments: Sequence[str]) -> list[str]:
    """The folders that `hydra.searchpath` adds, on the command line or in the primary file."""
    folders = None
    with suppress(Exception):  # Composing names the mistake.
        primary = loader.repository.load_config(config_name)
        folders = OmegaConf.select(primary.config, "hydra.searchpath") if primary is not None else None
    for override in [_parsed(argument)[0] for argument in arguments]:
        if override is not None and override.key_or_group == "hydra.searchpath":
            folders = override.value()
    return [str(folder) for folder in folders] if isinstance(folders, list | ListConfig) else []


def _parsed(argument: str) -> tuple[Override | None, Problem | None]:
    try:
        override = _PARSER.parse_override(argument)
    except HydraException as error:
        text = f"is not an override: {str(error).splitlines()[0]}"
        return None, Problem(argument, text, OVERRIDES, source=argument)
    if not override.key_or_group:
        text = "is not an override: = has no space around it"
        return None, Problem(argument, text, OVERRIDES, source=argument)
    if override.is_sweep_override():
        text = "gives several values: add -m to run one job for each"
        if not override.is_discrete_sweep():
            text = "is an interval, which only a search draws from: add sweep=search"
        if override.is_hydra_override():
            text = "gives several values, but a sweep cannot vary the settings of Hydra"
        return override, Problem(argument, text, source=argument)
    return override, None


def _wrong_choice(override: Override, argument: str, options: Sequence[str]) -> Problem | None:
    """Says what is wrong with the choice of a group's options."""
    key, value = override.key_or_group, override.value()
    if override.is_delete():
        return None
    if value is None:
        near = "none" if "none" in options else None
        return Problem(
            key, "cannot be null: choose an option, or leave it out", tuple(options), near, argument
        )
    for name in map(str, value if isinstance(value, list) else [value]):
        if name not in options:
            near = nearest(Path(name).stem, options)  # Somebody may give the file of the option.
            return Problem(key, f"has no option {name}", tuple(options), near, argument)
    return None


def _set_keys(config: DictConfig) -> list[str]:
    """Lists the keys that hold a value, but not those that copy another by `${...}`."""
    content = OmegaConf.to_container(config)
    return [
        key
        for key, value in nodes(content)
        if not isinstance(value, dict)
        and not (isinstance(value, str) and "${" in value)
        and not key.startswith("hydra.")
        and not {*RESERVED} & set(key.split("."))
    ]


def _whole_keys(config: DictConfig, end: str) -> str | None:
    """Returns the keys that end with a short key, such as lr, as the tables of runs show them."""
    keys = [key for key in _set_keys(config) if key.endswith(f".{end}")]
    keys = keys or ([OTHER_NAMES[end]] if end in OTHER_NAMES else [])
    return " or ".join(keys) or None


def _top_keys(config: DictConfig) -> tuple[str, ...]:
    """The keys of the highest level, and the groups, of which some are not the key that they set."""
    groups = [group for group in map(str, config.hydra.runtime.choices) if not {"/", "@"} & set(group)]
    return tuple(sorted({*map(str, config), *groups}.difference(RESERVED, ["hydra"])))
