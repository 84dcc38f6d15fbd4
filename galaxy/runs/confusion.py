"""The confusion matrix of classes, as a table and as a picture: files that belong to the run folder."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from galaxy.labels.labels import Labels
from galaxy.learning.metrics import ClassMetrics, FractionMetrics
from galaxy.system.files import replacing


def class_names(labels: Labels) -> list[str]:
    """Returns the columns of classes, followed by their words where those differ."""
    pairs = zip(labels.columns, labels.texts, strict=True)
    return [column if column == text else f"{column} {text}" for column, text in pairs]


def write_confusion(folder: Path, labels: Labels, metrics: FractionMetrics) -> None:
    """Writes how many galaxies of each class were taken for which, as a table and as a picture.

    Metrics of anything else than classes have no such matrix, and nothing is written.
    """
    if not isinstance(metrics, ClassMetrics):
        return
    counts = metrics.confusion.cpu().numpy()
    names = class_names(labels)
    with replacing(folder / "confusion.csv") as temporary:
        pd.DataFrame(counts, pd.Index(names, name="true"), names).to_csv(temporary)
    figure = _confusion_picture(labels.texts, counts)
    with replacing(folder / "confusion.png") as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # They are drawn as boxes.
        figure.savefig(temporary, dpi=120)


def _confusion_picture(names: tuple[str, ...], counts: NDArray[np.int64]) -> Figure:
    """Draws the counts (true, predicted), coloured by their share of the true class, or grey without one."""
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.where(totals > 0, counts / totals.clip(1), np.nan)
    size = 2.5 + 0.55 * len(counts)  # inches; a cell has room for four digits
    # pyplot would need a display and keep the figure open.
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor("lightgrey")  # this shows through cells without a share
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, label="share of the true class")
    axes.set(xlabel="predicted", ylabel="true", xticks=range(len(counts)), yticks=range(len(counts)))
    # A name with two dollar signs is a name and no formula.
    axes.set_xticklabels(names, rotation=45, ha="right", parse_math=False)
    axes.set_yticklabels(names, parse_math=False)
    for row in np.flatnonzero(totals == 0).tolist():
        axes.text((len(counts) - 1) / 2, row, "no galaxies", ha="center", va="center", fontsize=8)
    if len(counts) <= 30:  # more numbers would not be readable
        for row, column in np.argwhere(~np.isnan(shares)).tolist():
            colour = "white" if shares[row, column] > 0.5 else "black"
            count = str(counts[row, column])
            axes.text(column, row, count, ha="center", va="center", fontsize=8, color=colour)
    return figure
