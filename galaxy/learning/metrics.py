"""Metrics, summed on the device batch by batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from galaxy.labels.labels import Labels

# Those of every run, and those that classes add.
FRACTION_METRICS = ("rmse", "r2")
CLASS_METRICS = ("accuracy", "balanced_accuracy", "f1")


class FractionMetrics(Metric):
    """RMSE and R2 of vote fractions.

    Sums over galaxies are kept for each of the K columns in float64: however the galaxies are split into
    batches or processes, the metrics agree to 1e-12.

    Args:
        labels: What the columns are.
        weighted: Whether the targets come with weights.
        sync_on_compute: Whether the processes of a distributed run add up their sums.
    """

    is_differentiable = False
    full_state_update = False
    squared_errors: Tensor
    weighted_errors: Tensor
    weights: Tensor
    targets: Tensor
    squared_targets: Tensor
    galaxies: Tensor

    def __init__(self, labels: Labels, weighted: bool = False, sync_on_compute: bool = True) -> None:
        super().__init__(sync_on_compute=sync_on_compute)
        questions = labels.questions
        self.slices = {
            question.key: columns for question, columns in zip(questions, questions.slices, strict=True)
        }
        self.weighted = weighted
        for name in ("squared_errors", "weighted_errors", "weights", "targets", "squared_targets"):
            self.add_state(name, torch.zeros(questions.size, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("galaxies", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, fractions: Tensor, targets: Tensor, weights: Tensor | None = None) -> None:
        """Adds a batch.

        Args:
            fractions: (B, K), predicted.
            targets: (B, K), true.
            weights: (B, K), how far each target can be trusted.
        """
        # In place: an assignment to an attribute of a module takes longer than such a sum.
        true = targets.double()
        squares = (fractions - true).square_()
        self.squared_errors.add_(squares.sum(dim=0))
        if weights is not None:
            self.weighted_errors.add_(squares.mul_(weights).sum(dim=0))
            self.weights.add_(weights.sum(dim=0, dtype=torch.float64))
        self.targets.add_(true.sum(dim=0))
        self.squared_targets.add_(true.square().sum(dim=0))
        self.galaxies.add_(len(targets))

    def compute(self) -> dict[str, Tensor]:
        """The metrics of all batches so far.

        Returns:
            Scalars, float64: "rmse", the root of the mean over N x K (Kaggle's definition; not a mean over
            columns); "r2", the mean over columns of the coefficient of determination, columns in which all
            targets are equal having none and being left out; where there are several questions "rmse/q01" and
            so on, over a question's columns; where there are weights "weighted_rmse", the root of the
            weighted mean.
        """
        mean_squares = self.squared_errors / self.galaxies
        spread = self.squared_targets - self.targets.square() / self.galaxies
        # A constant column leaves rounding (1e-16 of the sum) in place of 0.
        varies = spread > 1e-12 * self.squared_targets
        r2 = torch.where(varies, 1 - self.squared_errors / spread, torch.nan).nanmean()
        values = {"rmse": mean_squares.mean().sqrt(), "r2": r2}
        if self.weighted:
            values["weighted_rmse"] = (self.weighted_errors.sum() / self.weights.sum()).sqrt()
        if len(self.slices) > 1:
            for key, columns in self.slices.items():
                values[f"rmse/{key}"] = mean_squares[columns].mean().sqrt()
        return values


class ClassMetrics(FractionMetrics):
    """What `FractionMetrics` says of the probabilities, and how often the likeliest class is the true one.

    The root mean square error of probabilities is that of the Brier score over K classes: a proper score, and
    a smoother one to choose a checkpoint by than accuracy. Where the targets are soft, the true class is the
    likeliest.
    """

    confusion: Tensor

    def __init__(self, labels: Labels, weighted: bool = False, sync_on_compute: bool = True) -> None:
        super().__init__(labels, weighted, sync_on_compute)
        self.classes = labels.questions.size
        shape = (self.classes, self.classes)
        self.add_state("confusion", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, fractions: Tensor, targets: Tensor, weights: Tensor | None = None) -> None:
        """Adds a batch; see `FractionMetrics.update`."""
        super().update(fractions, targets, weights)
        predicted, true = fractions.argmax(dim=1), targets.argmax(dim=1)
        # torchmetrics counts with `bincount`, for which a GPU has to say what the least and the greatest are.
        cells = true * self.classes + predicted
        self.confusion.view(-1).scatter_add_(0, cells, torch.ones_like(cells))

    def compute(self) -> dict[str, Tensor]:
        """The metrics of all batches so far.

        Returns:
            Those of `FractionMetrics`, and as in scikit-learn: "accuracy"; "balanced_accuracy", the mean
            recall of the classes that occur; "f1", the mean F1 of the classes that occur or are predicted.
        """
        right = self.confusion.diagonal().double()
        true, predicted = self.confusion.sum(dim=1), self.confusion.sum(dim=0)
        values = super().compute()
        values["accuracy"] = right.sum() / true.sum()
        values["balanced_accuracy"] = (right / true)[true > 0].mean()
        values["f1"] = (2 * right / (true + predicted))[true + predicted > 0].mean()
        return values


def metrics_for(labels: Labels, weighted: bool = False, sync_on_compute: bool = True) -> FractionMetrics:
    """The metrics that suit the labels; see `FractionMetrics` for the arguments."""
    kind = ClassMetrics if labels.kind == "classes" else FractionMetrics
    return kind(labels, weighted, sync_on_compute)
