"""Trained models whose predictions are put together; a single one is an ensemble too.

Models that give the same answers are averaged, with equal weights. Models that answer one question of a tree
each are multiplied along it: the fraction of an answer is that of its parent times what the model of its
question predicts. Several models of one question are averaged before that.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galaxy.data.datamodule import GalaxyDataModule
from galaxy.labels.labels import Labels
from galaxy.runs.experiment import Config, build_data
from galaxy.runs.galaxies import Galaxies
from galaxy.runs.members import Member
from galaxy.runs.predict import Predictions, measure, predict, values
from galaxy.system.errors import UserError

log = logging.getLogger(__name__)

# All galaxies are one split, because who predicts has chosen them before.
UNSPLIT = {"limit": None, "val_fraction": 0.0, "test_fraction": 0.0, "split_seed": 0, "stratify": False}
UNSPLIT |= {"split_file": None, "folds": None, "fold": None}
_AS_LABELLED = {"_target_": "galaxy.data.targets.as_labelled.AsLabelled"}


@dataclass(frozen=True)
class Together:
    """What an ensemble predicts.

    Attributes:
        predictions: The predictions.
        one_view: Those of one view, where several were averaged; else None.
        members: The RMSE of each member on the galaxies that are scored; empty for a single member. That of a
            member that answers one question is on the galaxies for which somebody answered it.
    """

    predictions: Predictions
    one_view: Predictions | None
    members: tuple[float, ...]


class Ensemble:
    """Models that predict together.

    Args:
        members: One model or several, in any order.

    Attributes:
        labels: What they predict together.
        along_tree: Whether each member answers one question, so that they are multiplied along the tree.
        columns: The columns of the labels that each member predicts.

    Raises:
        UserError: The members answer different questions, or a question of their tree is left out.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = tuple(members)
        labels = [member.labels for member in members]
        wholes = [whole for one in labels if (whole := one.whole) is not None]
        alike = all(labels[0].compatible(other) for other in labels)
        self.along_tree = not alike and len(wholes) == len(labels)
        labels = wholes if self.along_tree else labels
        self.labels = labels[0]
        for member, own in zip(self.members, labels, strict=True):
            self._check_compatible(member, own)
        self.columns = [self._columns(member) for member in self.members]
        self._check_complete()
        self._warn_of_meanings(labels)

    @property
    def target(self) -> dict[str, Any]:
        """The node `target` for data with the labels that the members predict together."""
        target: dict[str, Any] = _AS_LABELLED if self.along_tree else self.members[0].config["target"]
        return target

    def predict(self, galaxies: Galaxies, data: Config, tta: int, device: torch.device) -> Together:
        """Predicts labelled galaxies, one member after the other.

        Args:
            galaxies: The galaxies.
            data: The node `data` of a configuration, which says where their images are cached.
            tta: The number of views that are averaged.
            device: Where to compute.

        Raises:
            UserError: Some images are bad.
        """
        several = len(self.members) > 1
        shape = (len(galaxies.catalog), self.labels.questions.size)
        kept = np.ones(shape[0], bool)  # an image may be bad under one crop only
        # The sum over the members for each number of views.
        sums = {count: np.zeros(shape) for count in (tta, 1)}
        skipped: dict[str, None] = {}
        errors: dict[int, float] = {}
        for number, images in self._with_images(galaxies, data, device):
            member, columns, rows = self.members[number], self.columns[number], images.images.kept
            kept &= np.isin(np.arange(shape[0]), rows)
            skipped |= dict.fromkeys(images.catalog.skipped)
            title = f"Predicting {galaxies.split}" + several * f", run {number + 1} of {len(self.members)}"
            model = member.load()
            for count, total in sums.items():
                predicted = predict(model, member.labels, images, "all", device, count, title).fractions
                total[rows, columns] += predicted.astype(np.float64) / self.columns.count(columns)
                if several and count == tta and galaxies.scored.any():
                    errors[number] = self._error(number, rows, predicted, galaxies)
            del model  # the next one is read before the loop would let this one go
        catalog = replace(galaxies.catalog, skipped=tuple(skipped))
        found = {
            count: Predictions(self.labels, catalog, np.flatnonzero(kept), self.together(total[kept]))
            for count, total in sums.items()
        }
        one_view = found[1] if tta > 1 else None
        return Together(found[tta], one_view, tuple(errors[number] for number in sorted(errors)))

    def together(self, means: NDArray[np.float64]) -> NDArray[np.float32]:
        """Returns what the members predict together from the means of their predictions, (N, K)."""
        together = self.labels.questions.cumulative(means) if self.along_tree else means
        return together.astype(np.float32)

    def _check_compatible(self, member: Member, labels: Labels) -> None:
        """Refuses a member that answers other questions than the first one."""
        if self.labels.compatible(labels):
            return
        first = self.members[0]
        one = sum(member.labels.whole is not None for member in self.members)
        hint = "\nRuns of one question each go together along their tree, but not with runs of all questions"
        raise UserError(
            f"{first.name} and {member.name} answer other questions, so their predictions are not put "
            f"together: {self.labels.difference(labels)}" + hint * (0 < one < len(self.members))
        )

    def _check_complete(self) -> None:
        """Refuses members that leave a question of their tree unanswered."""
        answered = np.zeros(self.labels.questions.size, bool)
        for columns in self.columns:
            answered[columns] = True
        left = [
            f"{question.key} ({question.text})"
            for question, columns in zip(self.labels.questions, self.labels.questions.slices, strict=True)
            if not answered[columns].all()
        ]
        if left:
            raise UserError(
                "these runs answer one question each, and are put together along the tree of questions, but "
                f"none of them answers {', '.join(left)}: train it with target=question target.question=..., "
                "and name its run as well"
            )

    def _warn_of_meanings(self, labels: Sequence[Labels]) -> None:
        """Warns of members whose answers mean something else than those of the others, or of the tree."""
        for member, own in zip(self.members, labels, strict=True):
            asked = member.labels.meaning
            if own.meaning != self.labels.meaning or (self.along_tree and not asked.endswith(own.meaning)):
                log.warning(
                    "%s was trained on labels of another kind: %s, and not %s",
                    member.name,
                    asked,
                    self.labels.meaning,
                )

    def _columns(self, member: Member) -> slice:
        """Returns the columns that a member predicts."""
        if not self.along_tree or member.labels.whole is None:
            return slice(0, self.labels.questions.size)
        (asked,) = member.labels.questions
        tree = member.labels.whole.questions
        return tree.slices[[question.key for question in tree].index(asked.key)]

    def _with_images(
        self, galaxies: Galaxies, data: Config, device: torch.device
    ) -> Iterator[tuple[int, GalaxyDataModule]]:
        """Yields the number of each member with the galaxies under its crop; each crop is opened once."""
        crops: dict[str, list[int]] = {}
        for number, member in enumerate(self.members):
            crops.setdefault(member.crop, []).append(number)
        for numbers in crops.values():
            config = self.members[numbers[0]].config
            images = build_data({**config, "data": {**data, **UNSPLIT}, "target": _AS_LABELLED})
            images.reader, images.device = galaxies.catalog, device
            images.setup()
            for number in numbers:
                _warn_of_frames(self.members[number], images)
                yield number, images

    def _error(
        self, number: int, rows: NDArray[np.int64], predicted: NDArray[np.float32], galaxies: Galaxies
    ) -> float:
        """Returns the RMSE of what a member predicts (n, k) for these rows of the galaxies."""
        catalog, columns, scored = galaxies.catalog, self.columns[number], galaxies.scored[rows]
        rows, predicted = rows[scored], predicted[scored]
        assert catalog.targets is not None
        targets, weights = catalog.targets[rows], None if catalog.weights is None else catalog.weights[rows]
        if self.along_tree:  # its question alone, of those galaxies for which somebody answered it
            shares, met = self.labels.questions.conditional(targets)
            asked = met[:, self.labels.questions.question_of]
            targets = shares.astype(np.float32)
            weights = asked * (np.float32(1) if weights is None else weights)
        of_columns = None if weights is None else weights[:, columns]
        labels = self.members[number].labels
        return values(measure(labels, predicted, targets[:, columns], of_columns))["rmse"]


def _warn_of_frames(member: Member, data: GalaxyDataModule) -> None:
    """Warns of images that may show another part of the sky than those that a model was trained on."""
    if member.frame is None or data.images.frame == member.frame:
        return
    here = "of several sizes" if data.images.frame is None else "{1} x {0} pixels".format(*data.images.frame)
    log.warning(
        "the images are %s, and those that the model was trained on are %d x %d pixels: the crop is cut from "
        "the whole frame, so an image must show as much sky around its galaxy as those did",
        here,
        *reversed(member.frame),
    )
