"""Checkpoints: weights and the plain configuration they were trained under, read without running code."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from galaxy.labels.labels import Labels
from galaxy.learning import checkpoint_io
from galaxy.runs import build
from galaxy.system.errors import UserError

# The parts of a configuration that predicting builds, and the modules whose classes they may name.
PREDICTING = ("target", "crop", "augment", "model", "head", "loss")
OURS = tuple(
    f"galaxy.{name}."
    for name in ("data.targets", "images.augment", "images.crops", "models", "learning.losses")
)


def read(path: Path) -> dict[str, Any]:
    """Reads a checkpoint of this project, without running what it says before that is checked.

    Raises:
        UserError: There is no such file, it is damaged or not a checkpoint of this project, or it or its
            configuration would call code of somebody else's.
    """
    content = checkpoint_io.load(path)
    try:
        hyperparameters = content["hyper_parameters"]
        nodes = [hyperparameters["config"][name] for name in PREDICTING]
        Labels.from_plain(hyperparameters["labels"])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is not a checkpoint of this project: {error!r}") from None
    for called in _called(nodes):
        if not _is_ours(called):
            raise UserError(
                f"{path} would call {called}, which is not a model of this project; it is refused"
            )
    return content


def write(path: Path, model: build.Model, config: build.Config, labels: Labels) -> None:
    """Writes a model that no trainer has trained in the form of those that it has."""
    hyperparameters = {"config": config, "labels": labels.plain()}
    checkpoint_io.save({"state_dict": model.state_dict(), "hyper_parameters": hyperparameters}, path)


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


def _called(value: Any) -> list[str]:
    """All that Hydra would call to build a value."""
    if isinstance(value, dict):
        own = [str(value["_target_"])] if "_target_" in value else []
        return own + [called for item in value.values() for called in _called(item)]
    if isinstance(value, list | tuple):
        return [called for item in value for called in _called(item)]
    # An interpolation can grow into a node with a target; a resolved configuration has none.
    return [value] if isinstance(value, str) and "${" in value else []


def _is_ours(target: str) -> bool:
    """Whether this is a class of ours that predicting needs, where it is defined.

    A module's name at the beginning is not enough: `galaxy.system.files.os.system` has one too.
    """
    module, _, name = target.rpartition(".")
    if not f"{module}.".startswith(OURS):
        return False
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError):
        return False
    return isinstance(found, type) and found.__module__ == module
