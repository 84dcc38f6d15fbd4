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
from torch import Tensor

from galaxy.data.datamodule import GalaxyDataModule
from galaxy.images.augment import as_floats
from galaxy.labels.labels import Labels
from galaxy.learning.metrics import FractionMetrics, metrics_for
from galaxy.learning.task import GalaxyTask
from galaxy.runs.build import Model
from galaxy.surveys import Catalog
from galaxy.system.files import replacing
from galaxy.system.machine import return_freed_memory, use_tf32
from galaxy.system.terminal import tracked


def views(images: Tensor, count: int) -> Iterator[Tensor]:
    """The images as they are (1), under four quarter turns (4), and those mirrored too (8).

    Args:
        images: (B, C, H, W) with H = W.
        count: 1, 4 or 8.
    """
    for mirror in (False, True)[: 2 if count == 8 else 1]:
        seen = images.flip(-1) if mirror else images
        for turns in range(1 if count == 1 else 4):
            yield torch.rot90(seen, turns, dims=(-2, -1)) if turns else seen  # no copy


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
    return_freed_memory()  # of training
    use_tf32(allowed=False)
    model.eval().to(device)
    if isinstance(model, GalaxyTask):
        model.float()
    loader, count = data.loader(split), len(data.rows[split])
    # Taken at once: small blocks that stay, one a batch, would keep the memory of the batches from being used
    # again.
    fractions, done = np.empty((count, 0), np.float32), 0
    with torch.inference_mode():
        for batch in tracked(loader, f"Predicting {split}"):
            images = as_floats(batch["image"].to(device))
            total = sum(model(view).fractions.double() for view in views(images, tta))
            if not done:
                fractions = np.empty((count, total.shape[1]), np.float32)
            fractions[done : done + len(images)] = (total / tta).float().cpu().numpy()
            done += len(images)
    return fractions


def score(
    labels: Labels,
    fractions: NDArray[np.float32],
    targets: NDArray[np.float32],
    weights: NDArray[np.float32] | None = None,
) -> FractionMetrics:
    """The metrics of (N, K) predictions, having seen them all; `values` reads them."""
    metrics = metrics_for(labels, weights is not None, sync_on_compute=False)  # one process has all of them
    trust = None if weights is None else torch.from_numpy(weights)
    metrics.update(torch.from_numpy(fractions), torch.from_numpy(targets), trust)
    return metrics


def values(metrics: FractionMetrics) -> dict[str, float]:
    """The metrics as plain numbers."""
    return {name: float(value) for name, value in metrics.compute().items()}


def write_predictions(
    path: Path,
    labels: Labels,
    catalog: Catalog,
    rows: NDArray[np.int64],
    fractions: NDArray[np.float32],
) -> None:
    """Writes one row a galaxy: id, predictions, and the targets where there are any, as `true/<column>`.

    Of classes there is the likeliest as well, by name.

    Args:
        path: `.parquet` or `.csv`.
        labels: What is predicted.
        catalog: Where the rows come from.
        rows: (N,) rows of the catalog.
        fractions: (N, K) float32.
    """
    columns = list(labels.columns)
    tables = [
        pd.DataFrame({"id": catalog.identifiers[rows]}),
        pd.DataFrame(fractions, columns=columns),
    ]
    if labels.kind == "classes":
        tables.insert(1, pd.DataFrame({"class": np.array(columns, dtype=object)[fractions.argmax(axis=1)]}))
    if catalog.targets is not None:
        tables.append(pd.DataFrame(catalog.targets[rows], columns=[f"true/{name}" for name in columns]))
    table = pd.concat(tables, axis=1)
    with replacing(path) as temporary:
        if path.suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            table.to_csv(temporary, index=False)
