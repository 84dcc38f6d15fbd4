"""Metrics, summed on the device batch by batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from galaxy.labels.labels import Labels


class FractionMetrics(Metric):
    """RMSE and R2 of vote fractions.

    A target of weight 0 is unknown, and takes part in no metric. Sums over galaxies are kept for each of the
    K columns in float64, so the metrics agree to 1e-12 however the galaxies are split into batches or
    processes.

    Args:
        labels: The labels that the columns hold.
        sync_on_compute: Whether the processes of a distributed run add up their sums.
    """

    is_differentiable = False
    full_state_update = False
    squared_errors: Tensor
    weighted_errors: Tensor
    weights: Tensor
    targets: Tensor
    squared_targets: Tensor
    known: Tensor

    def __init__(self, labels: Labels, sync_on_compute: bool = True) -> None:
        super().__init__(sync_on_compute=sync_on_compute)
        questions = labels.questions
        self.slices = {
            question.key: columns for question, columns in zip(questions, questions.slices, strict=True)
        }
        self.weighted = False  # until the first weights come
        sums = ("squared_errors", "weighted_errors", "weights", "targets", "squared_targets", "known")
        for name in sums:
            self.add_state(name, torch.zeros(questions.size, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, fractions: Tensor, targets: Tensor, weights: Tensor | None = None) -> None:
        """Adds a batch.

        Args:
            fractions: (B, K), the predictions.
            targets: (B, K), the truth.
            weights: (B, K), how far each target can be trusted.
        """
        # The sums are changed in place, because assigning an attribute of a module takes longer than a sum.
        true = targets.double()
        squares = (fractions - true).square_()
        if weights is None:
            self.known.add_(len(targets))
        else:
            self.weighted = True
            known = (weights > 0).double()
            squares.mul_(known)
            true = true * known
            self.known.add_(known.sum(dim=0))
            self.weighted_errors.add_((squares * weights).sum(dim=0))
            self.weights.add_(weights.sum(dim=0, dtype=torch.float64))
        self.squared_errors.add_(squares.sum(dim=0))
        self.targets.add_(true.sum(dim=0))
        self.squared_targets.add_(true.square().sum(dim=0))

    def compute(self) -> dict[str, Tensor]:
        """Computes the metrics of all batches so far.

        Returns:
            Scalars, float64. "rmse" is the root of the mean over all known entries; where all N x K are
            known, this is Kaggle's definition (it is not a mean over columns). "r2" is the mean over columns
            of the coefficient of determination, without the columns in which all targets are equal. Several
            questions add "rmse/q01" and so on, each over the columns of a question. Weights add
            "weighted_rmse", the root of the weighted mean.
        """
        spread = self.squared_targets - self.targets.square() / self.known
        # The spread of a constant column is not exactly 0 but rounding, about 1e-16 of the sum.
        varies = spread > 1e-12 * self.squared_targets
        r2 = torch.where(varies, 1 - self.squared_errors / spread, torch.nan).nanmean()
        values = {"rmse": (self.squared_errors.sum() / self.known.sum()).sqrt(), "r2": r2}
        if self.weighted:
            values["weighted_rmse"] = (self.weighted_errors.sum() / self.weights.sum()).sqrt()
        if len(self.slices) > 1:
            for key, columns in self.slices.items():
                of_question = self.squared_errors[columns].sum() / self.known[columns].sum()
                values[f"rmse/{key}"] = of_question.sqrt()
        return values


class ClassMetrics(FractionMetrics):
    """`FractionMetrics` of the probabilities of classes, with accuracy, balanced accuracy and F1.

    The squared RMSE of probabilities is the Brier score divided by K. It is a proper score, and smoother than
    accuracy for choosing a checkpoint. Where the targets are soft, the likeliest class counts as the true
    one.
    """

    confusion: Tensor

    def __init__(self, labels: Labels, sync_on_compute: bool = True) -> None:
        super().__init__(labels, sync_on_compute)
        self.classes = labels.questions.size
        shape = (self.classes, self.classes)
        self.add_state("confusion", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, fractions: Tensor, targets: Tensor, weights: Tensor | None = None) -> None:
        """Adds a batch; see `FractionMetrics.update`."""
        super().update(fractions, targets, weights)
        predicted, true = fractions.argmax(dim=1), targets.argmax(dim=1)
        # `bincount`, which torchmetrics uses, waits for the GPU to learn the value range; `scatter_add_` does
        # not.
        cells = true * self.classes + predicted
        counted = torch.ones_like(cells) if weights is None else (weights > 0).any(dim=1).long()
        self.confusion.view(-1).scatter_add_(0, cells, counted)

    def compute(self) -> dict[str, Tensor]:
        """Computes the metrics of all batches so far.

        Returns:
            The metrics of `FractionMetrics`, and three as in scikit-learn: "accuracy"; "balanced_accuracy",
            the mean recall of the classes that occur; "f1", the mean F1 of the classes that occur or are
            predicted.
        """
        right = self.confusion.diagonal().double()
        true, predicted = self.confusion.sum(dim=1), self.confusion.sum(dim=0)
        values = super().compute()
        values["accuracy"] = right.sum() / true.sum()
        values["balanced_accuracy"] = (right / true)[true > 0].mean()
        values["f1"] = (2 * right / (true + predicted))[true + predicted > 0].mean()
        return values


def metrics_for(labels: Labels, sync_on_compute: bool = True) -> FractionMetrics:
    """Returns the metrics that suit the labels; see `FractionMetrics` for the arguments."""
    kind = ClassMetrics if labels.kind == "classes" else FractionMetrics
    return kind(labels, sync_on_compute)


class RunningMean:
    """The mean of a loss since it was last taken, summed on the device.

    Attributes:
        total: The sum so far; None if there was no step.
        steps: The number of steps in the sum.
    """

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.steps = 0

    def add(self, loss: Tensor) -> None:
        """Adds the loss of a step, a scalar, without waiting for the device."""
        self.total = loss.detach() if self.total is None else self.total + loss.detach()
        self.steps += 1

    def take(self) -> float | None:
        """Returns the mean, which waits for the device, and starts again; None if there was no step."""
        if self.total is None:
            return None
        mean = float(self.total) / self.steps
        self.total, self.steps = None, 0
        return mean
