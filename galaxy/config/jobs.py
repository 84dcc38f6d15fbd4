"""Checks one run, or every job of a sweep, and says where each mistake was made."""

from __future__ import annotations

import ast
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, read_write

from galaxy.config.check import check
from galaxy.config.composition import Composer
from galaxy.config.origins import Origins, display
from galaxy.config.problems import ConfigError, Problem
from galaxy.config.signatures import Parameter, Signature, signature_of


def check_run(loader: ConfigLoader, config: DictConfig, arguments: Sequence[str]) -> list[Problem]:
    """Lists what is wrong with a composed configuration.

    Args:
        loader: Hydra's loader, which composed it.
        config: The configuration with its `hydra` node.
        arguments: The overrides that it was composed with.
    """
    return _placed(_mistakes(loader, config), loader, config, arguments)


def check_jobs(
    loader: ConfigLoader, config_name: str | None, jobs: Sequence[Sequence[str]], always: Sequence[str] = ()
) -> None:
    """Composes and checks each job.

    Args:
        loader: Hydra's loader.
        config_name: Name of the primary configuration.
        jobs: The overrides of each job.
        always: Overrides of Hydra's own settings that all jobs share.

    Raises:
        ConfigError: Some are wrong, or do what another does; each mistake is named once, with the first job
            that has it.
    """
    composer = Composer(loader, config_name)
    seen: dict[str, Sequence[str]] = {}
    having: dict[Problem, list[int]] = {}
    placed: dict[Problem, Problem] = {}
    for index, arguments in enumerate(jobs):
        config, problems = composer.compose([*always, *arguments])
        if config is not None:
            _set_number(config, index)
            problems += _mistakes(loader, config)
            problems += [] if problems else _repeated(config, arguments, seen)
        new = [problem for problem in problems if problem not in having]
        if new and config is not None:
            placed |= zip(new, _placed(new, loader, config, arguments), strict=True)
        for problem in problems:
            having.setdefault(problem, []).append(index)
    if having:
        shared = set(jobs[0]).intersection(*jobs)
        names = [_job(jobs, indices, shared) for indices in having.values()]
        raise ConfigError([placed.get(problem, problem) for problem in having], names)


def sweep_jobs(loader: ConfigLoader, arguments: Sequence[str]) -> list[list[str]]:
    """The overrides of each job of a sweep, as Hydra's basic sweeper expands them.

    Raises:
        ConfigError: There is no job, as a `glob` matches nothing, or a job is there twice.
    """
    choices: dict[str, list[str]] = {}
    parser = OverridesParser.create(config_loader=loader)  # which knows the options that `glob(*)` means
    for argument in arguments:
        try:
            (override,) = parser.parse_overrides([argument])
        except HydraException:
            choices[argument] = [argument]  # reported when the job is composed
            continue
        key = override.get_key_element()
        if override.is_discrete_sweep():
            choices[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
            if not choices[key]:
                options = tuple(loader.get_group_options(key))
                raise ConfigError([Problem(key, f"sweeps over nothing: {argument}", options)])
            if twice := [job for job, count in Counter(choices[key]).items() if count > 1]:
                raise ConfigError([Problem(twice[0], f"is given more than once: {argument}")])
        else:
            choices[key] = [argument]
    return [list(job) for job in itertools.product(*choices.values())]


def _mistakes(loader: ConfigLoader, config: DictConfig) -> list[Problem]:
    return [*_merged_options(loader, config), *_empty_options(config), *check(config, _top_level(config))]


def _set_number(config: DictConfig, number: int) -> None:
    """Gives a job its number, as Hydra does when it begins, for `${hydra:job.num}`."""
    with read_write(config.hydra.job):
        config.hydra.job.num = number
    HydraConfig.instance().set_config(config)


def _repeated(config: DictConfig, arguments: Sequence[str], seen: dict[str, Sequence[str]]) -> list[Problem]:
    """Whether a job has the configuration of an earlier one, which would only be trained again.

    Args:
        config: Of the job.
        arguments: Its overrides.
        seen: Those of the jobs before it by their configurations; this one joins them.
    """
    content = str({key: value for key, value in config.items_ex(resolve=False) if key != "hydra"})
    earlier = seen.setdefault(content, arguments)
    if earlier is arguments or "${hydra:" in content:  # such as the number of the job
        return []
    own, other = (
        " ".join(argument for argument in job if argument not in apart)
        for job, apart in ((arguments, earlier), (earlier, arguments))
    )
    return [Problem(own, f"makes the same job as {other}: leave out one of the two")]


def _placed(
    problems: list[Problem], loader: ConfigLoader, config: DictConfig, arguments: Sequence[str]
) -> list[Problem]:
    """The problems with the places where their keys were set."""
    if all(problem.source for problem in problems):
        return problems
    origins = Origins(loader, config, list(arguments))
    return [p if p.source else replace(p, source=origins.of(p.at or p.key)) for p in problems]


def are_planned(config: DictConfig) -> bool:
    """Whether the jobs of a sweep are known before it: other sweepers than Hydra's own choose as they go."""
    return str(config.hydra.sweeper._target_).endswith(".BasicSweeper")


def planned_jobs(loader: ConfigLoader, config: DictConfig) -> list[list[str]]:
    """The overrides of each job of a sweep that is about to start, with those of `hydra.sweeper.params`."""
    params = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    return sweep_jobs(loader, [*params, *config.hydra.overrides.task])


def _job(jobs: Sequence[Sequence[str]], indices: list[int], shared: set[str]) -> str:
    """Names the first of some jobs by what sets it apart, and counts the others; "" for all jobs."""
    if len(indices) == len(jobs):
        return ""
    name = " ".join(argument for argument in jobs[indices[0]] if argument not in shared)
    return name if len(indices) == 1 else f"{name}, and {len(indices) - 1} more of {len(jobs)} jobs"


def _merged_options(loader: ConfigLoader, config: DictConfig) -> list[Problem]:
    """Groups of which several options were given: Hydra merges them, and the last one's target wins."""
    choices = config.hydra.runtime.choices
    return [
        Problem(
            str(key),
            "is given several options, which would be merged into one: choose one, or sweep with -m",
            tuple(loader.get_group_options(str(key))),
        )
        for key, node in config.items()
        if isinstance(node, DictConfig)
        and "_target_" in node
        and key not in choices
        and loader.get_group_options(str(key))
    ]


def _empty_options(config: DictConfig) -> list[Problem]:
    """Groups whose option is a file without content, which Hydra takes for one that sets nothing."""
    chosen = [f"{group}/{option}" for group, option in config.hydra.runtime.choices.items()]
    groups = [name for name in chosen if config.get(name.partition("/")[0]) == {}]
    files = [folder / f"{name}.yaml" for name in groups for folder in _folders(config)]
    return [
        Problem(file.parent.name, f"is empty: {display(file)} sets nothing; write {{}} there if it is meant")
        for file in files
        if file.is_file() and yaml.safe_load(file.read_text(encoding="utf-8")) is None
    ]


def _folders(config: DictConfig) -> list[Path]:
    """Those of the configuration."""
    return [Path(source.path) for source in config.hydra.runtime.config_sources if source.schema == "file"]


def _top_level(config: DictConfig) -> Signature:
    """The keys of the highest level: what the primary file declares.

    Their types are those of the function that the file names as its `_target_`, else those of the values.
    """
    declared = _declared(config.hydra.job.config_name, _folders(config))
    if declared is None:
        return Signature({}, open=True)  # a configuration that is not a file
    parameters = {}
    for key, value in declared.items():
        typed = isinstance(value, bool | int | float | str | list) and not str(value).startswith(
            ("${", "???")
        )
        annotation = ast.Name(type(value).__name__) if typed else None
        parameters[key] = Parameter(annotation, required=value is not None)
    if isinstance(target := config.get("_target_"), str):
        taken = signature_of(target) or Signature({})
        parameters.update({key: taken.parameters[key] for key in parameters.keys() & taken.parameters.keys()})
    return Signature(parameters)


def _declared(name: str | None, folders: list[Path]) -> dict[str, Any] | None:
    """The keys that a primary file sets, with their values, and the groups in its defaults list."""
    file = next((folder / f"{name}.yaml" for folder in folders if (folder / f"{name}.yaml").is_file()), None)
    if file is None:
        return None
    content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    declared: dict[str, Any] = {}
    for item in content.pop("defaults", []):
        if isinstance(item, dict):  # `- override /group@package: option`
            name, option = next(iter(item.items()))
            group = name.split()[-1].lstrip("/").rpartition("@")[2].partition("/")[0]
            # What the node will hold is not known here, but whether there must be one is.
            declared[group] = None if option is None else "${...}"
        elif item != "_self_":
            declared |= _declared(item, folders) or {}
    return {key: value for key, value in {**declared, **content}.items() if key != "hydra"}
