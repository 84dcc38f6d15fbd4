"""Metrics of saved predictions, and the influence of each galaxy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2
from galaxy.labels.labels import Labels, class_labels
from galaxy.learning.metrics import metrics_for
from galaxy.reports.scores import score
from galaxy.surveys.kaggle import LABELS

Array = NDArray[np.float64]
CLASSES = class_labels(("spiral", "smooth", "odd"), "Which?")


def example(labels: Labels, galaxies: int, unknown: bool) -> tuple[Array, Array, Array]:
    """Makes predictions, targets and weights (N, K)."""
    rng = np.random.default_rng(0)
    count = labels.questions.size
    if labels.kind == "classes":
        true = np.eye(count)[rng.choice(count, size=galaxies, p=[0.6, 0.3, 0.1])]
        predicted = 0.4 * true + 0.6 * rng.dirichlet(np.ones(count), galaxies)
    else:
        true = rng.random((galaxies, count))
        predicted = true + 0.1 * rng.normal(size=true.shape) * np.linspace(0.5, 2, count)
    weights = np.ones_like(true)
    if unknown:
        rows = rng.random(galaxies) < 0.2
        weights[rows] = 0
    return predicted, true, weights


def questions(labels: Labels) -> dict[str, list[int]]:
    return {
        question.key: list(range(*columns.indices(labels.questions.size)))
        for question, columns in zip(labels.questions, labels.questions.slices, strict=True)
    }


@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("labels", [LABELS, CLASSES], ids=["fractions", "classes"])
def test_a_score_is_the_metric_that_the_training_logs(labels: Labels, unknown: bool) -> None:
    predicted, true, weights = example(labels, 400, unknown)
    metrics = metrics_for(labels, unknown)
    given = torch.from_numpy(weights) if unknown else None
    metrics.update(torch.from_numpy(predicted), torch.from_numpy(true), given)
    logged = {name: float(value) for name, value in metrics.compute().items() if name != "weighted_rmse"}
    known = np.where(weights > 0, true, np.nan)
    found = {}
    for name in logged:
        scored = score(name, predicted, known, questions(labels))
        assert scored is not None
        found[name] = scored.value
    assert found == pytest.approx(logged, rel=1e-9)


@pytest.mark.parametrize(
    ("labels", "metric"),
    [
        (LABELS, "rmse"),
        (LABELS, "r2"),
        (LABELS, f"rmse/{list(GALAXY_ZOO_2)[2].key}"),
        (CLASSES, "accuracy"),
        (CLASSES, "balanced_accuracy"),
        (CLASSES, "f1"),
    ],
)
def test_influences_give_the_spread_over_samples_of_galaxies(labels: Labels, metric: str) -> None:
    predicted, true, _ = example(labels, 600, unknown=False)
    asked = questions(labels)
    scored = score(metric, predicted, true, asked)
    assert scored is not None
    assert scored.influence.sum() == pytest.approx(0, abs=1e-9)
    rng = np.random.default_rng(1)
    samples = [rng.integers(600, size=600) for _ in range(400)]
    drawn = [score(metric, predicted[rows], true[rows], asked) for rows in samples]
    bootstrap = np.std([one.value for one in drawn if one is not None])
    assert np.sqrt(np.square(scored.influence).sum()) == pytest.approx(bootstrap, rel=0.15)


@pytest.mark.parametrize("metric", ["loss", "weighted_rmse", "rmse/none", "mine", "r2/q01"])
def test_a_metric_that_predictions_do_not_tell_has_no_score(metric: str) -> None:
    predicted, true, _ = example(LABELS, 20, unknown=False)
    assert score(metric, predicted, true, questions(LABELS)) is None


def test_galaxies_without_labels_have_no_score() -> None:
    predicted, true, _ = example(LABELS, 20, unknown=False)
    assert score("rmse", predicted, np.full_like(true, np.nan), {}) is None
