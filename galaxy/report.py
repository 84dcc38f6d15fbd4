"""Tables that a person reads at the end of a run or an evaluation."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from galaxy.questions import Questions
from galaxy.runs import Result, RunFolder

BASELINE_NAMES = {
    "mean": "mean of the training labels",
    "center_pixel": "line through the central pixel",
    "noise_floor": "noise floor (a perfect model)",
}


def result_table(run: RunFolder, result: Result) -> Table:
    """The run's test RMSE among the baselines, worst first."""
    title = f"Test RMSE over N x 37 {result.labels} fractions"
    table = Table(title=f"{title} (epochs: {result.epochs}, {result.seconds:.0f} s)", title_justify="left")
    table.add_column("prediction")
    table.add_column("test RMSE", justify="right")
    table.add_column("better than the mean", justify="right")
    model = run.choices()["model"]
    rows = {BASELINE_NAMES[name]: rmse for name, rmse in result.baselines.items() if name != model}
    name = f"{model}, best checkpoint"
    rows[name] = result.metrics["test/rmse"]
    mean = result.baselines["mean"]
    for label, rmse in sorted(rows.items(), key=lambda row: -row[1]):
        style = "bold" if label == name else None
        table.add_row(label, f"{rmse:.5f}", f"{1 - rmse / mean:.1%}", style=style)
    return table


def question_table(questions: Questions, metrics: dict[str, float], title: str) -> Table:
    """RMSE of each question and of all, with the question's words."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("question")
    table.add_column("RMSE", justify="right", no_wrap=True)  # of the two, the words can wrap
    for question in questions:
        key = f"rmse/{question.key}"
        table.add_row(f"{question.key}  {question.text}", f"{metrics[key]:.5f}")
    table.add_section()
    table.add_row("all, over N x K", f"{metrics['rmse']:.5f}", style="bold")
    table.add_row("R², mean over the columns", f"{metrics['r2']:.5f}")
    return table
