"""Losses against their NumPy and SciPy definitions."""

import numpy as np
import pytest
import torch
from scipy.stats import dirichlet_multinomial

from galaxy.catalogs.kaggle import LABELS
from galaxy.errors import UserError
from galaxy.losses import MSE, DirichletMultinomial, Huber, WeightedMSE
from galaxy.models.heads import Tree
from galaxy.output import Output
from galaxy.questions import GALAXY_ZOO_2

K = GALAXY_ZOO_2.size


def example(seed: int = 0, scale: float = 1.0) -> tuple[Output, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(6, K, generator=generator)
    target = torch.rand(6, K, generator=generator)
    counts = torch.randint(0, 15, (6, K), generator=generator).float()
    counts[0, GALAXY_ZOO_2.slices[8]] = 0  # a question nobody answered
    return Output(logits, Tree(1, GALAXY_ZOO_2).fractions(logits)), {"target": target, "counts": counts}


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


def test_weights_travel_in_the_checkpoint() -> None:
    loss = WeightedMSE()
    loss.prepare(torch.rand(100, K, generator=torch.Generator().manual_seed(1)), LABELS)
    parent = torch.nn.ModuleDict({"loss": WeightedMSE()})
    parent.load_state_dict(torch.nn.ModuleDict({"loss": loss}).state_dict())
    output, batch = example()
    assert torch.equal(parent["loss"](output, batch), loss(output, batch))


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
    fractions = Tree(1, GALAXY_ZOO_2).fractions(logits.detach())
    torch.testing.assert_close(fractions[0, :3], shares, rtol=0, atol=0.01)


def test_losses_name_what_is_wrong() -> None:
    with pytest.raises(UserError, match=r"loss.delta is 0; it must be more than 0"):
        Huber(0)
    with pytest.raises(UserError, match=r"loss.max_concentration is -1"):
        DirichletMultinomial(-1)
