"""The command `galaxy`: one word, then the arguments of the program that it names."""

from __future__ import annotations

import os
import runpy
import sys

from galaxy.system.errors import meant
from galaxy.system.terminal import standard_streams

COMMANDS = {
    "train": "train a model, or with -m one for each job of a sweep",
    "evaluate": "score a trained model, or predict galaxies without labels",
    "compare": "print one table of all runs in some folders",
    "explore": "write a report on a survey, or a picture of crops",
    "demo": "show galaxies and predictions on a web page",
    "fetch": "download a survey",
    "cache": "list the caches of cropped images, and remove old ones",
    "export": "write the network of a run as ONNX",
}
# These take paths and not settings, and a shell completes paths itself.
TAKE_PATHS = ("compare", "fetch", "cache", "export")


@standard_streams()
def main() -> None:
    """Runs the program that the first argument names."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-sc", "--shell-completion"):
        found = _to_complete() if "COMP_LINE" in os.environ else "train"
        if found is None:
            return
        name, arguments = found, sys.argv[1:]
    if name in ("-h", "--help"):
        lines = [f"  {command:<10}{text}" for command, text in COMMANDS.items()]
        print("\n".join(["usage: galaxy COMMAND ...", "", *lines, "", "galaxy COMMAND --help says more."]))
        return
    if name not in COMMANDS:
        print(f"galaxy has no command {name}{meant(name, COMMANDS)}", file=sys.stderr)
        print(f"There are: {', '.join(COMMANDS)}", file=sys.stderr)
        raise SystemExit(2)
    sys.argv[1:] = arguments
    # As `python -m` would: Lightning starts the further processes of a distributed training by this name.
    runpy.run_module(f"galaxy.cli.{name}", run_name="__main__", alter_sys=True)


def _to_complete() -> str | None:
    """Returns the command in the line that a shell completes; prints the commands while it is not whole."""
    line = os.environ["COMP_LINE"].partition(" ")[2].lstrip()
    word, space, _ = line.partition(" ")
    if not space:
        print("\n".join(command for command in COMMANDS if command.startswith(word)))
    elif word in COMMANDS and word not in TAKE_PATHS:
        os.environ["COMP_LINE"] = line  # Hydra leaves out its first word.
        return word
    return None
