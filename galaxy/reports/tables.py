"""Tables that a person looks at when a run or an evaluation ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from galaxy.labels.labels import Labels
from galaxy.learning.metrics import ClassMetrics, FractionMetrics
from galaxy.reports.records import BASELINE_NAMES
from galaxy.runs.confusion import class_names
from galaxy.runs.evaluate import Evaluation
from galaxy.runs.folder import RunFolder
from galaxy.runs.predict import values
from galaxy.runs.result import Result

if TYPE_CHECKING:
    from galaxy.runs.catalogues import Catalogue

SPLIT_TITLES = {"test": "Test split", "val": "No test split; validation split"}
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
    """Returns the table of a run: its test RMSE (and accuracy) among the baselines, the worst first.

    Without a test split the figures are those of the validation split.
    """
    split = "test" if "test/rmse" in result.metrics else "val"
    epochs = "1 epoch" if result.epochs == 1 else f"{result.epochs} epochs"
    planned = run.meta().get("max_epochs", run.config()["trainer"]["max_epochs"])
    if result.images_per_second is not None and result.epochs < planned:  # only networks have a speed
        epochs = f"stopped early, after {epochs} of {planned}"
    title = (
        f"{SPLIT_TITLES[split]}: {run.meta()['data'][split]:,} galaxies; labels: {result.labels}\n"
        f"{epochs}, {result.seconds:.0f} s"
    )
    if result.objective is not None and result.objective["value"] is not None:
        title += f"; judged by {result.objective['metric']}: {result.objective['value']:.5f}"
    table = Table(title=Text(title), title_justify="left")
    table.add_column("prediction", no_wrap=True)
    table.add_column("RMSE", justify="right")
    table.add_column("better than\nthe mean", justify="right")
    has_accuracy = f"{split}/accuracy" in result.metrics
    if has_accuracy:
        table.add_column("accuracy", justify="right")
    model = run.choices()["model"]
    name = f"{model}, best checkpoint"
    rows = {
        text: (result.baselines[key][f"{split}/rmse"], result.baselines[key].get(f"{split}/accuracy"))
        for key, text in BASELINE_NAMES.items()
        if key != model and key in result.baselines
    }
    rows[name] = (result.metrics[f"{split}/rmse"], result.metrics.get(f"{split}/accuracy"))
    mean = result.baselines["mean"][f"{split}/rmse"]
    for label, (rmse, accuracy) in sorted(rows.items(), key=lambda row: -row[1][0]):
        better = f"{1 - rmse / mean:.1%}" if mean else "-"  # labels may never vary
        cells: list[Text | str] = [Text(label), f"{rmse:.5f}", better]
        if has_accuracy:
            cells.append("-" if accuracy is None else f"{accuracy:.4f}")
        table.add_row(*cells, style="bold" if label == name else None)
    return table


def metrics_tables(
    labels: Labels,
    metrics: FractionMetrics,
    values: dict[str, float],
    unaveraged: dict[str, float] | None = None,
) -> list[Table]:
    """Returns the tables of an evaluation.

    Args:
        labels: What was predicted.
        metrics: The metrics of the predictions.
        values: The same metrics as plain numbers, by name.
        unaveraged: Those of one view, where the predictions are means over several; else None.

    Returns:
        A table with a row for each class or question, if there are several, and a table of overall figures.
    """
    tables = []
    if isinstance(metrics, ClassMetrics):
        tables.append(_class_table(labels, metrics.confusion.cpu().numpy()))
    elif len(labels.questions) > 1:
        table = Table(**NARROW)
        table.add_column("question")
        table.add_column("RMSE", justify="right", no_wrap=True)  # the words of the question may wrap instead
        for question in labels.questions:
            table.add_row(Text(question.title), f"{values[f'rmse/{question.key}']:.5f}")
        tables.append(table)
    overall = Table(**NARROW)
    overall.add_column("all together")
    columns = [values] if unaveraged is None else [values, unaveraged]
    for heading in ("",) if unaveraged is None else ("mean of the views", "one view"):
        overall.add_column(heading, justify="right")
    for name, text in METRIC_NAMES.items():
        if name in values:
            cells = [f"{column[name]:.5f}" for column in columns]
            overall.add_row(text, *cells, style="bold" if name == "rmse" else None)
    return [*tables, overall]


def _class_table(labels: Labels, counts: NDArray[np.int64]) -> Table:
    """Returns, for each class, the number of galaxies, the recall and the precision."""
    table = Table(**NARROW)
    table.add_column("class")
    for name in ("galaxies", "recall", "precision"):
        table.add_column(name, justify="right", no_wrap=True)
    true, predicted = counts.sum(axis=1).tolist(), counts.sum(axis=0).tolist()
    for index, name in enumerate(class_names(labels)):
        right = int(counts[index, index])
        shares = [f"{right / total:.4f}" if total else "-" for total in (true[index], predicted[index])]
        table.add_row(Text(name), f"{true[index]:,}", *shares)
    return table


def _members_table(found: Evaluation, together: float) -> Table:
    """Returns the RMSE of each run of an ensemble, and that of all together on the same galaxies."""
    table = Table(**NARROW)
    table.add_column("run")
    table.add_column("RMSE of its question" if found.along_tree else "RMSE", justify="right", no_wrap=True)
    for name, rmse in found.members.items():
        table.add_row(Text(name), f"{rmse:.5f}")
    how = "all questions, along the tree" if found.along_tree else f"mean of the {len(found.members)} runs"
    table.add_row(how, f"{together:.5f}", style="bold")
    return table


def class_counts(made: Catalogue) -> str:
    """Returns how many galaxies have each class as the most probable one, in words."""
    pairs = zip(made.labels.texts, made.likeliest.tolist(), strict=True)
    return ", ".join(f"{text} {number:,}" for text, number in pairs)


def print_evaluation(found: Evaluation) -> None:
    """Prints what an evaluation found, and the files that it wrote."""
    console = Console()
    predictions = found.predictions
    if found.scored is not None and predictions.catalog.labels is not None:
        meaning, predicted = predictions.catalog.labels.meaning, predictions.labels.meaning
        trained = "" if predicted == meaning else f", predicted as {predicted}"
        console.print(Text(f"{found.title}; labels: {meaning}{trained}\n", style="bold"))
        _print_notes(console, found)
        if found.members:
            console.print(_members_table(found, values(found.scored)["rmse"]))
            console.print()
        unaveraged = None if found.unaveraged is None else values(found.unaveraged)
        for table in metrics_tables(predictions.labels, found.scored, values(found.scored), unaveraged):
            console.print(table)
            console.print()
    if found.scored is None:
        console.print(Text(found.title, style="bold"))
        _print_notes(console, found)
    _print_files(console, found.files())


def print_catalogue(made: Catalogue, appraised: bool) -> None:
    """Prints what a catalogue holds, what it lacks, and the files that were written.

    Args:
        made: The catalogue.
        appraised: Whether it says how far the predictions can be trusted.
    """
    console = Console()
    console.print(Text(f"{made.title}, not scored", style="bold"))
    if made.labels.kind == "classes":
        console.print(Text(f"most probable class: {class_counts(made)}\n"))
    if made.failed:
        lacking = (
            "galaxy has no row, because its image or its row of the table cannot be used"
            if made.failed == 1
            else "galaxies have no row, because their images or their rows of the table cannot be used"
        )
        console.print(Text(f"{made.failed:,} {lacking}\n", style="yellow"))
    if not appraised:
        console.print(
            "There are no intervals: `galaxy evaluate run=RUN report=true`, once and with the same tta, fits "
            "them on the validation galaxies of the run.\n",
            style="yellow",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )
    _print_files(console, made.files)


def _print_files(console: Console, files: list[Path]) -> None:
    for file in files:
        console.print(str(file), markup=False, highlight=False, soft_wrap=True)


def _print_notes(console: Console, found: Evaluation) -> None:
    for note in found.notes:
        console.print(Text(f"{note}\n", style="yellow"), soft_wrap=True)
