"""Tables and pictures that a person looks at when a run or an evaluation ends."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.table import Table

from galaxy.files import replacing
from galaxy.labels import Labels
from galaxy.metrics import ClassMetrics, FractionMetrics
from galaxy.runs import Result, RunFolder

BASELINE_NAMES = {
    "mean": "mean of the training labels",
    "center_pixel": "line through the central pixel",
    "noise_floor": "noise floor (a perfect model)",
}
METRIC_NAMES = {
    "r2": "R², mean over the columns",
    "weighted_rmse": "RMSE, weighted",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1, mean over the classes",
}


def result_table(run: RunFolder, result: Result) -> Table:
    """The run's test RMSE, and accuracy if it has one, among the baselines; worst first."""
    title = f"Test split, {result.labels} labels (epochs: {result.epochs}, {result.seconds:.0f} s)"
    table = Table(title=title, title_justify="left")
    table.add_column("prediction")
    table.add_column("test RMSE", justify="right")
    table.add_column("better than the mean", justify="right")
    has_accuracy = "test/accuracy" in result.metrics
    if has_accuracy:
        table.add_column("test accuracy", justify="right")
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
        cells = [label, f"{rmse:.5f}", f"{1 - rmse / mean:.1%}"]
        if has_accuracy:
            cells.append("-" if accuracy is None else f"{accuracy:.4f}")
        table.add_row(*cells, style="bold" if label == name else None)
    return table


def metrics_table(labels: Labels, metrics: dict[str, float], title: str) -> Table:
    """RMSE of each question, with its words, and what is said of all of them."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("question")
    table.add_column("RMSE", justify="right", no_wrap=True)  # of the two, the words can wrap
    for question in labels.questions:
        if (key := f"rmse/{question.key}") in metrics:
            table.add_row(f"{question.key}  {question.text}", f"{metrics[key]:.5f}")
    table.add_section()
    table.add_row("all, over N x K", f"{metrics['rmse']:.5f}", style="bold")
    for name, text in METRIC_NAMES.items():
        if name in metrics:
            table.add_row(text, f"{metrics[name]:.5f}")
    return table


def write_confusion(folder: Path, labels: Labels, metrics: FractionMetrics) -> None:
    """Writes how many galaxies of each class were taken for which, as table and as picture; classes only."""
    if not isinstance(metrics, ClassMetrics):
        return
    counts = metrics.confusion.cpu().numpy()
    with replacing(folder / "confusion.csv") as temporary:
        pd.DataFrame(counts, pd.Index(labels.columns, name="true"), labels.columns).to_csv(temporary)
    shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
    size = 2.5 + 0.55 * len(counts)  # inches: room for a number of four digits in each cell
    # A Figure of its own, not pyplot's: no display is needed and nothing stays open.
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, label="share of the true class")
    axes.set(xlabel="predicted", ylabel="true", xticks=range(len(counts)), yticks=range(len(counts)))
    axes.set_xticklabels(labels.texts, rotation=45, ha="right")
    axes.set_yticklabels(labels.texts)
    if len(counts) <= 30:  # more would not be readable
        for (row, column), count in zip(_cells(len(counts)), counts.ravel().tolist(), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color=colour)
    with replacing(folder / "confusion.png") as temporary:
        figure.savefig(temporary, dpi=120)


def _cells(size: int) -> list[tuple[int, int]]:
    return [(row, column) for row in range(size) for column in range(size)]
