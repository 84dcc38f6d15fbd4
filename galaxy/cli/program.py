"""How a program ends: with a message if the user made a mistake, with a traceback only if the program did."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import DictConfig

from galaxy.cli.completion import SWITCHES, complete
from galaxy.cli.notation import MULTIRUN, in_hydras_notation
from galaxy.cli.sweep import Sweep, planned, summarise
from galaxy.config import ConfigError, Problem, check_command_line, plugins
from galaxy.config.jobs import mode_of_check
from galaxy.config.launcher import quieten_hydra
from galaxy.config.overrides import with_whole_config_dir
from galaxy.config.recorded import Recorded
from galaxy.config.trust import UntrustedError, trusted_in, trusting
from galaxy.system.errors import UserError
from galaxy.system.interruption import Interrupted
from galaxy.system.launchers import Group, join_group, together
from galaxy.system.terminal import standard_streams

CONFIG_ERROR = 2  # the exit status, which is also that of a wrong command line
# The command line as the user typed it. Hydra is given another one.
_typed: list[str] = []


def reporting(task: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """Decorates a function under `@hydra.main`: a `UserError` in it ends the program with status 1.

    Hydra itself would print a line with all overrides before the message.
    """

    @wraps(task)
    def reported(config: DictConfig) -> Any:
        try:
            with standard_streams():  # Hydra would print its line for a full disk of the output, too
                return task(config)
        except Exception as error:
            # In a sweep Hydra goes on with the next job, and raises the error at the end.
            if (mistake := user_error(error)) is None or HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            print(_said(mistake), file=sys.stderr)
            sys.exit(1)

    return reported


@standard_streams()
@together()
def run(
    main: Callable[[], Any],
    config_path: str,
    config_name: str,
    prepare: Callable[[list[str]], tuple[list[str], Recorded | None]] | None = None,
    refuse: Callable[[dict[str, Any]], None] | None = None,
    distributed: bool = False,
) -> None:
    """Checks the command line, and calls a function decorated with `@hydra.main`.

    Exits with status 2 if the configuration is wrong and 1 for any other `UserError`, with the message on
    standard error, and as the shell expects if a signal stopped it; other exceptions pass.

    Args:
        main: The function.
        config_path: The folder of the configuration that `@hydra.main` was given.
        config_name: The name of the configuration that `@hydra.main` was given.
        prepare: Rewrites the command line first, which is in the notation of Hydra's grammar, and says what
            of the new one was read from a folder. Such a program takes `trust=[package]`.
        refuse: Raises a `UserError` if values of a configuration are wrong; see `check_jobs`.
        distributed: Whether torchrun and srun may start the program several times.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises exceptions instead of printing them
    _typed[:] = sys.argv
    plugins.register()
    quieten_hydra()
    for note in plugins.notes():
        print(note, file=sys.stderr)
    try:
        if {*SWITCHES} & {*sys.argv}:
            complete(sys.argv[1:], _program(), main, Path(config_path) / f"{config_name}.yaml")
            return
        _join_group(distributed)
        _check_surroundings()
        packages: list[str] = []
        arguments = sys.argv[1:]
        recorded: Recorded | None = None
        if prepare is not None:
            packages, arguments = trusted_in(arguments)
        arguments = with_whole_config_dir(in_hydras_notation(arguments))
        with trusting(packages):
            if prepare is not None:
                arguments, recorded = prepare(arguments)
            # Hydra wants the overrides contiguous, so a -m between them goes to the front.
            sys.argv[1:] = sorted(arguments, key=lambda argument: argument not in MULTIRUN)
            if Group.current is not None and {*MULTIRUN} & {*arguments}:
                raise Group.current.refusal("which one training can use, but not a sweep (-m)")
            Sweep.plan = check_command_line(main, config_path, config_name, sys.argv[1:], recorded, refuse)
            with mode_of_check():
                main()
    except (Interrupted, KeyboardInterrupt) as stop:  # a training turns Ctrl-C into Interrupted
        _summarise()
        sys.exit(stop.status if isinstance(stop, Interrupted) else 128 + signal.SIGINT)
    except Exception as error:
        _summarise()
        message = user_error(error) or _config_error(error) or _unwritable(error)
        if message is None:
            raise
        print(_said(message), file=sys.stderr)
        sys.exit(CONFIG_ERROR if isinstance(message, ConfigError) else 1)


def _join_group(distributed: bool) -> None:
    """Waits for the command line of the first process, if a launcher has started this one beside it."""
    group = join_group()
    if group is None:
        return
    if group.rank > 0:
        sys.argv[1:] = group.called()
    elif not distributed:
        raise group.refusal("and each would work by itself: start it once")


def _said(mistake: UserError) -> str:
    """Returns a message, with the whole command that would trust what was refused."""
    if not isinstance(mistake, UntrustedError) or not (mistake.packages or mistake.arguments):
        return str(mistake)
    packages, arguments = trusted_in(_typed[1:])
    trust = list(dict.fromkeys([*packages, *mistake.packages]))
    command = [
        *_program(),
        *arguments,
        *mistake.arguments,
        *([f"trust=[{','.join(trust)}]"] if trust else []),
    ]
    return f"{mistake}, and give this command:\n  {shlex.join(command)}"


def _check_surroundings() -> None:
    """Refuses a working folder that is gone, and arguments that are no text in the encoding of the shell."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UserError("the working folder has been removed: change to another one (cd) first") from None
    for argument in sys.argv[1:]:
        try:
            argument.encode()
        except UnicodeEncodeError:  # Python reads other bytes as lone surrogates, which cannot be written.
            raise UserError(
                f"{argument!a} is no text in {sys.getfilesystemencoding()}: give it in that encoding, or set "
                "PYTHONUTF8=1 for UTF-8"
            ) from None


def _program() -> list[str]:
    """Returns the words that start this program."""
    file = Path(_typed[0])
    own = file.parent.name == "cli" and file.parent.parent.name == "galaxy"
    return ["galaxy", file.stem] if own else ["python", str(file)]


def _summarise() -> None:
    """Prints the table of a sweep that was stopped before its end."""
    if Sweep.folder is not None and Sweep.folder.is_dir():
        try:
            summarise(Sweep.folder, planned())
        except UserError as error:
            print(error, file=sys.stderr)


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
    """Returns a mistake in the configuration that only Hydra has found."""
    if isinstance(error, ConfigCompositionException):
        text = " ".join(f"{error} {error.__cause__ or ''}".split())
        return ConfigError([Problem("The configuration", f"cannot be composed: {text}")])
    return None
