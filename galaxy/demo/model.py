"""One trained model of the page: what it sees in galaxies and in images that people send."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from galaxy.data.cropping import cut
from galaxy.data.loader import channels_last
from galaxy.images.augment import as_floats
from galaxy.images.crops import Pixels
from galaxy.reports.evaluation.appraisal import find_appraisal
from galaxy.reports.evaluation.attention import attention
from galaxy.reports.evaluation.calibration import Calibration, fit_calibration
from galaxy.reports.evaluation.own import read_data
from galaxy.reports.evaluation.pictures import attention_picture
from galaxy.reports.evaluation.probe import Probe
from galaxy.reports.evaluation.sample import Array, Sample
from galaxy.reports.evaluation.unusual import Features
from galaxy.reports.similar.distances import Neighbourhood
from galaxy.runs.folder import RunFolder
from galaxy.runs.predict import mean_of_views, predicting
from galaxy.runs.request import Request
from galaxy.runs.streaming import first_features
from galaxy.system.errors import UserError
from galaxy.system.terminal import tracked

log = logging.getLogger(__name__)

# Galaxies that are predicted at once.
_BATCH = 64


@dataclass(frozen=True)
class Seen:
    """What a model sees in one image.

    Attributes:
        crop: (S, S, C) uint8, the pixels that it gets.
        fractions: (K,) float64, its predictions.
        features: (F,) float32, those of its encoder; None if it has none.
    """

    crop: Pixels
    fractions: Array
    features: Features | None


class DemoModel:
    """A model with all its predictions for the galaxies of the page.

    Args:
        request: What was asked of this model alone.
        probe: The model, with the N galaxies of the page.

    Attributes:
        name: The name of the folder of its run, or of its file.
        fingerprint: The SHA-256 of its checkpoint.
        choices: The options of its run by their groups, as far as they are known.
        fractions: (N, K) float64, its predictions.
        features: (N, F) float32, those of its encoder; None if it has none.
        calibration: How sure it is; None if nobody knows.
        neighbours: Where the galaxies lie among each other; None if it has no features, or too few galaxies.
        frame: The (height, width) of the images that it was trained on; None if they differed.
        stretch: How files with more than 8 bits a sample become pictures.

    Raises:
        UserError: The checkpoint or the images cannot be read.
    """

    def __init__(self, request: Request, probe: Probe) -> None:
        (member,) = request.ensemble.members
        run = member.run
        self.name = run.path.name if run.begun else member.file.stem
        self.choices = run.choices() if run.begun else {}
        self.fingerprint = request.models[0]
        self._probe, self._device = probe, request.device
        self.labels, self.frame, self.stretch = probe.labels, member.frame, probe.trained.stretch
        self.fractions, self.features = self._predicted()
        self.calibration = self._calibrated(request)
        self.neighbours = self._near()

    def seen(self, place: int) -> Seen:
        """Returns what it sees in a galaxy of the page."""
        features = None if self.features is None else self.features[place]
        return Seen(self._probe.crops(np.array([place]))[0], self.fractions[place], features)

    def see(self, frame: Pixels) -> Seen:
        """Predicts another image (H, W, 3) uint8."""
        crop = np.ascontiguousarray(cut(frame, self._probe.trained.crop)[0])
        with predicting(self._probe.model, self._device), first_features(self._probe.model) as seen:
            fractions = mean_of_views(self._probe.model, self._images(crop[None]), 1)
            features = seen.pop().float().cpu().numpy() if seen else None
        return Seen(crop, fractions[0].astype(np.float64), None if features is None else features[0])

    def attention(self, crop: Pixels) -> str | None:
        """Returns the address of a picture of where it looks in a crop; None if it looks at nothing."""
        (weights,) = attention(self._probe.model, self._images(crop[None]), self._device)
        return attention_picture(crop, weights) if weights.any() else None

    def _images(self, crops: Pixels) -> torch.Tensor:
        return as_floats(channels_last(torch.from_numpy(crops).to(self._device)))

    def _predicted(self) -> tuple[Array, Features | None]:
        """Predicts all galaxies, and takes the features on the way."""
        fractions, features = [], []
        batches = torch.arange(len(self._probe.catalog)).split(_BATCH)
        with predicting(self._probe.model, self._device), first_features(self._probe.model) as seen:
            for places in tracked(batches, f"Predicting with {self.name}"):
                images = self._images(self._probe.crops(places.numpy()))
                fractions.append(mean_of_views(self._probe.model, images, 1))
                features += [one.float().cpu().numpy() for one in seen]
                seen.clear()
        found = np.concatenate(features) if features else None
        return np.concatenate(fractions).astype(np.float64), found

    def _calibrated(self, request: Request) -> Calibration | None:
        """Takes what an evaluation has fitted, or fits it on the validation predictions of the run."""
        if (appraisal := find_appraisal(request)) is not None:
            return appraisal.calibration
        (member,) = request.ensemble.members
        validation = _validation(member.run, self._probe)
        if validation is None or not len(validation):
            return None
        features = None
        if self._probe.has_features:
            try:
                features = self._probe.known_features(read_data(member)[1])
            except UserError as error:
                log.warning("nobody can say which images are unlike the training's: %s", error)
        return fit_calibration(validation, features)

    def _near(self) -> Neighbourhood | None:
        try:
            return None if self.features is None else Neighbourhood(self.features, self._probe.catalog.ids)
        except ValueError as error:
            log.warning("the nearest galaxies are not shown: %s", error)
            return None


def _validation(run: RunFolder, probe: Probe) -> Sample | None:
    """Reads what the best checkpoint of a run predicted for its validation galaxies; None if unknown."""
    path, labels = run.predictions_files["val"], probe.labels
    if not run.begun or not path.exists() or probe.file.resolve() != run.best.resolve():
        return None
    table = pd.read_parquet(path)
    true = [f"true/{name}" for name in labels.columns]
    if not {*labels.columns, *true} <= {*table.columns}:
        return None
    predicted, known = (table[list(names)].to_numpy(np.float64) for names in (labels.columns, true))
    return Sample(labels, table["id"].to_numpy(), predicted, known)
