"""Runs the programs of this project as people do: in a process of their own, at a terminal."""

from __future__ import annotations

import os
import pty
import sys
import termios
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, Popen

PROJECT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Finished:
    """A program that has run.

    Attributes:
        started: The time of its start by `time.monotonic`, which all processes of a machine share.
        seconds: The time that it ran.
        peak: The most memory that it had, in bytes.
        output: The text that it wrote to the terminal.
    """

    started: float
    seconds: float
    peak: int
    output: str


def run(*arguments: object) -> Finished:
    """Runs Python with these arguments in the folder of the project, and ends the benchmark if that fails.

    The program gets a terminal, because progress bars do nothing without one. A GPU that the caller hides
    stays hidden.
    """
    command = [sys.executable, *map(str, arguments)]
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 120))  # rows and columns; progress bars draw nothing without a size
    # The programs import from this project, for example the callback that times their steps.
    path = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "TERM": "xterm-256color"}
    started = time.monotonic()
    # `wait4` below waits for the end of the program. Only `wait4` reports the memory of one child.
    child = Popen(command, cwd=PROJECT, env=environment, stdin=DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    output = b"".join(iter(lambda: _read(ours), b"")).decode(errors="replace").replace("\r\n", "\n")
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - started
    os.close(ours)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{output}")
    return Finished(started, seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024), output)


def _read(terminal: int) -> bytes:
    with suppress(OSError):  # Linux raises this when nobody writes any more
        return os.read(terminal, 65_536)
    return b""
