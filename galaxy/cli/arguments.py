"""Command lines that stand for others: `resume=DIR`, `like=DIR` and `run=DIR` for what a folder recorded."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from galaxy.cli.notation import value_of, with_text
from galaxy.config.check import leaves
from galaxy.config.overrides import config_dir_of, is_replaced, is_within, key_of, quoted
from galaxy.config.plan import SWEEP_FILE
from galaxy.config.recorded import Recorded
from galaxy.config.trust import check_trusted
from galaxy.runs.finding import find_checkpoint, find_run, find_runs_of, find_unfinished
from galaxy.runs.folder import PREDICTING, RESUMABLE_SETTINGS, RunFolder
from galaxy.system.errors import UserError

# These recorded overrides are left out: the new command line sets them again, and trust is never recorded.
_LEFT_OUT = re.compile(
    r"[+~]*(resume|trust|hydra\.mode|hydra\.sweep\.dir|hydra\.job\.config\.override_dirname\.exclude_keys)(=|$)"
)


def replayed(folder: Path, arguments: list[str]) -> Recorded | None:
    """Reads the overrides of the run or the sweep in a folder, for another command line to take over.

    What comes of them has to be checked against `galaxy.config.trust`, because the folder may come from
    somebody else. A recorded `trust=` counts for nothing.

    Args:
        folder: The folder of a run, a job of a sweep, or a sweep.
        arguments: The command line. The recorded folder of options is left out if it names one itself, and
            so is each override that it has as well.

    Returns:
        The overrides, without `resume=` and what would be set again; None if there is neither a run nor a
        sweep.

    Raises:
        UserError: The files are damaged.
    """
    run, sweep = RunFolder(folder), folder / SWEEP_FILE
    if run.begun:
        file, overrides = run.overrides_file, run.overrides()
    elif sweep.exists():
        file, overrides = sweep, _overrides(sweep)
    else:
        return None
    kept = [override for override in overrides if override not in arguments and not _LEFT_OUT.match(override)]
    return Recorded(file, kept, None if config_dir_of(arguments) else _recorded_config_dir(folder))


def with_recorded(arguments: list[str]) -> tuple[list[str], Recorded | None]:
    """Replaces `like=DIR` or `resume=DIR`, of which a command line has one at most.

    The paths in a typed `model.weights` become absolute, because they are recorded.
    """
    arguments = with_whole_weights(arguments)
    arguments, like = with_like(arguments)
    arguments, resumed = with_resumed(arguments)
    return arguments, like or resumed


def with_resumed(arguments: list[str]) -> tuple[list[str], Recorded | None]:
    """Replaces `resume=DIR` by the overrides of the run or the sweep in DIR.

    Args:
        arguments: The command line. `resume=auto` names no folder, and stays. `resume=latest` is the folder
            of the last run that did not finish.

    Returns:
        The command line with the recorded overrides, the folder and `resume=auto` in place of `resume=DIR`;
        and what of it was recorded.

    Raises:
        UserError: There is neither a run nor a sweep, or the sweep would become another one.
    """
    given, name = _given("resume", arguments)
    if name is None or name == "auto":
        return arguments, None
    folder = _said("resume", find_unfinished()).path if name == "latest" else Path(name)
    name = str(folder)
    recorded = replayed(folder, arguments)
    if recorded is None:
        raise UserError(f"resume={name} is neither auto, latest, the folder of a run nor that of a sweep")
    if recorded.file.name == SWEEP_FILE:
        _check_same_sweep(name, arguments)
        added = [f"hydra.sweep.dir={quoted(name)}"]
        first = [] if {"-m", "--multirun"} & set(arguments) else ["-m"]
    else:
        # A job of a sweep is run alone, although its overrides may hold the option that swept it.
        added, first = ["hydra.mode=RUN", f"hydra.run.dir={quoted(name)}"], []
        recorded = replace(recorded, overrides=[*recorded.overrides, _recorded_root(RunFolder(folder))])
    # Insert the recorded overrides where `resume=` stood: Hydra wants overrides contiguous, and options given
    # after `resume=DIR` must win over recorded ones.
    place = arguments.index(given[-1])
    others = [[a for a in part if a not in given] for part in (arguments[:place], arguments[place:])]
    # So do the settings that may change and that were given before it.
    changed = set(RESUMABLE_SETTINGS).intersection(map(key_of, others[0]))
    recorded = replace(recorded, overrides=[o for o in recorded.overrides if key_of(o) not in changed])
    words = [*recorded.options(), *first, *others[0], *recorded.overrides, *added, "resume=auto", *others[1]]
    return words, recorded


def with_whole_weights(arguments: list[str]) -> list[str]:
    """Puts whole paths in place of `model.weights=latest` and of relative paths that exist.

    Otherwise each job of a sweep would start from the job before it, and a recorded command line would mean
    something else on another day or in another folder.

    Raises:
        UserError: No run has finished.
    """

    def whole(name: str) -> str:
        if name == "latest":
            return str(_said("model.weights", find_run(name, "model.weights")).path.absolute())
        path = Path(name)
        return str(path.absolute()) if name != "imagenet" and path.exists() else name

    return [with_text(word, whole) if key_of(word) == "model.weights" else word for word in arguments]


def with_like(arguments: list[str]) -> tuple[list[str], Recorded | None]:
    """Adds to `like=DIR` the overrides of the run in DIR, except those that the command line replaces.

    Where the run is, and whether it was resumed, is not taken over.

    Args:
        arguments: The command line.

    Returns:
        The command line with the recorded overrides, and with the absolute path in `like=`; and what of it
        was recorded.

    Raises:
        UserError: DIR is not the folder of one run, or another run is to be resumed.
    """
    given, name = _given("like", arguments)
    if name is None:
        return arguments, None
    resumed, folder_to_resume = _given("resume", arguments)
    if folder_to_resume not in ("auto", None):
        raise UserError(f"like={name} starts a new run, and {resumed[-1]} goes on with one: give one of them")
    run = find_run(name, "like")
    if name == "latest":
        _said("like", run)
    folder = run.path.absolute()
    recorded = replayed(folder, arguments)
    if recorded is None:  # the program was killed while it began the run
        raise UserError(f"like={name} holds a run that has not begun: it has no overrides.yaml")
    # What is given as it was recorded replaces nothing.
    old = run.overrides()
    new = [argument for argument in arguments if not argument.startswith("-") and argument not in old]
    root = _recorded_root(run)
    kept = [override for override in recorded.overrides if not is_replaced(override, [*new, root])]
    kept += [] if is_replaced(root, new) else [root]
    recorded = replace(recorded, overrides=kept)
    alone = not {"-m", "--multirun"} & set(arguments) and any(o.startswith("sweep=") for o in kept)
    added = ["hydra.mode=RUN"] if alone else []  # the run was a job of a ready-made sweep
    place = _first_override(arguments, arguments.index(given[-1]))
    others = [[a for a in part if a not in given] for part in (arguments[:place], arguments[place:])]
    like = f"like={quoted(str(folder))}"
    return [*recorded.options(), *others[0], *kept, *added, like, *others[1]], recorded


def with_inherited_data(arguments: list[str]) -> tuple[list[str], None]:
    """Adds the data settings of the run to the command line of an evaluation, and its folder for `latest`.

    They are put before the user's own overrides, which come later and win. If the user chose `data=` himself,
    only the settings of the splits are added, so that training galaxies are not tested on. Nothing is added
    if the checkpoint lies outside a run folder. The first of several runs gives the settings.

    Args:
        arguments: The command line, which names a run or a checkpoint, in Hydra's notation.

    Returns:
        The command line. Nothing of it has to be checked any more.

    Raises:
        UserError: There is no such run or checkpoint, a run's configuration would call what is not trusted,
            or several runs have other data each.
    """
    given, named = _given("run", arguments, several=True)
    if named is None:
        given, named = _given("checkpoint", arguments)
    if named is None:
        return arguments, None
    place = arguments.index(given[-1])
    if key_of(given[-1]) == "run":
        runs = find_runs_of(named) if isinstance(named, list) else [find_run(named)]
        if "latest" in (named if isinstance(named, list) else [named]):
            _said("run", find_run("latest"))
        paths = [str(run.path) for run in runs]
        written = quoted(paths if len(paths) > 1 else paths[0])
        arguments = [*arguments[:place], f"run={written}", *arguments[place + 1 :]]
    else:
        runs = [RunFolder.of(find_checkpoint(str(named)))]
    if not runs[0].begun:
        return arguments, None
    chosen = any(key_of(argument) == "data" for argument in arguments)
    nodes = []
    for run in runs:
        config, splits = run.config(), run.split_settings()
        nodes.append(splits if chosen else config["data"] | splits)
        # The checkpoint has the same parts, and is checked again when it is read.
        parts = {name: config[name] for name in PREDICTING if name in config}
        check_trusted({"data": nodes[-1], **parts}, run.config_file)
    if chosen:
        inherited = [f"data.{key}={quoted(value)}" for key, value in nodes[0].items()]
    else:
        for run, node in zip(runs[1:], nodes[1:], strict=True):
            _check_same_galaxies(runs[0], nodes[0], run, node, arguments)
        inherited = [f"+data={quoted(nodes[0])}"]
    first = _first_override(arguments, place)
    return [*arguments[:first], *inherited, *arguments[first:]], None


def checkpoints_of(run: str | list[str] | None, checkpoint: str | None, command: str) -> list[Path]:
    """Returns the checkpoints that `run=DIR`, `run=[DIR,...]` or `checkpoint=FILE` names.

    Args:
        run: The value of `run`.
        checkpoint: The value of `checkpoint`.
        command: The command, such as evaluate, whose help says more.

    Raises:
        UserError: Both or neither are given, or a run has no best checkpoint.
    """
    if (run is None) == (checkpoint is None):
        both = "both are given" if run is not None else f"galaxy {command} --help says more"
        raise UserError(f"give one of run=DIR (a run folder, or latest) and checkpoint=FILE: {both}")
    if run is None:
        return [Path(str(checkpoint)).expanduser()]
    folders = run if isinstance(run, list) else [run]
    return [RunFolder(Path(folder).expanduser()).best_checkpoint() for folder in folders]


def _check_same_galaxies(
    first: RunFolder, own: dict[str, Any], other: RunFolder, data: dict[str, Any], arguments: list[str]
) -> None:
    """Refuses two runs of an ensemble on other galaxies each, unless the command line says which to take."""
    here, there = (
        dict(leaves({key: node.get(key) for key in ("root", "limit", "catalog")}, "data."))
        for node in (own, data)
    )
    said = [*map(key_of, arguments), "data.catalog.workers"]
    for key in {**here, **there}:
        if here.get(key) != there.get(key) and not is_within(key, said):
            raise UserError(
                f"the runs have other data: {key} is {here.get(key)} in {first.path} and {there.get(key)} in "
                f"{other.path}: say which galaxies are to be predicted ({key}=..., or data=... data.root=...)"
            )


def _given(key: str, arguments: list[str], several: bool = False) -> tuple[list[str], Any]:
    """Returns the arguments that set a key, and the value of the last one.

    Args:
        key: The key.
        arguments: The command line.
        several: Whether the value may be a list of names.

    Raises:
        UserError: The value is something else than a name, null and such a list.
    """
    given = [argument for argument in arguments if re.match(rf"\+*{key}=", argument)]
    value = value_of(given[-1]) if given else None
    if isinstance(value, str) or not given or given[-1].partition("=")[2].lower() == "null":
        return given, value
    if several and isinstance(value, list) and all(isinstance(name, str) for name in value):
        return given, value
    together = ", or run=[FIRST,SECOND] for their predictions together" if several else ""
    raise UserError(f"{given[-1]} names several runs: give one at a time{together}")


def _recorded_root(run: RunFolder) -> str:
    """Returns the override for the folder of a run's data.

    The recorded override may be missing, or relative to another working directory; config.yaml has the whole
    path.
    """
    data = run.config().get("data")
    root = data.get("root") if isinstance(data, dict) else None
    if not isinstance(root, str):
        raise UserError(f"{run.config_file} is damaged: it lacks data.root")
    return f"data.root={quoted(root)}"


def _said(key: str, run: RunFolder) -> RunFolder:
    """Says which run is the latest."""
    print(f"{key}=latest is {run.path}", file=sys.stderr)
    return run


def _check_same_sweep(name: str, arguments: list[str]) -> None:
    """Refuses what would change the jobs of a sweep, in whose folder Hydra records the latest command."""
    for argument in arguments:
        key = key_of(argument)
        if argument.startswith("-") or key in ("resume", *RESUMABLE_SETTINGS) or re.match("hydra[./]", key):
            continue
        if "=" in argument or argument.startswith("~"):
            raise UserError(
                f"{argument} would make another sweep of the one in {name}: leave it out, or start a new one"
            )


def _first_override(arguments: list[str], place: int) -> int:
    """Returns where the overrides around one of them begin.

    Options such as --config-dir stay in front of them, because Hydra wants the overrides contiguous.
    """
    while place and ("=" in arguments[place - 1] or arguments[place - 1].startswith("~")):
        if arguments[place - 1].startswith("-"):
            break
        place -= 1
    return place


def _recorded_config_dir(folder: Path) -> str | None:
    """Returns the folder of that option in the command that began the run, or the first job of the sweep."""
    begun = sorted([*folder.glob("meta.json"), *folder.glob("*/meta.json")])
    if not begun:
        return None
    run = RunFolder(begun[0].parent)
    try:
        option = config_dir_of(shlex.split(run.meta().get("command", "")))
    except (ValueError, AttributeError) as error:
        raise UserError(f"{run.meta_file} is damaged: its command cannot be read: {error}") from None
    return option[-1].removeprefix("--config-dir=") if option else None


def _overrides(sweep: Path) -> list[str]:
    """Returns the overrides of a sweep's command line."""
    try:
        recorded = yaml.safe_load(sweep.read_text(encoding="utf-8"))["hydra"]["overrides"]
        return [str(override) for override in (*recorded["task"], *recorded["hydra"])]
    except (yaml.YAMLError, OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{sweep} cannot be read: {error}") from error
