"""Starting from weights: what `model.weights` names, and which galaxies those weights have seen."""

from __future__ import annotations

import hashlib
import logging
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from galaxy.config.check import READ_BY_PROGRAM
from galaxy.data.datamodule import GalaxyDataModule
from galaxy.data.split_files import training_ids
from galaxy.labels.labels import Labels
from galaxy.learning.task import GalaxyTask
from galaxy.models.encoder import Encoder
from galaxy.runs.finding import find_run
from galaxy.runs.folder import RunFolder, differences
from galaxy.runs.twins import warn_of_twins
from galaxy.system.errors import UserError, meant

log = logging.getLogger(__name__)

# Programs that save more than a state dict put it under one of these names.
NESTED = ("state_dict", "model_state_dict", "model")


@dataclass(frozen=True)
class Recipe:
    """What a checkpoint of Galaxy says about its model.

    Attributes:
        model: The node `model` of the configuration.
        crop: The node `crop`.
        head: The node `head`.
        data: The node `data`.
        labels: What the model predicts.
    """

    model: dict[str, Any]
    crop: dict[str, Any]
    head: dict[str, Any]
    data: dict[str, Any]
    labels: Labels


class StartingWeights:
    """The weights that a run starts from. Making them loads the encoder's; reading them runs no code.

    Args:
        model: The model of the run, whose encoder takes the weights.
        config: The configuration of the run, whose `model.weights` is not null.
        folder: The run folder, for messages.

    Attributes:
        parts: What has been taken: "encoder", and "head" after `load_head` where it fits.

    Raises:
        UserError: There are no such weights, or they do not fit.
    """

    def __init__(self, model: Any, config: dict[str, Any], folder: Path) -> None:
        self.source: str = config["model"]["weights"]
        self.key = f"model.weights={self.source}"
        own = _name(config["model"], RunFolder(folder))
        if not isinstance(model, Encoder):
            raise UserError(f"{self.key}, but {own} is fitted in one go, from nothing: leave it out")
        self.file: Path | None = None
        self.run: RunFolder | None = None
        self._recipe: Recipe | None = None
        self._state: Mapping[str, Tensor] = {}
        if self.source == "imagenet" or self.source.startswith("hf_hub:"):
            try:
                self._state = model.pretrained(self.source)
            except ValueError as error:
                raise UserError(f"{self.key}: {error}; name a state dict or a run of {own}") from error
        else:
            self.file = self._find(Path(self.source).expanduser())
            self._read(self.file)
        try:
            model.load_weights(self._state)
        except ValueError as error:
            raise UserError(f"{self.key}: {self._misfit(config, own) or error}") from error
        self.parts = ["encoder"]

    def check_unseen(self, data: GalaxyDataModule) -> None:
        """Refuses validation and test galaxies that the weights were trained on; `data` has been read.

        Ids are compared. Galaxies that may be the same under other ids are warned of.

        Raises:
            UserError: There are such galaxies. The message names the way on.
        """
        if self._recipe is not None and self._splits_file is None:
            log.warning(
                "%s is not in its run folder, so nothing says which galaxies it was trained on: see to it "
                "that they neither validate nor test this run",
                self.key,
            )
        if self._recipe is not None:
            warn_of_twins(data.catalog.name, self._recipe.data, self.key)
        names = data.catalog.identifiers
        seen = []
        for split, meaning in (("val", "validation"), ("test", "test")):
            own = [str(name) for name in names[data.rows[split]].tolist()]
            if count := len(self.trained_on.intersection(own)):
                seen.append(f"{count:,} of {len(own):,} {meaning} galaxies")
        if seen:
            # A file of splits and folds exclude each other.
            without = "" if data.split_settings.folds is None else "data.folds=null data.fold=null "
            raise UserError(
                f"{self.key} was trained on {' and '.join(seen)} of this run, which would score too well: "
                f"{without}data.split_file={self._splits_file} gives each galaxy the split that it had there"
            )

    def load_head(self, task: GalaxyTask, head: dict[str, Any]) -> bool:
        """Takes the head where it is the same and answers the same questions, and says what was taken.

        Args:
            task: The network of the run.
            head: The node `head` of the configuration of the run.

        Returns:
            Whether the head was taken.

        Raises:
            UserError: The head's weights are not those that the checkpoint describes.
        """
        recipe = self._recipe
        if recipe is None:
            why = "these are the weights of an encoder"
        elif not task.labels.compatible(recipe.labels):
            why = "that one answers other questions"
        elif recipe.head != head:
            why = "that one has other settings"
        else:
            prefix = "head."
            own = {name.removeprefix(prefix): x for name, x in self._state.items() if name.startswith(prefix)}
            try:
                task.head.load_state_dict(own)
            except RuntimeError as error:
                raise UserError(f"{self.key} has another head than it describes: {error}") from error
            self.parts.append("head")
        parts = "the encoder and the head" if "head" in self.parts else f"the encoder (a new head: {why})"
        log.info("starts from %s: %s", self.key, parts)
        self._state = {}  # a large network is not held twice
        return "head" in self.parts

    @cached_property
    def trained_on(self) -> frozenset[str]:
        """The galaxies that the weights were trained on, as far as a run folder says."""
        return frozenset() if self._splits_file is None else training_ids(self._splits_file)

    def description(self) -> dict[str, Any]:
        """Returns what `meta.json` says about the weights."""
        digest = None
        if self.file is not None:
            with self.file.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {
            "source": self.source,
            "run": None if self.run is None else str(self.run.path.absolute()),
            "file": None if self.file is None else str(self.file.absolute()),
            "sha256": digest,
            "parts": self.parts,
        }

    @property
    def _splits_file(self) -> Path | None:
        return self.run.splits_file if self.run is not None and self.run.splits_file.exists() else None

    def _find(self, path: Path) -> Path:
        """Returns the file itself, or the best checkpoint of a run folder."""
        if path.is_file():
            return path
        if not path.exists() and self.source != "latest":
            raise UserError(
                f"{self.key} does not exist; it must be null, imagenet, hf_hub:OWNER/NAME, the path of a "
                f"state dict, or a run folder or a checkpoint of Galaxy{meant(self.source, ['imagenet'])}"
            )
        run = find_run(str(path), "model.weights")
        status = run.result().status
        if not run.best.exists():
            raise UserError(f"{self.key} has no checkpoint {run.best.name} (the run: {status})")
        if status != "done":
            log.warning("%s is not done (%s): its best epoch so far is taken", self.key, status)
        return run.best

    def _read(self, path: Path) -> None:
        """Reads a state dict, or a checkpoint of Galaxy with what it says about its model."""
        content = self._content(path)
        self._recipe = _recipe(content)
        for name in NESTED:
            if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
                content = content[name]
                break
        if not isinstance(content, Mapping) or not all(isinstance(x, Tensor) for x in content.values()):
            raise UserError(
                f"{self.key} holds something else than a state dict (names and tensors): write it with "
                "torch.save(model.state_dict(), path)"
            )
        self._state = content
        if self._recipe is None:
            return
        run = RunFolder.of(path)
        self.run = run if run.begun else None
        if not any(name.startswith("encoder.") for name in content):
            fitted = _name(self._recipe.model, self.run)
            raise UserError(f"{self.key} trained {fitted} in one go, which leaves nothing to start from")

    def _content(self, path: Path) -> Any:
        """Reads any file of torch, whose bytes are compared with their checksums where it has some.

        Files of the Hugging Face Hub (.safetensors) are read with the package that timm brings.
        """
        try:
            if path.suffix == ".safetensors":
                from safetensors.torch import load_file  # noqa: PLC0415  It is optional.

                return load_file(path)
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    if (changed := archive.testzip()) is not None:
                        raise zipfile.BadZipFile(f"its part {changed} has changed")
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # zipfile and torch raise anything on bytes that could be anything
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            if isinstance(error, ImportError):
                reason = "it needs safetensors: pip install 'galaxy-morphology[pretrained]'"
            if isinstance(error, pickle.UnpicklingError):
                reason = "it holds more than weights and plain values, or is no file of torch"
            raise UserError(f"{self.key} cannot be read: {reason}") from error

    def _misfit(self, config: dict[str, Any], own: str) -> str | None:
        """Says in what the run of the weights differs from this one, if that is why they do not fit."""
        if self._recipe is None:
            return None
        if self._recipe.model.get("_target_") != config["model"]["_target_"]:
            return f"that run trained {_name(self._recipe.model, self.run)}, and this run has {own}"
        changed = [
            *differences(_arguments(self._recipe.model), _arguments(config["model"]), "model"),
            *differences(self._recipe.crop, config["crop"], "crop"),
        ]
        return f"the shapes differ, because {', '.join(changed)}" if changed else None


def _recipe(content: Any) -> Recipe | None:
    """Returns what a checkpoint of Galaxy says about its model; None for any other content."""
    try:
        recorded = content["hyper_parameters"]
        names = ("model", "crop", "head", "data")
        model, crop, head, data = (dict(recorded["config"][name]) for name in names)
        return Recipe(model, crop, head, data, Labels.from_plain(recorded["labels"]))
    except (LookupError, TypeError, ValueError, AttributeError):
        return None


def _arguments(model: dict[str, Any]) -> dict[str, Any]:
    """Returns a node `model` without what the program reads itself."""
    return {name: value for name, value in model.items() if name not in READ_BY_PROGRAM["model"]}


def _name(model: dict[str, Any], run: RunFolder | None) -> str:
    """Names a model as the command line does, or by its class where no run folder says."""
    if run is not None and run.begun and "model" in (choices := run.choices()):
        return f"model={choices['model']}"
    return str(model.get("_target_")).rpartition(".")[2]
