"""What is asked of trained models: which galaxies they are to predict, how, and where the results go."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from galaxy import __version__
from galaxy.runs.catalogue_files import check_catalogue, is_catalogue
from galaxy.runs.ensembles import Ensemble
from galaxy.runs.evaluation_files import check_folder, default_folder, subject
from galaxy.runs.experiment import Config
from galaxy.runs.galaxies import Galaxies, Split, choose_galaxies
from galaxy.runs.members import Member
from galaxy.runs.parts import Part
from galaxy.system.errors import UserError


class Request:
    """One evaluation, or one catalogue, that is asked for. The galaxies are read when they are first used.

    Args:
        files: The checkpoints; what several predict is put together, see `galaxy.runs.ensembles`.
        data: The node `data` of a configuration.
        choice: The name of the data, as in `data=`.
        split: Which galaxies. All galaxies are predicted where there are no labels.
        tta: The number of views whose predictions are averaged; see `galaxy.images.views`.
        out: The folder of the results; None for that of `default_folder`. Or a file for a table of the
            predictions, which then holds all columns of the user's table; see `is_catalogue`.
        accelerator: Where to compute.
        part: The part of a catalogue that is made; None for all of it.

    Attributes:
        ensemble: The models.
        device: Where to compute.

    Raises:
        UserError: A checkpoint or the place of the results cannot be used.
    """

    def __init__(
        self,
        files: Sequence[Path],
        data: Config,
        choice: str,
        split: Split = "test",
        tta: int = 1,
        out: Path | None = None,
        accelerator: Literal["auto", "cpu", "gpu"] = "auto",
        part: Part | None = None,
    ) -> None:
        self.data, self.choice, self.split = data, choice, split
        self.tta, self.out, self.part = tta, out, part
        self.accelerator, self.device = accelerator, device_for(accelerator)
        self.catalogue = out if out is not None and is_catalogue(out) else None
        if self.catalogue is not None:
            check_catalogue(self.catalogue)
        elif out is not None and part is None:
            check_folder(out)
        self.ensemble = Ensemble([Member(file) for file in files])

    @cached_property
    def galaxies(self) -> Galaxies:
        """The galaxies.

        Raises:
            UserError: The data cannot be used, or the splits would leak.
        """
        ensemble = self.ensemble
        beside_others = self.catalogue is not None or self.part is not None
        data = _with_all_columns(self.data) if beside_others else self.data
        return choose_galaxies(ensemble.members, ensemble.labels, ensemble.target, data, self.split)

    @property
    def folder(self) -> Path:
        """The folder of the results of an evaluation."""
        if self.out is not None and self.catalogue is None:
            return self.out
        which = self.galaxies.split if self.galaxies.labelled else "unlabelled"
        return default_folder(self.ensemble.members, self.choice, self.data, which, self.tta)

    @property
    def title(self) -> str:
        """The data, the split and the number of views, in words."""
        runs = len(self.ensemble.members)
        title = f"data: {self.choice}, split={self.galaxies.split}, tta={self.tta}"
        return f"{runs} runs, {title}" if runs > 1 else title

    @cached_property
    def models(self) -> list[str]:
        """The SHA-256 of each checkpoint, as `sha256sum` prints it."""
        digests = []
        for member in self.ensemble.members:
            with member.file.open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        return digests

    def asked(self) -> dict[str, Any]:
        """Returns what the folder of an evaluation records."""
        return {
            "checkpoints": [str(member.file) for member in self.ensemble.members],
            "models": self.models,
            "split": self.galaxies.split,
            "tta": self.tta,
            "data": self.choice,
            **subject(self.data),
        }

    def facts(self) -> dict[str, str]:
        """Returns where the predictions come from, for the metadata of a table; no galaxy is read for it."""
        members, about = self.ensemble.members, subject(self.data)
        crops = dict.fromkeys(member.crop for member in members)
        return {
            "software": f"Galaxy {__version__}",
            "checkpoints": ", ".join(str(member.file) for member in members),
            "models": ", ".join(self.models),
            "labels": self.ensemble.labels.meaning,
            "crop": ", ".join(crops),
            "tta": str(self.tta),
            "data": self.choice,
            "root": about.pop("root"),
            "settings": json.dumps(about, sort_keys=True, default=str),
        }


def _with_all_columns(data: Config) -> Config:
    """The data, with all columns of the user's table unless he has chosen some."""
    catalog = data["catalog"]
    if "extra_columns" not in catalog or catalog["extra_columns"] is not None:
        return data
    return {**data, "catalog": {**catalog, "extra_columns": "all"}}


def device_for(accelerator: Literal["auto", "cpu", "gpu"]) -> torch.device:
    """Returns where to compute.

    Raises:
        UserError: There is no GPU.
    """
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("accelerator=gpu, but torch finds no GPU; use accelerator=auto")
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")
