"""The model of a report and its images: crops, features, views and the training galaxies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galaxy.data.datamodule import GalaxyDataModule
from galaxy.data.loader import channels_last
from galaxy.data.pixels import OnDisk
from galaxy.data.splits import sample_rows
from galaxy.images.augment import as_floats
from galaxy.images.views import views
from galaxy.models.baselines import CenterPixel
from galaxy.reports.evaluation.sample import Array
from galaxy.reports.evaluation.unusual import Features
from galaxy.runs.ensembles import UNSPLIT
from galaxy.runs.experiment import build_data, load
from galaxy.runs.predict import predicting
from galaxy.surveys import Catalog
from galaxy.system.terminal import tracked

# Training galaxies that others are compared with.
REMEMBERED = 2000
# The views of `galaxy.images.views`.
_TURNS = ("turned by 90°", "turned by 180°", "turned by 270°")
VIEWS = ("as it is", *_TURNS, "mirrored", *(f"mirrored and {turn}" for turn in _TURNS))

# Images that are read and encoded at once.
_BATCH = 64


class Probe:
    """Asks the model of a checkpoint about images.

    Args:
        file: The checkpoint.
        catalog: The galaxies of the report, N of them.
        data: The node `data` of a configuration, which says where their images are cached.
        device: Where to compute.

    Raises:
        UserError: The checkpoint or the images cannot be read.
    """

    def __init__(self, file: Path, catalog: Catalog, data: dict[str, Any], device: torch.device) -> None:
        self.trained = trained = load(file)
        self.model, self.labels = trained.model, trained.labels
        self.has_features = trained.task is not None
        self.file, self.catalog, self.device = file, catalog, device
        images = build_data({**trained.config, "data": {**data, **UNSPLIT}})
        images.reader = replace(catalog, splits=None)
        images.target = lambda unchanged: unchanged  # the targets of these galaxies are the answers already
        images.setup()
        self.images = images

    def crops(self, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Returns the crops (B, S, S, C) uint8 of some of the galaxies, (B,)."""
        return OnDisk(self.images.images).gather(torch.from_numpy(places)).numpy()

    def tensor(self, places: NDArray[np.int64]) -> torch.Tensor:
        """Returns the images (B, C, S, S) float32 of some of the galaxies, (B,)."""
        return as_floats(channels_last(torch.from_numpy(self.crops(places))))

    def features(self) -> Features:
        """Returns the features (N, F) of the galaxies of the report."""
        return self._features(self.images, self.images.rows["all"], "Features")

    def known_features(self, own: GalaxyDataModule) -> tuple[Features, Features]:
        """Returns the features of some training galaxies and of the validation galaxies."""
        train = own.rows["train"]
        train = train[sample_rows(own.catalog.ids[train], REMEMBERED)]
        return (
            self._features(own, train, "Features of training galaxies"),
            self._features(own, own.rows["val"], "Features of validation galaxies"),
        )

    def baselines(self, own: GalaxyDataModule) -> dict[str, Array]:
        """Returns what the training mean and a line through the central pixel predict, (N, K) each."""
        train = own.nonempty_rows("train")
        targets = torch.from_numpy(own.catalog.known_targets)[train]
        pixels = [as_floats(channels_last(OnDisk(one.images).central_pixels())) for one in (own, self.images)]
        center = CenterPixel(pixels[0].shape[1], own.labels)
        center.fit([(pixels[0][train], targets)])
        mean = np.nanmean(targets.double().numpy(), axis=0)
        return {
            "mean": np.broadcast_to(mean, (len(pixels[1]), len(mean))),
            "center_pixel": center(pixels[1]).fractions.double().numpy(),
        }

    def views(self, places: NDArray[np.int64]) -> Array:
        """Returns the predictions (8, B, K) of some galaxies under quarter turns and mirrored."""
        found = []
        with predicting(self.model, self.device):
            for some in tracked(np.array_split(places, max(1, len(places) // _BATCH)), "Turned images"):
                images = self.tensor(some).to(self.device)
                found.append(np.stack([self.model(v).fractions.cpu().numpy() for v in views(images, 8)]))
        return np.concatenate(found, axis=1).astype(np.float64)

    def _features(self, data: GalaxyDataModule, rows: NDArray[np.int64], title: str) -> Features:
        encode: Any = self.model.features
        disk, found = OnDisk(data.images), []
        with predicting(self.model, self.device):
            for some in tracked(torch.from_numpy(rows).split(_BATCH), title):
                images = as_floats(channels_last(disk.gather(some).to(self.device)))
                found.append(encode(images).float().cpu().numpy())
        return np.concatenate(found)
