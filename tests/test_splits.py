"""Splits depend on ids alone."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy.splits import SPLITS, assign_splits, sample_rows

# Computed once; a change here would leak test galaxies of old runs into training.
PINNED = {
    "val": [5, 7, 8, 11, 12, 17, 18, 22, 24, 27, 31, 32, 35, 37],
    "test": [1, 6, 13, 16, 19, 29, 33, 39],
}

some_ids = st.lists(st.integers(0, 2**62), min_size=1, max_size=200, unique=True).map(np.array)


def rows_of(ids: np.ndarray, val: float, test: float, **settings: Any) -> dict[str, np.ndarray]:
    codes = assign_splits(ids, val, test, **settings)
    return {name: np.flatnonzero(codes == code) for code, name in enumerate(SPLITS)}


@settings(deadline=None)
@given(some_ids, st.randoms())
def test_a_galaxy_stays_in_its_split_whatever_surrounds_it(ids: np.ndarray, random) -> None:  # type: ignore[no-untyped-def]
    before = rows_of(ids, 0.1, 0.1)
    assert sorted(np.concatenate(list(before.values())).tolist()) == list(range(len(ids)))
    shuffled = ids.tolist()
    random.shuffle(shuffled)
    fewer = np.array(shuffled[: max(1, len(shuffled) // 2)])
    after = rows_of(fewer, 0.1, 0.1)
    for name, rows in after.items():
        assert set(fewer[rows].tolist()) <= set(ids[before[name]].tolist())


def test_fractions_are_met_and_test_does_not_move_with_validation() -> None:
    ids = np.arange(100_000, 200_000)
    few, many = rows_of(ids, 0.1, 0.1), rows_of(ids, 0.2, 0.1)
    assert abs(len(few["test"]) - 10_000) < 400  # four standard deviations of a binomial
    assert abs(len(few["val"]) - 10_000) < 400
    assert np.array_equal(few["test"], many["test"])
    assert set(few["val"].tolist()) <= set(many["val"].tolist())


def test_the_split_of_an_id_never_changes() -> None:
    rows = rows_of(np.arange(100_000, 100_040), 0.2, 0.2)
    assert rows["val"].tolist() == PINNED["val"]
    assert rows["test"].tolist() == PINNED["test"]


@settings(deadline=None)
@given(some_ids, st.integers(1, 100), st.integers(1, 100))
def test_a_larger_sample_contains_a_smaller_one(ids: np.ndarray, a: int, b: int) -> None:
    small, large = (set(sample_rows(ids, n).tolist()) for n in sorted((a, b)))
    assert small <= large
    assert len(large) == min(max(a, b), len(ids))
