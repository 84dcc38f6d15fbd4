"""Heads, and the sums that a tree obeys."""

import numpy as np
import pytest
import torch

from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2
from galaxy.labels.tree import Answer, Question, Questions
from galaxy.models.heads.head import Head
from galaxy.models.heads.linear import LinearHead
from galaxy.models.heads.sigmoid import SigmoidHead
from galaxy.models.heads.tree import TreeHead

# Two questions on, and the child first: nothing may depend on Galaxy Zoo 2 or on the order of its columns.
CHILD_FIRST = Questions(
    (
        Question("child", "", (Answer("a"), Answer("b"), Answer("c")), parent=("root", 1)),
        Question("root", "", (Answer("d"), Answer("e"))),
    )
)


@pytest.mark.parametrize("scale", [1, 10, 100])
@pytest.mark.parametrize("questions", [GALAXY_ZOO_2, CHILD_FIRST])
def test_tree_obeys_every_sum(scale: float, questions: Questions) -> None:
    torch.manual_seed(0)
    logits = scale * torch.randn(500, questions.size)
    fractions = TreeHead(4, questions).fractions(logits).numpy()
    assert fractions.dtype == np.float32
    assert np.abs(questions.residuals(fractions)).max() < 1e-6
    assert fractions.min() >= 0
    assert fractions.max() <= 1


def test_tree_is_softmax_times_parent() -> None:
    torch.manual_seed(0)
    logits = 3 * torch.randn(50, GALAXY_ZOO_2.size)
    weights = np.exp(logits.numpy().astype(np.float64))
    conditional, _ = GALAXY_ZOO_2.conditional(weights)
    expected = GALAXY_ZOO_2.cumulative(conditional)
    np.testing.assert_allclose(TreeHead(4, GALAXY_ZOO_2).fractions(logits).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("head", [LinearHead, SigmoidHead, TreeHead])
def test_heads_are_float32_under_autocast(head: type) -> None:
    torch.manual_seed(0)
    module = head(16, GALAXY_ZOO_2)
    features = torch.randn(8, 16).bfloat16()
    exact = module(features.float())
    with torch.autocast("cpu", torch.bfloat16):
        output = module(features)
    assert output.logits.dtype == output.fractions.dtype == torch.float32
    torch.testing.assert_close(output.fractions, exact.fractions, rtol=0, atol=1e-6)
    torch.testing.assert_close(output.logits, exact.logits, rtol=0, atol=1e-5)


def test_linear_and_sigmoid() -> None:
    torch.manual_seed(0)
    features = torch.randn(8, 16)
    linear = LinearHead(16, GALAXY_ZOO_2)(features)
    assert torch.equal(linear.fractions, linear.logits)
    sigmoid = SigmoidHead(16, GALAXY_ZOO_2)(features)
    torch.testing.assert_close(sigmoid.fractions, 1 / (1 + torch.exp(-sigmoid.logits)))


def test_tree_learns_any_fractions_that_obey_the_tree() -> None:
    torch.manual_seed(0)
    tree = TreeHead(1, GALAXY_ZOO_2)
    target = tree.fractions(2 * torch.randn(4, GALAXY_ZOO_2.size))
    logits = torch.zeros(4, GALAXY_ZOO_2.size, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        (tree.fractions(logits) - target).square().sum().backward()
        optimizer.step()
    assert (tree.fractions(logits) - target).abs().max() < 0.03


@pytest.mark.parametrize("head", [LinearHead, SigmoidHead, TreeHead])
def test_an_untrained_head_predicts_the_mean(head: type[Head]) -> None:
    torch.manual_seed(0)
    votes = torch.rand(6, GALAXY_ZOO_2.size).double().numpy() + 0.01
    mean = torch.from_numpy(GALAXY_ZOO_2.cumulative(GALAXY_ZOO_2.conditional(votes)[0])).float().mean(dim=0)
    module = head(4, GALAXY_ZOO_2)
    module.start_at(mean)
    fractions = module(torch.randn(3, 4)).fractions
    torch.testing.assert_close(fractions, mean.expand(3, -1), atol=1e-5, rtol=1e-4)


def test_a_single_answer_may_be_denied_from_the_start() -> None:
    only = Questions(
        (Question("odd", "", (Answer("yes"),)), Question("how", "", (Answer("very"),), parent=("odd", 0)))
    )
    head = TreeHead(2, only)
    head.start_at(torch.tensor([0.3, 0.1]))
    torch.testing.assert_close(head(torch.randn(1, 2)).fractions, torch.tensor([[0.3, 0.1]]))


def test_a_head_that_does_not_tell_its_logits_stays_random() -> None:
    class Own(Head):
        def fractions(self, logits: torch.Tensor) -> torch.Tensor:
            return logits.tanh()

    head = Own(4, GALAXY_ZOO_2)
    before = head.linear.weight.clone()
    head.start_at(torch.full((GALAXY_ZOO_2.size,), torch.nan))
    assert torch.equal(head.linear.weight, before)
