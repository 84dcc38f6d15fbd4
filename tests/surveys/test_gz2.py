"""The Galaxy Zoo 2 reader on generated folders, whole and broken."""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2, hart16_columns
from galaxy.surveys.gz2 import IMAGES, MAPPING, TABLE, class_reduced, read_gz2
from galaxy.system.errors import UserError
from tests.stress.gz2_files import Sizes, write_gz2

SIZES = Sizes(rows=60, empty=4, unpictured=3, lone_images=5, objids=90, twice=10)
DEBIASED = list(hart16_columns("debiased"))
FRACTIONS = ["debiased", "renormalised", "cumulative", "weighted"]
FIRST = 588_000_000_000_000_001  # a float would make 588000000000000000 of it


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files with every column and the gaps of the published ones. Tests must not change it."""
    root = tmp_path_factory.mktemp("gz2")
    write_gz2(root, SIZES)
    return root


def complete(count: int = 6) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Labels and mapping as text, so that tests can put anything into them; galaxy i has asset 10 + i."""
    rng = np.random.default_rng(0)
    ids = [str(FIRST + i) for i in range(count)]
    labels = pd.DataFrame(rng.random((count, len(DEBIASED))).round(3).astype(str), columns=DEBIASED)
    labels.insert(0, "dr7objid", ids)
    mapping = pd.DataFrame({"objid": ids, "asset_id": [str(10 + i) for i in range(count)]})
    return labels, mapping


def write(root: Path, labels: pd.DataFrame, mapping: pd.DataFrame, assets: list[str] | None = None) -> Path:
    """Writes them with the images of these assets, of all if None."""
    (root / IMAGES).mkdir(parents=True, exist_ok=True)
    labels.to_csv(root / TABLE, index=False)
    mapping.to_csv(root / MAPPING, index=False)
    for asset in mapping["asset_id"] if assets is None else assets:
        (root / IMAGES / f"{asset}.jpg").touch()
    return root


def error(root: Path, *args: object, on_bad: str = "error") -> str:
    with pytest.raises(UserError) as caught:
        read_gz2(root, on_bad, *args)  # type: ignore[arg-type]
    return str(caught.value)


def raw(root: Path, suffix: str, ids: np.ndarray) -> np.ndarray:
    """The columns of these galaxies as another reader sees them."""
    table = pd.read_csv(root / TABLE, dtype={"dr7objid": "int64"}).set_index("dr7objid")
    return table.loc[ids, list(hart16_columns(suffix))].to_numpy(np.float64)


def question_sums(targets: np.ndarray) -> np.ndarray:
    return np.stack([targets[:, columns].sum(axis=1) for columns in GALAXY_ZOO_2.slices], axis=1)


# ------------------------------------------------------------------------------------ the join


def test_the_losses_of_the_published_files(published: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "galaxy.surveys.gz2"):
        catalog = read_gz2(published, "skip")
    assert len(catalog) == SIZES.rows - SIZES.empty - SIZES.unpictured
    assert catalog.name == "gz2"
    assert catalog.ids.dtype == np.int64
    # 18 digits survive, and each galaxy has its own image: assets are numbered in the mapping's order.
    mapping = pd.read_csv(published / MAPPING)
    asset = dict(zip(mapping["asset_id"], mapping["objid"], strict=True))
    assert [asset[int(path.stem)] for path in catalog.images] == catalog.ids.tolist()  # type: ignore[union-attr]
    assert all(path.is_file() for path in catalog.images)  # type: ignore[union-attr]
    assert len(catalog.skipped) == SIZES.empty + SIZES.unpictured + SIZES.lone_images
    block = {line[:58].strip(): line[58:].strip() for line in caplog.messages[0].splitlines()[1:]}
    assert block == {
        "rows of gz2_hart16.csv": "60",
        "with an unusable or repeated dr7objid": "0",
        "with empty labels": "-4",
        "with labels out of range": "0",
        "left": "56",
        "without an image": "-3",
        "galaxies": "53",
        "images in images/": "62",
        "of no galaxy": "-9",
        "of them without a row": "-5",
        "objids that gz2_filename_mapping.csv has again": "10",
    }


def test_the_gaps_of_the_published_files_stop_if_they_must(published: Path) -> None:
    message = error(published)
    assert "4 row(s) with empty labels" in message
    assert "_debiased is empty or NaN" in message
    assert "3 row(s) without an image" in message
    assert "5 image(s) without a row" in message
    assert "data.on_bad=skip" in message


def test_a_second_asset_without_an_image_is_no_mistake_and_never_taken(tmp_path: Path) -> None:
    labels, mapping = complete()
    again = pd.DataFrame({"objid": mapping["objid"], "asset_id": [str(90 + i) for i in range(6)]})
    root = write(tmp_path, labels, pd.concat([again, mapping]), list(mapping["asset_id"]))
    catalog = read_gz2(root, "error")
    assert [path.stem for path in catalog.images] == list(mapping["asset_id"])  # type: ignore[union-attr]


def test_of_two_images_the_first_is_taken_and_the_second_reported(tmp_path: Path) -> None:
    labels, mapping = complete()
    again = pd.DataFrame({"objid": mapping["objid"][:1], "asset_id": ["90"]})
    root = write(tmp_path, labels, pd.concat([mapping, again]))
    catalog = read_gz2(root, "skip")
    assert [path.stem for path in catalog.images] == list(mapping["asset_id"])  # type: ignore[union-attr]
    assert catalog.skipped == (
        f"{MAPPING}, line 8: objid {FIRST} has images/90.jpg beside images/10.jpg, which is taken",
    )


@st.composite
def surveys(draw: st.DrawFn) -> tuple[dict[int, bool], list[tuple[int, int]], set[int]]:
    """Rows (id: whether a label is empty), mapping (id, asset) in any order, and assets with an image."""
    rows = draw(st.dictionaries(st.integers(1, 8), st.booleans(), min_size=1))
    owners = draw(st.dictionaries(st.integers(1, 12), st.integers(1, 10), min_size=1))
    mapping = draw(st.permutations([(objid, asset) for asset, objid in owners.items()]))
    return rows, mapping, draw(st.sets(st.integers(1, 14)))


@settings(deadline=None, max_examples=40)
@given(surveys())
def test_the_join_keeps_the_intersection_and_reports_the_rest(
    survey: tuple[dict[int, bool], list[tuple[int, int]], set[int]],
) -> None:
    rows, mapping, images = survey
    first: dict[int, int] = {}
    for objid, asset in mapping:
        if asset in images:
            first.setdefault(objid, asset)
    expected = [(i, first[i]) for i, empty in rows.items() if not empty and i in first]
    owner = {asset: objid for objid, asset in mapping}
    left_out = [f"dr7objid {i}: t01" for i, empty in rows.items() if empty]
    left_out += [f"dr7objid {i}: no" for i, empty in rows.items() if not empty and i not in first]
    for asset in images:
        if owner.get(asset) not in rows:
            left_out.append(f"images/{asset}.jpg: no")
        elif first[owner[asset]] != asset:
            left_out.append(f"has images/{asset}.jpg beside images/{first[owner[asset]]}.jpg,")

    labels, _ = complete(len(rows))
    labels["dr7objid"] = [str(i) for i in rows]
    labels.loc[list(rows.values()), DEBIASED[0]] = ""
    with TemporaryDirectory() as folder:
        root = write(
            Path(folder),
            labels,
            pd.DataFrame(mapping, columns=["objid", "asset_id"]),
            [str(asset) for asset in images],
        )
        if not expected:
            assert "No usable galaxy" in error(root, on_bad="skip")
            return
        catalog = read_gz2(root, "skip")
    assert [(i, int(p.stem)) for i, p in zip(catalog.ids, catalog.images, strict=True)] == expected  # type: ignore[union-attr]
    assert len(catalog.skipped) == len(left_out)
    for case in left_out:
        assert sum(case in line for line in catalog.skipped) == 1


# -------------------------------------------------------------------------- labels and weights


@pytest.mark.parametrize("labels", [*FRACTIONS, "counts"])
def test_every_meaning_of_the_labels(published: Path, labels: str) -> None:
    catalog = read_gz2(published, "skip", labels)  # type: ignore[arg-type]
    assert catalog.labels is not None
    assert catalog.targets is not None
    assert catalog.labels.meaning == labels
    assert catalog.labels.kind == "fractions"
    assert catalog.labels.columns[0] == "t01_smooth_or_features_a01_smooth"
    assert catalog.labels.columns[-1] == "t11_arms_number_a37_cant_tell"
    assert catalog.targets.dtype == np.float32
    assert catalog.targets.min() >= 0
    assert catalog.targets.max() <= 1
    has_parents = any(question.parent for question in catalog.labels.questions)
    assert has_parents == (labels == "cumulative")
    suffix = {"weighted": "weighted_fraction", "counts": "count"}.get(labels, "debiased")
    expected = raw(published, suffix, catalog.ids)
    if labels not in ("debiased", "weighted"):
        sums = question_sums(expected)[:, GALAXY_ZOO_2.question_of]
        expected = np.divide(expected, sums, out=np.zeros_like(expected), where=sums > 0)
    if labels == "cumulative":
        expected = GALAXY_ZOO_2.cumulative(expected)
    np.testing.assert_allclose(catalog.targets, expected, atol=1e-6)
    assert (catalog.counts is None) == (labels != "counts")


def test_counts_are_the_votes_and_can_come_with_any_labels(published: Path) -> None:
    for catalog in (
        read_gz2(published, "skip", "counts"),
        read_gz2(published, "skip", "cumulative", counts=True),
        read_gz2(published, "skip", "weighted", "counts"),
    ):
        assert catalog.counts is not None
        assert catalog.counts.dtype == np.float32
        np.testing.assert_array_equal(catalog.counts, raw(published, "count", catalog.ids))


def test_only_the_columns_that_are_needed_make_a_row_empty(published: Path) -> None:
    with_debiased = read_gz2(published, "skip", "weighted", "parent")
    without = read_gz2(published, "skip", "weighted")
    assert len(without) == len(with_debiased) + SIZES.empty


def test_parent_weights_are_the_probability_of_being_asked(published: Path) -> None:
    catalog = read_gz2(published, "skip", "debiased", "parent")
    assert catalog.weights is not None
    conditional, met = GALAXY_ZOO_2.conditional(raw(published, "debiased", catalog.ids))
    reach = GALAXY_ZOO_2.reach(conditional)
    for question, columns in enumerate(GALAXY_ZOO_2.slices):
        for weights in catalog.weights[:, columns].T:
            np.testing.assert_allclose(weights, reach[:, question] * met[:, question], atol=1e-6)


def test_count_weights_are_the_share_of_volunteers_who_answered(published: Path) -> None:
    catalog = read_gz2(published, "skip", "debiased", "counts")
    assert catalog.weights is not None
    votes = question_sums(raw(published, "count", catalog.ids))
    expected = np.minimum(votes / votes[:, :1], 1)[:, GALAXY_ZOO_2.question_of]
    np.testing.assert_allclose(catalog.weights, expected, atol=1e-6)
    assert catalog.weights[:, 0].min() == 1


def test_a_question_that_nobody_answered_is_0_and_has_no_weight(tmp_path: Path) -> None:
    labels, mapping = complete()
    spiral, arms = GALAXY_ZOO_2.slices[3], GALAXY_ZOO_2.slices[9]
    labels.loc[0, [DEBIASED[i] for i in range(spiral.start, spiral.stop)]] = "0.0"
    root = write(tmp_path, labels, mapping)
    for kind in ("renormalised", "cumulative"):
        catalog = read_gz2(root, "error", kind, "parent")  # type: ignore[arg-type]
        assert catalog.targets is not None
        assert catalog.weights is not None
        assert catalog.targets[0, 4] > 0  # not edge-on: the question's parent
        assert catalog.targets[0, spiral].tolist() == [0, 0]
        assert catalog.weights[0, spiral].tolist() == [0, 0]
        assert catalog.weights[0, arms].tolist() == [0, 0, 0]
        assert (catalog.weights[1:] > 0).all()


def test_what_nobody_answered_is_masked_where_it_is_unknown(tmp_path: Path) -> None:
    labels, mapping = complete()

    def silence(row: int, question: int, *, answers: slice | None = None) -> None:
        columns = answers or GALAXY_ZOO_2.slices[question]
        labels.loc[row, DEBIASED[columns]] = "0.0"

    spiral, arms, smooth, round_ = 3, 9, slice(0, 1), 6
    silence(0, spiral)  # although not edge-on is above 0; its arms are shares of nobody knows what
    silence(1, round_)
    silence(1, round_, answers=smooth)  # nobody was asked
    silence(2, round_, answers=smooth)  # nobody was asked, whatever the answers
    root = write(tmp_path, labels, mapping)

    def masked(kind: str, weights: str | None = "known") -> set[tuple[int, int]]:
        catalog = read_gz2(root, "error", kind, weights)  # type: ignore[arg-type]
        assert catalog.weights is not None
        assert set(np.unique(catalog.weights)) <= {0, 1}
        of_questions = [catalog.weights[:, columns] for columns in GALAXY_ZOO_2.slices]
        assert all((weights == weights[:, :1]).all() for weights in of_questions)
        rows, questions = np.nonzero(np.stack([weights[:, 0] == 0 for weights in of_questions], axis=1))
        return set(zip(rows.tolist(), questions.tolist(), strict=True))

    assert masked("cumulative") == {(0, spiral), (0, arms), (0, 10)}
    assert masked("renormalised") == masked("debiased") == {(0, spiral), (1, round_)}
    assert read_gz2(root, "error", weights=None).weights is None
    default = read_gz2(root, "error").weights
    assert default is not None
    assert default[0, GALAXY_ZOO_2.slices[spiral]].tolist() == [0, 0]


@st.composite
def fractions(draw: st.DrawFn) -> np.ndarray:
    """(N, 37), many of them 0."""
    value = st.one_of(st.just(0.0), st.floats(0.01, 1).map(lambda x: round(x, 3)))
    return np.array(draw(st.lists(st.lists(value, min_size=37, max_size=37), min_size=1, max_size=4)))


@settings(deadline=None, max_examples=20)
@given(fractions())
def test_labels_convert_into_each_other(values: np.ndarray) -> None:
    labels, mapping = complete(len(values))
    labels[DEBIASED] = values.astype(str)
    with TemporaryDirectory() as folder:
        root = write(Path(folder), labels, mapping)
        targets = [read_gz2(root, "error", kind).targets for kind in ("renormalised", "cumulative")]  # type: ignore[arg-type]
        weights = read_gz2(root, "error", "cumulative", "parent").weights
        known = read_gz2(root, "error", "cumulative").weights
    renormalised, cumulative = targets
    assert renormalised is not None
    assert cumulative is not None
    assert weights is not None
    sums = question_sums(renormalised)
    assert np.all((sums == 0) | (np.abs(sums - 1) < 1e-6))
    conditional, _ = GALAXY_ZOO_2.conditional(cumulative)
    np.testing.assert_allclose(GALAXY_ZOO_2.cumulative(conditional), cumulative, atol=1e-6)
    asked = weights > 0
    np.testing.assert_allclose(conditional[asked], renormalised[asked], atol=1e-5)
    answered = weights[:, [columns.start for columns in GALAXY_ZOO_2.slices]] > 0
    residuals = np.abs(GALAXY_ZOO_2.residuals(cumulative))
    assert residuals[answered].max(initial=0) < 1e-6
    assert known is not None
    is_known = known[:, [columns.start for columns in GALAXY_ZOO_2.slices]] > 0
    assert is_known[answered].all()
    assert residuals[is_known].max(initial=0) < 1e-6
    # Of those without weight, the sums miss their parents, or these are unknown themselves.
    for question in np.flatnonzero(~is_known.all(axis=0)).tolist():
        parent = GALAXY_ZOO_2.parents[question]
        unknown = ~is_known[:, question]
        if parent is not None:
            unknown &= is_known[:, GALAXY_ZOO_2.question_of[parent]]
        assert (residuals[unknown, question] > 0).all()


# ------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize("on_bad", ["error", "skip"])
def test_missing_files_are_named_with_the_layout(tmp_path: Path, on_bad: str) -> None:
    message = error(tmp_path / "nowhere", on_bad=on_bad)
    for name in (TABLE, MAPPING, IMAGES):
        assert str(tmp_path / "nowhere" / name) in message
    assert "https://zenodo.org/records/3565489" in message


@pytest.mark.parametrize("on_bad", ["error", "skip"])
def test_missing_columns_are_named(published: Path, tmp_path: Path, on_bad: str) -> None:
    table = pd.read_csv(published / TABLE, dtype=str)
    root = write(tmp_path, table.drop(columns=[*DEBIASED[:2], "dr7objid"]), complete()[1])
    message = error(root, on_bad=on_bad)
    assert "no column dr7objid" in message
    assert f"no column {DEBIASED[0]}\n" in message  # no column of other numbers is taken for a misspelling
    assert f"no column {DEBIASED[1]}" in message
    write(tmp_path, table, complete()[1].rename(columns={"asset_id": "asset"}), [])
    assert "no column asset_id" in error(root, on_bad=on_bad)


@pytest.mark.parametrize(
    ("args", "settings"),
    [
        (("counts",), "data.catalog.labels=counts"),
        (("cumulative", "counts"), "data.catalog.weights=counts"),
        (("cumulative", None, True), "data.counts=true"),
        (("counts", "parent", True), "data.catalog.labels=counts and data.counts=true"),
    ],
)
def test_a_table_without_votes_says_so_where_they_are_needed(
    tmp_path: Path, args: tuple[object, ...], settings: str
) -> None:
    root = write(tmp_path, *complete())
    message = error(root, *args, on_bad="skip")
    assert f"{TABLE} lacks the votes that are needed for {settings}:" in message
    assert "t01_smooth_or_features_a01_smooth_count" in message
    assert "231 columns" in message


def test_votes_that_are_no_numbers_of_votes_are_named(published: Path, tmp_path: Path) -> None:
    table = pd.read_csv(published / TABLE, dtype=str, keep_default_na=False)
    table = table[(table[DEBIASED] != "").all(axis=1)].head(5).reset_index(drop=True)
    votes = hart16_columns("count")
    table.loc[[0, 1, 2], votes[4]] = ["-1", "2.5", "1e99"]
    root = write(
        tmp_path, table, pd.DataFrame({"objid": table["dr7objid"], "asset_id": ["1", "2", "3", "4", "5"]})
    )
    message = error(root, "counts")
    for value in ("-1.0", "2.5", "1e+99"):
        assert f"{votes[4]} is {value}" in message
    assert "3 row(s)" in message


def test_bad_rows_are_named_each_once(tmp_path: Path) -> None:
    labels, mapping = complete(12)
    labels.loc[0, "dr7objid"] = "587722981746540704.0"
    labels.loc[1, "dr7objid"] = "5.877e17"
    labels.loc[2, "dr7objid"] = ""
    labels.loc[4, "dr7objid"] = labels.loc[3, "dr7objid"]
    labels.loc[5, DEBIASED[7]] = "1.5"
    labels.loc[6, [DEBIASED[8], DEBIASED[9]]] = ["many", "inf"]
    labels.loc[7, DEBIASED[10]] = "NaN"
    labels.loc[8, DEBIASED[10]] = "true"
    mapping.loc[9, "asset_id"] = "19.0"
    mapping.loc[10, "objid"] = "5.88e17"
    mapping = mapping.drop(index=[0, 1, 2, 4])
    root = write(tmp_path, labels, mapping, ["13", "15", "16", "17", "18", "21"])
    (root / IMAGES / "galaxy.jpg").touch()
    expected = [
        "line 2: dr7objid '587722981746540704.0' is not a whole number (was the table saved",
        "line 3: dr7objid '5.877e17' is not a whole number (was the table saved",
        "line 4: dr7objid '' is not a whole number",
        f"line 6: dr7objid {FIRST + 3} is already on line 5",
        f"line 7, dr7objid {FIRST + 5}: {DEBIASED[7]} is 1.5",
        f"line 8, dr7objid {FIRST + 6}: {DEBIASED[8]} is many (and 1 more columns)",
        f"line 9, dr7objid {FIRST + 7}: {DEBIASED[10]} is empty or NaN",
        f"line 10, dr7objid {FIRST + 8}: {DEBIASED[10]} is true",
        f"line 11, dr7objid {FIRST + 9}: not in {MAPPING}",
        f"line 12, dr7objid {FIRST + 10}: not in {MAPPING}",
        f"{MAPPING}, line 7: asset_id '19.0' is not a whole number (was the table saved",
        f"{MAPPING}, line 8: objid '5.88e17' is not a whole number (was the table saved",
        "images/galaxy.jpg: the name is not a asset_id",
    ]
    message = error(root)
    catalog = read_gz2(root, "skip")
    assert catalog.ids.tolist() == [FIRST + 3, FIRST + 11]
    assert len(catalog.skipped) == len(expected)
    for line in expected:
        assert line in message
        assert sum(line in skipped for skipped in catalog.skipped) == 1


@pytest.mark.parametrize("name", [TABLE, MAPPING])
@pytest.mark.parametrize("on_bad", ["error", "skip"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"\n",
        lambda data: b"PK\x03\x04\x14\x00\x00\x00\x08\x00" + data,
        lambda data: b"\xff\xfe\x00" + data,
        lambda data: data[: data.index(b"\n") + 1],
        lambda data: data[:-40],
        lambda data: data.replace(b"\n", b",0.5\n", 3).replace(b",0.5\n", b"\n", 1),
        lambda data: data.replace(str(FIRST).encode(), b"\xe9\xe8", 1),
        lambda data: data.replace(b",", b',"', 60),
    ],
    ids=["empty", "blank", "zip", "utf-16", "no rows", "truncated", "ragged", "latin-1", "quotes"],
)
def test_an_unusable_csv_is_one_user_error(tmp_path: Path, name: str, on_bad: str, damage) -> None:  # type: ignore[no-untyped-def]
    root = write(tmp_path, *complete())
    (root / name).write_bytes(damage((root / name).read_bytes()))
    assert name in error(root, on_bad=on_bad)


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    root = write(tmp_path, *complete())
    for name in (TABLE, MAPPING):
        text = (root / name).read_text().replace("\n", "\r\n") + "\r\n"
        (root / name).write_bytes(text.encode("utf-8-sig"))
    assert read_gz2(root, "error").ids.tolist() == [FIRST + i for i in range(6)]


# -------------------------------------------------------------------------- kinds of galaxies


def test_strata_are_the_reduced_classes_of_the_whole_table(published: Path) -> None:
    catalog = read_gz2(published, "skip")
    assert catalog.strata is not None
    assert catalog.strata.dtype == np.int64
    table = pd.read_csv(published / TABLE)
    reduced = class_reduced(table["gz2_class"]).set_axis(table["dr7objid"])[catalog.ids]
    pairs = set(zip(catalog.strata.tolist(), reduced, strict=True))
    assert len(pairs) == len(set(catalog.strata.tolist())) == reduced.nunique()


def test_without_classes_there_are_no_strata(tmp_path: Path) -> None:
    assert read_gz2(write(tmp_path, *complete()), "error").strata is None


@pytest.mark.parametrize(
    ("rare", "common", "reduced"),
    [
        ("Er", [], "Er"),
        ("SBb3m(m)", [], "SBb3m(m)"),
        ("SBb3m(m)", ["SBb3m"], "SBb3m"),
        ("SBb3m(m)", ["SBb", "SB", "S"], "SBb"),
        ("SBc+l(m)", ["SBc+"], "SBc+"),
        ("Sc?t", ["Sc?", "Sb"], "Sc?"),
        ("Ser", ["Se", "S", "Er"], "Se"),
        ("Er(o)", ["Er"], "Er"),
        ("A", ["Er", "S"], "other"),
        (None, ["Er"], "other"),
    ],
)
def test_a_rare_class_joins_the_next_more_general_one(
    rare: str | None, common: list[str], reduced: str
) -> None:
    copies = 1 if common or rare is None else 5  # alone it is not rare
    classes = pd.Series([rare] * copies + [name for name in common for _ in range(5)], dtype="str")
    result = class_reduced(classes, least=5)
    assert result.iloc[0] == reduced
    assert result.iloc[copies:].tolist() == classes.iloc[copies:].tolist()


def test_rare_classes_gather_until_they_are_enough() -> None:
    classes = pd.Series(["Sb1t", "Sb2t", "Sb3t(r)", "Sb+m", "Sc", "Ei", "A"])
    assert class_reduced(classes, least=4).tolist() == ["Sb", "Sb", "Sb", "Sb", "other", "other", "other"]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.from_regex(r"(E[ric]|Se[rbn]|SB?[abcd]([1234+?][tml])?)(\([rldiomu]\))?|A", fullmatch=True)),
    st.integers(1, 6),
    st.randoms(use_true_random=False),
)
def test_every_reduced_class_is_filled_and_the_order_does_not_matter(
    names: list[str], least: int, random: object
) -> None:
    classes = pd.Series(names, dtype="str")
    reduced = class_reduced(classes, least)
    numbers = reduced.value_counts()
    assert (numbers.drop("other", errors="ignore") >= least).all()
    for name, short in zip(names, reduced, strict=True):
        assert short == "other" or name.startswith(short)
    order = list(range(len(names)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert class_reduced(classes.iloc[order], least).tolist() == reduced.iloc[order].tolist()
