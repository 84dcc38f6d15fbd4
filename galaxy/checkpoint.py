"""Checkpoints: weights and the plain configuration they were trained under, read without running code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from galaxy import build
from galaxy.errors import UserError
from galaxy.files import replacing
from galaxy.labels import Labels

# The parts of a configuration that predicting builds; what they may name is this project's own.
PREDICTING = ("target", "crop", "model", "head", "loss")


def read(path: Path) -> dict[str, Any]:
    """Reads a checkpoint with `weights_only=True`.

    Raises:
        UserError: There is no such file, it is not a checkpoint of this project, or its configuration names
            code of somebody else's.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder: for a run folder write run={path}")
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        config = content["hyper_parameters"]["config"]
        nodes = [config[name] for name in PREDICTING]
        Labels.from_plain(content["hyper_parameters"]["labels"])
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {path}") from None
    except (
        pickle.UnpicklingError,
        RuntimeError,
        OSError,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is not a checkpoint of this project, or it is damaged: {reason}") from None
    for target in _targets(nodes):
        if not target.startswith("galaxy."):
            raise UserError(f"{path} would call {target}, which is not part of this project; it is refused")
    return content


def write(path: Path, model: build.Model, config: build.Config, labels: Labels) -> None:
    """Writes a model that no trainer has trained in the form of those that it has."""
    hyperparameters = {"config": config, "labels": labels.plain()}
    with replacing(path) as temporary:
        torch.save({"state_dict": model.state_dict(), "hyper_parameters": hyperparameters}, temporary)


def load_weights(model: build.Model, path: Path) -> None:
    """Gives a model the weights of a checkpoint."""
    _fill(model, read(path), path)


def load_model(path: Path) -> tuple[build.Model, Labels, build.Config]:
    """Builds the model of a checkpoint, with its weights.

    Returns:
        The model, what it predicts, and the configuration it was trained under.
    """
    content = read(path)
    config = content["hyper_parameters"]["config"]
    channels = config["crop"]["channels"]
    labels = Labels.from_plain(content["hyper_parameters"]["labels"])
    model = build.bare_model(config, labels, torch.zeros(channels), torch.ones(channels))
    _fill(model, content, path)
    return model, labels, config


def _fill(model: build.Model, content: dict[str, Any], path: Path) -> None:
    try:
        model.load_state_dict(content["state_dict"])
    except (RuntimeError, LookupError) as error:
        raise UserError(f"{path} has other weights than its configuration describes: {error}") from error


def _targets(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [str(value["_target_"])] if "_target_" in value else []
        return own + [target for item in value.values() for target in _targets(item)]
    return [target for item in value for target in _targets(item)] if isinstance(value, list) else []
