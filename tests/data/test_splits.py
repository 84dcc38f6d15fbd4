"""Splits depend on ids alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy.data.split_files import read_splits, training_ids, write_splits
from galaxy.data.split_settings import SplitSettings, override_splits
from galaxy.data.splits import SPLITS, assign_folds, assign_splits, sample_rows, splits_of_fold
from galaxy.surveys import Catalog
from galaxy.system.errors import UserError

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


def test_another_seed_gives_other_splits() -> None:
    ids = np.arange(1000)
    first, second = (rows_of(ids, 0.1, 0.1, seed=seed)["test"] for seed in (0, 1))
    assert len(np.intersect1d(first, second)) < 30  # 10 by chance
    assert 60 < len(second) < 140


@settings(deadline=None, max_examples=30)
@given(some_ids, st.integers(1, 6), st.integers(0, 3))
def test_each_kind_is_shared_out_to_within_one(ids: np.ndarray, kinds: int, seed: int) -> None:
    strata = ids % kinds
    codes = assign_splits(ids, 0.2, 0.3, seed, strata)
    for kind in range(kinds):
        mine = codes[strata == kind]
        for code, share in enumerate((0.5, 0.2, 0.3)):
            assert abs((mine == code).sum() - share * len(mine)) < 1 + 1e-9
    order = np.random.default_rng(0).permutation(len(ids))
    assert (assign_splits(ids[order], 0.2, 0.3, seed, strata[order]) == codes[order]).all()


def test_small_kinds_are_not_always_rounded_the_same_way() -> None:
    ids = np.arange(3000)
    codes = assign_splits(ids, 0.1, 0.1, strata=ids // 3)  # a thousand kinds of three galaxies each
    assert 0.08 < (codes == 2).mean() < 0.12


@settings(deadline=None, max_examples=30)
@given(some_ids, st.integers(1, 50), st.booleans())
def test_a_group_stays_together(ids: np.ndarray, count: int, stratified: bool) -> None:
    groups = ids % count
    strata = ids % 3 if stratified else None
    codes = assign_splits(ids, 0.3, 0.3, strata=strata, groups=groups)
    for group in np.unique(groups):
        assert len(np.unique(codes[groups == group])) == 1
    if not stratified:
        some = np.arange(0, len(ids), 2)  # whichever members it has
        assert (codes[some] == assign_splits(ids[some], 0.3, 0.3, groups=groups[some])).all()
        assert (codes == assign_splits(groups, 0.3, 0.3)).all()


@settings(deadline=None, max_examples=30)
@given(some_ids, st.integers(3, 12))
def test_each_galaxy_tests_once_and_validates_once_over_all_folds(ids: np.ndarray, count: int) -> None:
    folds = assign_folds(ids, count)
    codes = np.stack([splits_of_fold(folds, count, fold) for fold in range(count)])
    for code in (SPLITS.index("val"), SPLITS.index("test")):
        assert ((codes == code).sum(axis=0) == 1).all()
    some = np.arange(0, len(ids), 2)  # whichever galaxies surround it
    assert (folds[some] == assign_folds(ids[some], count)).all()


def test_the_first_of_ten_folds_is_the_split_by_tenths() -> None:
    ids = np.arange(10_000)
    assert (splits_of_fold(assign_folds(ids, 10), 10, 0) == assign_splits(ids, 0.1, 0.1)).all()
    assert (np.bincount(assign_folds(ids, 10)) > 850).all()
    assert (assign_folds(ids, 10) != assign_folds(ids, 10, seed=1)).mean() > 0.8


@settings(deadline=None, max_examples=30)
@given(some_ids, st.integers(3, 6), st.integers(1, 50))
def test_folds_keep_groups_together_and_share_out_each_kind(ids: np.ndarray, count: int, many: int) -> None:
    groups, kinds = ids % many, ids % 3
    folds = assign_folds(ids, count, groups=groups)
    assert all(len(np.unique(folds[groups == group])) == 1 for group in np.unique(groups))
    folds = assign_folds(ids, count, strata=kinds)
    for kind in np.unique(kinds):
        sizes = np.bincount(folds[kinds == kind], minlength=count)
        assert abs(sizes - (kinds == kind).sum() / count).max() < 1 + 1e-9


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_splits_are_read_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"splits{suffix}"
    ids = np.array([587722981741363294, 5, 2**62 + 1])
    write_splits(tmp_path / "splits.parquet", ids, np.array([2, 0, 1], np.int8))
    pd.read_parquet(tmp_path / "splits.parquet").to_csv(tmp_path / "splits.csv", index=False)
    wanted = [str(2**62 + 1), "7", "587722981741363294"]
    assert read_splits(path, wanted).tolist() == [1, -1, 2]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_galaxies_of_the_starting_weights_train_and_need_not_be_found_again(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"splits{suffix}"
    ids, codes = np.array([1, 2, 3]), np.array([0, 1, 2], np.int8)
    write_splits(tmp_path / "splits.parquet", ids, codes, trained_before=["1", "8", "9"])
    pd.read_parquet(tmp_path / "splits.parquet").to_csv(tmp_path / "splits.csv", index=False)
    assert read_splits(path, ["1", "2", "3", "8", "9", "4"]).tolist() == [0, 1, 2, 0, 0, -1]
    assert training_ids(path) == {"1", "8", "9"}
    settings = SplitSettings(0.1, 0.1, 0, False, path)
    catalog = Catalog("own", np.array([1, 3, 8, 4]), (Path("1.jpg"),) * 4)
    split, listed = settings.split(catalog)
    assert split[:3].tolist() == [0, 2, 0]
    assert listed is not None
    assert (listed.new, listed.gone) == (("4",), ("2",))


@pytest.mark.parametrize(
    "text",
    [
        "id;split\na;test\nxe\u0301;val\n",
        "id\tnote\tsplit\na.png\t\ttest\nx\u00e9.png\t\tval\n",
        "# by hand\nid,split\nimages/a.png,test\nimages/xe\u0301.png,val\n",
    ],
)
def test_a_file_of_splits_is_read_as_a_catalog_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "splits.csv"
    path.write_text(text, encoding="utf-8")
    assert read_splits(path, ["x\u00e9", "b", "a"]).tolist() == [1, -1, 2]


def test_an_ending_that_is_part_of_a_name_is_kept_in_a_file_of_splits(tmp_path: Path) -> None:
    (tmp_path / "splits.csv").write_text("id,split\n1.jpg,test\n1.png,val\n")
    assert read_splits(tmp_path / "splits.csv", ["1.png", "1.jpg"]).tolist() == [1, 2]
    (tmp_path / "splits.csv").write_text("id,split\n1.jpg,train\n1.png,train\n")
    assert training_ids(tmp_path / "splits.csv") == {"1.jpg", "1.png"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,part\n1,train\n", "no column split; it has id, part"),
        ("id,split\n1,training\n", "1: 'training'"),
        ("id,split\n1,train\n1,test\n", "twice:\n  1"),
        ("", "is empty"),
        (b"id,split\nAndr\xe9,train\n", "is no text in UTF-8; save it as CSV UTF-8"),
    ],
)
def test_unusable_split_files_are_named(tmp_path: Path, text: str | bytes, said: str) -> None:
    path = tmp_path / "splits.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        read_splits(path, ["1"])
    assert said in str(caught.value)
    with pytest.raises(UserError, match=r"there is no data.split_file"):
        read_splits(tmp_path / "none.csv", ["1"])


def test_a_file_goes_before_the_hash_and_keeps_groups_together() -> None:
    splits = np.zeros(6, np.int8)
    fixed = np.array([-1, 2, -1, -1, 1, -1], np.int8)
    names = list("abcdef")
    assert override_splits(splits, fixed, None, names, "data.split_file").tolist() == [0, 2, 0, 0, 1, 0]
    groups = np.array([10, 10, 20, 20, 30, 30])
    assert override_splits(splits, fixed, groups, names, "data.split_file").tolist() == [2, 2, 0, 0, 1, 1]
    torn = np.array([0, 2, -1, -1, 1, -1], np.int8)
    with pytest.raises(UserError, match="b is in test"):
        override_splits(splits, torn, groups, names, "data.split_file")
