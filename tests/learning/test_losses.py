"""Losses against their NumPy and SciPy definitions."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import dirichlet_multinomial
from sklearn.utils.class_weight import compute_class_weight

from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2
from galaxy.labels.labels import Labels, class_labels
from galaxy.labels.tree import Answer, Question, Questions
from galaxy.learning.losses import Loss
from galaxy.learning.losses.cross_entropy import CrossEntropy
from galaxy.learning.losses.dirichlet_multinomial import DirichletMultinomial
from galaxy.learning.losses.huber import Huber
from galaxy.learning.losses.mse import MSE
from galaxy.learning.losses.weighted_mse import WeightedMSE
from galaxy.models import Output
from galaxy.models.heads.tree import TreeHead
from galaxy.surveys.kaggle import LABELS

K = GALAXY_ZOO_2.size


def example(seed: int = 0, scale: float = 1.0) -> tuple[Output, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(6, K, generator=generator)
    target = torch.rand(6, K, generator=generator)
    counts = torch.randint(0, 15, (6, K), generator=generator).float()
    counts[0, GALAXY_ZOO_2.slices[8]] = 0  # a question nobody answered
    return Output(logits, TreeHead(1, GALAXY_ZOO_2).fractions(logits)), {"target": target, "counts": counts}


def arrays(output: Output, batch: dict[str, torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    return output.fractions.double().numpy(), batch["target"].double().numpy()


def dirichlet(bound: float = 1000.0) -> DirichletMultinomial:
    loss = DirichletMultinomial(bound)
    loss.prepare(torch.zeros(1, K), LABELS)
    return loss


def test_mse() -> None:
    output, batch = example()
    predicted, true = arrays(output, batch)
    assert MSE()(output, batch).item() == pytest.approx(np.mean((predicted - true) ** 2), rel=1e-6)


def test_weighted_mse_is_the_articles() -> None:
    output, batch = example()
    predicted, true = arrays(output, batch)
    train = torch.rand(100, K, generator=torch.Generator().manual_seed(1)) ** 3
    loss = WeightedMSE()
    loss.prepare(train, LABELS)
    y_train = train.double().numpy()
    weights = np.sum(y_train, axis=0) / np.sum(y_train)
    expected = ((predicted - true) ** 2 * weights).mean(0).sum()
    assert loss(output, batch).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("make", [WeightedMSE, lambda: CrossEntropy("balanced")])
def test_weights_travel_in_the_checkpoint(make: Callable[[], Loss]) -> None:
    loss, new, other = make(), make(), make()
    targets = torch.rand(100, K, generator=torch.Generator().manual_seed(1))
    loss.prepare(targets, LABELS)
    parent = torch.nn.ModuleDict({"loss": new})
    state = torch.nn.ModuleDict({"loss": loss}).state_dict()
    parent.load_state_dict(state)
    assert state
    for name, weights in state.items():
        assert torch.equal(parent.state_dict()[name], weights)
    other.prepare(targets[:, :2], class_labels(("a", "b"), "Which?"))
    with pytest.raises(RuntimeError, match="size mismatch"):
        other.load_state_dict(loss.state_dict())


def test_balanced_weights_are_scikit_learns_whatever_classes_are_absent() -> None:
    labels = class_labels(("a", "b", "c", "d"), "Which?")
    truth = torch.tensor([0] * 20 + [1] * 8 + [3] * 2)
    loss = CrossEntropy("balanced")
    loss.prepare(F.one_hot(truth, 4).float(), labels)
    present = np.array([0, 1, 3])
    expected = compute_class_weight("balanced", classes=present, y=truth.numpy())
    np.testing.assert_allclose(loss.answer_weights[0, present].numpy(), expected, rtol=1e-6)
    assert loss.answer_weights[0, 2] == 1


def test_unknown_targets_are_measured_neither_as_yes_nor_as_no() -> None:
    # y is known of 100 of 1,000 galaxies, and 80 of these have it.
    labels = Labels(
        Questions((Question("x", "x", (Answer("x"),)), Question("y", "y", (Answer("y"),)))),
        ("x", "y"),
        "cumulative",
    )
    targets = torch.full((1000, 2), torch.nan)
    targets[:, 0] = torch.arange(1000) % 2
    targets[:100, 1] = (torch.arange(100) < 80).float()
    balanced = entropy(labels, targets, class_weights="balanced")
    torch.testing.assert_close(balanced.answer_weights, torch.tensor([[1.0, 1.0], [0.625, 2.5]]))
    weighted = WeightedMSE()
    weighted.prepare(targets, labels)
    torch.testing.assert_close(weighted.weights, torch.tensor([0.5, 0.8]) / 1.3)


@pytest.mark.parametrize("delta", [0.1, 1.0])
def test_huber(delta: float) -> None:
    output, batch = example()
    predicted, true = arrays(output, batch)
    error = np.abs(predicted - true)
    expected = np.where(error <= delta, error**2 / 2, delta * (error - delta / 2)).mean()
    assert Huber(delta)(output, batch).item() == pytest.approx(expected, rel=1e-6)


def reference(logits: np.ndarray, counts: np.ndarray, bound: float) -> float:
    total = 0.0
    for row, votes in zip(logits.astype(np.float64), counts.astype(int), strict=True):
        for columns in GALAXY_ZOO_2.slices:
            n = votes[columns]
            if n.sum():
                sums = np.exp(row[columns])
                concentration = 1 / (1 / sums.sum() + 1 / bound)
                total -= dirichlet_multinomial.logpmf(n, concentration * sums / sums.sum(), n.sum())
    return total / len(logits)


# 5: sums from 1e-3 to 1e6, on both sides of the bound.
@pytest.mark.parametrize("scale", [0.1, 1, 5])
@pytest.mark.parametrize("bound", [50.0, 1000.0])
def test_dirichlet_multinomial_is_scipys(scale: float, bound: float) -> None:
    output, batch = example(scale=scale)
    expected = reference(output.logits.numpy(), batch["counts"].numpy(), bound)
    loss = dirichlet(bound)(output, batch)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected, rel=1e-5, abs=1e-2)


def test_dirichlet_multinomial_survives_extreme_logits() -> None:
    for scale in (30, 300):
        output, batch = example(scale=scale)
        logits = output.logits.requires_grad_()
        loss = dirichlet()(Output(logits, output.fractions), batch)
        loss.backward()
        assert loss.isfinite()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


def test_unanswered_questions_add_nothing() -> None:
    output, _ = example()
    logits = output.logits.requires_grad_()
    nobody = {"counts": torch.zeros(6, K)}
    loss = dirichlet()(Output(logits, output.fractions), nobody)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_tree_head_predicts_the_dirichlet_mean() -> None:
    """Fitted to the votes of many volunteers, the head's fractions are the share of the votes."""
    shares = torch.tensor([0.5, 0.3, 0.2])
    counts = torch.zeros(1, K)
    counts[0, :3] = 1000 * shares
    logits = torch.zeros(1, K, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    loss = dirichlet()
    for _ in range(300):
        optimizer.zero_grad()
        loss(Output(logits, logits), {"counts": counts}).backward()
        optimizer.step()
    fractions = TreeHead(1, GALAXY_ZOO_2).fractions(logits.detach())
    torch.testing.assert_close(fractions[0, :3], shares, rtol=0, atol=0.01)


def test_losses_name_what_is_wrong() -> None:
    for number in (0, -1, math.nan, math.inf):
        with pytest.raises(ValueError, match=rf"^delta is {number}; it must be a number above 0"):
            Huber(number)
        with pytest.raises(ValueError, match=rf"^max_concentration is {number}; it must be a number"):
            DirichletMultinomial(number)


def entropy(labels: Labels, targets: torch.Tensor, **settings: Any) -> CrossEntropy:
    loss = CrossEntropy(**settings)
    loss.prepare(targets, labels)
    return loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("balanced", [False, True])
def test_cross_entropy_of_one_question_is_torchs(smoothing: float, balanced: bool) -> None:
    labels = class_labels(("a", "b", "c"), "Which?")
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(30, 3, generator=generator, requires_grad=True)
    truth = torch.tensor([0] * 20 + [1] * 8 + [2] * 2)
    targets = F.one_hot(truth).float()
    loss = entropy(
        labels, targets, class_weights="balanced" if balanced else "none", label_smoothing=smoothing
    )
    weights = 30 / (3 * targets.sum(dim=0)) if balanced else None
    # torch divides by the weights of the batch, whose mean over the training galaxies is 1.
    expected = F.cross_entropy(logits, targets, weight=weights, label_smoothing=smoothing)
    assert loss(Output(logits, logits.softmax(1)), {"target": targets}).item() == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_cross_entropy_of_a_tree_is_that_of_its_ways() -> None:
    """With cumulative targets the gradient vanishes at the truth, and a single answer may be denied."""
    questions = Questions(
        (
            Question("a", "a", (Answer("x"), Answer("y"))),
            Question("b", "b", (Answer("z"),), parent=("a", 0)),
        )
    )
    labels = Labels(questions, ("x", "y", "z"), "cumulative")
    targets = torch.tensor([[0.8, 0.2, 0.2]])  # z given x: 1/4
    logits = torch.tensor([[math.log(4.0), 0.0, math.log(1 / 3)]], requires_grad=True)
    fractions = TreeHead(1, questions).fractions(logits)
    torch.testing.assert_close(fractions, targets)
    loss = entropy(labels, targets)(Output(logits, fractions), {"target": targets})
    loss.backward()
    torch.testing.assert_close(logits.grad, torch.zeros(1, 3), atol=1e-6, rtol=0)
    expected = -sum(t * math.log(p) for t, p in [(0.8, 0.8), (0.2, 0.2), (0.2, 0.25), (0.6, 0.75)])
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_survives_impossible_answers() -> None:
    output, batch = example()
    logits = (output.logits * 100).detach().requires_grad_()
    loss = entropy(LABELS, batch["target"])(Output(logits, output.fractions), batch)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()  # type: ignore[union-attr]


@pytest.mark.parametrize("loss", [MSE(), Huber(0.1), WeightedMSE(), CrossEntropy()])
def test_targets_without_weight_do_not_count(loss: Loss) -> None:
    output, batch = example()
    loss.prepare(batch["target"], LABELS)
    weight = torch.ones(len(batch["target"]), K)
    plain, ones = loss(output, batch), loss(output, {**batch, "weight": weight})
    assert ones.item() == pytest.approx(plain.item(), rel=1e-5)
    weight[:, GALAXY_ZOO_2.slices[3]] = 0
    changed = batch["target"].clone()
    changed[:, GALAXY_ZOO_2.slices[3]] = 0.5
    first = loss(output, {**batch, "weight": weight})
    second = loss(output, {**batch, "target": changed, "weight": weight})
    assert first.item() == pytest.approx(second.item(), rel=1e-6)
    assert torch.isfinite(loss(output, {**batch, "weight": torch.zeros_like(weight)}))
