"""What a network is compared with: simple predictors on the same splits, and the noise floor."""

from __future__ import annotations

import numpy as np
import torch

from galaxy.data.datamodule import GalaxyDataModule
from galaxy.data.loader import channels_last
from galaxy.images.augment import as_floats
from galaxy.models.baselines import CenterPixel, ClosedForm, Mean
from galaxy.models.fitted import Fitted
from galaxy.runs.predict import score, values
from galaxy.system.terminal import tracked


def fit_at_once(model: Fitted, data: GalaxyDataModule) -> None:
    """Fits a model in one pass over the training images, which augmentation would falsify."""
    loader = data.loader("train")
    batches = tracked(loader, "Reading train")
    model.fit((as_floats(batch["image"]), batch["target"]) for batch in batches)


def mean_rmse(data: GalaxyDataModule, split: str) -> float:
    """RMSE of the mean of the training labels on a split."""
    targets = data.targets[data.labelled_rows(split)]
    mean = data.targets[data.labelled_rows("train")].mean(axis=0, dtype=np.float64)
    return float(np.sqrt(np.square(targets - mean).mean()))


def baseline_scores(data: GalaxyDataModule) -> dict[str, float]:
    """How well the test split is predicted by simple means.

    Returns:
        "mean_rmse" and "center_pixel_rmse", of the training mean and of a linear regression on the central
        pixel; "noise_floor_rmse" where the survey knows the true probabilities; and of classes the accuracy
        too, "mean_accuracy" being that of the most frequent class.
    """
    labels, targets = data.labels, data.targets
    train, test = data.labelled_rows("train"), data.labelled_rows("test")
    pixels = as_floats(channels_last(data.pixels.central_pixels().cpu()))
    models: dict[str, ClosedForm] = {
        "mean": Mean(labels),
        "center_pixel": CenterPixel(pixels.shape[1], labels),
    }
    predictions = {}
    for name, model in models.items():
        model.fit([(pixels[train], torch.from_numpy(targets[train]))])
        predictions[name] = model(pixels[test]).fractions.numpy().astype(np.float32)
    if data.catalog.expected is not None:
        predictions["noise_floor"] = data.catalog.expected[test]
    shown = ("rmse", "accuracy") if labels.kind == "classes" else ("rmse",)
    return {
        f"{name}_{metric}": value
        for name, fractions in predictions.items()
        for metric, value in values(score(labels, fractions, targets[test])).items()
        if metric in shown
    }
