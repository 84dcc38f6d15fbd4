"""The figures of an evaluation report, against values that were computed by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2, KAGGLE_COLUMNS
from galaxy.labels.labels import Labels, class_labels
from galaxy.reports.evaluation.calibration import Calibration
from galaxy.reports.evaluation.confusion import confusions
from galaxy.reports.evaluation.errors import bootstrap, galaxy_errors, measure_errors, scatter
from galaxy.reports.evaluation.intervals import ends_of, fit_intervals, fit_least, held, sets_of
from galaxy.reports.evaluation.properties import brightness_and_size, trend
from galaxy.reports.evaluation.sample import (
    Array,
    Sample,
    agreement,
    asked,
    asked_where,
    follows_tree,
    shares,
)
from galaxy.reports.evaluation.scaling import (
    disobedience,
    fit_temperatures,
    on_tree,
    reliability,
    scaled,
)
from galaxy.reports.evaluation.unusual import fit_familiar
from galaxy.system.errors import UserError

# Two questions: the second is asked of those who saw a disk.
TREE = Labels.from_plain(
    {
        "questions": {
            "kind": {"answers": ["smooth", "disk"]},
            "bar": {"answers": ["bar", "none"], "parent": "disk"},
        }
    }
)
NAN = math.nan


def sample(
    predicted: list[list[float]], true: list[list[float]], labels: Labels = TREE, **more: Array
) -> Sample:
    return Sample(labels, np.arange(len(true)), np.array(predicted), np.array(true), **more)


def test_a_question_is_asked_where_half_of_the_volunteers_met_it() -> None:
    true = [[0.5, 0.5, 0.2, 0.3], [0.6, 0.4, 0.4, 0.0], [0.0, 1.0, NAN, NAN]]
    assert asked(sample(true, true)).tolist() == [[True, True], [True, False], [True, False]]


def test_votes_tell_which_questions_were_asked_where_fractions_are_conditional() -> None:
    labels = Labels.from_plain({"questions": {"a": {"answers": ["x", "y"]}, "b": {"answers": ["z", "w"]}}})
    true = [[0.5, 0.5, 1.0, 0.0]] * 2
    counts = np.array([[20, 20, 20, 0], [20, 20, 19, 0]])
    counted = sample(true, true, labels, counts=counts)
    assert asked(counted).tolist() == [[True, True], [True, False]]
    assert "at least 50%" in asked_where(counted)
    assert asked(sample(true, true, labels)).all()
    assert "do not say how many" in asked_where(sample(true, true, labels))


def test_shares_are_those_of_the_volunteers_who_were_asked() -> None:
    values = np.array([[0.2, 0.8, 0.2, 0.6], [1.0, 0.0, 0.0, 0.0], [1.1, -0.1, -0.1, 0.3]])
    expected = [[0.25, 0.75], [0.5, 0.5], [0, 1]]
    np.testing.assert_allclose(shares(values, TREE.questions, 1), expected)
    single = Labels.from_plain(
        {
            "questions": {
                "kind": {"answers": ["smooth", "disk"]},
                "bar": {"answers": ["bar"], "parent": "disk"},
            }
        }
    )
    np.testing.assert_allclose(shares(values[:1, :3], single.questions, 1), [[0.25, 0.75]])


def test_agreement_is_one_minus_the_entropy() -> None:
    fractions = np.array([[1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0]])
    np.testing.assert_allclose(agreement(fractions), [1, 0, 0.5], atol=1e-12)


def test_errors_are_over_known_entries() -> None:
    one = sample(
        [[0.5, 0.5, 0.2, 0.3], [0.8, 0.2, 0.1, 0.1]],
        [[0.6, 0.4, NAN, NAN], [0.6, 0.4, 0.2, 0.2]],
        expected=np.array([[0.6, 0.4, 0.2, 0.2], [0.6, 0.4, 0.2, 0.0]]),
        counts=np.array([[6, 4, 0, 0], [6, 4, 2, 2]]),
        baselines={"mean": np.full((2, 4), 0.5)},
    )
    overall, kind, bar = measure_errors(one)
    assert overall.rmse.value == pytest.approx(math.sqrt((2 * 0.01 + 2 * 0.04 + 2 * 0.01) / 6))
    assert overall.mae.value == pytest.approx((0.2 + 0.4 + 0.2) / 6)
    assert (kind.rmse.value, bar.rmse.value) == pytest.approx((math.sqrt(0.025), 0.1))
    assert kind.rmse.low == pytest.approx(0.1)  # both drawn galaxies may be the first
    assert kind.rmse.high == pytest.approx(0.2)
    assert math.isnan(kind.r2)  # the targets do not vary
    assert bar.baselines["mean"] == pytest.approx(0.3)
    assert bar.floor == pytest.approx(math.sqrt(0.04 / 2))
    assert kind.scatter == pytest.approx(math.sqrt(0.6 * 0.4 / 9))
    np.testing.assert_allclose(galaxy_errors(one), [0.1, math.sqrt(0.025)])


def test_errors_are_weighted_where_targets_are_not_trusted_alike() -> None:
    predicted, true = [[0.5, 0.5, 0.2, 0.3]], [[0.6, 0.4, 0.4, NAN]]
    overall, kind, bar = measure_errors(sample(predicted, true, weights=np.array([[1, 1, 0.5, 0]])))
    assert (overall.weighted, kind.weighted, bar.weighted) == pytest.approx((math.sqrt(0.016), 0.1, 0.2))
    assert measure_errors(sample(predicted, true, weights=np.array([[1, 1, 1, 0]])))[0].weighted is None


def test_the_scatter_of_volunteers_is_the_noise_floor_on_average() -> None:
    rng = np.random.default_rng(0)
    votes = rng.multinomial(10, [0.2, 0.5, 0.3], size=20_000)
    labels = class_labels(("a", "b", "c"), "?")
    variances = scatter(votes / 10, votes.astype(float), labels.questions)
    p = np.array([0.2, 0.5, 0.3])
    np.testing.assert_allclose(variances.mean(axis=0), p * (1 - p) / 10, rtol=0.02)


def test_targets_that_say_which_answer_won_have_no_scatter() -> None:
    labels = class_labels(("a", "b"), "?")
    votes = np.array([[7.0, 3.0], [1.0, 9.0]])
    predicted = np.full((2, 2), 0.5)
    names = np.arange(2)
    shares, won = (
        measure_errors(Sample(labels, names, predicted, true, counts=votes))[0].scatter
        for true in (votes / 10, np.rint(votes / 10))
    )
    assert shares == pytest.approx(math.sqrt((0.7 * 0.3 + 0.1 * 0.9) / 18))
    assert won is None
    debiased = votes / 10 + [[0.1, -0.1], [0.0, 0.0]]
    assert measure_errors(Sample(labels, names, predicted, debiased, counts=votes))[0].scatter is None


def test_the_bootstrap_of_a_mean_is_that_of_the_textbook() -> None:
    values = np.random.default_rng(1).normal(size=(400, 1))
    mean, low, high = bootstrap(values, lambda sums: sums / 400, draws=2000)
    assert float(high[0] - low[0]) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.1)
    assert low < mean < high


def test_confident_galaxies_are_those_whose_volunteers_agree() -> None:
    predicted = [[0.7, 0.3, 0.1, 0.2], [0.4, 0.6, 0.5, 0.1], [0.2, 0.8, 0.7, 0.1], [0.9, 0.1, 0.1, 0.0]]
    true = [[1.0, 0.0, 0.0, 0.0], [0.6, 0.4, 0.3, 0.1], [0.15, 0.85, 0.15, 0.70], [0.1, 0.9, 0.8, 0.1]]
    kind, bar = confusions(sample(predicted, true))
    assert kind.counts.tolist() == [[1, 1], [1, 1]]
    assert (kind.every.right, kind.every.galaxies) == (2, 4)
    assert (kind.clear.right, kind.clear.galaxies) == (2, 3)
    assert (kind.agreed.right, kind.agreed.galaxies) == (1, 1)  # 85 % of two answers is an agreement of 0.39
    assert bar.counts.tolist() == [[1, 0], [1, 0]]
    assert bar.agreed.share is None


def test_reliability_compares_what_was_said_with_what_came() -> None:
    predicted, true = np.array([[0.11, 0.19, 0.95, -0.1]]).T, np.array([[0.2, 0.4, 1.0, NAN]]).T
    found = reliability(predicted, true)
    assert found is not None
    np.testing.assert_allclose(found.predicted, [0.15, 0.95])
    np.testing.assert_allclose(found.true, [0.3, 1.0])
    np.testing.assert_allclose(found.error, [0.1 / math.sqrt(2), 0], atol=1e-12)
    assert found.gap == pytest.approx((2 * 0.15 + 0.05) / 3)
    # Answers about one galaxy err together, so they are no sample of their own.
    twice = reliability(np.repeat(predicted, 2, axis=1), np.repeat(true, 2, axis=1))
    assert twice is not None
    np.testing.assert_allclose(twice.error, found.error, atol=1e-12)


def test_predictions_are_put_onto_the_tree() -> None:
    predicted = np.array([[0.6, 0.6, 0.3, 0.1], [1.2, -0.2, 0.1, 0.1]])
    away = disobedience(TREE, predicted)
    assert (away.worst, away.outside) == pytest.approx((0.4, 2 / 8))
    assert away.sums == pytest.approx(math.sqrt((0.2**2 + 0.2**2 + 0.4**2) / 4))
    moved = on_tree(TREE.questions, predicted)
    np.testing.assert_allclose(moved, [[0.5, 0.5, 0.375, 0.125], [1, 0, 0, 0]], atol=1e-5)
    assert disobedience(TREE, moved).worst < 1e-6


def test_temperatures_undo_what_was_done_to_answers() -> None:
    rng = np.random.default_rng(2)
    conditional = np.concatenate([rng.dirichlet(np.ones(len(q.answers)), 300) for q in GALAXY_ZOO_2], axis=1)
    true = GALAXY_ZOO_2.cumulative(conditional)
    labels = Labels(GALAXY_ZOO_2, KAGGLE_COLUMNS, "cumulative")
    assert follows_tree(labels, true)
    assert not follows_tree(labels, true * 0.9)
    soft = scaled(GALAXY_ZOO_2, true, np.full(11, 2.0), obeying=True)
    temperatures = fit_temperatures(labels, soft, true, obeying=True)
    np.testing.assert_allclose(temperatures, 0.5, rtol=0.02)
    np.testing.assert_allclose(scaled(GALAXY_ZOO_2, soft, temperatures, obeying=True), true, atol=0.01)


def test_sums_stay_where_labels_do_not_obey_the_tree() -> None:
    labels = Labels.from_plain({"questions": {"a": {"answers": ["x", "y"]}, "b": {"answers": ["z"]}}})
    predicted = np.array([[0.9, 0.3, 0.2], [0.2, 0.6, 0.7]])
    out = scaled(labels.questions, predicted, np.array([0.5, 1.0]), obeying=False)
    np.testing.assert_allclose(out[:, :2].sum(axis=1), [1.2, 0.8])
    np.testing.assert_allclose(out[0, :2], [1.2 * 0.9, 1.2 * 0.1])
    np.testing.assert_allclose(out[:, 2], [0.2, 0.7])


def test_an_interval_leaves_out_the_smallest_values_the_largest_or_both() -> None:
    values = np.array([3.0, 0, 1, 2, 10, 20, 21, 22, 50])
    assert ends_of(values, 0.4, above=1) == (0, 10)  # ceil(0.4 x 10) = 4 gaps
    assert ends_of(-values, 0.4, above=0) == (-10, 0)
    assert ends_of(np.array([-50.0, -9, -1, 0, 1, 9, 50]), 0.5) == (-9, 9)
    assert ends_of(np.arange(18.0), 0.9) is None
    assert ends_of(np.arange(19.0), 0.9) == (0, 18)


def test_intervals_hold_what_they_say_of_further_galaxies() -> None:
    rng = np.random.default_rng(5)

    def draw(count: int) -> tuple[Array, Array]:
        p = rng.beta(0.7, 1.5, (count, 1))
        return p, np.clip(p + rng.normal(0, 0.1, p.shape) * np.sqrt(p * (1 - p)), 0, 1)

    shares = []
    for _ in range(200):
        intervals = fit_intervals(*draw(100))
        predicted, true = draw(1000)
        shares.append(held(*intervals.of(predicted), true).mean())
    assert 0.9 < np.mean(shares) < 0.91


def test_intervals_hold_as_much_of_other_galaxies_and_are_narrow_near_zero_and_one() -> None:
    rng = np.random.default_rng(3)

    def draw(count: int) -> tuple[Array, Array]:
        p = rng.beta(0.5, 0.5, (count, 4))
        return np.clip(p + rng.normal(0, 0.02, p.shape), 0, 1), rng.binomial(45, p) / 45

    intervals = fit_intervals(*draw(1000))
    predicted, true = draw(4000)
    low, high = intervals.of(predicted)
    assert held(low, high, true).mean() == pytest.approx(0.9, abs=0.02)
    width = high - low
    assert width[predicted < 0.02].mean() < 0.4 * width[np.abs(predicted - 0.5) < 0.1].mean()
    assert (low.min(), high.max()) == (0, 1)


def test_few_galaxies_tell_no_interval() -> None:
    low, high = fit_intervals(np.full((5, 2), 0.5), np.full((5, 2), 0.5)).of(np.full((1, 2), 0.3))
    assert (low.tolist(), high.tolist()) == ([[0, 0]], [[1, 1]])


def test_sets_hold_the_true_class() -> None:
    rng = np.random.default_rng(4)
    predicted = rng.dirichlet(np.ones(3), 4000)
    true = np.array([rng.multinomial(1, p) for p in predicted]).astype(float)
    sets = sets_of(predicted[1000:], fit_least(predicted[:1000], true[:1000]))
    assert (sets & (true[1000:] > 0)).any(axis=1).mean() == pytest.approx(0.9, abs=0.02)
    assert sets.any(axis=1).all()


def test_galaxies_unlike_the_training_galaxies_are_far_away() -> None:
    rng = np.random.default_rng(5)

    def draw(count: int) -> NDArray[np.float32]:
        return np.concatenate([rng.normal(size=(count, 6)), np.ones((count, 1))], axis=1).astype(np.float32)

    familiar = fit_familiar(draw(500), draw(300))
    assert familiar is not None
    assert (familiar.distances(draw(400)) > 1).mean() < 0.04
    assert (familiar.distances(draw(400) * 8) > 1).mean() > 0.5
    assert fit_familiar(np.ones((50, 3), np.float32), np.ones((50, 3), np.float32)) is None


def test_brightness_and_size_are_those_of_the_light_above_the_sky() -> None:
    crops = np.full((2, 21, 21, 3), 10, np.uint8)
    crops[0, 10, 10] = 110
    y, x = np.mgrid[:21, :21] - 10
    crops[1][np.hypot(x, y) <= 6] = 50
    light, radius = brightness_and_size(crops)
    assert light[0] == pytest.approx(100 / 441)
    assert radius[0] == 0
    assert radius[1] == pytest.approx(6 / math.sqrt(2), abs=0.5)


def test_a_trend_shows_where_errors_are_larger() -> None:
    values = np.arange(60.0)
    one = sample([[v / 100, 0, 0, 0] for v in values], [[0.0, 0, 0, 0]] * 60)
    found = trend("brightness", values, one)
    assert found is not None
    assert sum(found.counts) == 60
    assert [error.value for error in found.errors] == sorted(error.value for error in found.errors)
    assert trend("constant", np.ones(60), one) is None


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04cut", b"\x93NUMPY"])
def test_a_damaged_calibration_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "calibration.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"calibration\.npz cannot be read"):
        Calibration.read(tmp_path / "calibration.npz", TREE)
