"""The galaxies of an evaluation: those of a split in every run, and among them those that nobody has seen."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from galaxy.data.splits import SPLITS, sample_rows
from galaxy.labels.labels import Labels
from galaxy.runs.experiment import Config, build_data
from galaxy.runs.members import Member
from galaxy.runs.twins import warn_of_twins
from galaxy.surveys import Catalog
from galaxy.system.errors import UserError

log = logging.getLogger(__name__)

Split = Literal["train", "val", "test", "all"]


@dataclass(frozen=True)
class Galaxies:
    """The galaxies that are predicted.

    Attributes:
        catalog: The galaxies, N of them.
        split: Their split: "train", "val", "test" or "all".
        scored: (N,) bool, those that count in the figures. Of all galaxies these are the ones that no run was
            trained on.
        left_out: The number of further galaxies that are in the split of some of the runs only.
    """

    catalog: Catalog
    split: Split
    scored: NDArray[np.bool_]
    left_out: int = 0

    @property
    def labelled(self) -> bool:
        """Whether their labels are known."""
        return self.catalog.targets is not None

    def notes(self, runs: int) -> tuple[str, ...]:
        """Says which galaxies are left out, in sentences; `runs` is the number of models."""
        notes = []
        if self.left_out:
            notes.append(
                f"{self.left_out:,} galaxies are left out, because they are in the {self.split} split of "
                "some of the runs and not of the others."
            )
        seen = int((~self.scored).sum())
        if seen and self.labelled:
            trained = "the run was" if runs == 1 else "one of the runs was"
            what = (
                f"The figures leave out {seen:,} of these"
                if self.scored.any()
                else "There are no figures for these"
            )
            notes.append(
                f"{what} {len(self.scored):,} galaxies, because {trained} trained on galaxies with their ids."
            )
        return tuple(notes)


def choose_galaxies(
    members: Sequence[Member], labels: Labels, target: Config, data: Config, split: Split
) -> Galaxies:
    """Reads a survey, and chooses the galaxies that are to be predicted.

    Args:
        members: The models, whose runs say which galaxies they have seen.
        labels: What they predict together.
        target: The node `target` of a configuration with these labels.
        data: The node `data`.
        split: Which galaxies. All galaxies are predicted where there are no labels.

    Raises:
        UserError: The data cannot be used, they have other labels, the splits would leak, or no galaxy is
            left.
    """
    module = build_data({**members[0].config, "data": data, "target": target})
    survey = _without_clashes(module.read_survey(), labels, data["catalog"].get("extra_columns"))
    rows = sample_rows(survey.ids, module.limit)
    if survey.targets is None:
        return Galaxies(_of_one_split(survey, rows), "all", np.zeros(len(rows), bool))
    _check_same_labels(labels, survey)
    for member in members:
        warn_of_twins(survey.name, member.config["data"])
    if split == "all":
        _warn_of_unrecorded(members)
        seen = np.logical_or.reduce([member.trained_on(survey) for member in members])[rows]
        return Galaxies(_of_one_split(survey, rows), split, ~seen)
    _check_same_splits(members, data)
    code = SPLITS.index(split)
    within = np.stack([member.split(survey)[rows] == code for member in members])
    chosen = within.all(axis=0)
    if not chosen.any():
        raise UserError(_no_galaxy(members, split, within))
    left_out = int(within.any(axis=0).sum() - chosen.sum())
    return Galaxies(_of_one_split(survey, rows[chosen]), split, np.ones(chosen.sum(), bool), left_out)


def _of_one_split(survey: Catalog, rows: NDArray[np.int64]) -> Catalog:
    """Selects galaxies, which are not split any more."""
    return replace(survey.take(rows), splits=None)


def _no_galaxy(members: Sequence[Member], split: str, within: NDArray[np.bool_]) -> str:
    """Says why no galaxy is in a split; `within` (runs, N) says for each run which are."""
    if within.any():
        return (
            f"no galaxy is in the {split} split of every run: {len(members)} runs have other splits, so that "
            f"what is in the {split} split of one trained or validated another, as with folds. Evaluate "
            "galaxies that none of them has seen, with split=all"
        )
    if split == "test" and members[0].split_settings()["test_fraction"] == 0:
        return "the run has no test split (data.test_fraction=0): use split=val or split=all"
    return (
        f"the {split} split is empty (0 of {within.shape[1]} galaxies): use more galaxies (data.limit), "
        "another split or split=all"
    )


def _without_clashes(survey: Catalog, labels: Labels, chosen: Sequence[str] | None) -> Catalog:
    """Refuses extra columns that would share a name with a column of the predictions.

    Columns that the user has not chosen by name are left out.
    """
    extra = survey.extra_columns
    if extra is None:
        return survey
    clashing = [name for name in labels.columns if name in extra]
    if chosen in (None, "all"):
        return replace(survey, extra_columns=extra.drop(columns=clashing))
    if clashing:
        raise UserError(
            f"data.catalog.extra_columns holds {clashing[0]}, but the predictions have a column of that "
            "name: leave it out, or rename it in the table"
        )
    return survey


def _check_same_labels(labels: Labels, survey: Catalog) -> None:
    """Refuses labels that answer other questions than those the models were asked."""
    there = survey.labels
    assert there is not None
    if labels.compatible(there):
        return
    known = set(labels.columns) >= set(there.columns)
    classes = ",".join(f'"{name}"' for name in labels.columns)
    differ = (
        f"The first are the model's labels, the second the data's: {labels.difference(there)}"
        if labels.texts == there.texts
        else f"The model's: {_shown(labels)}\nThe data's: {_shown(there)}"
    )
    advice = f"\nIf the data lack a class of the model: '+data.catalog.classes=[{classes}]'"
    raise UserError(
        f"the model predicts {len(labels.columns)} {labels.kind} (labels: {labels.meaning}), but "
        f"data={survey.name} has {len(there.columns)} {there.kind} (labels: {there.meaning}). These are not "
        "the same answers, in the same order of the same tree: they do not compare.\n"
        f"{differ}\ndata=folder predicts the images without scoring them"
        + advice
        * (labels.kind == there.kind == "classes" and known)
    )


def _shown(labels: Labels) -> str:
    return ", ".join(labels.texts[:10]) + (", ..." if len(labels.texts) > 10 else "")


def _warn_of_unrecorded(members: Sequence[Member]) -> None:
    """Warns of models whose training galaxies are not known, so that the figures count them."""
    for member in members:
        if not member.recorded:
            log.warning(
                "%s is in no run folder with a splits.parquet, so nothing says which galaxies it was trained "
                "on: all count as unseen, and the figures are too good if it was trained on some",
                member.file,
            )


def _check_same_splits(members: Sequence[Member], data: Config) -> None:
    """Refuses splits under which a galaxy that was trained on would count as unseen."""
    remedy = "evaluate split=all of galaxies that the run has not seen"
    for member in members:
        if member.config["data"]["stratify"] and not member.recorded:
            # Stratified splits depend on every galaxy of the catalog, whatever the settings say.
            raise UserError(
                f"{member.file} was trained on stratified splits, but the splits.parquet of its run folder, "
                f"which records them, is not there: evaluate it in its run folder, or {remedy}"
            )
    first = members[0]  # the command line takes over its settings
    for key, setting in first.split_settings().items():
        if data[key] == setting:
            continue
        held = (
            f"an evaluation holds to the splits recorded in {first.run.splits_file}"
            if first.recorded and key == "split_file"
            else f"the run was trained with {setting}, so its splits are others"
        )
        raise UserError(f"data.{key} is {data[key]}, but {held}: leave it out, or {remedy}")
