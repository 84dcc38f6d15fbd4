"""Checkpoints: weights and the plain configuration they were trained under, read without unpickling code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from galaxy import build
from galaxy.errors import UserError
from galaxy.questions import GALAXY_ZOO_2


def read(path: Path) -> dict[str, Any]:
    """Reads a checkpoint with `weights_only=True`.

    Raises:
        UserError: There is no such file, or it is not a checkpoint of this project.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        content["hyper_parameters"]["config"]
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {path}") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is not a checkpoint of this project, or it is damaged: {reason}") from None
    return content


def load_weights(task: build.Task, path: Path) -> None:
    """Gives a task the weights of a checkpoint."""
    task.load_state_dict(read(path)["state_dict"])


def load_task(path: Path) -> tuple[build.Task, dict[str, Any]]:
    """Builds the model of a checkpoint, with its weights.

    Returns:
        The task, and the configuration it was trained under.
    """
    content = read(path)
    config = content["hyper_parameters"]["config"]
    channels = config["crop"]["channels"]
    task = build.bare_task(config, GALAXY_ZOO_2, torch.zeros(channels), torch.ones(channels))
    task.load_state_dict(content["state_dict"])
    return task, config
