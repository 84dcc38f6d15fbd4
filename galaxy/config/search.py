"""What a search draws from, and how: the node `hydra.sweeper` of conf/hydra/sweeper/optuna.yaml.

A search space is written in the words of Hydra's grammar, in `hydra.sweeper.params` or on the command line.
It is read and checked here without Optuna, before anything starts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, Literal

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig

from galaxy.config.check import check_node
from galaxy.config.overrides import key_of
from galaxy.config.problems import ConfigError, Problem
from galaxy.config.signatures import signature_of

# Hydra makes sweepers only from modules of the package `hydra_plugins`.
SWEEPER = "hydra_plugins.galaxy_search.Search"
# Hydra's own launcher runs jobs in this process, one after the other.
_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
# The file of the study, in the folder of the sweep.
STUDY_FILE = "study.journal"
# Trials that differ in these could not be compared, or would not be jobs of one sweep.
_NOT_SEARCHED = ("objective", "resume", "like", "trust", "hydra", "sweep", "experiment")
_EMPTY = "holds no two numbers: the first must be smaller than the second"
# The packages that a search imports, and what to install for them.
_PACKAGES = {"optuna": "'galaxy-morphology[search]'", "cmaes": "cmaes"}


@dataclass(frozen=True)
class SearchSettings:
    """How settings are drawn and trials are pruned; conf/hydra/sweeper/optuna.yaml explains each setting.

    Raises:
        ValueError: A number is out of range.
    """

    n_trials: int = 20
    sampler: Literal["tpe", "random", "gp", "cmaes"] = "tpe"
    pruner: Literal["median", "halving", "hyperband", "none"] = "median"
    startup_trials: int = 5
    warmup_epochs: int = 1
    seed: int = 0
    params: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        for name, least in (("n_trials", 1), ("startup_trials", 1), ("warmup_epochs", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be {least} or more")


@dataclass(frozen=True)
class Dimension:
    """A setting that a search varies.

    Attributes:
        element: The key as an override writes it, perhaps with a `+`.
        text: What was written as its value, such as "tag(log,interval(1e-4,1e-2))".
        choices: Its values as overrides write them; empty for numbers.
        low: The smallest number.
        high: The largest number, which is included.
        step: The distance between two numbers; None for every number in between.
        log: Whether the logarithms of the numbers are drawn evenly.
    """

    element: str
    text: str
    choices: tuple[str, ...] = ()
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False

    @property
    def key(self) -> str:
        """The key of the setting."""
        return key_of(self.element)

    @property
    def whole(self) -> bool:
        """Whether the numbers are whole."""
        return isinstance(self.low, int)

    @property
    def ends(self) -> tuple[str, ...]:
        """All choices, or the smallest and the largest number, as overrides write them."""
        return self.choices or (repr(self.low), repr(self.high))


@dataclass(frozen=True)
class Space:
    """A search space.

    Attributes:
        fixed: The overrides that all trials share.
        dimensions: The settings that differ.
    """

    fixed: tuple[str, ...]
    dimensions: tuple[Dimension, ...]

    def probes(self) -> list[list[str]]:
        """Returns jobs that have each choice, and both ends of each interval, at least once."""
        first = {dimension.element: dimension.ends[0] for dimension in self.dimensions}
        jobs = [first]
        for dimension in self.dimensions:
            jobs += [{**first, dimension.element: value} for value in dimension.ends[1:]]
        return [[*self.fixed, *(f"{key}={value}" for key, value in job.items())] for job in jobs]

    def as_written(self, problems: Sequence[Problem]) -> list[Problem]:
        """Names what the user has written as the origin of problems that probes have, each key once."""
        found: dict[str, Problem] = {}
        for problem in problems:
            for dimension in self.dimensions:
                if problem.source in {f"{dimension.element}={value}" for value in dimension.ends}:
                    whole = "whole number" in problem.text and not dimension.choices
                    nearest = (
                        f"int(interval({dimension.low:g},{dimension.high:g}))" if whole else problem.nearest
                    )
                    source = f"{dimension.element}={dimension.text}"
                    problem = replace(problem, source=source, nearest=nearest)  # noqa: PLW2901
            known = found.setdefault(problem.key, problem)
            if known.source != problem.source:
                found[f"{problem.key} {problem.text}"] = problem
        return list(found.values())


def is_search(config: DictConfig) -> bool:
    """Whether the sweep of a configuration is a search."""
    return str(config.hydra.sweeper._target_) == SWEEPER


def search_settings(config: DictConfig) -> SearchSettings:
    """Reads and checks the settings of a search.

    Raises:
        ConfigError: A setting is wrong.
    """
    target = f"{SearchSettings.__module__}.{SearchSettings.__name__}"
    signature = signature_of(target)
    assert signature is not None
    if problems := check_node(config, "hydra.sweeper", signature, "a search"):
        raise ConfigError(problems)
    node = {str(key): value for key, value in config.hydra.sweeper.items() if key != "_target_"}
    try:
        return SearchSettings(**node)
    except ValueError as error:
        name, _, text = str(error).partition(" ")
        raise ConfigError([Problem(f"hydra.sweeper.{name}", text)]) from None


def check_can_run(config: DictConfig, settings: SearchSettings) -> None:
    """Refuses a search that lacks a package, or that has a launcher.

    Hydra's launchers run many jobs at a time. A search has one trial after the other, so that each draw
    knows all that the trials before have found.

    Raises:
        ConfigError: A package is missing, or a launcher was chosen.
    """
    if str(config.hydra.launcher._target_) != _LAUNCHER:
        launcher = config.hydra.runtime.choices["hydra/launcher"]
        text = (
            f"is {launcher}, but each process of a search runs one trial at a time: leave it out, and start "
            "the command several times with the same hydra.sweep.dir, on a cluster as tasks of a job array"
        )
        raise ConfigError([Problem("hydra/launcher", text)])
    for package in ("optuna", "cmaes") if settings.sampler == "cmaes" else ("optuna",):
        if find_spec(package) is None:
            text = f"needs the package {package}: pip install {_PACKAGES[package]}"
            raise ConfigError([Problem("hydra.sweeper.sampler", f"is {settings.sampler}, which {text}")])


def read_space(loader: ConfigLoader, settings: SearchSettings, arguments: Sequence[str]) -> Space:
    """Reads the search space from `hydra.sweeper.params` and the arguments, which go before.

    Args:
        loader: Hydra's loader.
        settings: The settings of the search.
        arguments: The overrides on the command line.

    Raises:
        ConfigError: The space cannot be searched.
    """
    params = [f"{key}={value}" for key, value in (settings.params or {}).items()]
    written: dict[str, tuple[str, Dimension | None]] = {}
    problems: list[Problem] = []
    for argument in [*params, *arguments]:
        override = _parsed(loader, argument)
        dimension = None
        if override is not None and override.is_sweep_override() and not override.is_hydra_override():
            try:
                dimension = _dimension(override, argument.partition("=")[2])
            except ValueError as error:
                problems.append(Problem(key_of(argument), str(error), source=argument))
        written.pop(key_of(argument), None)  # Hydra applies overrides in their order.
        written[key_of(argument)] = (argument, dimension)
    dimensions = [dimension for _, dimension in written.values() if dimension is not None]
    problems += _group_problems(loader, dimensions)
    if not dimensions and not problems:
        text = "has nothing to search: give some settings an interval or choices"
        problems.append(
            Problem("hydra.sweeper.params", text, nearest="optimizer.lr=tag(log,interval(1e-4,1e-2))")
        )
    if problems:
        raise ConfigError(problems)
    fixed = [argument for argument, dimension in written.values() if dimension is None]
    return Space(tuple(fixed), tuple(dimensions))


def _parsed(loader: ConfigLoader, argument: str) -> Override | None:
    try:
        (override,) = OverridesParser.create(config_loader=loader).parse_overrides([argument])
    except HydraException:
        return None  # This mistake is reported when the argument is composed.
    return override


def _group_problems(loader: ConfigLoader, dimensions: Sequence[Dimension]) -> Iterator[Problem]:
    """Yields what is wrong with the choice of the settings themselves."""
    for dimension in dimensions:
        source = f"{dimension.element}={dimension.text}"
        options = tuple(loader.get_group_options(dimension.key))
        if dimension.key.partition(".")[0] in _NOT_SEARCHED:
            yield Problem(dimension.key, "cannot be searched: all trials of a search share it", source=source)
        elif options and not dimension.choices:
            yield Problem(dimension.key, "is a group of options: write choice(a,b)", options, source=source)


def _dimension(override: Override, text: str) -> Dimension:
    """Reads what one override varies.

    Raises:
        ValueError: No value can be drawn from it.
    """
    value: Any = override.value()
    element, tags = override.get_key_element(), set(value.tags)
    if unknown := tags - {"log"}:
        raise ValueError(f"has the tag {', '.join(sorted(unknown))}, but a search knows the tag log only")
    log = bool(tags)
    if isinstance(value, IntervalSweep):
        return _checked(Dimension(element, text, (), *_interval(value), None, log))
    if isinstance(value, RangeSweep):
        return _checked(Dimension(element, text, (), *_range(value), log))
    if log:
        raise ValueError("has choices, which have no logarithm: leave out tag(log, ...)")
    choices = tuple(override.sweep_string_iterator())
    if not choices:
        raise ValueError("has no choices")
    if twice := [choice for choice, count in Counter(choices).items() if count > 1]:
        raise ValueError(f"has the choice {twice[0]} more than once")
    return Dimension(element, text, choices)


def _interval(value: IntervalSweep) -> tuple[float, float]:
    assert value.start is not None
    assert value.end is not None
    return value.start, value.end


def _range(value: RangeSweep) -> tuple[float, float, float]:
    """Returns the smallest and the largest number of a range, whose stop is not included, and the step."""
    assert value.start is not None
    assert value.stop is not None
    start, stop, step = value.start, value.stop, value.step
    # Rounding must not decide whether range(0,1,0.1) reaches 1.
    count = math.ceil((stop - start) / step - 1e-9) if step else 0
    if count < 2:
        raise ValueError(_EMPTY)
    last = start + (count - 1) * step
    if not isinstance(start, int) or not isinstance(step, int):
        start, last, step = float(start), round(float(last), 12), float(step)
    return min(start, last), max(start, last), abs(step)


def _checked(dimension: Dimension) -> Dimension:
    low, high = dimension.low, dimension.high
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(_EMPTY)
    if dimension.log and low <= 0:
        raise ValueError(
            f"begins at {low:g}, which has no logarithm: begin above 0, or leave out tag(log, ...)"
        )
    if dimension.log and not (dimension.step is None or (dimension.whole and dimension.step == 1)):
        raise ValueError(
            "has steps, which a logarithmic scale has not: use interval, or leave out tag(log, ...)"
        )
    return dimension
