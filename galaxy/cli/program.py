"""How a program ends: with a message if the user made a mistake, with a traceback only if the program did."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from traceback import walk_tb
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, SearchPathException
from hydra.types import RunMode
from omegaconf import DictConfig

from galaxy.cli.sweep import Sweep, summarise
from galaxy.config.callback import CONFIG_ERROR
from galaxy.config.composition import explain
from galaxy.config.jobs import check_jobs, sweep_jobs
from galaxy.config.overrides import quoted
from galaxy.config.problems import ConfigError, Problem
from galaxy.system.errors import UserError
from galaxy.system.interruption import Interrupted

MULTIRUN = ("-m", "--multirun")


def reporting(task: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """Decorates a function under `@hydra.main`: a `UserError` in it ends the program with status 1.

    Hydra itself would print a line with all overrides before the message.
    """

    @wraps(task)
    def reported(config: DictConfig) -> Any:
        try:
            return task(config)
        except Exception as error:
            # In a sweep Hydra goes on with the next job, and raises the error at the end.
            if (mistake := user_error(error)) is None or HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            print(mistake, file=sys.stderr)
            sys.exit(1)

    return reported


def run(main: Callable[[], Any], prepare: Callable[[list[str]], list[str]] = list) -> None:
    """Calls a function decorated with `@hydra.main`.

    Exits with status 2 if the configuration is wrong and 1 for any other `UserError`, with the message on
    standard error, and as the shell expects if a signal stopped it; other exceptions pass.

    Args:
        main: The function.
        prepare: Rewrites the command line first.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises exceptions instead of printing them
    try:
        # Hydra wants the overrides contiguous, so a -m between them goes to the front.
        arguments = sorted(prepare(sys.argv[1:]), key=lambda argument: argument not in MULTIRUN)
        sys.argv[1:] = [_with_quotes(argument) for argument in arguments]
        main()
    except (Interrupted, KeyboardInterrupt) as stop:  # a training turns Ctrl-C into Interrupted
        _summarise()
        sys.exit(stop.status if isinstance(stop, Interrupted) else 128 + signal.SIGINT)
    except Exception as error:
        _summarise()
        message = _config_error(error) or user_error(error) or _unwritable(error)
        if message is None:
            raise
        print(message, file=sys.stderr)
        sys.exit(CONFIG_ERROR if isinstance(message, ConfigError) else 1)


def _summarise() -> None:
    """Prints the table of a sweep that was stopped before its end."""
    if Sweep.folder is not None and Sweep.folder.is_dir():
        try:
            summarise(Sweep.folder, Sweep.jobs)
        except UserError as error:
            print(error, file=sys.stderr)


def _with_quotes(argument: str) -> str:
    """Puts quotes around a path that Hydra's grammar stumbles at, such as `run=runs/0-model=mean`."""
    key, _, value = argument.partition("=")
    if "/" not in value or argument.startswith("-"):
        return argument
    try:
        OverridesParser.create().parse_override(argument)
    except HydraException:
        return f"{key}={quoted(value)}"
    return argument


def user_error(error: BaseException) -> UserError | None:
    """Returns the `UserError` behind an exception, if any. Hydra wraps the errors of constructors."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, UserError):
        cause = cause.__cause__
    return cause


def _unwritable(error: Exception) -> UserError | None:
    """Explains why a file or folder, such as hydra.run.dir, cannot be made."""
    if isinstance(error, OSError) and error.filename is not None:
        from galaxy.system.files import explained  # noqa: PLC0415  `--help` has no time for it

        try:
            with explained(Path(error.filename)):
                raise error
        except UserError as explanation:
            return explanation
        except OSError:
            return None
    return None


def _config_error(error: Exception) -> ConfigError | None:
    """All that is wrong with a configuration that Hydra failed to compose; None if it was not that."""
    if isinstance(error, SearchPathException):
        return ConfigError([Problem("--config-dir", f"cannot be searched: {error}")])
    for frame, _ in walk_tb(error.__traceback__):
        # Hydra names the first mistake only, and nothing public tells what it was composing; the call to
        # the public `ConfigLoader.load_configuration` in the traceback does, with -cd, -cn and -m applied.
        call = frame.f_locals
        if frame.f_code.co_name != "load_configuration" or not isinstance(call.get("self"), ConfigLoader):
            continue
        arguments = [argument for argument in call["overrides"] if not argument.startswith("hydra.mode=")]
        loader, sweep = call["self"], call["run_mode"] == RunMode.MULTIRUN
        try:
            jobs = sweep_jobs(loader, arguments) if sweep else [arguments]
            check_jobs(loader, call["config_name"], jobs)
        except ConfigError as found:
            return found
        return ConfigError([explain(error, loader)])
    return None
