"""What a model is asked to predict."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from galaxy.data.targets.as_labelled import AsLabelled
from galaxy.data.targets.one_question import OneQuestion
from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2
from galaxy.labels.labels import Labels, class_labels
from galaxy.labels.tree import Answer, Question, Questions
from galaxy.surveys import Catalog
from galaxy.surveys.kaggle import LABELS as KAGGLE
from galaxy.system.errors import UserError

# Two questions: three answers, then one of its own.
TREE = Questions(
    (
        Question("shape", "Shape?", (Answer("smooth"), Answer("disc"), Answer("star"))),
        Question("odd", "Odd?", (Answer("odd"),)),
    )
)
COLUMNS = ("smooth", "disc", "star", "odd")


def catalog(targets: list[list[float]] | None, labels: Labels | None = None) -> Catalog:
    count = 1 if targets is None else len(targets)
    values = None if targets is None else np.array(targets, np.float32)
    return Catalog(
        name="mine",
        ids=np.arange(count),
        images=tuple(Path(f"{i}.jpg") for i in range(count)),
        labels=labels or Labels(TREE, COLUMNS, "weighted"),
        targets=values,
        weights=None if values is None else np.ones_like(values),
    )


FOUR = catalog([[0.9, 0.1, 0, 0.5], [0.2, 0.6, 0.2, 0], [0.4, 0.4, 0.4, 0], [0, 0, 0, 1]])


def test_the_first_question_becomes_classes() -> None:
    asked = OneQuestion()(FOUR)
    assert asked.labels is not None
    assert asked.labels.kind == "classes"
    assert asked.labels.columns == ("smooth", "disc", "star")
    assert asked.ids.tolist() == [0, 1, 2]  # nobody answered for the fourth
    assert asked.targets is not None
    np.testing.assert_allclose(asked.targets[2], 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(asked.targets.sum(axis=1), 1, rtol=1e-6)
    assert asked.targets.dtype == np.float32
    assert asked.strata is not None
    assert asked.strata.tolist() == [0, 1, 0]
    assert asked.weights is not None
    assert asked.weights.shape == (3, 3)


def test_hard_and_confident() -> None:
    asked = OneQuestion(hard=True, confident=0.6)(FOUR)
    assert asked.targets is not None
    assert asked.ids.tolist() == [0, 1]
    assert asked.targets.tolist() == [[1, 0, 0], [0, 1, 0]]
    assert asked.labels is not None
    assert asked.labels.meaning == "question1 of weighted, hard, at least 0.6"


@pytest.mark.parametrize(
    ("hard", "confident", "known"), [(False, 0, True), (True, 0, False), (False, 0.6, False)]
)
def test_only_of_the_shares_of_all_galaxies_the_noise_floor_is_known(
    hard: bool, confident: float, known: bool
) -> None:
    assert FOUR.targets is not None
    asked = OneQuestion(None, hard, confident)(replace(FOUR, expected=FOUR.targets))
    assert (asked.expected is not None) == known


def test_unlabelled_galaxies_pass() -> None:
    assert OneQuestion()(catalog(None)).targets is None
    unknown = Catalog("mine", np.arange(1), (Path("0.jpg"),))
    assert OneQuestion()(unknown) is unknown
    assert AsLabelled("classes")(unknown) is unknown


def test_what_cannot_be_asked() -> None:
    classes = catalog([[1, 0, 0, 0]], class_labels(COLUMNS, "Which?"))
    plain = catalog([[0.5]], Labels(Questions((Question("a", "a", (Answer("a"),)),)), ("a",), "fractions"))
    assert AsLabelled("classes")(classes) is AsLabelled()(classes) is classes
    with pytest.raises(UserError, match="mine has classes: use target=classes"):
        OneQuestion()(classes)
    with pytest.raises(UserError, match="mine has classes: use target=classes"):
        AsLabelled("fractions")(classes)
    with pytest.raises(UserError, match="use target=fractions or target=question1"):
        AsLabelled("classes")(FOUR)
    with pytest.raises(UserError, match="single answer a"):
        OneQuestion()(plain)
    with pytest.raises(UserError, match=r"question odd of data=mine has the single answer odd"):
        OneQuestion("odd")(FOUR)
    with pytest.raises(ValueError, match=r"^question is shap; .* shape, odd; did you mean shape\?$"):
        OneQuestion("shap")(FOUR)
    with pytest.raises(ValueError, match=r"^confident is 1.5; "):
        OneQuestion(confident=1.5)
    with pytest.raises(UserError, match=r"at least target.confident=0.95"):
        OneQuestion(confident=0.95)(FOUR)


def test_a_question_below_a_parent_is_asked_where_somebody_answered_it() -> None:
    below = Question("arms", "Arms?", (Answer("yes"), Answer("no")), parent=("shape", 1))
    columns = ("smooth", "disc", "star", "yes", "no")
    labels = Labels(Questions((TREE.questions[0], below)), columns, "cumulative")
    given = catalog([[0.2, 0.8, 0, 0.6, 0.2], [1, 0, 0, 0, 0], [0.5, 0.5, 0, 0.1, 0.4]], labels)
    asked = OneQuestion("arms")(replace(given, counts=given.targets, expected=given.targets))
    assert asked.ids.tolist() == [0, 2]
    assert asked.labels is not None
    assert (asked.labels.columns, asked.labels.kind) == (("yes", "no"), "classes")
    assert asked.labels.questions.parents == (None,)
    assert asked.labels.meaning == "question2 of cumulative"
    assert asked.targets is not None
    np.testing.assert_allclose(asked.targets, [[0.75, 0.25], [0.2, 0.8]], rtol=1e-6)
    assert asked.expected is not None
    np.testing.assert_allclose(asked.expected, asked.targets)
    assert asked.counts is not None
    np.testing.assert_allclose(asked.counts, [[0.6, 0.2], [0.1, 0.4]], rtol=1e-6)
    np.testing.assert_allclose(asked.weights, [[0.8, 0.8], [0.5, 0.5]], rtol=1e-6)
    assert given.weights is not None
    unsure = OneQuestion("arms")(replace(given, weights=given.weights * np.float32(0.6)))
    np.testing.assert_allclose(unsure.weights, [[0.6, 0.6], [0.5, 0.5]], rtol=1e-6)
    hard = OneQuestion("arms", hard=True, confident=0.78)(given)
    assert hard.ids.tolist() == [2]
    assert hard.targets is not None
    assert hard.targets.tolist() == [[0, 1]]


def test_the_first_question_is_the_same_target_by_its_key() -> None:
    by_key, first = OneQuestion("shape")(FOUR), OneQuestion()(FOUR)
    assert by_key.labels == first.labels
    assert np.array_equal(by_key.targets, first.targets)  # type: ignore[arg-type]  # both have them


def test_galaxies_whose_answers_nobody_knows_are_left_out() -> None:
    weights = np.ones((4, 4), np.float32)
    weights[1, :3] = 0
    assert OneQuestion()(replace(FOUR, weights=weights)).ids.tolist() == [0, 2]


@pytest.mark.parametrize("number", range(len(GALAXY_ZOO_2)))
def test_each_question_of_a_cumulative_tree_is_asked_of_those_who_met_it(number: int) -> None:
    rng = np.random.default_rng(number)
    shares = np.concatenate([rng.dirichlet(np.full(size, 0.3), 20) for size in GALAXY_ZOO_2.sizes], axis=1)
    shares[:5, 0] = 1  # these are smooth for sure
    shares[:5, 1:3] = 0
    targets = GALAXY_ZOO_2.cumulative(shares).astype(np.float32)
    given = replace(catalog(targets.tolist(), KAGGLE), weights=None)
    asked = OneQuestion(GALAXY_ZOO_2.questions[number].key)(given)
    columns, reach = GALAXY_ZOO_2.slices[number], GALAXY_ZOO_2.reach(shares)[:, number]
    met = asked.ids
    assert np.isin(np.flatnonzero(reach > 1e-6), met).all()
    assert asked.labels is not None
    assert asked.labels.whole is KAGGLE
    assert asked.targets is not None
    np.testing.assert_allclose(asked.targets, shares[met][:, columns], atol=1e-3)
    if GALAXY_ZOO_2.parents[number] is None:
        assert asked.weights is None
    else:
        assert asked.weights is not None
        np.testing.assert_allclose(
            asked.weights, reach[met, None].repeat(asked.targets.shape[1], 1), atol=1e-6
        )
