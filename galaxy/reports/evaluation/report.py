"""Gathers what the page of an evaluation shows, and writes the page and what was fitted for it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galaxy.data.splits import sample_rows
from galaxy.reports.evaluation.attention import MISSING, attention, has_captum
from galaxy.reports.evaluation.calibration import Calibration, fit_calibration
from galaxy.reports.evaluation.confusion import confusions
from galaxy.reports.evaluation.contents import Report
from galaxy.reports.evaluation.errors import measure_errors
from galaxy.reports.evaluation.gallery import (
    Gallery,
    galleries,
    surprise_of_classes,
    surprise_of_intervals,
)
from galaxy.reports.evaluation.own import Own, read_own, without_fitted
from galaxy.reports.evaluation.page import write_page
from galaxy.reports.evaluation.probe import Probe
from galaxy.reports.evaluation.properties import Trend, brightness_and_size, mean_agreement, trend
from galaxy.reports.evaluation.sample import Array, Sample
from galaxy.reports.evaluation.stability import stability
from galaxy.runs.evaluate import Evaluation
from galaxy.runs.evaluation_files import CALIBRATED, CALIBRATION, PAGE
from galaxy.runs.folder import RunFolder
from galaxy.runs.request import Request
from galaxy.system.errors import UserError
from galaxy.system.files import replacing

log = logging.getLogger(__name__)

# Galaxies that are turned and mirrored, and galaxies of each gallery that are covered patch by patch.
_TURNED, _COVERED = 400, 4
# Columns of numbers of the user's table that the error is shown against.
_FURTHER = 4


def write_report(found: Evaluation, request: Request) -> list[Path]:
    """Writes the report of an evaluation into its folder.

    The page is `report.html`. What was fitted on the validation galaxies of the run is `calibration.npz`, and
    what it says about the galaxies of the page is `calibration.parquet`.

    Args:
        found: The evaluation.
        request: What was asked of it. What cannot be asked of several models is asked of the first.

    Returns:
        The files that were written.

    Raises:
        UserError: No galaxy has labels and an image, or a file cannot be written.
    """
    counted, notes = found.counted, list(found.notes)
    if counted is None or not len(counted.rows):
        raise UserError("report=true compares predictions with labels, and no galaxy has both")
    first, *others = [member.file for member in request.ensemble.members]
    if others:
        notes.append(
            f"Of these runs, the first ({first}) shows where it looks, which galaxies are unusual to it "
            "and how turned images change what it says."
        )
    own = None
    try:
        own = read_own(found, request)
    except UserError as error:
        reason = str(error).splitlines()[0]
        log.warning("the report lacks calibration and intervals: %s", reason)
        notes.append(
            "Baselines, calibration, intervals and unusual galaxies need the data of the run, which cannot "
            f"be used: {reason}"
        )
    else:
        counted, known = without_fitted(counted, own.validation)
        notes += known
    catalog = counted.catalog.take(counted.rows)
    probe = Probe(first, catalog, request.data, request.device)
    report = _gathered(found.title, Sample.of(counted), own, probe, notes)
    written = [found.folder / PAGE]
    if report.calibration is not None:
        written += _write_calibration(found.folder, report.calibration, report.sample, report.distances)
    write_page(found.folder / PAGE, report)
    return written


def _write_calibration(
    folder: Path, calibration: Calibration, sample: Sample, distances: Array | None
) -> list[Path]:
    files = [folder / CALIBRATION, folder / CALIBRATED]
    calibration.write(files[0])
    ids = pd.DataFrame({"id": sample.names})
    table = pd.concat([ids, calibration.table(sample.predicted, distances)], axis=1)
    with replacing(files[1]) as temporary:
        table.to_parquet(temporary, index=False)
    return files


def _gathered(title: str, sample: Sample, own: Own | None, probe: Probe, notes: list[str]) -> Report:
    """Asks for everything that the page shows, and adds what it lacks to the notes."""
    calibration = distances = None
    if own is not None:
        if own.data.labels.columns == sample.labels.columns:
            sample = replace(sample, baselines=probe.baselines(own.data))
        calibration, distances = _fitted(Sample.of(own.validation), own, probe, notes)
    ids = probe.catalog.ids
    chosen = galleries(sample, ids, _surprises(sample, calibration), distances)
    places = _places(chosen)
    return Report(
        title,
        _facts(probe),
        sample,
        measure_errors(sample),
        confusions(sample),
        calibration,
        distances,
        chosen,
        dict(zip(places.tolist(), probe.crops(places), strict=True)),
        _maps(probe, chosen, notes),
        stability(probe.labels, probe.views(sample_rows(ids, _TURNED))),
        _trends(sample, probe),
        notes,
    )


def _fitted(validation: Sample, own: Own, probe: Probe, notes: list[str]) -> tuple[Calibration, Array | None]:
    """Fits the calibration, and measures how unlike the training galaxies those of the page are."""
    if not probe.has_features:
        notes.append(
            "Galaxies unlike those of the training are not looked for: the model was fitted in one go and "
            "has no features."
        )
        return fit_calibration(validation), None
    calibration = fit_calibration(validation, probe.known_features(own.data))
    if calibration.familiar is None:
        notes.append(
            "Galaxies unlike those of the training are not looked for: there are too few, or their features "
            "are all alike."
        )
        return calibration, None
    return calibration, calibration.familiar.distances(probe.features())


def _facts(probe: Probe) -> dict[str, str]:
    run = RunFolder.of(probe.file)
    facts = {"checkpoint": str(probe.file)}
    if run.begun:
        choices = run.choices()
        names = ("model", "head", "loss", "crop") if probe.has_features else ("model", "crop")
        facts |= {group: choices[group] for group in names if group in choices}
    return facts


def _places(chosen: Sequence[Gallery], most: int | None = None) -> NDArray[np.int64]:
    """Returns the places of the first galaxies of each gallery, each once."""
    places = [gallery.places[:most] for gallery in chosen]
    return np.unique(np.concatenate([np.empty(0, np.int64), *places]))


def _surprises(sample: Sample, calibration: Calibration | None) -> Array | None:
    if sample.labels.kind == "classes":
        return surprise_of_classes(sample.predicted, sample.true)
    if calibration is None or calibration.intervals is None:
        return None
    return surprise_of_intervals(*calibration.intervals.of(sample.predicted), sample.true)


def _maps(probe: Probe, chosen: Sequence[Gallery], notes: list[str]) -> dict[int, Array]:
    """Finds out where the model looks in the first galaxies of each gallery."""
    if not has_captum():
        log.warning("the report does not show where the model looks: %s", MISSING)
        notes.append(f"Where the model looks is not shown: {MISSING}")
        return {}
    places = _places(chosen, _COVERED)
    if not len(places):
        return {}
    found = attention(probe.model, probe.tensor(places), probe.device)
    if not found.any():
        notes.append(
            "Covering parts of an image changes no prediction: the model does not look at the images."
        )
        return {}
    return dict(zip(places.tolist(), found, strict=True))


def _trends(sample: Sample, probe: Probe) -> list[Trend]:
    parts = [
        brightness_and_size(probe.crops(rows))
        for rows in np.array_split(np.arange(len(sample)), 1 + len(sample) // 256)
    ]
    light, radius = (np.concatenate(values) for values in zip(*parts, strict=True))
    properties = {
        "brightness: mean light above the sky, of 255": light,
        "size: half-light radius in pixels of the crop": radius,
        "agreement of the volunteers": mean_agreement(sample),
    }
    further = list(probe.catalog.extra_numbers.items())[:_FURTHER]
    properties |= {name: values.astype(np.float64) for name, values in further}
    found = [trend(name, values, sample) for name, values in properties.items()]
    return [one for one in found if one is not None]
