"""Tables and pictures that a person looks at when a run or an evaluation ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.table import Table

from galaxy.labels.labels import Labels
from galaxy.learning.metrics import ClassMetrics, FractionMetrics
from galaxy.runs.folder import Result, RunFolder
from galaxy.system.files import replacing

BASELINE_NAMES = {
    "mean": "mean of the training labels",
    "center_pixel": "line through the central pixel",
    "noise_floor": "noise floor (a perfect model)",
}
METRIC_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1, mean over the classes",
    "rmse": "RMSE, over galaxies x columns",
    "weighted_rmse": "RMSE, weighted",
    "r2": "R², mean over the columns",
}
NARROW: dict[str, Any] = {"box": SIMPLE_HEAD, "show_edge": False, "pad_edge": False}


def result_table(run: RunFolder, result: Result) -> Table:
    """The run's test RMSE, and accuracy if it has one, among the baselines; worst first."""
    epochs = "1 epoch" if result.epochs == 1 else f"{result.epochs} epochs"
    planned = run.config()["trainer"]["max_epochs"] or 0  # null, where Lightning has another limit
    if result.images_per_second is not None and result.epochs < planned:  # a network's
        epochs = f"stopped early, after {epochs} of {planned}"
    title = (
        f"Test split: {run.meta()['data']['test']:,} galaxies; labels: {result.labels}\n"
        f"{epochs}, {result.seconds:.0f} s"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("prediction", no_wrap=True)
    table.add_column("RMSE", justify="right")
    table.add_column("better than\nthe mean", justify="right")
    has_accuracy = "test/accuracy" in result.metrics
    if has_accuracy:
        table.add_column("accuracy", justify="right")
    model = run.choices()["model"]
    name = f"{model}, best checkpoint"
    rows = {
        text: (result.baselines[f"{key}_rmse"], result.baselines.get(f"{key}_accuracy"))
        for key, text in BASELINE_NAMES.items()
        if key != model and f"{key}_rmse" in result.baselines
    }
    rows[name] = (result.metrics["test/rmse"], result.metrics.get("test/accuracy"))
    mean = result.baselines["mean_rmse"]
    for label, (rmse, accuracy) in sorted(rows.items(), key=lambda row: -row[1][0]):
        cells = [label, f"{rmse:.5f}", f"{1 - rmse / mean:.1%}" if mean else "-"]  # 0 where labels never vary
        if has_accuracy:
            cells.append("-" if accuracy is None else f"{accuracy:.4f}")
        table.add_row(*cells, style="bold" if label == name else None)
    return table


def metrics_tables(labels: Labels, metrics: FractionMetrics, values: dict[str, float]) -> list[Table]:
    """All figures of an evaluation.

    Args:
        labels: What was predicted.
        metrics: Of the predictions.
        values: What they come to, by name.

    Returns:
        A table of each class or question, where there are several, and one of what is said of all together.
    """
    tables = []
    if isinstance(metrics, ClassMetrics):
        tables.append(_class_table(labels, metrics.confusion.cpu().numpy()))
    elif len(labels.questions) > 1:
        table = Table(**NARROW)
        table.add_column("question")
        table.add_column("RMSE", justify="right", no_wrap=True)  # of the two, the words can wrap
        for question in labels.questions:
            table.add_row(f"{question.key}  {question.text}", f"{values[f'rmse/{question.key}']:.5f}")
        tables.append(table)
    overall = Table(**NARROW)
    overall.add_column("all together")
    overall.add_column("", justify="right")
    for name, text in METRIC_NAMES.items():
        if name in values:
            overall.add_row(text, f"{values[name]:.5f}", style="bold" if name == "rmse" else None)
    return [*tables, overall]


def class_names(labels: Labels) -> list[str]:
    """The columns of classes, with their words where those are others."""
    pairs = zip(labels.columns, labels.texts, strict=True)
    return [column if column == text else f"{column} {text}" for column, text in pairs]


def _class_table(labels: Labels, counts: NDArray[np.int64]) -> Table:
    """How many galaxies each class has, how many of them were found, and how many finds are right."""
    table = Table(**NARROW)
    table.add_column("class")
    for name in ("galaxies", "recall", "precision"):
        table.add_column(name, justify="right", no_wrap=True)
    true, predicted = counts.sum(axis=1).tolist(), counts.sum(axis=0).tolist()
    for index, name in enumerate(class_names(labels)):
        right = int(counts[index, index])
        shares = [f"{right / total:.4f}" if total else "-" for total in (true[index], predicted[index])]
        table.add_row(name, f"{true[index]:,}", *shares)
    return table


def write_confusion(folder: Path, labels: Labels, metrics: FractionMetrics) -> None:
    """Writes how many galaxies of each class were taken for which, as table and as picture; classes only."""
    if not isinstance(metrics, ClassMetrics):
        return
    counts = metrics.confusion.cpu().numpy()
    names = class_names(labels)
    with replacing(folder / "confusion.csv") as temporary:
        pd.DataFrame(counts, pd.Index(names, name="true"), names).to_csv(temporary)
    figure = _confusion_picture(labels.texts, counts)
    with replacing(folder / "confusion.png") as temporary:
        figure.savefig(temporary, dpi=120)


def _confusion_picture(names: tuple[str, ...], counts: NDArray[np.int64]) -> Figure:
    """The counts (true, predicted), coloured by their share of the true class; grey where it has none."""
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.where(totals > 0, counts / totals.clip(1), np.nan)
    size = 2.5 + 0.55 * len(counts)  # inches: room for a number of four digits in each cell
    # A Figure of its own, not pyplot's: no display is needed and nothing stays open.
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor("lightgrey")  # behind cells without a share
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, label="share of the true class")
    axes.set(xlabel="predicted", ylabel="true", xticks=range(len(counts)), yticks=range(len(counts)))
    axes.set_xticklabels(names, rotation=45, ha="right")
    axes.set_yticklabels(names)
    for row in np.flatnonzero(totals == 0).tolist():
        axes.text((len(counts) - 1) / 2, row, "no galaxies", ha="center", va="center", fontsize=8)
    if len(counts) <= 30:  # more would not be readable
        for row, column in np.argwhere(~np.isnan(shares)).tolist():
            colour = "white" if shares[row, column] > 0.5 else "black"
            count = str(counts[row, column])
            axes.text(column, row, count, ha="center", va="center", fontsize=8, color=colour)
    return figure
