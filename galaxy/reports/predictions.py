"""What the saved predictions of a run say about its validation split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow.parquet import ParquetFile

from galaxy.reports.scores import Array, Score, arrays, score
from galaxy.runs.folder import RunFolder
from galaxy.system.errors import UserError


@dataclass(frozen=True)
class Saved:
    """A metric of the saved predictions.

    Attributes:
        score: The metric, and how much each galaxy decides, in the order of the ids; None if the predictions
            do not tell it.
        answers: The RMSE of each column.
        problem: Why the predictions cannot be used; None if they can.
    """

    score: Score | None = None
    answers: dict[str, float] = field(default_factory=dict)
    problem: str | None = None


def read_predictions(run: RunFolder, split: str) -> pd.DataFrame:
    """Returns the saved predictions of a split, in the order of the ids.

    Raises:
        UserError: The file is missing or damaged.
    """
    path = run.predictions_files[split]
    if not path.exists():
        raise UserError(f"{path} is missing")
    try:
        # `pandas.read_parquet` starts threads, which takes longer than reading such a small file.
        with ParquetFile(path) as file:
            table = file.read(use_threads=False).to_pandas(use_threads=False).sort_values("id")
        arrays(table)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise UserError(f"{path} is damaged: {' '.join(str(error).split())}") from error
    return table


def read_questions(run: RunFolder) -> dict[str, list[int]]:
    """Returns the columns of each question in the predictions, by its key.

    Raises:
        UserError: The file that says so is missing or damaged.
    """
    try:
        keys = pd.read_csv(run.columns_file)["key"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{run.columns_file} is missing or damaged: {error}") from error
    return {str(key): list(rows) for key, rows in keys.groupby(keys).groups.items()}


def saved_score(
    metric: str,
    predictions: Callable[[], pd.DataFrame],
    questions: Callable[[], Mapping[str, Sequence[int]]],
) -> Saved:
    """Scores predictions of the validation split by a metric such as "val/rmse" or "val/rmse/q01".

    Args:
        metric: The metric; one of another split is not told.
        predictions: Reads the predictions, as `read_predictions` does.
        questions: Reads the columns of each question, as `read_questions` does.
    """
    split, _, name = metric.partition("/")
    if split != "val":
        return Saved()
    try:
        table = predictions()
        known = questions() if "/" in name else {}
    except UserError as error:
        return Saved(problem=str(error))
    predicted, true = arrays(table)
    columns = [str(column) for column in table if f"true/{column}" in table]
    return Saved(score(name, predicted, true, known), _answers(columns, predicted, true))


def _answers(columns: Sequence[str], predicted: Array, true: Array) -> dict[str, float]:
    known = np.isfinite(true)
    squares = np.where(known, np.square(predicted - true), 0).sum(axis=0)
    counts = known.sum(axis=0)
    return {
        column: float(np.sqrt(total / count))
        for column, total, count in zip(columns, squares, counts, strict=True)
        if count
    }
