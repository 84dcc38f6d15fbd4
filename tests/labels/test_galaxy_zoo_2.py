"""The tree of Galaxy Zoo 2 against published rows and names."""

import numpy as np
import pytest

from galaxy.labels.galaxy_zoo_2 import (
    GALAXY_ZOO_2,
    KAGGLE_COLUMNS,
    NEXT_QUESTION,
    class_strings,
    hart16_columns,
    probability_asked,
)
from galaxy.labels.tree import Questions

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
    assert KAGGLE_COLUMNS[::12] == ("Class1.1", "Class5.4", "Class8.7", "Class11.6")
    assert hart16_columns("debiased") == tuple(f"{name}_debiased" for name in HART16.split())


def test_navigation_is_not_the_probability_parent() -> None:
    bulge = GALAXY_ZOO_2.questions[4]
    assert set(NEXT_QUESTION[GALAXY_ZOO_2.slices[10]]) == {bulge.key}  # the number of arms
    assert bulge.parent == ("q02", 1)
    assert len(NEXT_QUESTION) == GALAXY_ZOO_2.size
    assert set(NEXT_QUESTION) - {None} < {question.key for question in GALAXY_ZOO_2}


def test_a_question_nobody_met_is_masked_not_divided() -> None:
    conditional, met = GALAXY_ZOO_2.conditional(ROW_100008)
    assert not met[8]  # edge-on is exactly 0 in this row, so nobody met its bulge shape
    assert met.sum() == 10
    assert conditional[25:28].tolist() == [0, 0, 0]
    assert np.isfinite(conditional).all()


@pytest.mark.parametrize(
    ("expected", "answers"),
    [
        ("Er", {"q01": 0, "q07": 0}),
        ("Ec(u)", {"q01": 0, "q07": 2, "q06": 0, "q08": 6}),
        ("Sen", {"q01": 1, "q02": 0, "q09": 2}),
        ("Sb", {"q01": 1, "q05": 2}),
        ("Sc1t", {"q01": 1, "q05": 1, "q04": 0, "q11": 0, "q10": 0}),
        ("SBb3m(m)", {"q01": 1, "q03": 0, "q05": 2, "q04": 0, "q11": 2, "q10": 1, "q06": 0, "q08": 5}),
        ("SBc+l(m)", {"q01": 1, "q03": 0, "q05": 1, "q04": 0, "q11": 4, "q10": 2, "q06": 0, "q08": 5}),
        ("SBc?l(m)", {"q01": 1, "q03": 0, "q05": 1, "q04": 0, "q11": 5, "q10": 2, "q06": 0, "q08": 5}),
        ("Sd3m(o)", {"q01": 1, "q05": 0, "q04": 0, "q11": 2, "q10": 1, "q06": 0, "q08": 4}),
        ("A", {"q01": 2, "q06": 0, "q08": 0}),
    ],
)
def test_class_strings_follow_the_likeliest_answers(expected: str, answers: dict[str, int]) -> None:
    # Where nothing is said there is no edge-on disk, no bar, no spiral and nothing odd.
    said = {"q02": 1, "q03": 1, "q04": 1, "q06": 1, **answers}
    fractions = np.full((1, 37), 0.1)
    for question, columns in zip(GALAXY_ZOO_2, GALAXY_ZOO_2.slices, strict=True):
        if question.key in said:
            fractions[0, columns.start + said[question.key]] = 0.8
    assert class_strings(fractions).tolist() == [expected]


def test_ties_of_class_strings_go_to_edge_on_and_odd_but_not_to_bars_and_spirals() -> None:
    fractions = np.full((2, 37), 0.5)
    fractions[:, 0] = 0
    fractions[1, GALAXY_ZOO_2.slices[1].start] = 0.4
    assert class_strings(fractions).tolist() == ["Ser(r)", "Sd(r)"]


def test_who_is_asked_is_the_same_of_cumulative_and_conditional_fractions() -> None:
    cumulative = probability_asked(GALAXY_ZOO_2, ROW_100008[None])
    conditional, _ = GALAXY_ZOO_2.conditional(ROW_100008[None])
    conditional[0, 25:28] = np.nan  # nobody was asked this, so nobody knows it
    product = probability_asked(GALAXY_ZOO_2.unrelated, conditional)
    assert cumulative is not None
    assert product is not None
    np.testing.assert_allclose(product, cumulative, atol=1e-6)
    assert cumulative[0, 2] == pytest.approx(0.616853)
    assert probability_asked(Questions(GALAXY_ZOO_2.unrelated.questions[:3]), conditional[:, :7]) is None
