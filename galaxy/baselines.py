"""What a network is compared with: simple predictors on the same splits, and the noise floor."""

from __future__ import annotations

import numpy as np
import torch
from rich.progress import track

from galaxy.datamodule import GalaxyDataModule
from galaxy.models.baselines import CenterPixel, ClosedForm, Mean
from galaxy.prediction import score


def fit_baseline(model: ClosedForm, data: GalaxyDataModule) -> None:
    """Fits a baseline in one pass over the training images, which augmentation would falsify."""
    loader = data.loader("train")
    for batch in track(loader, "Fitting", total=len(loader), transient=True):
        model.accumulate(batch["image"].float() / 255, batch["target"])
    model.solve()


def mean_rmse(data: GalaxyDataModule, split: str) -> float:
    """RMSE of the mean of the training labels on a split."""
    targets = data.targets[data.labelled_rows(split)]
    mean = data.targets[data.labelled_rows("train")].mean(axis=0, dtype=np.float64)
    return float(np.sqrt(np.square(targets - mean).mean()))


def baseline_scores(data: GalaxyDataModule) -> dict[str, float]:
    """Test RMSE of the training mean, of the central pixel and, where it is known, the noise floor.

    Only one pixel of each image is read, so that this costs next to nothing on any survey.
    """
    questions, targets = data.catalog.questions, data.targets
    train, test = data.labelled_rows("train"), data.labelled_rows("test")
    middle = data.images.array.shape[1] // 2
    pixels = torch.from_numpy(data.images.array[:, middle : middle + 1, middle : middle + 1].copy())
    pixels = pixels.permute(0, 3, 1, 2).float() / 255
    models: dict[str, ClosedForm] = {
        "mean": Mean(questions),
        "center_pixel": CenterPixel(pixels.shape[1], questions),
    }
    scores = {}
    for name, model in models.items():
        model.accumulate(pixels[train], torch.from_numpy(targets[train]))
        model.solve()
        fractions = model(pixels[test]).fractions.numpy().astype(np.float32)
        scores[name] = score(questions, fractions, targets[test])["rmse"]
    if data.catalog.expected is not None:
        scores["noise_floor"] = score(questions, data.catalog.expected[test], targets[test])["rmse"]
    return scores
