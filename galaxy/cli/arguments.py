"""Command lines that stand for others: `resume=DIR`, `like=DIR` and `run=DIR` for what a folder recorded."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import yaml

from galaxy.cli.notation import value_of
from galaxy.config.overrides import config_dir_of, is_replaced, quoted
from galaxy.config.trust import check_data
from galaxy.runs.finding import find_checkpoint, find_run, find_unfinished
from galaxy.runs.folder import RESUMABLE_SETTINGS, RunFolder
from galaxy.system.errors import UserError

# Hydra leaves this file in the folder of a sweep.
SWEEP_FILE = "multirun.yaml"
# These recorded overrides are left out, because the new command line sets them again.
SET_AGAIN = ("hydra.mode=", "hydra.sweep.dir=", "hydra.job.config.override_dirname.exclude_keys=")


def with_resumed(arguments: list[str]) -> list[str]:
    """Replaces `resume=DIR` by the overrides of the run or the sweep in DIR.

    Args:
        arguments: The command line. `resume=auto` names no folder, and stays. `resume=latest` is the folder
            of the last run that did not finish.

    Returns:
        The command line with the recorded overrides, the folder and `resume=auto` in place of `resume=DIR`.

    Raises:
        UserError: There is neither a run nor a sweep, or the sweep would become another one.
    """
    given = [argument for argument in arguments if argument.startswith("resume=")]
    name = value_of(given[-1]) if given else None
    if name in ("auto", None):
        return arguments
    folder = _said("resume", find_unfinished()).path if name == "latest" else Path(str(name))
    name = str(folder)
    run, sweep = RunFolder(folder), folder / SWEEP_FILE
    first = [] if config_dir_of(arguments) else _recorded_config_dir(folder)
    if run.begun:
        # A job of a sweep is run alone, although its overrides may hold the option that swept it.
        # The recorded override may be relative to another working directory; config.yaml has the whole path.
        root = f"data.root={quoted(run.config()['data']['root'])}"
        recorded = [*run.overrides(), root, "hydra.mode=RUN", f"hydra.run.dir={quoted(name)}"]
    elif sweep.exists():
        _check_same_sweep(name, arguments)
        recorded = [*_overrides(sweep), f"hydra.sweep.dir={quoted(name)}"]
        first += [] if {"-m", "--multirun"} & set(arguments) else ["-m"]
    else:
        raise UserError(f"resume={name} is neither auto, latest, the folder of a run nor that of a sweep")
    kept = [argument for argument in recorded if not argument.startswith("resume=")]
    # Insert the recorded overrides where `resume=` stood: Hydra wants overrides contiguous, and options given
    # after `resume=DIR` must win over recorded ones.
    place = arguments.index(given[-1])
    others = [[a for a in part if a not in given] for part in (arguments[:place], arguments[place:])]
    return [*first, *others[0], *kept, "resume=auto", *others[1]]


def with_like(arguments: list[str]) -> list[str]:
    """Adds to `like=DIR` the overrides of the run in DIR, except those that the command line replaces.

    Where the run is, and whether it was resumed, is not taken over.

    Args:
        arguments: The command line.

    Returns:
        The command line with the recorded overrides, and with the absolute path in `like=`.

    Raises:
        UserError: DIR is not the folder of one run, or another run is to be resumed.
    """
    given = [argument for argument in arguments if argument.startswith("like=")]
    name = value_of(given[-1]) if given else None
    if name is None:
        return arguments
    for argument in arguments:
        if argument.startswith("resume=") and argument not in ("resume=auto", "resume=null"):
            raise UserError(
                f"like={name} starts a new run, and {argument} goes on with one: give one of them"
            )
    run = find_run(str(name), "like")
    run = _said("like", run) if name == "latest" else run
    folder = run.path.absolute()
    recorded = run.overrides()
    # What is given as it was recorded replaces nothing.
    new = [argument for argument in arguments if not argument.startswith("-") and argument not in recorded]
    kept = [override for override in recorded if not is_replaced(override, new)]
    if not {"-m", "--multirun"} & set(arguments) and any(o.startswith("sweep=") for o in kept):
        kept.append("hydra.mode=RUN")  # the run was a job of a ready-made sweep
    place = _first_override(arguments, arguments.index(given[-1]))
    others = [[a for a in part if a not in given] for part in (arguments[:place], arguments[place:])]
    first = [] if config_dir_of(arguments) else _recorded_config_dir(folder)
    return [*first, *others[0], *kept, f"like={quoted(str(folder))}", *others[1]]


def with_inherited_data(arguments: list[str]) -> list[str]:
    """Adds the data settings of the run to the command line of an evaluation, and its folder for `latest`.

    They are put before the user's own overrides, which come later and win. If the user chose `data=` himself,
    only the settings of the splits are added, so that training galaxies are not tested on. Nothing is added
    if the checkpoint lies outside a run folder.

    Args:
        arguments: The command line, which names a run or a checkpoint, in Hydra's notation.

    Raises:
        UserError: There is no such run or checkpoint, the recorded data would call other code than this
            project's, or several runs are named.
    """
    given = {argument.partition("=")[0]: argument for argument in arguments if "=" in argument}
    named = given.get("run", given.get("checkpoint"))
    name = None if named is None else value_of(named)
    if named is None or (name is None and "," not in named):
        return arguments
    if not isinstance(name, str):
        raise UserError(f"{named} names several runs: evaluate one at a time, for each has its own data")
    place = arguments.index(named)
    if "run" in given:
        run = _said("run", find_run(name)) if name == "latest" else find_run(name)
        arguments = [*arguments[:place], f"run={quoted(str(run.path))}", *arguments[place + 1 :]]
    else:
        run = RunFolder.of(find_checkpoint(name))
    if not run.begun:
        return arguments
    splits = run.split_settings()
    if "data" in given:
        inherited = [f"data.{key}={quoted(value)}" for key, value in splits.items()]
    else:
        data = run.config()["data"] | splits
        check_data(data, run.config_file)
        inherited = [f"+data={quoted(data)}"]
    place = _first_override(arguments, place)
    return [*arguments[:place], *inherited, *arguments[place:]]


def _said(key: str, run: RunFolder) -> RunFolder:
    """Says which run is the latest."""
    print(f"{key}=latest is {run.path}", file=sys.stderr)
    return run


def _check_same_sweep(name: str, arguments: list[str]) -> None:
    """Refuses what would change the jobs of a sweep, in whose folder Hydra records the latest command."""
    for argument in arguments:
        key = argument.partition("=")[0].lstrip("+~")
        if argument.startswith("-") or key in ("resume", *RESUMABLE_SETTINGS) or key.startswith("hydra."):
            continue
        if "=" in argument or argument.startswith("~"):
            raise UserError(
                f"{argument} would make another sweep of the one in {name}: leave it out, or start a new one"
            )


def _first_override(arguments: list[str], place: int) -> int:
    """Returns where the overrides around one of them begin.

    Options such as --config-dir stay in front of them, because Hydra wants the overrides contiguous.
    """
    while place and "=" in arguments[place - 1] and not arguments[place - 1].startswith("-"):
        place -= 1
    return place


def _recorded_config_dir(folder: Path) -> list[str]:
    """Returns that option of the command that began the run, or the first job of the sweep, in a folder."""
    begun = sorted([*folder.glob("meta.json"), *folder.glob("*/meta.json")])
    return config_dir_of(shlex.split(RunFolder(begun[0].parent).meta().get("command", ""))) if begun else []


def _overrides(sweep: Path) -> list[str]:
    """Returns the overrides of a sweep's command line, but those that are set again."""
    try:
        recorded = yaml.safe_load(sweep.read_text(encoding="utf-8"))["hydra"]["overrides"]
        overrides: list[str] = [*recorded["task"], *recorded["hydra"]]
    except (yaml.YAMLError, OSError, LookupError, TypeError) as error:
        raise UserError(f"{sweep} cannot be read: {error}") from error
    return [override for override in overrides if not override.startswith(SET_AGAIN)]
