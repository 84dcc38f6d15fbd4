"""The data of the run, on which is fitted what the report says about other galaxies."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from galaxy.config.trust import check_trusted
from galaxy.data.datamodule import GalaxyDataModule
from galaxy.runs.evaluate import Evaluation, check_scored, evaluate
from galaxy.runs.evaluation_files import VALIDATION, subject
from galaxy.runs.experiment import Config, build_data
from galaxy.runs.members import Member
from galaxy.runs.predict import Predictions
from galaxy.runs.request import Request


@dataclass(frozen=True)
class Own:
    """The galaxies of the run.

    Attributes:
        data: All of them, set up.
        validation: The predictions of those that validated it, made as those that the report is about.
    """

    data: GalaxyDataModule
    validation: Predictions


def read_own(found: Evaluation, request: Request) -> Own:
    """Reads the data of the first run, and predicts its validation galaxies in a folder of their own.

    Args:
        found: The evaluation that the report is about.
        request: What was asked of it.

    Raises:
        UserError: The data would call what is not trusted, or cannot be used.
    """
    files = [member.file for member in request.ensemble.members]
    first = request.ensemble.members[0]
    node, module = read_data(first)
    # The galaxies of the report may be these very ones.
    if request.split != "val" or subject(request.data) != subject(node):
        choice = first.run.choices()["data"] if first.run.begun else "own"
        folder = found.folder / VALIDATION
        own = Request(files, node, choice, "val", request.tta, folder, request.accelerator)
        check_scored(own.galaxies)
        found = evaluate(own)
    assert found.counted is not None
    return Own(module, found.counted)


def read_data(member: Member) -> tuple[Config, GalaxyDataModule]:
    """Reads the data that a model was trained on.

    Returns:
        The node `data` of its configuration, and the data, set up.

    Raises:
        UserError: The data would call what is not trusted, or cannot be used.
    """
    node: Config = member.config["data"] | member.split_settings()
    check_trusted({"data": node}, member.file)
    module = build_data({**member.config, "data": node})
    module.setup()
    return node, module


def without_fitted(counted: Predictions, validation: Predictions) -> tuple[Predictions, list[str]]:
    """Leaves out galaxies on which the calibration was fitted, unless there are no others.

    Returns:
        The predictions that are left, and what there is to know about them, in sentences.
    """
    fitted = {str(name) for name in validation.catalog.identifiers[validation.rows].tolist()}
    names = counted.catalog.identifiers[counted.rows].tolist()
    others = np.array([str(name) not in fitted for name in names], dtype=bool)
    if others.all():
        return counted, []
    if not others.any():
        return counted, [
            "These are the validation galaxies, on which calibration and intervals were fitted and the "
            "checkpoint was chosen: all of this looks better here than it is."
        ]
    left = replace(counted, rows=counted.rows[others], fractions=counted.fractions[others])
    out = len(others) - len(left.rows)
    return left, [
        f"This page is about {len(left.rows):,} galaxies. It leaves out {out:,} that validated the run, "
        "because calibration and intervals were fitted on them."
    ]
