"""Losses: what training makes small. All compute in float32 and return a scalar."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from galaxy.errors import UserError
from galaxy.output import Output
from galaxy.questions import GALAXY_ZOO_2, Questions

Batch = dict[str, Tensor]


class Loss(nn.Module, ABC):
    """A new loss writes `forward`, and `prepare` if it measures anything on the training targets."""

    def prepare(self, targets: Tensor) -> None:
        """Sees the training targets, (N, K) float32, once before training."""

    @abstractmethod
    def forward(self, output: Output, batch: Batch) -> Tensor:
        """The loss of a batch.

        Args:
            output: Logits and fractions, (B, K) float32 each.
            batch: "target" (B, K) float32, and "counts" (B, K) float32 where the data has votes.

        Returns:
            A scalar, float32.
        """

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        # What `prepare` measures has the survey's shape, which a loss learns from the checkpoint here.
        for name, buffer in self.named_buffers(recurse=False):
            if prefix + name in state_dict:
                setattr(self, name, buffer.new_empty(state_dict[prefix + name].shape))
        super()._load_from_state_dict(state_dict, prefix, *args)


class MSE(Loss):
    """The mean squared error over B x K; its root is Kaggle's metric."""

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """See `Loss.forward`."""
        return F.mse_loss(output.fractions, batch["target"])


class WeightedMSE(Loss):
    """Squared errors weighted by how common an answer is (Speidell).

    An answer's weight is its share of the sum of all training targets, so that weights sum to 1; the loss is
    the weighted sum over answers of the mean over the batch. Rare answers count for little.
    """

    weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weights", torch.empty(0))

    def prepare(self, targets: Tensor) -> None:
        """Weighs the answers: (K,)."""
        totals = targets.sum(dim=0, dtype=torch.float64)
        self.weights = (totals / totals.sum()).float().to(self.weights.device)

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """See `Loss.forward`."""
        return ((output.fractions - batch["target"]).square() * self.weights).mean(dim=0).sum()


class Huber(Loss):
    """Quadratic to `delta` and linear beyond it, the mean over B x K.

    Sirressi used Keras' default of 1, which no error of fractions in [0, 1] exceeds: that is half the MSE.

    Args:
        delta: The error at which the loss turns linear.
    """

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        if delta <= 0:
            raise UserError(f"loss.delta is {delta}; it must be more than 0")
        self.delta = delta

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """See `Loss.forward`."""
        return F.huber_loss(output.fractions, batch["target"], delta=self.delta)


class DirichletMultinomial(Loss):
    """How unlikely the volunteers' votes are, the chances of a question's answers being uncertain themselves.

    Each question's votes are drawn with probabilities from a Dirichlet distribution: its mean is the softmax
    of the logits, which is the tree head's answer before the parents' probabilities, and its concentration A
    the sum S of their exponentials, kept finite by 1 / A = 1 / S + 1 / max_concentration. The loss is the
    negative log likelihood of the votes given how many the question got, multinomial coefficient included,
    summed over questions and averaged over galaxies. A question nobody answered adds 0. Walmsley et al. 2022
    (arXiv:2102.08414).

    Args:
        max_concentration: The bound on A. At 1000 the variance of 40 votes is 4 % above a multinomial one's,
            and float32 still holds the likelihood of a galaxy's votes to 0.005.
        questions: The tree of the counts.
    """

    def __init__(self, max_concentration: float = 1000.0, questions: Questions = GALAXY_ZOO_2) -> None:
        super().__init__()
        if max_concentration <= 0:
            raise UserError(f"loss.max_concentration is {max_concentration}; it must be more than 0")
        self.log_bound = math.log(max_concentration)
        self.sizes = [columns.stop - columns.start for columns in questions.slices]

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """See `Loss.forward`; reads the counts instead of the targets."""
        # (B, questions, most answers): answers that a question lacks get a chance of 0 and no votes, which
        # adds 0.
        logits = self._by_question(output.logits, -torch.inf)
        votes = self._by_question(batch["counts"], 0.0)
        total = votes.sum(dim=2)
        log_sum = logits.logsumexp(dim=2)
        log_concentration = self.log_bound - F.softplus(self.log_bound - log_sum)
        log_alpha = logits.log_softmax(dim=2) + log_concentration.unsqueeze(2)
        orders = torch.lgamma(total + 1) - torch.lgamma(votes + 1).sum(dim=2)
        likelihood = orders + _log_rising(log_alpha, votes).sum(dim=2) - _log_rising(log_concentration, total)
        return -likelihood.sum(dim=1).mean()

    def _by_question(self, values: Tensor, filler: float) -> Tensor:
        width = max(self.sizes)
        return torch.stack(
            [
                F.pad(part, (0, width - part.shape[1]), value=filler)
                for part in values.split(self.sizes, dim=1)
            ],
            dim=1,
        )


def _log_rising(log_a: Tensor, n: Tensor) -> Tensor:
    """log(gamma(a + n) / gamma(a)), 0 where n is 0; exact, with its gradient, for any a down to 0."""
    counted = n > 0
    # gamma(1 + a) = a gamma(a): the pole at a = 0 is taken out, and left to log_a.
    log_a = log_a.masked_fill(~counted, 0.0)
    a = log_a.exp()
    return torch.where(counted, log_a + torch.lgamma(n + a) - torch.lgamma(1 + a), 0.0)
