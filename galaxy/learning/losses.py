"""Losses: what training makes small. All return a scalar, in float32 or, of float64 targets, float64."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from galaxy.labels.labels import Labels
from galaxy.labels.tree import Questions
from galaxy.models.late_buffers import LateBuffers
from galaxy.models.output import Output
from galaxy.system.errors import UserError

Batch = dict[str, Tensor]


class Loss(LateBuffers, ABC):
    """A new loss writes `forward`, and `prepare` if it measures anything on the training targets.

    What it measures are buffers, which checkpoints carry; see `LateBuffers` for their shapes.
    """

    def prepare(self, targets: Tensor, labels: Labels) -> None:
        """Sees the training targets, (N, K) float32, and what they are, once before training."""

    @abstractmethod
    def forward(self, output: Output, batch: Batch) -> Tensor:
        """The loss of a batch.

        Args:
            output: Logits and fractions, (B, K) float32 each.
            batch: "target" (B, K) float32; "weight" (B, K) float32 where the targets can be trusted
                unequally; "counts" (B, K) float32 where the data has votes.

        Returns:
            A scalar.
        """


class MSE(Loss):
    """The mean squared error over B x K; its root is Kaggle's metric."""

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """See `Loss.forward`."""
        return _mean((output.fractions - batch["target"]).square(), batch)


class WeightedMSE(Loss):
    """Squared errors weighted by how common an answer is (Speidell).

    An answer's weight is its share of the sum of all training targets, so that weights sum to 1; the loss is
    the weighted sum over answers of the mean over the batch. Rare answers count for little.
    """

    weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weights", torch.empty(0))

    def prepare(self, targets: Tensor, labels: Labels) -> None:
        """Weighs the answers: (K,)."""
        totals = targets.sum(dim=0, dtype=torch.float64)
        self.weights = (totals / totals.sum()).float().to(self.weights.device)

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """See `Loss.forward`."""
        squares = (output.fractions - batch["target"]).square() * self.weights
        return _mean(squares, batch) * squares.shape[1]


class Huber(Loss):
    """Quadratic to `delta` and linear beyond it, the mean over B x K.

    Sirressi used Keras' default of 1, which no error of fractions in [0, 1] exceeds: that is half the MSE.
    With head=linear, as Sirressi's, fractions may leave [0, 1] for a while, and are pulled back less.

    Args:
        delta: The error at which the loss turns linear.
    """

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        if not 0 < delta < math.inf:
            raise UserError(f"loss.delta is {delta}; it must be a number above 0")
        self.delta = delta

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """See `Loss.forward`."""
        target = batch["target"].to(output.fractions.dtype)  # which trainer.precision=64-true makes double
        errors = F.huber_loss(output.fractions, target, reduction="none", delta=self.delta)
        return _mean(errors, batch)


class CrossEntropy(Loss):
    """How surprised the softmax of the logits is by the answers, question by question.

    Over one question this is the usual cross-entropy with soft targets. Cumulative targets of several
    questions weigh each by the probability of being asked, which makes the sum the cross-entropy of whole
    ways through the tree. A question with one answer is asked whether or not. Summed over questions,
    averaged over galaxies.

    Args:
        class_weights: "balanced" counts each answer of a question as much as the others, however rare it is
            among the training galaxies; "none" counts each galaxy the same.
        label_smoothing: Share of a question's target that is spread evenly over its answers, in [0, 1).
    """

    answer_weights: Tensor

    def __init__(
        self, class_weights: Literal["none", "balanced"] = "none", label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise UserError(
                f"loss.label_smoothing is {label_smoothing}; it must be 0 or more and less than 1"
            )
        self.balanced = class_weights == "balanced"
        self.label_smoothing = label_smoothing
        self.register_buffer("answer_weights", torch.empty(0, 0))

    def prepare(self, targets: Tensor, labels: Labels) -> None:
        """Takes the tree, and weighs its answers: (questions, most answers)."""
        self.tree = _Tree(labels.questions)
        answers = self.tree.answers(targets.double())
        totals = answers.sum(dim=0)
        weights = torch.ones_like(totals)
        if self.balanced:
            # As in scikit-learn, which counts the answers that occur; the others keep their weight.
            occurring = (totals > 0).sum(dim=1, keepdim=True)
            shares = totals.sum(dim=1, keepdim=True) / (occurring * totals)
            weights = torch.where(totals > 0, shares, weights)
        self.answer_weights = weights.float().to(self.answer_weights.device)

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """See `Loss.forward`."""
        answers = self.tree.answers(batch["target"])
        if self.label_smoothing:
            real = self.tree.real_on(answers.device)
            even = real.to(answers.dtype) / real.sum(dim=1, keepdim=True)
            spread = answers.sum(dim=2, keepdim=True) * even
            answers = answers + self.label_smoothing * (spread - answers)
        if "weight" in batch:
            # A question's answers were given by the same volunteers, so that one weight holds for all.
            answers = answers * self.tree.padded(batch["weight"], 0.0).amax(dim=2, keepdim=True)
        surprise = -self.tree.log_probabilities(output.logits)
        return (answers * self.answer_weights * surprise).sum(dim=(1, 2)).mean()


class DirichletMultinomial(Loss):
    """How unlikely the volunteers' votes are, the chances of a question's answers being uncertain themselves.

    Each question's votes are drawn with probabilities from a Dirichlet distribution: its mean is the softmax
    of the logits, which is the tree head's answer before the parents' probabilities, and its concentration A
    the sum S of their exponentials, kept finite by 1 / A = 1 / S + 1 / max_concentration. The loss is the
    negative log likelihood of the votes given how many the question got, multinomial coefficient included,
    summed over questions and averaged over galaxies. A question nobody answered adds 0. The votes weigh
    themselves: the targets' weights are not read. Walmsley et al. 2022 (arXiv:2102.08414).

    Args:
        max_concentration: The bound on A. At 1000 the variance of 40 votes is 4 % above a multinomial one's,
            and float32 still holds the likelihood of a galaxy's votes to 0.005.
    """

    def __init__(self, max_concentration: float = 1000.0) -> None:
        super().__init__()
        if not 0 < max_concentration < math.inf:
            raise UserError(f"loss.max_concentration is {max_concentration}; it must be a number above 0")
        self.log_bound = math.log(max_concentration)

    def prepare(self, targets: Tensor, labels: Labels) -> None:
        """Takes the tree of the votes."""
        self.tree = _Tree(labels.questions)

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """See `Loss.forward`; reads the counts instead of the targets."""
        # (B, questions, most answers): answers that a question lacks get a chance of 0 and no votes, which
        # adds 0.
        logits = self.tree.padded(output.logits, -torch.inf)
        votes = self.tree.padded(batch["counts"], 0.0)
        total = votes.sum(dim=2)
        log_sum = logits.logsumexp(dim=2)
        log_concentration = self.log_bound - F.softplus(self.log_bound - log_sum)
        log_alpha = logits.log_softmax(dim=2) + log_concentration.unsqueeze(2)
        orders = torch.lgamma(total + 1) - torch.lgamma(votes + 1).sum(dim=2)
        likelihood = orders + _log_rising(log_alpha, votes).sum(dim=2) - _log_rising(log_concentration, total)
        return -likelihood.sum(dim=1).mean()


class _Tree:
    """Answers set apart by question: (B, K) to (B, questions, most answers).

    Args:
        questions: Whose K answers the columns are.
    """

    def __init__(self, questions: Questions) -> None:
        self.sizes = questions.sizes
        self.first = [columns.start for columns in questions.slices]
        self.width = max(2, *self.sizes)
        self.parents = questions.parents
        # A single answer has its denial beside it.
        self._real = torch.arange(self.width) < torch.tensor(self.sizes).clamp_min(2)[:, None]

    def real_on(self, device: torch.device) -> Tensor:
        """(questions, most answers) bool, whether there is such an answer."""
        self._real = self._real.to(device)  # once, for such a copy waits for the GPU
        return self._real

    def padded(self, values: Tensor, filler: float) -> Tensor:
        """With `filler` in place of the answers that a question lacks."""
        parts = values.split(self.sizes, dim=1)
        return torch.stack([F.pad(p, (0, self.width - p.shape[1]), value=filler) for p in parts], dim=1)

    def answers(self, targets: Tensor) -> Tensor:
        """The targets, and for a question with a single answer what is left of its parent's."""
        padded = self.padded(targets, 0.0)
        for question in self._single():
            parent = self.parents[question]
            whole = 1.0 if parent is None else targets[:, parent]
            padded[:, question, 1] = (whole - targets[:, self.first[question]]).clamp_min(0)
        return padded

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """The logarithm of each question's softmax; 0 for the answers that it lacks."""
        padded = self.padded(logits, -torch.inf)
        for question in self._single():
            padded[:, question, 1] = 0.0  # the softmax of (x, 0) is the sigmoid of x
        return padded.log_softmax(dim=2).masked_fill(~self.real_on(logits.device), 0.0)

    def _single(self) -> list[int]:
        return [question for question, size in enumerate(self.sizes) if size == 1]


def _mean(errors: Tensor, batch: Batch) -> Tensor:
    """The mean over (B, K), weighted where the batch has weights."""
    if "weight" not in batch:
        return errors.mean()
    # A batch of galaxies that nobody was asked about adds 0 rather than 0/0.
    return (errors * batch["weight"]).sum() / batch["weight"].sum().clamp_min(1e-6)


def _log_rising(log_a: Tensor, n: Tensor) -> Tensor:
    """log(gamma(a + n) / gamma(a)), 0 where n is 0; exact, with its gradient, for any a down to 0."""
    counted = n > 0
    # gamma(1 + a) = a gamma(a): the pole at a = 0 is taken out, and left to log_a.
    log_a = log_a.masked_fill(~counted, 0.0)
    a = log_a.exp()
    return torch.where(counted, log_a + torch.lgamma(n + a) - torch.lgamma(1 + a), 0.0)
