"""The galaxies of the page, with what the models and people say about each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from functools import lru_cache, reduce
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from galaxy.demo.model import DemoModel
from galaxy.demo.walk import Navigation, likeliest
from galaxy.images.decode import Decoder
from galaxy.reports.evaluation.errors import galaxy_errors
from galaxy.reports.evaluation.gallery import surprise_of_classes, surprise_of_intervals
from galaxy.reports.evaluation.pictures import jpeg_of
from galaxy.reports.evaluation.probe import Probe
from galaxy.reports.evaluation.sample import Array, Sample
from galaxy.runs.experiment import Config
from galaxy.runs.galaxies import Split
from galaxy.runs.members import Member
from galaxy.runs.request import Request
from galaxy.surveys import Catalog
from galaxy.surveys.files import Stretch
from galaxy.system.errors import UserError

# The longer side of the pictures of galaxies, in pixels, and how many are kept in memory.
SIDE, _KEPT = 512, 256


class Gallery:
    """All galaxies that the page can show.

    Args:
        catalog: The galaxies, N of them.
        split: Their split, in one word.
        choice: The name of the data, as in `data=`.
        models: One model or two, which predict the same answers.

    Attributes:
        people: (N, K) float64, the fractions of the volunteers, NaN where they are unknown; None without
            labels.
        navigation: Which questions follow which answers.
        places: The place of each galaxy by its name.
        of_answer: For each column, the places of the galaxies that give this answer on their way through
            the tree: the volunteers' way, or the first model's where there are no labels.
        surprising: (N,) the places of all galaxies, the most surprising first.
    """

    def __init__(self, catalog: Catalog, split: str, choice: str, models: Sequence[DemoModel]) -> None:
        self.catalog, self.split, self.choice, self.models = catalog, split, choice, tuple(models)
        self.labels = models[0].labels
        self.names = [str(name) for name in catalog.identifiers.tolist()]
        self.places = {name: place for place, name in enumerate(self.names)}
        targets = catalog.known_targets
        self.people: Array | None = None if targets is None else targets.astype(np.float64)
        self.navigation = Navigation.of(self.labels.questions)
        self.of_answer = self._of_answer()
        self.surprising = self._surprising()
        self._random = np.random.default_rng()
        self.picture = lru_cache(_KEPT)(self._picture)

    def draw(self, column: int | None = None) -> int | None:
        """Returns the place of a random galaxy, of those that give an answer or of all; None if none does."""
        places = np.arange(len(self.names)) if column is None else self.of_answer[column]
        return int(self._random.choice(places)) if len(places) else None

    def _picture(self, place: int, decode: Decoder) -> bytes:
        """Reads the whole image of a galaxy, and returns it as a JPEG file."""
        return jpeg_of(decode(self.catalog.images[place]), SIDE)

    def _of_answer(self) -> list[NDArray[np.int64]]:
        questions, predicted = self.labels.questions, self.models[0].fractions
        known = predicted if self.people is None else np.where(np.isnan(self.people), predicted, self.people)
        found: list[list[int]] = [[] for _ in range(questions.size)]
        for place, chosen in enumerate(likeliest(questions, known)):
            for question in self.navigation.walk(questions, chosen):
                if chosen[question] < questions.sizes[question]:
                    found[questions.slices[question].start + chosen[question]].append(place)
        return [np.array(places, dtype=np.int64) for places in found]

    def _surprising(self) -> NDArray[np.int64]:
        model = self.models[0]
        if self.people is None:
            near = model.neighbours
            return np.argsort(-near.oddities, kind="stable") if near else np.arange(len(self.names))
        if self.labels.kind == "classes":
            surprise = surprise_of_classes(model.fractions, self.people)
        elif model.calibration is not None and model.calibration.intervals is not None:
            surprise = surprise_of_intervals(*model.calibration.intervals.of(model.fractions), self.people)
        else:
            names = self.catalog.identifiers
            surprise = galaxy_errors(Sample(self.labels, names, model.fractions, self.people))
        return np.argsort(-np.nan_to_num(surprise), kind="stable")


def open_gallery(
    files: Sequence[Path],
    data: Config,
    choice: str,
    split: Split,
    accelerator: Literal["auto", "cpu", "gpu"],
) -> Gallery:
    """Reads one model or two and their galaxies, and predicts these.

    Args:
        files: The checkpoints.
        data: The node `data` of a configuration.
        choice: The name of the data, as in `data=`.
        split: Which galaxies: those in this split of all models.
        accelerator: Where to compute.

    Raises:
        UserError: The models answer different questions or see different pictures in a file, or something
            cannot be read.
    """
    together = Request(files, data, choice, split, accelerator=accelerator)
    if together.ensemble.along_tree:
        raise UserError(
            "these runs answer one question each, so that there is nothing to show side by side: give one of "
            "them, or two runs that answer the same questions"
        )
    _check_same_stretch(together.ensemble.members)
    alone = [Request([file], data, choice, split, accelerator=accelerator) for file in files]
    catalog = together.galaxies.catalog
    probes = _probes(alone, catalog)
    kept = reduce(np.intersect1d, [probe.images.images.kept for probe in probes])
    if len(kept) < len(catalog):  # with data.on_bad=skip
        catalog = catalog.take(kept)
        probes = _probes(alone, catalog)
    models = [DemoModel(request, probe) for request, probe in zip(alone, probes, strict=True)]
    return Gallery(catalog, together.galaxies.split, choice, models)


def _check_same_stretch(members: Sequence[Member]) -> None:
    """Refuses runs that would make different pictures of a file that a visitor sends."""
    catalogs = [member.config["data"]["catalog"] for member in members]
    for field in fields(Stretch):
        if field.name == "band_files":  # a visitor sends one file
            continue
        found = [catalog.get(field.name, field.default) for catalog in catalogs]
        for member, value in zip(members, found, strict=True):
            if value != found[0]:
                raise UserError(
                    f"data.catalog.{field.name} is {json.dumps(found[0])} in {members[0].name} and "
                    f"{json.dumps(value)} in {member.name}, so they would not see the same picture in a file "
                    "that a visitor sends: show one of them"
                )


def _probes(requests: Sequence[Request], catalog: Catalog) -> list[Probe]:
    files = [request.ensemble.members[0].file for request in requests]
    return [Probe(file, catalog, one.data, one.device) for file, one in zip(files, requests, strict=True)]
