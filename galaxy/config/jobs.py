"""Checks the run, or every job of the sweep, that a command line asks for, before Hydra starts."""

from __future__ import annotations

import ast
import itertools
import re
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.hydra import Hydra
from hydra._internal.utils import (
    create_automatic_config_search_path,
    detect_calling_file_or_module_from_task_function,
    get_args_parser,
)
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.default_element import GroupDefault
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException

from galaxy.config.check import READ_BY_PROGRAM, check, plain
from galaxy.config.composition import NO_MAPPING, Composer
from galaxy.config.launcher import check_launcher
from galaxy.config.origins import origin_of
from galaxy.config.overrides import key_of
from galaxy.config.plan import SWEEP_FILE, Job, Plan, distinct
from galaxy.config.problems import ConfigError, Problem, display
from galaxy.config.recorded import Recorded, check_recorded
from galaxy.config.search import STUDY_FILE, Space, check_can_run, is_search, read_space, search_settings
from galaxy.config.signatures import Parameter, Signature, signature_of
from galaxy.system.errors import UserError, pasteable


def check_command_line(
    main: Any,
    config_path: str,
    config_name: str,
    arguments: Sequence[str],
    recorded: Recorded | None = None,
    refuse: Callable[[dict[str, Any]], None] | None = None,
) -> Plan | None:
    """Checks the configurations that a command line asks for, as Hydra will compose them.

    Args:
        main: The function that `@hydra.main` decorated.
        config_path: The folder that `@hydra.main` was given.
        config_name: The name of the primary configuration that `@hydra.main` was given.
        arguments: The command line, with Hydra's own options.
        recorded: The part of the command line that was read from a folder.
        refuse: See `check_jobs`.

    Returns:
        The jobs of a sweep; None for a single run, and where nothing is run.

    Raises:
        ConfigError: The configuration has mistakes.
        UntrustedError: The folder would call what is not trusted.
    """
    if recorded is not None:
        recorded.check_overrides()
    options, unknown = get_args_parser().parse_known_args(list(arguments))
    _check_options(options, unknown, arguments)
    if recorded is None and (options.hydra_help or options.shell_completion or options.experimental_rerun):
        return None
    place = *detect_calling_file_or_module_from_task_function(main), options.config_path or config_path
    name = options.config_name or config_name
    composer = Composer(_search_path(place, options.config_dir), name, options.overrides)
    # The configuration decides about the mode too, so it is composed without what a sweep varies.
    fixed = [argument for argument in options.overrides if len(_choices(composer.loader, argument)) == 1]
    config, _ = composer.compose(fixed)
    mode = config.hydra.mode if config is not None else None
    single = mode == RunMode.RUN or (mode is None and not options.multirun)
    space = None
    if config is not None and not single and is_search(config):
        space = read_space(composer.loader, search_settings(config), options.overrides)
        jobs = space.probes()
    else:
        jobs = [options.overrides] if single else _jobs(composer.loader, config, options.overrides)
    if recorded is not None:
        own = None if options.config_dir == recorded.config_dir else options.config_dir
        typed = Composer(_search_path(place, own), name, options.overrides)
        check_recorded(composer, typed, jobs, options.overrides, recorded)
    if options.help or options.cfg or options.info:
        if problems := composer.compose(options.overrides)[1]:
            raise ConfigError(problems)
        return None
    _check_folders(options.overrides, single)
    if config is not None and not single:
        _check_content(config, space is not None)
        if space is not None:
            return _search(composer, config, space, refuse)
        check_launcher(config)
        if not str(config.hydra.sweeper._target_).endswith(".BasicSweeper"):
            return Plan(jobs, complete=False)  # this sweeper makes the jobs as it goes
    checked = check_jobs(composer, jobs, refuse)
    return None if single else distinct(checked)


@contextmanager
def mode_of_check() -> Iterator[None]:
    """Lets Hydra take `hydra.mode` from the configuration that was checked.

    Hydra would compose the configuration once more only to read it, which takes a tenth of a second:
    https://github.com/hydra-ecosystem/hydra/issues/3440.
    """
    composing = Hydra.get_mode
    Hydra.get_mode = lambda *_, **__: HydraConfig.get().mode  # type: ignore[method-assign]
    try:
        yield
    finally:
        Hydra.get_mode = composing  # type: ignore[method-assign]


def _check_options(options: Namespace, unknown: Sequence[str], arguments: Sequence[str]) -> None:
    """Refuses options that Hydra does not have, or would refuse by a traceback."""
    if flags := [argument for argument in unknown if argument.startswith("-")]:
        raise ConfigError([_flag(flag, arguments) for flag in flags])
    given = [f"--{name}" for name in ("run", "multirun", "cfg", "info") if getattr(options, name)]
    if len(given) > 1:
        raise ConfigError([Problem(given[1], f"does not go with {given[0]}: leave one of them out")])
    if options.resolve and not (options.cfg or options.help or options.hydra_help):
        raise ConfigError([Problem("--resolve", "belongs to --cfg: add --cfg job")])


def _flag(flag: str, arguments: Sequence[str]) -> Problem:
    """Says how a setting is written that somebody gave as an option, such as `--model mlp`."""
    name, has_value, value = flag.lstrip("-").partition("=")
    after = arguments[list(arguments).index(flag) + 1 :][:1]
    if not has_value:
        value = after[0] if after and "=" not in after[0] and not after[0].startswith("-") else "..."
    meant = pasteable(f"{name.replace('-', '_')}={value}")
    return Problem(flag, "is not an option: settings are written key=value", nearest=meant)


def _check_folders(overrides: Sequence[str], is_run: bool) -> None:
    """Refuses the folder of a sweep for a single run, and the other way round, which Hydra would ignore."""
    wrong, right = ("hydra.sweep.dir", "hydra.run.dir") if is_run else ("hydra.run.dir", "hydra.sweep.dir")
    for argument in overrides:
        key, _, value = argument.lstrip("+").partition("=")
        if key == wrong:
            whose, other = ("a sweep", "a single run") if is_run else ("a single run", "a sweep")
            more = " (or add -m for a sweep)" if is_run else ""
            text = f"is the folder of {whose}, but this is {other}: write {right}={value}{more}"
            raise ConfigError([Problem(key, text, source=argument)])


def _check_content(config: DictConfig, is_search: bool) -> None:
    """Refuses a sweep in the folder of a search, and the other way round: their runs would be mixed."""
    setup_globals()  # Hydra registers its resolvers, such as `${now:}`, when it starts.
    HydraConfig.instance().set_config(config)
    try:
        folder = Path(config.hydra.sweep.dir)
    except OmegaConfBaseException as error:
        text = f"names no folder: {str(error).splitlines()[0]}"
        raise ConfigError([Problem("hydra.sweep.dir", text)]) from None
    holds_search = (folder / STUDY_FILE).exists()
    if holds_search and not is_search:
        text = "holds a search, and this is none: give another folder"
    elif is_search and not holds_search and (folder / SWEEP_FILE).exists():
        text = "holds a sweep that is no search: give another folder"
    else:
        return
    raise ConfigError([Problem("hydra.sweep.dir", f"is {folder}, which {text}")])


def _search_path(place: tuple[Any, ...], config_dir: str | None) -> ConfigSearchPath:
    """Where Hydra looks for files, with the folder that `--config-dir` names."""
    search_path = create_automatic_config_search_path(*place)
    if config_dir is not None:
        folder = Path(config_dir).absolute()
        if not folder.is_dir():
            raise ConfigError([Problem("--config-dir", f"is {folder}, which is not a folder")])
        search_path.prepend("command-line", f"file://{folder}", SearchPathQuery(provider="schema"))
    return search_path


def _search(
    composer: Composer, config: DictConfig, space: Space, refuse: Callable[[dict[str, Any]], None] | None
) -> Plan:
    """Checks a search: its settings, each choice, and both ends of each interval."""
    settings, jobs = search_settings(config), space.probes()
    check_can_run(config, settings)
    try:
        check_jobs(composer, jobs, refuse)
    except ConfigError as error:
        raise ConfigError(space.as_written(error.problems)) from None
    return Plan(jobs, complete=False, count=settings.n_trials)


def _jobs(loader: ConfigLoader, config: DictConfig | None, arguments: Sequence[str]) -> list[list[str]]:
    """Expands `hydra.sweeper.params` and the arguments of a sweep as Hydra's basic sweeper does."""
    params = dict(config.hydra.sweeper.params or {}) if config is not None else {}
    choices: dict[str, list[str]] = {}
    for argument in [*(f"{key}={value}" for key, value in params.items()), *arguments]:
        key = argument.partition("=")[0]
        choices[key] = _choices(loader, argument)
        if not choices[key]:
            raise ConfigError(
                [Problem(key, f"sweeps over nothing: {argument}", tuple(loader.get_group_options(key)))]
            )
        if twice := [job for job, count in Counter(choices[key]).items() if count > 1]:
            raise ConfigError([Problem(twice[0], f"is given more than once: {argument}")])
    return [list(job) for job in itertools.product(*choices.values())]


def _choices(loader: ConfigLoader, argument: str) -> list[str]:
    """Lists the overrides that an argument of a sweep stands for; none if its glob finds nothing."""
    try:
        # The parser has the loader so that it knows which options `glob(*)` means.
        (override,) = OverridesParser.create(config_loader=loader).parse_overrides([argument])
    except HydraException:
        return [argument]  # This mistake is reported when the argument is composed.
    if not override.is_discrete_sweep() or override.is_hydra_override():
        return [argument]  # One value, or a mistake that is reported as well.
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def check_jobs(
    composer: Composer,
    jobs: Sequence[Sequence[str]],
    refuse: Callable[[dict[str, Any]], None] | None = None,
) -> list[Job]:
    """Composes and checks each job.

    Args:
        composer: Composes them.
        jobs: The overrides of each job.
        refuse: Raises a `UserError`, which begins with a key, if values of a resolved configuration are wrong
            though their names and types are right. It is called when these are.

    Raises:
        ConfigError: Some jobs are wrong, or do what another does. Each mistake is named once, with the first
            job that has it.
    """
    seen: dict[str, Sequence[str]] = {}
    having: dict[Problem, list[int]] = {}
    placed: list[Problem] = []
    checked: list[Job] = []
    for index, arguments in enumerate(jobs):
        config, problems = composer.compose(arguments)
        if config is not None:
            # Hydra does the same when a job begins, for the sake of `${hydra:job.num}`.
            with read_write(config.hydra.job):
                config.hydra.job.num = index
            HydraConfig.instance().set_config(config)
            problems += [*_merged_options(composer, config, arguments), *_empty_options(composer, config)]
            problems += check(config, _top_level(composer, config))
            problems += [] if problems or refuse is None else _refused(config, refuse)
            problems += [] if problems else _repeated(config, arguments, seen)
            checked.append(Job.of(config, arguments))
        new = [problem for problem in problems if problem not in having]
        placed += _placed(new, composer, config, arguments)
        for problem in problems:
            having.setdefault(problem, []).append(index)
    if having:
        shared = set(jobs[0]).intersection(*jobs)
        raise ConfigError(placed, [_name(jobs, indices, shared) for indices in having.values()])
    return checked


def _refused(config: DictConfig, refuse: Callable[[dict[str, Any]], None]) -> list[Problem]:
    """Returns what the program refuses of a configuration, whose names and types are right."""
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    try:
        refuse(plain(own))
    except OmegaConfBaseException:  # A value, such as a folder of the job, is known when the job runs.
        return []
    except UserError as error:
        key, _, text = str(error).partition(" ")
        return [Problem(key, text, at=re.split("[=:]", key)[0])]
    return []


def _placed(
    problems: list[Problem], composer: Composer, config: DictConfig | None, arguments: Sequence[str]
) -> list[Problem]:
    """Adds the places where the keys of the problems were set, and the way out where files set them."""
    if config is None or all(problem.source for problem in problems):
        return problems
    files = list(composer.files(config))
    chosen = {key_of(argument) for argument in arguments}
    placed = []
    for problem in problems:
        if problem.source:
            placed.append(problem)
            continue
        source, text = origin_of(problem.at or problem.key, arguments, files), problem.text
        # An experiment or a sweep has keys of the option that it chose, and the command line chose another.
        if problem.surplus and source not in arguments and problem.key.split(".")[0] in chosen:
            left_out = "it" if problem.surplus == problem.key else "that"
            text += f"; {pasteable(f'~{problem.surplus}')} leaves {left_out} out"
        placed.append(replace(problem, source=source, text=text))
    return placed


def _name(jobs: Sequence[Sequence[str]], indices: list[int], shared: set[str]) -> str:
    """Names the first of some jobs by what sets it apart, and counts the others; all jobs have no name."""
    if len(indices) == len(jobs):
        return ""
    name = " ".join(argument for argument in jobs[indices[0]] if argument not in shared)
    return name if len(indices) == 1 else f"{name}, and {len(indices) - 1} more of {len(jobs)} jobs"


def _repeated(config: DictConfig, arguments: Sequence[str], seen: dict[str, Sequence[str]]) -> list[Problem]:
    """Says if a job has the configuration of an earlier one, as it would only be trained again.

    Args:
        config: The configuration of the job.
        arguments: The overrides of the job.
        seen: The overrides of the jobs before it, by their configurations. This job is added.
    """
    content = str({key: value for key, value in config.items_ex(resolve=False) if key != "hydra"})
    earlier = seen.setdefault(content, arguments)
    if earlier is arguments or "${hydra:" in content:  # The number of the job may set it apart.
        return []
    own, other = (
        " ".join(argument for argument in job if argument not in apart)
        for job, apart in ((arguments, earlier), (earlier, arguments))
    )
    return [Problem(own, f"makes the same job as {other}: leave out one of the two")]


def _merged_options(composer: Composer, config: DictConfig, arguments: Sequence[str]) -> list[Problem]:
    """Finds groups with several options: Hydra would merge them, and the last `_target_` would win."""
    several = "is given several options, which would be merged into one: choose one, or sweep with -m"
    typed = {key_of(argument): argument.partition("=")[2] for argument in arguments}
    groups = [key for key, node in config.items() if isinstance(node, DictConfig) and "_target_" in node]
    options = {str(key): tuple(composer.loader.repository.get_group_options(str(key))) for key in groups}
    chosen = config.hydra.runtime.choices
    return [
        Problem(key, NO_MAPPING if typed.get(key, "").startswith("{") else several, names)
        for key, names in options.items()
        if names and key not in chosen
    ]


def _empty_options(composer: Composer, config: DictConfig) -> list[Problem]:
    """Finds groups whose option is a file without content, which Hydra takes for one that sets nothing."""
    problems = []
    for group, option in config.hydra.runtime.choices.items():
        node = config.get(group)
        unset = isinstance(node, DictConfig) and not set(node) - READ_BY_PROGRAM.get(group, {}).keys()
        file = composer.file(f"{group}/{option}") if unset else None
        if file is not None and yaml.safe_load(file.read_text(encoding="utf-8")) is None:
            text = f"is empty: {display(file)} sets nothing; write {{}} there if it is meant"
            problems.append(Problem(group, text))
    return problems


def _top_level(composer: Composer, config: DictConfig) -> Signature:
    """The keys of the highest level, which are those that the primary file declares.

    Their types are those of the function that the file names as its `_target_`, else those of the values.
    """
    parameters = {}
    for default in composer.primary.defaults_list or []:
        if isinstance(default, GroupDefault) and not default.override:
            group = str(default.group).partition("/")[0]
            parameters[group] = Parameter(None, required=default.value is not None)
    declared: Any = OmegaConf.to_container(composer.primary.config)
    for key, value in declared.items():
        typed = isinstance(value, bool | int | float | str | list) and not str(value).startswith(
            ("${", "???")
        )
        annotation = ast.Name(type(value).__name__) if typed else None
        parameters[key] = Parameter(annotation, required=value is not None)
    if isinstance(target := config.get("_target_"), str):
        taken = signature_of(target) or Signature({})
        parameters |= {key: taken.parameters[key] for key in parameters.keys() & taken.parameters.keys()}
    return Signature({key: value for key, value in parameters.items() if key != "hydra"})
