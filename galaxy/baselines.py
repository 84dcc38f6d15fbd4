"""What a network is compared with: simple predictors on the same splits, and the noise floor."""

from __future__ import annotations

import numpy as np
import torch

from galaxy.datamodule import GalaxyDataModule
from galaxy.models.baselines import CenterPixel, ClosedForm, Mean
from galaxy.prediction import score


def baseline_scores(data: GalaxyDataModule) -> dict[str, float]:
    """Test RMSE of the training mean, of the central pixel and, where it is known, the noise floor.

    Only one pixel of each image is read, so that this costs next to nothing on any survey.
    """
    scores = {}
    train, test = data.labelled_rows("train"), data.labelled_rows("test")
    middle = data.images.array.shape[1] // 2
    pixels = torch.from_numpy(data.images.array[:, middle : middle + 1, middle : middle + 1].copy())
    pixels = pixels.permute(0, 3, 1, 2).float() / 255
    questions = data.catalog.questions
    models: dict[str, ClosedForm] = {
        "mean": Mean(questions),
        "center_pixel": CenterPixel(pixels.shape[1], questions),
    }
    for name, model in models.items():
        model.accumulate(pixels[train], torch.from_numpy(data.targets[train]))
        model.solve()
        fractions = model(pixels[test]).numpy().astype(np.float32)
        scores[name] = score(questions, fractions, data.targets[test])["rmse"]
    if data.catalog.expected is not None:
        perfect = data.catalog.expected[test]
        scores["noise_floor"] = score(questions, perfect, data.targets[test])["rmse"]
    return scores
