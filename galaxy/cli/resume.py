"""`resume=DIR`: the command line of a run, or of a sweep, once more."""

from __future__ import annotations

import shlex
from pathlib import Path

import yaml

from galaxy.config.overrides import quoted
from galaxy.runs.folder import FREE, RunFolder
from galaxy.system.errors import UserError

# What Hydra leaves in the folder of a sweep.
SWEEP_FILE = "multirun.yaml"
# Overrides in it that the new command line brings itself.
ANEW = ("hydra.mode=", "hydra.sweep.dir=", "hydra.job.config.override_dirname.exclude_keys=")


def with_resumed(arguments: list[str]) -> list[str]:
    """The command line that `resume=DIR` stands for.

    Args:
        arguments: Of the command line. `resume=auto` is no folder, and stays.

    Returns:
        With the overrides of the run or the sweep in DIR, its folder and `resume=auto` in place of it.

    Raises:
        UserError: There is neither a run nor a sweep, or the sweep would become another one.
    """
    given = [argument for argument in arguments if argument.startswith("resume=")]
    name = given[-1].partition("=")[2].strip("'\"") if given else "auto"
    if name in ("auto", "null"):
        return arguments
    folder = Path(name)
    run, sweep = RunFolder(folder), folder / SWEEP_FILE
    first = [] if _config_dir(arguments) else _recorded_config_dir(folder)
    if run.overrides_file.exists():
        # The job of a sweep is run alone, though its overrides may hold the option of sweep that swept it.
        before = [*run.overrides(), "hydra.mode=RUN", f"hydra.run.dir={quoted(name)}"]
    elif sweep.exists():
        _check_same_sweep(name, arguments)
        before = [*_overrides(sweep), f"hydra.sweep.dir={quoted(name)}"]
        first += [] if {"-m", "--multirun"} & set(arguments) else ["-m"]
    else:
        raise UserError(f"resume={name} is neither the folder of a run nor that of a sweep (nor auto)")
    kept = [argument for argument in before if not argument.startswith("resume=")]
    # In its place, for Hydra takes all overrides in one piece; what is given behind it goes before it.
    place = arguments.index(given[-1])
    others = [[a for a in part if a not in given] for part in (arguments[:place], arguments[place:])]
    return [*first, *others[0], *kept, "resume=auto", *others[1]]


def _check_same_sweep(name: str, arguments: list[str]) -> None:
    """Refuses what would change the jobs of a sweep, in whose folder Hydra records the latest command."""
    for argument in arguments:
        key = argument.partition("=")[0].lstrip("+~")
        if argument.startswith("-") or key in ("resume", *FREE) or key.startswith("hydra."):
            continue
        if "=" in argument or argument.startswith("~"):
            raise UserError(
                f"{argument} would make another sweep of the one in {name}: leave it out, or start a new one"
            )


def _config_dir(arguments: list[str]) -> list[str]:
    """The option of a command line that names a folder of a user's own options, if there is one."""
    for place, argument in enumerate(arguments):
        if argument in ("--config-dir", "-cd"):
            return arguments[place : place + 2]
        if argument.startswith("--config-dir="):
            return [argument]
    return []


def _recorded_config_dir(folder: Path) -> list[str]:
    """That of the command that began the run, or the first job of the sweep, in a folder."""
    begun = sorted([*folder.glob("meta.json"), *folder.glob("*/meta.json")])
    return _config_dir(shlex.split(RunFolder(begun[0].parent).meta().get("command", ""))) if begun else []


def _overrides(sweep: Path) -> list[str]:
    """Those of a sweep's command line, without what is said anew."""
    try:
        recorded = yaml.safe_load(sweep.read_text(encoding="utf-8"))["hydra"]["overrides"]
        overrides: list[str] = [*recorded["task"], *recorded["hydra"]]
    except (yaml.YAMLError, OSError, LookupError, TypeError) as error:
        raise UserError(f"{sweep} cannot be read: {error}") from error
    return [override for override in overrides if not override.startswith(ANEW)]
