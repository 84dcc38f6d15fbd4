"""Which settings can be told from the best one."""

from __future__ import annotations

import numpy as np
import pytest

from galaxy.reports.statistics import Setting, average, compare, runs_needed

GALAXIES = 300


def settings(
    rng: np.random.Generator, errors: list[float], seeds: int = 3, spread: float = 0.01
) -> list[Setting]:
    """Makes settings of these errors, whose runs scatter over seeds by a share of the error."""
    hard = rng.exponential(size=GALAXIES)
    made = []
    for error in errors:
        scale = error * (1 + spread * rng.normal(size=(seeds, 1)))
        squares = scale**2 * (hard + 0.2 * rng.random((seeds, GALAXIES)))
        values = np.sqrt(squares.mean(axis=1))
        influence = (squares - squares.mean(axis=1, keepdims=True)) / (2 * values[:, None] * GALAXIES)
        made.append(Setting(values, influence.mean(axis=0)))
    return made


def share_told(errors: list[float], repetitions: int, **options: float) -> float:
    """Returns the share of repetitions in which any setting is called worse than the best one."""
    rng = np.random.default_rng(0)
    told = [
        any(difference.worse for difference in compare(settings(rng, errors, **options), False).differences)
        for _ in range(repetitions)
    ]
    return float(np.mean(told))


def test_settings_that_differ_by_their_seeds_alone_are_not_told_apart() -> None:
    assert share_told([0.1, 0.1], 100) <= 0.08
    assert share_told([0.1] * 8, 50) <= 0.08


def test_a_difference_of_five_spreads_is_told() -> None:
    assert share_told([0.1, 0.105], 50) >= 0.8


def test_many_settings_share_what_they_know_of_the_spread() -> None:
    rng = np.random.default_rng(0)
    found = compare(settings(rng, [0.1, *[0.105] * 8]), larger_is_better=False)
    assert found.best == 0
    assert sum(difference.worse for difference in found.differences) >= 6


def test_where_more_is_better_the_largest_is_the_best() -> None:
    influence = np.random.default_rng(0).normal(size=GALAXIES) * 1e-4
    low, high = (
        Setting(np.array([value - 0.001, value, value + 0.001]), influence * (1 + value))
        for value in (0.5, 0.9)
    )
    found = compare([low, high], larger_is_better=True)
    assert found.best == 1
    worse = found.differences[0]
    assert worse.value == pytest.approx(0.4)
    assert worse.low is not None
    assert worse.high is not None
    assert 0 < worse.low < 0.4 < worse.high
    assert worse.worse
    assert found.differences[1].value == 0


def test_a_single_run_is_never_called_worse_or_better() -> None:
    rng = np.random.default_rng(0)
    many = settings(rng, [0.1, 0.1])
    single = settings(rng, [0.5], seeds=1)
    found = compare([*many, *single], larger_is_better=False)
    assert found.differences[2].value == pytest.approx(0.4, rel=0.1)
    assert found.differences[2].low is None
    assert not found.differences[2].worse
    alone = compare([*settings(rng, [0.1], seeds=1), *settings(rng, [0.5], seeds=1)], False)
    assert not any(difference.worse for difference in alone.differences)
    assert alone.detectable is None


def test_a_model_without_a_seed_needs_one_run() -> None:
    rng = np.random.default_rng(0)
    network = settings(rng, [0.1])[0]
    mean = settings(rng, [0.2], seeds=1, spread=0.0)[0]
    fitted = Setting(mean.values, mean.influence, seeded=False)
    found = compare([network, fitted], larger_is_better=False)
    assert found.differences[1].worse


def test_models_without_seeds_differ_by_their_galaxies_alone() -> None:
    rng = np.random.default_rng(0)
    one, other = (Setting(s.values, s.influence, seeded=False) for s in settings(rng, [0.1, 0.2], seeds=1))
    assert compare([one, other], larger_is_better=False).differences[1].worse


def test_galaxies_count_as_well_as_seeds() -> None:
    """Two models of no spread over seeds differ on few galaxies only."""
    rng = np.random.default_rng(0)
    one, other = rng.exponential(size=(2, 20))
    pair = [Setting(np.full(3, row.mean()), (row - row.mean()) / 20) for row in (one, other)]
    found = compare(pair, larger_is_better=False)
    assert not any(difference.worse for difference in found.differences)
    assert found.detectable is not None
    assert found.detectable > 0.5


def test_settings_that_predict_the_same_are_not_told_apart() -> None:
    same = settings(np.random.default_rng(0), [0.1])[0]
    found = compare([same, Setting(same.values, same.influence, seeded=False)], larger_is_better=False)
    assert not any(difference.worse for difference in found.differences)


def test_a_metric_without_influences_tells_nothing() -> None:
    one, other = (Setting(np.array([x, x + 0.001])) for x in (0.1, 0.2))
    found = compare([one, other], larger_is_better=False)
    assert found.differences[1].low is None
    assert not found.differences[1].worse


def test_the_runs_that_would_settle_a_difference_are_counted() -> None:
    assert runs_needed(difference=0.05, settings=2, spread=0.01) == 3
    few, many = runs_needed(0.02, 2, 0.01), runs_needed(0.01, 2, 0.01)
    assert few is not None
    assert many is not None
    assert 3 < few < many
    # Among many settings, the two best are harder to tell apart.
    among = runs_needed(0.02, 12, 0.01)
    assert among is not None
    assert among > few
    # More seeds do not help where the galaxies are too few.
    assert runs_needed(difference=0.01, settings=2, spread=0.001, galaxies=0.01) is None


def test_an_average_over_settings_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        made = [Setting(rng.normal(0.1, 0.01, 3)) for _ in range(4)]
        mean, half = average(made, [0, 1, 2])
        assert half is not None
        held += abs(mean - 0.1) <= half
    assert 0.92 <= held / 400 <= 0.99
    # A setting that stands for several is no more certain for it.
    assert average(made, [0, 0, 0]) == pytest.approx(average(made, [0]))
    single = Setting(np.array([0.2]))
    assert average([single, *made], [0, 1])[1] is None
    assert average([Setting(single.values, seeded=False)], [0]) == (0.2, 0.0)
