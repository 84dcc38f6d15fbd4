"""The decision tree against published rows and names."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy.labels.tree import GALAXY_ZOO_2

# GalaxyID 100008 of training_solutions_rev1.csv, verbatim.
ROW_100008 = np.fromstring(
    """0.383147 0.616853 0 0 0.616853 0.038452149 0.578400851 0.418397819 0.198455181
    0 0.104752126 0.512100874 0 0.054453 0.945547 0.201462524 0.181684476 0
    0 0.0272265 0 0.0272265 0 0 0 0 0 0 0.279952491 0.138445328 0
    0 0.092885571 0 0 0 0.325512248""",
    sep=" ",
)


def test_a_real_row_obeys_the_tree() -> None:
    assert ROW_100008.shape == (GALAXY_ZOO_2.size,) == (37,)
    assert np.abs(GALAXY_ZOO_2.residuals(ROW_100008)).max() < 1e-6


@pytest.mark.parametrize("column", range(37))
def test_a_corrupted_row_does_not(column: int) -> None:
    row = ROW_100008.copy()
    row[column] += 0.01
    assert np.abs(GALAXY_ZOO_2.residuals(row)).max() > 5e-3


# The header of gz2_hart16.csv, without the ends of the names.
HART16 = """
    t01_smooth_or_features_a01_smooth
    t01_smooth_or_features_a02_features_or_disk
    t01_smooth_or_features_a03_star_or_artifact
    t02_edgeon_a04_yes
    t02_edgeon_a05_no
    t03_bar_a06_bar
    t03_bar_a07_no_bar
    t04_spiral_a08_spiral
    t04_spiral_a09_no_spiral
    t05_bulge_prominence_a10_no_bulge
    t05_bulge_prominence_a11_just_noticeable
    t05_bulge_prominence_a12_obvious
    t05_bulge_prominence_a13_dominant
    t06_odd_a14_yes
    t06_odd_a15_no
    t07_rounded_a16_completely_round
    t07_rounded_a17_in_between
    t07_rounded_a18_cigar_shaped
    t08_odd_feature_a19_ring
    t08_odd_feature_a20_lens_or_arc
    t08_odd_feature_a21_disturbed
    t08_odd_feature_a22_irregular
    t08_odd_feature_a23_other
    t08_odd_feature_a24_merger
    t08_odd_feature_a38_dust_lane
    t09_bulge_shape_a25_rounded
    t09_bulge_shape_a26_boxy
    t09_bulge_shape_a27_no_bulge
    t10_arms_winding_a28_tight
    t10_arms_winding_a29_medium
    t10_arms_winding_a30_loose
    t11_arms_number_a31_1
    t11_arms_number_a32_2
    t11_arms_number_a33_3
    t11_arms_number_a34_4
    t11_arms_number_a36_more_than_4
    t11_arms_number_a37_cant_tell
"""


def test_names_follow_the_surveys() -> None:
    assert GALAXY_ZOO_2.kaggle_columns[::12] == ("Class1.1", "Class5.4", "Class8.7", "Class11.6")
    assert GALAXY_ZOO_2.hart16_columns("debiased") == tuple(f"{name}_debiased" for name in HART16.split())


def test_navigation_is_not_the_probability_parent() -> None:
    bulge = GALAXY_ZOO_2.questions[4]
    arms = GALAXY_ZOO_2.questions[10]
    assert {answer.next for answer in arms.answers} == {bulge.key}
    assert bulge.parent == ("q02", 1)
    keys = {question.key for question in GALAXY_ZOO_2}
    assert all(a.next is None or a.next in keys for q in GALAXY_ZOO_2 for a in q.answers)


def test_parents_come_before_children() -> None:
    order = list(GALAXY_ZOO_2.order)
    assert sorted(order) == list(range(11))
    for child, parent in enumerate(GALAXY_ZOO_2.parents):
        if parent is not None:
            assert order.index(int(GALAXY_ZOO_2.question_of[parent])) < order.index(child)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_cumulative_and_conditional_are_inverse(seed: int) -> None:
    rng = np.random.default_rng(seed)
    conditional = np.concatenate(
        [rng.dirichlet(np.full(len(q.answers), 0.5), size=4) for q in GALAXY_ZOO_2], axis=1
    )
    cumulative = GALAXY_ZOO_2.cumulative(conditional)
    assert np.abs(GALAXY_ZOO_2.residuals(cumulative)).max() < 1e-12
    back, met = GALAXY_ZOO_2.conditional(cumulative)
    asked = met[:, GALAXY_ZOO_2.question_of]
    np.testing.assert_allclose(np.where(asked, back, 0), np.where(asked, conditional, 0), atol=1e-9)


def test_a_question_nobody_met_is_masked_not_divided() -> None:
    conditional, met = GALAXY_ZOO_2.conditional(ROW_100008)
    assert not met[8]  # edge-on is exactly 0 in this row, so nobody met its bulge shape
    assert met.sum() == 10
    assert conditional[25:28].tolist() == [0, 0, 0]
    assert np.isfinite(conditional).all()
