"""Completion in a shell, which `eval "$(galaxy -sc install=bash)"` switches on.

The work is Hydra's. Its function in the shell asks the program with `-sc query=bash`, and the variable
COMP_LINE holds the line that is being typed.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import yaml
from hydra._internal.utils import get_args_parser

from galaxy.config import ConfigError, Problem

SWITCHES = ("-sc", "--shell-completion")
_VERBS, _SHELLS = ("install", "uninstall", "query"), ("bash", "fish", "zsh")


def complete(
    arguments: Sequence[str], started: Sequence[str], program: Callable[[], None], config: Path
) -> None:
    """Prints what installs completion in a shell, or the words that may come next.

    Args:
        arguments: The command line.
        started: The words that start the program, such as `galaxy train`.
        program: The function that `@hydra.main` decorated.
        config: The file of the program's configuration.

    Raises:
        ConfigError: The command line asks for something else, or a person asks what only a shell can.
    """
    asked = get_args_parser().parse_known_args(list(arguments))[0].overrides
    verb, _, shell = asked[0].partition("=") if len(asked) == 1 else ("", "", "")
    command = "galaxy" if started[0] == "galaxy" else " ".join(started)
    install = f'eval "$({command} -sc install=bash)"'
    if verb not in _VERBS or shell not in _SHELLS:
        allowed = tuple(f"{verb}={shell}" for verb in _VERBS for shell in _SHELLS)
        raise ConfigError([Problem("-sc", f"takes one word; for completion in bash type {install}", allowed)])
    if verb != "query":
        sys.argv[0] = started[-1] if command != "galaxy" else command  # Hydra registers this name.
        program()
    elif "COMP_LINE" not in os.environ:
        text = f"is a question of the shell, which holds the line to complete: type {install} first"
        raise ConfigError([Problem(f"-sc {asked[0]}", text)])
    else:
        # An error message would stand in the middle of the line that is being typed.
        offered = io.StringIO()
        with suppress(Exception, SystemExit), redirect_stderr(io.StringIO()), redirect_stdout(offered):
            program()
        refused = {*_other_groups(config), "_target_"}
        words = offered.getvalue().split()
        words = [word for word in words if re.split("[=/@]", word.lstrip("+~"))[0] not in refused]
        print((" " if shell == "bash" else "\n").join(words))


def _other_groups(config: Path) -> set[str]:
    """Returns the groups of options beside a configuration that it does not take."""
    defaults = yaml.safe_load(config.read_text(encoding="utf-8"))["defaults"]
    taken = {key for item in defaults if isinstance(item, dict) for key in item}
    return {folder.name for folder in config.parent.iterdir() if folder.is_dir()} - taken - {"hydra"}
