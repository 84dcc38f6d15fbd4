"""What the saved predictions of a run say about its validation split."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from galaxy.reports.scores import Array, Score, score
from galaxy.runs.folder import RunFolder


@dataclass(frozen=True)
class Saved:
    """A metric of the saved predictions.

    Attributes:
        score: The metric, and how much each galaxy decides, in the order of the ids; None if the predictions
            do not tell it.
        answers: The RMSE of each column.
        problem: Why the file could not be read; None if it was read.
    """

    score: Score | None = None
    answers: dict[str, float] = field(default_factory=dict)
    problem: str | None = None


def read_score(run: RunFolder, metric: str) -> Saved:
    """Scores the predictions of the validation split by a metric such as "val/rmse" or "val/rmse/q01"."""
    split, _, name = metric.partition("/")
    path = run.predictions_files["val"]
    if split != "val":
        return Saved()
    if not path.exists():
        return Saved(problem=f"{path} is missing")
    try:
        table = pq.read_table(path)
        names = set(table.column_names)
        columns = [column for column in table.column_names if f"true/{column}" in names]
        order = np.argsort(table.column("id").to_numpy())
        predicted = _matrix(table, columns)[order]
        true = _matrix(table, [f"true/{column}" for column in columns])[order]
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        return Saved(problem=f"{path} is damaged: {' '.join(str(error).split())}")
    try:
        questions = _questions(run) if "/" in name else {}
    except (OSError, ValueError, KeyError) as error:
        return Saved(problem=f"{run.columns_file} is damaged: {error}")
    return Saved(score(name, predicted, true, questions), _answers(columns, predicted, true))


def _matrix(table: pa.Table, columns: list[str]) -> Array:
    """Returns columns as (N, K) float64."""
    return np.stack([table.column(column).to_numpy() for column in columns], axis=1).astype(np.float64)


def _questions(run: RunFolder) -> dict[str, list[int]]:
    """Returns the columns of each question, by its key."""
    keys = pd.read_csv(run.columns_file)["key"]
    return {str(key): list(rows) for key, rows in keys.groupby(keys).groups.items()}


def _answers(columns: list[str], predicted: Array, true: Array) -> dict[str, float]:
    known = np.isfinite(true)
    squares = np.where(known, np.square(predicted - true), 0).sum(axis=0)
    counts = known.sum(axis=0)
    return {
        column: float(np.sqrt(total / count))
        for column, total, count in zip(columns, squares, counts, strict=True)
        if count
    }
