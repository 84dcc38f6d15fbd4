"""Metrics against NumPy."""

import numpy as np
import pytest
import torch

from galaxy.catalogs.kaggle import LABELS
from galaxy.metrics import FractionMetrics
from galaxy.questions import GALAXY_ZOO_2

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
