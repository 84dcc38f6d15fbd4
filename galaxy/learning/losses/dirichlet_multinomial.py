"""The likelihood of the volunteers' votes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from galaxy.data.loader import Batch
from galaxy.labels.labels import Labels
from galaxy.learning.losses.loss import Loss
from galaxy.models.answers import AnswerLayout
from galaxy.models.heads.head import Output


class DirichletMultinomial(Loss):
    """The negative log likelihood of the votes under a Dirichlet-multinomial distribution.

    The votes on a question are drawn with probabilities that themselves come from a Dirichlet distribution.
    Its mean is the softmax of the logits, which is the answer of the tree head before it multiplies by the
    parent's probability. Its concentration A comes from the sum S of the exponentials of the logits and is
    kept finite by 1 / A = 1 / S + 1 / max_concentration.

    The likelihood is that of the votes given how many the question got, multinomial coefficient included. It
    is summed over questions and averaged over galaxies. A question that nobody answered adds 0. The number of
    votes already weighs a question, so the weights of the targets are not read. Walmsley et al. 2022
    (arXiv:2102.08414).

    Args:
        max_concentration: The bound on A, above 0. At 1000 the variance of 40 votes is 4 % above that of a
            multinomial distribution, and float32 still holds the likelihood of a galaxy's votes to 0.005.
    """

    def __init__(self, max_concentration: float = 1000.0) -> None:
        super().__init__()
        if not 0 < max_concentration < math.inf:
            raise ValueError(f"max_concentration is {max_concentration}; it must be a number above 0")
        self.log_bound = math.log(max_concentration)

    def prepare(self, targets: Tensor, labels: Labels) -> None:
        """Takes the tree of the votes."""
        self.layout = AnswerLayout(labels.questions)

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """Computes the loss of a batch from its "counts"; see `Loss.forward`."""
        # (B, questions, most answers): an answer that a question lacks gets the probability 0 and no votes,
        # which adds 0.
        logits = self.layout.padded(output.logits, -torch.inf)
        votes = self.layout.padded(batch["counts"], 0.0)
        total = votes.sum(dim=2)
        log_sum = logits.logsumexp(dim=2)
        log_concentration = self.log_bound - F.softplus(self.log_bound - log_sum)
        log_alpha = logits.log_softmax(dim=2) + log_concentration.unsqueeze(2)
        orders = torch.lgamma(total + 1) - torch.lgamma(votes + 1).sum(dim=2)
        likelihood = orders + _log_rising(log_alpha, votes).sum(dim=2) - _log_rising(log_concentration, total)
        return -likelihood.sum(dim=1).mean()


def _log_rising(log_a: Tensor, n: Tensor) -> Tensor:
    """Returns log(gamma(a + n) / gamma(a)), and 0 where n is 0; exact, with its gradient, down to a = 0."""
    counted = n > 0
    # gamma(1 + a) = a gamma(a) takes the pole at a = 0 out of lgamma and leaves it to log_a.
    log_a = log_a.masked_fill(~counted, 0.0)
    a = log_a.exp()
    return torch.where(counted, log_a + torch.lgamma(n + a) - torch.lgamma(1 + a), 0.0)
