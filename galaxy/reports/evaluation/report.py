"""Gathers what the page of an evaluation shows, and writes the page and what was fitted for it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from galaxy.data.splits import sample_rows
from galaxy.reports.evaluation import trust as trust_files
from galaxy.reports.evaluation.attention import MISSING, attention, has_captum
from galaxy.reports.evaluation.confusion import confusions
from galaxy.reports.evaluation.contents import Report
from galaxy.reports.evaluation.errors import measure_errors
from galaxy.reports.evaluation.gallery import (
    Gallery,
    galleries,
    surprise_of_classes,
    surprise_of_intervals,
)
from galaxy.reports.evaluation.page import write_page
from galaxy.reports.evaluation.probe import Probe, own_data
from galaxy.reports.evaluation.properties import Trend, brightness_and_size, mean_agreement, trend
from galaxy.reports.evaluation.sample import Array, Sample
from galaxy.reports.evaluation.stability import stability
from galaxy.reports.evaluation.trust import Trust, fit_trust
from galaxy.reports.evaluation.unusual import Features
from galaxy.runs.evaluate import Evaluation, evaluate
from galaxy.runs.folder import RunFolder
from galaxy.runs.request import Request
from galaxy.system.errors import UserError
from galaxy.system.files import replacing

log = logging.getLogger(__name__)

PAGE = "report.html"
# Galaxies that are turned and mirrored, and galaxies of each gallery that are covered patch by patch.
_TURNED, _COVERED = 400, 4
# Columns of numbers of the user's table that the error is shown against.
_FURTHER = 4


def write_report(
    found: Evaluation,
    files: Sequence[Path],
    data: dict[str, Any],
    split: str,
    tta: int,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
) -> None:
    """Writes the report of an evaluation into its folder.

    The page is `report.html`. What was fitted on the validation galaxies of the run is `trust.npz`, and what
    it says about the evaluated galaxies is `trust.parquet`.

    Args:
        found: The evaluation.
        files: The checkpoints. What cannot be asked of several models is asked of the first.
        data: The node `data` of the evaluated galaxies.
        split: Their split.
        tta: The number of views that were averaged.
        accelerator: Where to compute.

    Raises:
        UserError: The galaxies have no labels, or a file cannot be written.
    """
    predictions, folder = found.counted, found.folder
    if predictions is None:
        raise UserError(
            "report=true compares predictions with labels, and none of these galaxies is both labelled and "
            f"unseen; their predictions are in {folder}"
        )
    catalog = predictions.catalog.take(predictions.rows)
    gpu = accelerator != "cpu" and torch.cuda.is_available()
    probe = Probe(files[0], catalog, data, torch.device("cuda" if gpu else "cpu"))
    notes = list(found.notes)
    if len(files) > 1:
        notes.append(
            f"Of these runs, the first ({probe.file}) shows where it looks, which galaxies are unusual to it "
            "and how turned images change what it says."
        )
    validation = found if split == "val" else _validation(probe, files, tta, folder / "validation", notes)
    if split == "val":
        notes.append(
            "These are the validation galaxies, on which calibration and intervals were fitted and the "
            "checkpoint was chosen: all of this looks better here than it is."
        )
    sample, trust, features = Sample.of(predictions), None, None
    if validation is not None and validation.counted is not None:
        own = probe.own()
        if own.labels.columns == sample.labels.columns:
            sample = replace(sample, baselines=probe.baselines(own))
        known = probe.known_features(own) if probe.has_features else None
        features = probe.features() if probe.has_features else None
        trust = fit_trust(Sample.of(validation.counted), known)
        _write_trust(folder, trust, sample, features)
    report = _gathered(found.title, _facts(probe), sample, trust, features, probe, catalog, notes)
    write_page(folder / PAGE, report)


def _validation(
    probe: Probe, files: Sequence[Path], tta: int, folder: Path, notes: list[str]
) -> Evaluation | None:
    """Evaluates the validation galaxies of the run in the same way, in a folder of their own."""
    run = RunFolder.of(probe.file)
    choice = run.choices()["data"] if run.begun else "own"
    accelerator: Literal["gpu", "cpu"] = "gpu" if probe.device.type == "cuda" else "cpu"
    try:
        own = own_data(probe.file, probe.config)
        return evaluate(Request(files, own, choice, "val", tta, folder, accelerator))
    except UserError as error:
        reason = str(error).splitlines()[0]
        log.warning("the report lacks calibration and intervals: %s", reason)
        notes.append(
            "Baselines, calibration, intervals and unusual galaxies need the data of the run, which cannot "
            f"be used: {reason}"
        )
        return None


def _write_trust(folder: Path, trust: Trust, sample: Sample, features: Features | None) -> None:
    trust.write(folder / trust_files.FILE)
    ids = pd.DataFrame({"id": sample.names})
    table = pd.concat([ids, trust.table(sample.predicted, features)], axis=1)
    with replacing(folder / trust_files.TABLE) as temporary:
        table.to_parquet(temporary, index=False)


def _facts(probe: Probe) -> dict[str, str]:
    run = RunFolder.of(probe.file)
    facts = {"checkpoint": str(probe.file)}
    if run.begun:
        choices = run.choices()
        names = ("model", "head", "loss", "crop") if probe.has_features else ("model", "crop")
        facts |= {group: choices[group] for group in names if group in choices}
    return facts


def _gathered(
    title: str,
    facts: dict[str, str],
    sample: Sample,
    trust: Trust | None,
    features: Features | None,
    probe: Probe,
    catalog: Any,
    notes: list[str],
) -> Report:
    distances = None
    if trust is not None and trust.familiar is not None and features is not None:
        distances = trust.familiar.distances(features)
    elif trust is not None:
        notes.append(
            "Galaxies unlike those of the training are not looked for: "
            + (
                "there are too few, or their features are all alike."
                if probe.has_features
                else "the model was fitted in one go and has no features."
            )
        )
    chosen = galleries(sample, catalog.ids, _surprises(sample, trust), distances)
    places = np.unique(np.concatenate([gallery.places for gallery in chosen] or [np.empty(0, np.int64)]))
    crops = dict(zip(places.tolist(), probe.crops(places), strict=True)) if len(places) else {}
    turned = sample_rows(catalog.ids, _TURNED)
    return Report(
        title,
        facts,
        sample,
        measure_errors(sample),
        confusions(sample),
        trust,
        distances,
        chosen,
        crops,
        _maps(probe, chosen, notes),
        stability(probe.labels, probe.views(turned)),
        _trends(sample, probe, catalog),
        notes,
    )


def _surprises(sample: Sample, trust: Trust | None) -> Array | None:
    if sample.labels.kind == "classes":
        return surprise_of_classes(sample.predicted, sample.true)
    if trust is None or trust.intervals is None:
        return None
    return surprise_of_intervals(*trust.intervals.of(sample.predicted), sample.true)


def _maps(probe: Probe, chosen: Sequence[Gallery], notes: list[str]) -> dict[int, Array]:
    """Finds out where the model looks in the first galaxies of each gallery."""
    if not has_captum():
        log.warning("the report does not show where the model looks: %s", MISSING)
        notes.append(f"Where the model looks is not shown: {MISSING}")
        return {}
    places = np.unique(np.concatenate([gallery.places[:_COVERED] for gallery in chosen]))
    found = attention(probe.model, probe.tensor(places), probe.device)
    if not found.any():
        notes.append(
            "Covering parts of an image changes no prediction: the model does not look at the images."
        )
        return {}
    return dict(zip(places.tolist(), found, strict=True))


def _trends(sample: Sample, probe: Probe, catalog: Any) -> list[Trend]:
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
    further = list(catalog.extra_numbers.items())[:_FURTHER]
    properties |= {name: values.astype(np.float64) for name, values in further}
    found = [trend(name, values, sample) for name, values in properties.items()]
    return [one for one in found if one is not None]
