"""Trained models as an evaluation knows them: what they answer, and which galaxies they have seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galaxy.config.instantiation import instantiate, naming
from galaxy.data.split_files import read_splits
from galaxy.data.split_settings import SplitSettings
from galaxy.data.splits import TRAIN
from galaxy.runs.experiment import Config, load
from galaxy.runs.folder import SPLIT_SETTINGS, RunFolder
from galaxy.runs.learners import Model
from galaxy.surveys import Catalog
from galaxy.system.errors import UserError


class Member:
    """One trained model, as its checkpoint and its run folder describe it.

    Its weights are not kept, so that an ensemble takes the memory of one model.

    Args:
        file: The checkpoint.

    Attributes:
        run: The folder of its run; it may be none.
        labels: What the model predicts.
        config: The configuration that it was trained under.
        frame: See `galaxy.runs.model.TrainedModel`.

    Raises:
        UserError: As `galaxy.runs.experiment.load`.
    """

    def __init__(self, file: Path) -> None:
        trained = load(file)
        self.file = file
        self.run = RunFolder.of(file)
        self.labels = trained.labels
        self.config: Config = trained.config
        self.frame = trained.frame

    @property
    def name(self) -> str:
        """The folder of the run; the checkpoint where it lies in none."""
        return str(self.file.parent.parent if self.run.begun else self.file)

    @property
    def recorded(self) -> bool:
        """Whether the run folder says which galaxies trained the model."""
        return self.run.begun and self.run.splits_file.exists()

    @property
    def crop(self) -> str:
        """The crop, written so that equal crops are equal."""
        return json.dumps(self.config["crop"], sort_keys=True)

    def load(self) -> Model:
        """Reads the model with its weights."""
        return load(self.file).model

    def split_settings(self) -> dict[str, Any]:
        """Returns the settings that gave each galaxy its split in the run."""
        data = self.config["data"]
        return self.run.split_settings() if self.run.begun else {key: data[key] for key in SPLIT_SETTINGS}

    def split(self, catalog: Catalog) -> NDArray[np.int8]:
        """Returns the split of each galaxy in the run, (N,) indices of `SPLITS`.

        Raises:
            UserError: The names of galaxies have changed, so that one that was trained on could count as
                unseen.
        """
        settings = self.split_settings()
        file = settings["split_file"]
        with naming("data"):
            splits = SplitSettings(**{**settings, "split_file": None if file is None else Path(file)})
        codes, listed = splits.split(catalog)
        # Galaxies may be added to those of the run, or be a part of them.
        if listed is None or not listed.new or not listed.gone:
            return codes
        new = set(listed.new) & self._asked(catalog) if listed.found else set(listed.new)
        if not new:
            return codes
        here, recorded = listed.found + len(new), listed.found + len(listed.gone)
        raise UserError(
            f"{file} records {recorded:,} galaxies of the run, and {listed.found:,} of them are here "
            f"({here:,} galaxies): {listed.gone[0]} is missing and {min(new)} is new, for example. If "
            "names have changed, galaxies that were trained on would count as unseen: give them their names "
            "back (data.catalog.id_column names a column). If these are other galaxies, evaluate split=all"
        )

    def _asked(self, catalog: Catalog) -> set[str]:
        """Returns the names of the galaxies that the run records: all, or those asked its one question."""
        if self.labels.whole is not None and catalog.labels is not None and catalog.labels.kind != "classes":
            with naming("target"):
                catalog = instantiate(self.config["target"], "target")(catalog)
        return set(map(str, catalog.identifiers.tolist()))

    def trained_on(self, catalog: Catalog) -> NDArray[np.bool_]:
        """Whether the model was trained on each galaxy, (N,), as far as the run folder says."""
        if not self.recorded:
            return np.zeros(len(catalog), bool)
        names = [str(name) for name in catalog.identifiers.tolist()]
        return read_splits(self.run.splits_file, names) == TRAIN
