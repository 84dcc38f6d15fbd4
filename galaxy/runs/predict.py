"""Predictions of a trained model for whole splits, and their metrics; the same for training and evaluation.

Everything here is float32, whatever the precision of the training, so that a checkpoint has one score.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from galaxy.data.datamodule import GalaxyDataModule
from galaxy.images.augment import as_floats
from galaxy.images.views import views
from galaxy.labels.labels import Labels
from galaxy.learning.metrics import FractionMetrics, metrics_for
from galaxy.learning.task import GalaxyTask
from galaxy.runs.catalogue_files import write_catalogue
from galaxy.runs.learners import Model
from galaxy.surveys import Catalog
from galaxy.system.files import replacing
from galaxy.system.machine import return_freed_memory, use_tf32
from galaxy.system.terminal import tracked


@dataclass(frozen=True)
class Predictions:
    """What a model predicts for some galaxies of a catalog.

    Attributes:
        labels: What is predicted.
        catalog: Where the galaxies come from.
        rows: (N,) int64 rows of the catalog.
        fractions: (N, K) float32, the predictions.
    """

    labels: Labels
    catalog: Catalog
    rows: NDArray[np.int64]
    fractions: NDArray[np.float32]

    def metrics(self) -> FractionMetrics:
        """Returns the metrics of the predictions; `values` reads them. The catalog must have targets."""
        catalog = self.catalog
        assert catalog.targets is not None
        weights = None if catalog.weights is None else catalog.weights[self.rows]
        return measure(self.labels, self.fractions, catalog.targets[self.rows], weights)

    def within(self, chosen: NDArray[np.bool_]) -> Predictions:
        """Returns the predictions of those rows of the catalog that are chosen, (rows of the catalog,)."""
        kept = chosen[self.rows]
        return replace(self, rows=self.rows[kept], fractions=self.fractions[kept])

    def table(self) -> pd.DataFrame:
        """Returns one row a galaxy: see `prediction_table`. The extra columns of the catalog follow the id.

        Known targets are added as `true/<column>`. Unknown ones, whose weight is 0, are empty.
        """
        rows, catalog = self.rows, self.catalog
        table = prediction_table(self.labels, catalog.identifiers[rows], self.fractions)
        if catalog.extra_columns is not None:
            extra = catalog.extra_columns.iloc[rows].reset_index(drop=True)
            table = pd.concat([table[["id"]], extra, table.drop(columns="id")], axis=1)
        if (targets := catalog.known_targets) is not None:
            true = pd.DataFrame(targets[rows], columns=[f"true/{name}" for name in self.labels.columns])
            table = pd.concat([table, true], axis=1)
        return table

    def write(self, path: Path, facts: Mapping[str, str] | None = None) -> None:
        """Writes the table.

        Args:
            path: The file; see `write_catalogue`.
            facts: Where the predictions come from; see `write_catalogue`.
        """
        write_catalogue(self.table(), path, meanings(self.labels), facts or {})


def prediction_table(
    labels: Labels, ids: NDArray[np.generic], fractions: NDArray[np.float32]
) -> pd.DataFrame:
    """Makes a table of predictions: `id`, then a column for each answer; before these, the likeliest `class`.

    Args:
        labels: What is predicted. Only classes have the column `class`, which holds the name of the answer.
        ids: (N,) the names of the galaxies.
        fractions: (N, K), the predictions.
    """
    columns = list(labels.columns)
    table = pd.DataFrame(fractions, columns=columns)
    if labels.kind == "classes":
        table.insert(0, "class", np.array(columns, dtype=object)[fractions.argmax(axis=1)])
    table.insert(0, "id", ids)
    return table


def meanings(labels: Labels) -> dict[str, str]:
    """Returns what the columns of predictions mean, in words."""
    words = {"id": "name of the galaxy"}
    answers = [f"{q.text} {answer.text}" for q in labels.questions for answer in q.answers]
    for name, answer in zip(labels.columns, answers, strict=True):
        words |= {name: f"{answer} (predicted, {labels.meaning})", f"true/{name}": f"{answer} (true)"}
    return words | ({"class": "likeliest class"} if labels.kind == "classes" else {})


def write_columns(path: Path, labels: Labels) -> None:
    """Writes what each column of predictions means: the key of its question, the question and its answer.

    Args:
        path: The file, a CSV.
        labels: What is predicted.
    """
    answers = [(question, answer) for question in labels.questions for answer in question.answers]
    table = pd.DataFrame(
        {
            "column": labels.columns,
            "key": [question.key for question, _ in answers],
            "question": [question.text for question, _ in answers],
            "answer": [answer.text for _, answer in answers],
            "meaning": labels.meaning,
        }
    )
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)


def predict(
    model: Model,
    labels: Labels,
    data: GalaxyDataModule,
    split: str,
    device: torch.device,
    tta: int = 1,
    title: str = "",
) -> Predictions:
    """Predicts the fractions of every galaxy of a split.

    Args:
        model: The trained model.
        labels: What it predicts.
        data: The data, set up.
        split: "train", "val", "test" or "all".
        device: Where to compute.
        tta: The number of views (see `galaxy.images.views`) whose predictions are averaged.
        title: What the progress bar says; the split if empty.
    """
    # One array for all batches: many small ones would keep the memory of the batches from being used again.
    fractions, done = np.empty((len(data.rows[split]), len(labels.columns)), np.float32), 0
    with predicting(model, device):
        for batch in tracked(data.loader(split), title or f"Predicting {split}"):
            predicted = mean_of_views(model, as_floats(batch["image"].to(device)), tta)
            fractions[done : done + len(predicted)] = predicted
            done += len(predicted)
    return Predictions(labels, data.catalog, data.rows[split], fractions)


@contextmanager
def predicting(model: Model, device: torch.device) -> Iterator[None]:
    """Makes a model ready to predict in float32 on a device; it is left in the mode that it was in."""
    return_freed_memory()  # a training leaves much
    use_tf32(allowed=False)
    learning = model.training
    model.eval().to(device)
    if isinstance(model, GalaxyTask):
        model.float()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(learning)


def mean_of_views(model: Model, images: Tensor, tta: int) -> NDArray[np.float32]:
    """Predicts images (B, C, H, W) float32 in [0, 1]: the mean over `tta` views, (B, K)."""
    total = sum(model(view).fractions.double() for view in views(images, tta))
    mean: NDArray[np.float32] = (total / tta).float().cpu().numpy()
    return mean


def measure(
    labels: Labels,
    fractions: NDArray[np.float32],
    targets: NDArray[np.float32],
    weights: NDArray[np.float32] | None = None,
) -> FractionMetrics:
    """Returns the metrics of (N, K) predictions; `values` reads them."""
    metrics = metrics_for(labels, sync_on_compute=False)  # one process has all of them
    trust = None if weights is None else torch.from_numpy(weights)
    metrics.update(torch.from_numpy(fractions), torch.from_numpy(targets), trust)
    return metrics


def values(metrics: FractionMetrics) -> dict[str, float]:
    """Returns the metrics as plain numbers."""
    return {name: float(value) for name, value in metrics.compute().items()}
