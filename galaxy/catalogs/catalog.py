"""What every survey's reader returns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galaxy.questions import Questions


@dataclass(frozen=True)
class Catalog:
    """Galaxies with their images and, if they have any, their labels; row i is the same galaxy everywhere.

    Attributes:
        name: The survey, as in `data=`.
        ids: (N,) int64, unique.
        images: N image files.
        columns: The K target names, in order.
        targets: (N, K) float32 vote fractions in [0, 1], or None where the survey has no labels.
        meaning: What a target is, in the words of the tables: "cumulative" where a question's fractions
            sum to its parent's value (Kaggle).
        questions: The tree the columns belong to.
        counts: (N, K) float32 votes each answer got, or None where the survey does not say.
        expected: (N, K) float32 probabilities that the votes were drawn from, known for simulated galaxies
            only. A perfect model predicts these; its RMSE is the noise floor.
        skipped: One line for each row or file left out under `on_bad="skip"`.
    """

    name: str
    ids: NDArray[np.int64]
    images: tuple[Path, ...]
    columns: tuple[str, ...]
    targets: NDArray[np.float32] | None
    meaning: str
    questions: Questions
    counts: NDArray[np.float32] | None = None
    expected: NDArray[np.float32] | None = None
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.int64], skipped: tuple[str, ...] = ()) -> Catalog:
        """The galaxies of these rows, in this order; `skipped` is added to the report of those left out."""

        def some(values: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
            return None if values is None else values[rows]

        return replace(
            self,
            ids=self.ids[rows],
            images=tuple(self.images[i] for i in rows.tolist()),
            targets=some(self.targets),
            counts=some(self.counts),
            expected=some(self.expected),
            skipped=self.skipped + skipped,
        )
