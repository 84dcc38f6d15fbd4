"""Metrics, summed on the device batch by batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from galaxy.questions import Questions


class FractionMetrics(Metric):
    """RMSE and R2 of vote fractions.

    Sums over galaxies are kept for each of the K columns in float64: however the galaxies are split into
    batches or processes, the metrics agree to 1e-12.

    Args:
        questions: The tree of the columns.
        sync_on_compute: Whether the processes of a distributed run add up their sums.
    """

    is_differentiable = False
    full_state_update = False
    squared_errors: Tensor
    targets: Tensor
    squared_targets: Tensor
    galaxies: Tensor

    def __init__(self, questions: Questions, sync_on_compute: bool = True) -> None:
        super().__init__(sync_on_compute=sync_on_compute)
        self.slices = {
            question.key: columns for question, columns in zip(questions, questions.slices, strict=True)
        }
        for name in ("squared_errors", "targets", "squared_targets"):
            self.add_state(name, torch.zeros(questions.size, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("galaxies", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, fractions: Tensor, targets: Tensor) -> None:
        """Adds a batch.

        Args:
            fractions: (B, K), predicted.
            targets: (B, K), true.
        """
        predicted, true = fractions.double(), targets.double()
        self.squared_errors += (predicted - true).square().sum(dim=0)
        self.targets += true.sum(dim=0)
        self.squared_targets += true.square().sum(dim=0)
        self.galaxies += len(targets)

    def compute(self) -> dict[str, Tensor]:
        """The metrics of all batches so far.

        Returns:
            Scalars, float64: "rmse", the root of the mean over N x K (Kaggle's definition; not a mean over
            columns); "rmse/q01" and so on, the same over a question's columns; "r2", the mean over columns of
            the coefficient of determination. Columns in which all targets are equal have none and are left
            out.
        """
        mean_squares = self.squared_errors / self.galaxies
        spread = self.squared_targets - self.targets.square() / self.galaxies
        # A constant column leaves rounding (1e-16 of the sum) in place of 0.
        varies = spread > 1e-12 * self.squared_targets
        r2 = torch.where(varies, 1 - self.squared_errors / spread, torch.nan).nanmean()
        questions = {
            f"rmse/{key}": mean_squares[columns].mean().sqrt() for key, columns in self.slices.items()
        }
        return {"rmse": mean_squares.mean().sqrt(), "r2": r2, **questions}
