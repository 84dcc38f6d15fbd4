"""Mistakes in the configuration, and the one message that lists them all."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from galaxy.system.errors import UserError


@dataclass(frozen=True)
class Problem:
    """One mistake.

    Attributes:
        key: The dotted key, as on the command line.
        text: A sentence about the mistake, whose subject is the key.
        allowed: The values or names that could stand there instead.
        nearest: The allowed name that is most like the one that was written, if any is near.
        source: The argument, or the file and line, that set the key.
        at: Another key whose origin is named as the `source`; empty if it is that of `key`.
        surplus: The key without which the option that was chosen would work; empty if none is too many.
    """

    key: str
    text: str
    allowed: tuple[str, ...] = ()
    nearest: str | None = None
    source: str = ""
    at: str = ""
    surplus: str = ""

    def __str__(self) -> str:
        hint = f"; did you mean {self.nearest}?" if self.nearest else ""
        lines = [f"{self.key} {self.text}{hint}"]
        lines += [f"    set in: {self.source}"] if self.source else []
        if self.allowed:
            text, indent = f"allowed: {', '.join(self.allowed)}", " " * 4
            # A name is never broken, so that it can be copied.
            wrap = textwrap.TextWrapper(104, indent, indent + " " * 9, break_on_hyphens=False)
            wrap.break_long_words = False
            lines.append(wrap.fill(text))
        return "\n".join(lines)


class ConfigError(UserError):
    """The configuration is wrong; the command line exits with status 2.

    Args:
        problems: The mistakes.
        jobs: For each mistake, the jobs of the sweep that have it; empty if all have it.
    """

    def __init__(self, problems: Sequence[Problem], jobs: Sequence[str] = ()) -> None:
        self.problems = list(problems)
        count = "a mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        blocks = [f"The configuration has {count}; nothing was started."]
        for index, problem in enumerate(problems):
            job = f"\n    in: {jobs[index]}" if jobs and jobs[index] else ""
            blocks.append(f"  {textwrap.indent(f'{problem}{job}', '  ').lstrip()}")
        super().__init__("\n\n".join(blocks))


def display(file: Path) -> str:
    """Writes a path relative to the working folder if the file lies below it."""
    relative = os.path.relpath(file)
    return str(file) if relative.startswith("..") else relative
