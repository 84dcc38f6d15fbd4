"""Predictions of a trained model for a whole split, and their metrics; the same for training and evaluation.

Everything here is float32, whatever the precision of the training, so that a checkpoint has one score.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from galaxy.build import Model
from galaxy.datamodule import GalaxyDataModule
from galaxy.files import replacing
from galaxy.metrics import FractionMetrics
from galaxy.questions import Questions


def views(images: Tensor, count: int) -> Iterator[Tensor]:
    """The images as they are (1), under four quarter turns (4), and those mirrored too (8).

    Args:
        images: (B, C, H, W) with H = W.
        count: 1, 4 or 8.
    """
    for mirrored in (images, images.flip(-1))[: 2 if count == 8 else 1]:
        for turns in range(1 if count == 1 else 4):
            yield torch.rot90(mirrored, turns, dims=(-2, -1))


def predict(
    model: Model, data: GalaxyDataModule, split: str, device: torch.device, tta: int = 1
) -> NDArray[np.float32]:
    """Predicts the fractions of every galaxy of a split, in the order of `data.rows[split]`.

    Args:
        model: Trained.
        data: Set up.
        split: "train", "val", "test" or "all".
        device: Where to compute.
        tta: Number of views (see `views`) whose predictions are averaged.

    Returns:
        (N, K) float32.
    """
    model.eval().to(device)
    loader = data.loader(split)
    parts = []
    with torch.inference_mode():
        for batch in track(loader, f"Predicting {split}", total=len(loader), transient=True):
            images = batch["image"].to(device).float() / 255
            total = sum(model(view).fractions.double() for view in views(images, tta))
            parts.append((total / tta).float().cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros((0, len(data.catalog.columns)), np.float32)


def score(
    questions: Questions, fractions: NDArray[np.float32], targets: NDArray[np.float32]
) -> dict[str, float]:
    """The metrics of (N, K) predictions: "rmse" over N x K, "r2", and "rmse/q01" ... for each question."""
    metric = FractionMetrics(questions, sync_on_compute=False)  # one process has all predictions
    metric.update(torch.from_numpy(fractions), torch.from_numpy(targets))
    return {name: float(value) for name, value in metric.compute().items()}


def write_predictions(
    path: Path, data: GalaxyDataModule, rows: NDArray[np.int64], fractions: NDArray[np.float32]
) -> None:
    """Writes one row a galaxy: id, predictions, and the targets where there are any, as `true/<column>`.

    Args:
        path: `.parquet` or `.csv`.
        data: Where the rows come from.
        rows: (N,) rows of the catalog.
        fractions: (N, K) float32.
    """
    columns = list(data.catalog.columns)
    table = pd.DataFrame(fractions, columns=columns)
    table.insert(0, "id", data.catalog.ids[rows])
    if data.catalog.targets is not None:
        truth = pd.DataFrame(data.catalog.targets[rows], columns=[f"true/{name}" for name in columns])
        table = pd.concat([table, truth], axis=1)
    with replacing(path) as temporary:
        if path.suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            table.to_csv(temporary, index=False)
