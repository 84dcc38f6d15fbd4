"""A mistake in the configuration, and the one message that lists them all."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from galaxy.system.errors import UserError


@dataclass(frozen=True)
class Problem:
    """One mistake.

    Attributes:
        key: The dotted key, as on the command line.
        text: What is wrong; it follows the key in a sentence.
        allowed: What could stand there instead.
        nearest: The likeliest of them, if one is near what was written.
        source: Which file and line, or which argument, set the key.
        at: The key whose origin is looked up for `source`, where it is another one.
    """

    key: str
    text: str
    allowed: tuple[str, ...] = ()
    nearest: str | None = None
    source: str = ""
    at: str = ""

    def __str__(self) -> str:
        hint = f"; did you mean {self.nearest}?" if self.nearest else ""
        lines = [f"{self.key} {self.text}{hint}"]
        if self.source:
            lines.append(f"    set in: {self.source}")
        if self.allowed:
            listed = textwrap.fill(
                ", ".join(self.allowed),
                width=100,
                initial_indent="    allowed: ",
                subsequent_indent=" " * 13,
                break_on_hyphens=False,
                break_long_words=False,
            )
            lines.append(listed)
        return "\n".join(lines)


class ConfigError(UserError):
    """The configuration is wrong; the command line exits with status 2.

    Args:
        problems: What is wrong.
        jobs: For each problem, the jobs of the sweep that have it; empty outside of sweeps.
    """

    def __init__(self, problems: Sequence[Problem], jobs: Sequence[str] = ()) -> None:
        self.problems = list(problems)
        count = "a mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        blocks = [f"The configuration has {count}; nothing was started."]
        for index, problem in enumerate(problems):
            job = f"\n    in: {jobs[index]}" if jobs and jobs[index] else ""
            blocks.append(f"  {textwrap.indent(f'{problem}{job}', '  ').lstrip()}")
        super().__init__("\n\n".join(blocks))
