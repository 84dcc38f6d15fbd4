"""What a model is asked to predict."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from galaxy.data.targets import AsLabelled, Question1
from galaxy.labels.labels import Labels, class_labels
from galaxy.labels.tree import Answer, Question, Questions
from galaxy.surveys import Catalog
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
    asked = Question1()(FOUR)
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
    asked = Question1(hard=True, confident=0.6)(FOUR)
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
    asked = Question1(hard, confident)(replace(FOUR, expected=FOUR.targets))
    assert (asked.expected is not None) == known


def test_unlabelled_galaxies_pass() -> None:
    assert Question1()(catalog(None)).targets is None
    unknown = Catalog("mine", np.arange(1), (Path("0.jpg"),))
    assert Question1()(unknown) is unknown
    assert AsLabelled("classes")(unknown) is unknown


def test_what_cannot_be_asked() -> None:
    classes = catalog([[1, 0, 0, 0]], class_labels(COLUMNS, "Which?"))
    plain = catalog([[0.5]], Labels(Questions((Question("a", "a", (Answer("a"),)),)), ("a",), "fractions"))
    assert AsLabelled("classes")(classes) is AsLabelled()(classes) is classes
    with pytest.raises(UserError, match="mine has classes: use target=classes"):
        Question1()(classes)
    with pytest.raises(UserError, match="mine has classes: use target=classes"):
        AsLabelled("fractions")(classes)
    with pytest.raises(UserError, match="use target=fractions or target=question1"):
        AsLabelled("classes")(FOUR)
    with pytest.raises(UserError, match="single answer a"):
        Question1()(plain)
    with pytest.raises(UserError, match=r"target.confident is 1.5"):
        Question1(confident=1.5)
    with pytest.raises(UserError, match=r"at least target.confident=0.95"):
        Question1(confident=0.95)(FOUR)
