"""The command of a new run that starts from an old one, for messages that refuse to change the old one."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from galaxy.config.check import READ_BY_PROGRAM
from galaxy.config.overrides import config_dir_of, is_replaced, key_of, quoted


def new_run_command(
    folder: Path, recorded: Sequence[str], given: Sequence[str], from_weights: bool, trust: Sequence[str] = ()
) -> str:
    """Returns a command for the shell that begins with a run's settings, and perhaps its weights.

    Args:
        folder: The folder of the run.
        recorded: The overrides of the run.
        given: All overrides of the new run.
        from_weights: Whether the new run starts from the weights of the run.
        trust: The argument `trust=[package]`, if the new run needs it.
    """
    changed = [override for override in given if override not in recorded]
    if all(override in given or is_replaced(override, changed) for override in recorded):
        keys = set(map(key_of, changed))
        # `like` leaves out the values below an option that is chosen anew, so they are given again.
        again = [o for o in given if o in recorded and key_of(o) not in keys and is_replaced(o, changed)]
        words = [f"like={folder}", *again, *changed]
    else:
        words = [*config_dir_of(sys.argv), *given]
    if from_weights:
        plain = re.fullmatch(r"[\w./+-]+( [\w./+-]+)*", str(folder), re.ASCII)
        words.append(f"model.weights={folder if plain else quoted(str(folder))}")
    return shlex.join(["galaxy", "train", *words, *trust])


def fits(recorded: dict[str, Any], given: dict[str, Any], split_settings: Sequence[str]) -> bool:
    """Whether a run of one configuration can start from the weights of a run of another.

    Args:
        recorded: The configuration of the run that has the weights.
        given: The configuration of the new run.
        split_settings: The settings of the data that decide which galaxies a run never learns from.
    """

    def decisive(config: dict[str, Any]) -> list[Any]:
        model, crop, data = config["model"], config["crop"], config["data"]
        network = {key: value for key, value in model.items() if key not in READ_BY_PROGRAM["model"]}
        splits = [data.get(key) for key in split_settings]
        return [network, model.get("weights"), crop.get("size"), crop.get("channels"), splits]

    # What is built with the labels is fitted in one go, and starts from nothing.
    return not given["model"].get("_partial_") and decisive(recorded) == decisive(given)
