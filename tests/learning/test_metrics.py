"""Metrics against NumPy."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, r2_score

from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2
from galaxy.labels.labels import class_labels
from galaxy.learning.metrics import ClassMetrics, FractionMetrics, metrics_for
from galaxy.surveys.kaggle import LABELS

K = GALAXY_ZOO_2.size


def example(galaxies: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    true = rng.random((galaxies, K)).astype(np.float32)
    # Errors that differ by column, so that a mean of column RMSEs would differ from the global one.
    predicted = true + rng.normal(size=true.shape) * np.linspace(0.01, 0.5, K)
    return predicted.astype(np.float32), true


def measured(*batches: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    metric = FractionMetrics(LABELS)
    for predicted, true in batches:
        metric.update(torch.from_numpy(predicted), torch.from_numpy(true))
    return {name: value.item() for name, value in metric.compute().items()}


def test_metrics_are_numpys() -> None:
    predicted, true = example()
    found = measured((predicted, true))
    error, t = predicted.astype(np.float64) - true, true.astype(np.float64)
    r2 = 1 - (error**2).sum(0) / ((t - t.mean(0)) ** 2).sum(0)
    expected = {"rmse": np.sqrt(np.mean(error**2)), "r2": r2.mean()}
    for question, columns in zip(GALAXY_ZOO_2, GALAXY_ZOO_2.slices, strict=True):
        expected[f"rmse/{question.key}"] = np.sqrt(np.mean(error[:, columns] ** 2))
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, rel=1e-12)
    assert found["rmse"] != pytest.approx(np.sqrt((error**2).mean(0)).mean(), rel=0.01)


def test_batches_do_not_matter() -> None:
    predicted, true = example()
    whole = measured((predicted, true))
    parts = measured(*[(predicted[a:b], true[a:b]) for a, b in [(0, 1), (1, 130), (130, 300)]])
    assert parts == pytest.approx(whole, rel=1e-12)


def test_states_merge() -> None:
    predicted, true = example()
    first, second = FractionMetrics(LABELS), FractionMetrics(LABELS)
    first.update(torch.from_numpy(predicted[:100]), torch.from_numpy(true[:100]))
    second.update(torch.from_numpy(predicted[100:]), torch.from_numpy(true[100:]))
    first.merge_state(second)
    merged = {name: value.item() for name, value in first.compute().items()}
    assert merged == pytest.approx(measured((predicted, true)), rel=1e-12)


def test_constant_columns_have_no_r2() -> None:
    predicted, true = example()
    without = measured((predicted, true))
    # 0.1 is no binary fraction, and leaves rounding in the sums.
    true[:, :5] = 0.1
    rest = slice(5, None)
    error, t = predicted[:, rest].astype(np.float64) - true[:, rest], true[:, rest].astype(np.float64)
    r2 = 1 - (error**2).sum(0) / ((t - t.mean(0)) ** 2).sum(0)
    found = measured((predicted, true))["r2"]
    assert found == pytest.approx(r2.mean(), rel=1e-12)
    assert found != pytest.approx(without["r2"], rel=1e-3)


def test_half_precision_predictions_are_summed_in_float64() -> None:
    predicted, true = example()
    rounded = torch.from_numpy(predicted).bfloat16()
    metric = FractionMetrics(LABELS)
    metric.update(rounded, torch.from_numpy(true))
    expected = np.sqrt(np.mean((rounded.double().numpy() - true) ** 2))
    assert metric.compute()["rmse"].item() == pytest.approx(expected, rel=1e-12)


def test_class_metrics_are_scikit_learns() -> None:
    labels = class_labels(("a", "b", "c", "d"), "Which?")
    rng = np.random.default_rng(3)
    truth = rng.choice([0, 1, 3], size=60)  # the third class does not occur, but is predicted
    fractions = rng.dirichlet(np.ones(4), size=60).astype(np.float32)
    targets = np.eye(4, dtype=np.float32)[truth]
    metric = metrics_for(labels)
    for rows in np.array_split(np.arange(60), 7):
        metric.update(torch.from_numpy(fractions[rows]), torch.from_numpy(targets[rows]))
    values = {name: float(value) for name, value in metric.compute().items()}
    guess = fractions.argmax(axis=1)
    assert values["accuracy"] == pytest.approx(accuracy_score(truth, guess))
    assert values["f1"] == pytest.approx(f1_score(truth, guess, average="macro"))
    recalls = [(guess[truth == k] == k).mean() for k in (0, 1, 3)]
    assert values["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert values["rmse"] == pytest.approx(np.sqrt(np.square(fractions - targets).mean()))
    assert isinstance(metric, ClassMetrics)
    expected = confusion_matrix(truth, guess, labels=range(4))
    assert metric.confusion.numpy().tolist() == expected.tolist()


def test_the_weighted_error_trusts_targets_by_their_weights() -> None:
    rng = np.random.default_rng(4)
    fractions, targets, weights = (torch.from_numpy(rng.random((20, K))) for _ in range(3))
    metric = FractionMetrics(LABELS)
    metric.update(fractions[:8], targets[:8], weights[:8])
    metric.update(fractions[8:], targets[8:], weights[8:])
    expected = np.sqrt(np.average(np.square((fractions - targets).numpy()), weights=weights.numpy()))
    assert float(metric.compute()["weighted_rmse"]) == pytest.approx(expected, rel=1e-12)
    plain = FractionMetrics(LABELS)
    plain.update(fractions, targets)
    assert "weighted_rmse" not in plain.compute()


def test_unknown_targets_take_part_in_no_metric() -> None:
    rng = np.random.default_rng(5)
    fractions, targets = (rng.random((30, K)) for _ in range(2))
    known = rng.random((30, K)) > 0.3
    metric = FractionMetrics(LABELS)
    for rows in np.array_split(np.arange(30), 4):
        weights = torch.from_numpy(known[rows] * 0.5)
        # The stored target of an unknown answer must not matter.
        stored = np.where(known[rows], targets[rows], rng.random((len(rows), K)))
        metric.update(torch.from_numpy(fractions[rows]), torch.from_numpy(stored), weights)
    values = {name: float(value) for name, value in metric.compute().items()}
    squares = np.square(fractions - targets)
    assert values["rmse"] == pytest.approx(np.sqrt(squares[known].mean()), rel=1e-12)
    assert values["weighted_rmse"] == pytest.approx(values["rmse"], rel=1e-12)
    first = known[:, :3]
    assert values["rmse/q01"] == pytest.approx(np.sqrt(squares[:, :3][first].mean()), rel=1e-12)
    columns = [(targets[known[:, k], k], fractions[known[:, k], k]) for k in range(K)]
    assert values["r2"] == pytest.approx(
        np.mean([r2_score(true, guess) for true, guess in columns]), rel=1e-9
    )


def test_galaxies_whose_class_is_unknown_are_not_counted() -> None:
    labels = class_labels(("a", "b"), "Which?")
    metric = metrics_for(labels)
    fractions = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    targets = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    metric.update(fractions, targets, torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]))
    assert isinstance(metric, ClassMetrics)
    assert metric.confusion.tolist() == [[1, 0], [0, 1]]
    assert float(metric.compute()["accuracy"]) == 1.0
