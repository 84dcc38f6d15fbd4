"""What a network is compared with: simple predictors on the same splits, and the noise floor."""

from __future__ import annotations

import numpy as np
import torch

from galaxy.data.datamodule import GalaxyDataModule
from galaxy.data.loader import channels_last
from galaxy.images.augment import as_floats
from galaxy.models.baselines import CenterPixel, ClosedForm, Mean
from galaxy.runs.predict import measure, values


def baseline_metrics(data: GalaxyDataModule) -> dict[str, dict[str, float]]:
    """Measures how well simple means predict the validation and the test split.

    Returns:
        The metrics "val/rmse" and "test/rmse" of "mean" (the training mean), of "center_pixel" (a linear
        regression on the central pixel) and, where the survey knows the true probabilities, of "noise_floor".
        For classes there are "val/accuracy" and "test/accuracy" too; that of the mean is the share of the
        most frequent class.
    """
    labels, targets = data.labels, data.targets
    train = data.nonempty_rows("train")
    pixels = as_floats(channels_last(data.pixels.central_pixels().cpu()))
    models: dict[str, ClosedForm] = {
        "mean": Mean(labels),
        "center_pixel": CenterPixel(pixels.shape[1], labels),
    }
    known = torch.from_numpy(data.catalog.known_targets)
    predictions = {}
    for name, model in models.items():
        model.fit([(pixels[train], known[train])])
        predictions[name] = model(pixels).fractions.numpy().astype(np.float32)
    if data.catalog.expected is not None:
        predictions["noise_floor"] = data.catalog.expected
    shown = ("rmse", "accuracy") if labels.kind == "classes" else ("rmse",)
    metrics: dict[str, dict[str, float]] = {name: {} for name in predictions}
    for split in ("val", "test"):
        rows = data.rows[split]
        if not len(rows):  # data.test_fraction may be 0
            continue
        for name, fractions in predictions.items():
            weights = None if data.catalog.weights is None else data.catalog.weights[rows]
            found = values(measure(labels, fractions[rows], targets[rows], weights))
            metrics[name] |= {f"{split}/{metric}": found[metric] for metric in shown}
    return metrics
