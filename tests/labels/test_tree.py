"""The arithmetic of trees of questions."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2
from galaxy.labels.tree import Answer, Question


def test_parents_come_before_children() -> None:
    order = list(GALAXY_ZOO_2.order)
    assert sorted(order) == list(range(11))
    for child, parent in enumerate(GALAXY_ZOO_2.parents):
        if parent is not None:
            assert order.index(int(GALAXY_ZOO_2.question_of[parent])) < order.index(child)


def test_a_question_that_is_called_by_its_words_is_named_once() -> None:
    assert Question("smooth", "smooth", (Answer("smooth"),)).title == "smooth"
    assert Question("q1", "Is it smooth?", (Answer("yes"),)).title == "q1 Is it smooth?"


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
