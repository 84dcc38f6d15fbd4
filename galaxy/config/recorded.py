"""What a command line takes from a folder, as `resume=DIR` does, and what of it is not trusted.

The folder may come from somebody else. Every target that it brings is held to `galaxy.config.trust`. Hydra
itself calls what stands in its own node (callbacks, launchers, handlers of its logging), so a folder may only
set the few keys of that node that call nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from galaxy.config.check import nodes
from galaxy.config.composition import Composer
from galaxy.config.origins import origin_of
from galaxy.config.problems import ConfigError
from galaxy.config.trust import Refusals, Trust, UntrustedError, targets

# A folder may set these keys of the node `hydra`, and those below them. None of them can call anything.
SETTABLE = (
    "mode",
    "verbose",
    "output_subdir",
    "run",
    "sweep",
    "sweeper.params",
    "sweeper.n_trials",
    "sweeper.n_jobs",
    "sweeper.sampler",
    "sweeper.pruner",
    "sweeper.startup_trials",
    "sweeper.warmup_epochs",
    "sweeper.seed",
    "sweeper.max_batch_size",
    "launcher.n_jobs",
    "launcher.partition",
    "launcher.account",
    "launcher.qos",
    "launcher.constraint",
    "launcher.timeout_min",
    "launcher.max_num_timeout",
    "launcher.signal_delay_s",
    "launcher.cpus_per_task",
    "launcher.mem_gb",
    "launcher.gpus_per_node",
    "launcher.gres",
    "launcher.array_parallelism",
    "launcher.name",
    "job.config",
    "job.name",
    "job.num",
    "job.override_dirname",
    # Hydra writes these itself.
    "overrides",
    "runtime",
)
# An override of a value in the node `hydra`, and not the choice of an option such as `hydra/launcher=joblib`.
_SETTING = re.compile(r"[+~]*hydra\.")


@dataclass(frozen=True)
class Recorded:
    """The part of a command line that was read from a folder.

    Attributes:
        file: The file of the overrides, for messages.
        overrides: The overrides.
        config_dir: The folder of options that the recorded command named; None if it named none.
    """

    file: Path
    overrides: list[str] = field(default_factory=list)
    config_dir: str | None = None

    def options(self) -> list[str]:
        """Returns the options of the recorded command line."""
        return [] if self.config_dir is None else ["--config-dir", self.config_dir]

    def check_overrides(self) -> None:
        """Refuses what must not even be composed. A folder of the search path can be a package to import.

        Raises:
            UntrustedError: An override is an option of the command line, or sets what Hydra calls.
        """
        _check_hydra(self.overrides, self)


def check_recorded(
    composer: Composer,
    own: Composer,
    jobs: Sequence[Sequence[str]],
    arguments: Sequence[str],
    recorded: Recorded,
) -> None:
    """Refuses jobs that would call what is not trusted, because of what a folder brings.

    Args:
        composer: Composes the jobs.
        own: Composes without the folder's options.
        jobs: The overrides of each job.
        arguments: All overrides of the command line.
        recorded: Those that were read from the folder, and its options.

    Raises:
        UntrustedError: A target is not trusted, or Hydra's own settings would be others.
        ConfigError: A job cannot be composed, so it cannot be checked.
    """
    typed = [argument for argument in arguments if argument not in recorded.overrides]
    refused = Refusals(Trust())
    for job in jobs:
        foreign = [argument for argument in job if argument not in typed]
        _check_hydra(foreign, recorded)
        # Some sweepers choose numbers as they go, and a number names no target.
        config, problems = composer.compose([argument for argument in job if not _is_sweep(argument)])
        if config is None or problems:
            raise ConfigError(problems)
        # Options that only the folder has are left out here, which makes no difference if they are harmless.
        usual_job = [argument for argument in job if argument in typed or not _SETTING.match(argument)]
        reference = own.compose(usual_job)[0]
        assert reference is not None  # At least the program's own files can be composed.
        hydra, usual = (_plain(made.hydra) for made in (config, reference))
        _check_same(hydra, usual, recorded)
        found = [*targets({**_plain(config), "hydra": None}), *targets(hydra, "hydra")]
        known = set(targets(usual, "hydra"))
        files = list(composer.files(config))
        for key, target in found:
            # What the user has typed himself needs no trust.
            if (key, target) in known or any("_target_" in a and target in a for a in typed):
                continue
            node, _, index = key.partition("[")  # An override sets a list as a whole.
            place = origin_of(node if index else f"{key}._target_".lstrip("."), job, files)
            refused.add(key, target, f"{recorded.file} ({place})" if place else str(recorded.file))
    refused.raise_if_any()


def _check_hydra(overrides: Sequence[str], recorded: Recorded) -> None:
    """Refuses recorded overrides of the node `hydra` that could call something."""
    refused = []
    for override in overrides:
        # A package, as in `model@hydra.callbacks.x=mean`, leads to the node as well.
        key = override.lstrip("+~").partition("=")[0]
        if key.startswith("-"):
            raise UntrustedError(
                f"{recorded.file} holds {override}, which is no override but an option of the command line: "
                "it is refused"
            )
        group = re.fullmatch(r"hydra/(launcher|sweeper)", key)
        if re.search(r"\bhydra\b", key) and not group and not _is_settable(key.removeprefix("hydra.")):
            refused.append(override)
    if refused:
        raise UntrustedError(
            f"{recorded.file} holds {', '.join(refused)}. Hydra calls what its own settings name, so they "
            "are not taken from a folder: if you trust them, type them yourself",
            arguments=refused,
        )


def _check_same(hydra: dict[str, Any], usual: dict[str, Any], recorded: Recorded) -> None:
    """Refuses a node `hydra` that the folder's options have changed."""
    ours, theirs = (
        {key: value for key, value in nodes(node) if not isinstance(value, dict) and not _is_settable(key)}
        for node in (usual, hydra)
    )
    keys = [key for key in {**ours, **theirs} if key not in ours or ours[key] != theirs.get(key, ours)]
    if keys:
        where = recorded.config_dir
        raise UntrustedError(
            f"{recorded.file} names the options in {where}, which set hydra.{', hydra.'.join(keys)}. Hydra "
            "calls what its own settings name, so they are not taken from a folder: if you trust these "
            f"options, type --config-dir {where} yourself",
            arguments=recorded.options(),
        )


def _is_sweep(argument: str) -> bool:
    try:
        return OverridesParser.create().parse_override(argument).is_sweep_override()
    except HydraException:
        return False  # Composing names the mistake.


def _is_settable(key: str) -> bool:
    return any(f"{key}.".startswith(f"{known}.") for known in SETTABLE)


def _plain(config: DictConfig) -> dict[str, Any]:
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=False)  # type: ignore[assignment]
    return plain
