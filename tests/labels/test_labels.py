"""What targets mean travels through plain data and back."""

import re
from dataclasses import replace

import pytest
import yaml

from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2, hart16_columns
from galaxy.labels.labels import Labels, class_labels
from galaxy.surveys.kaggle import LABELS

CLASSES = class_labels(("round", "long"), "Which?")


@pytest.mark.parametrize("labels", [LABELS, CLASSES, replace(CLASSES, whole=LABELS)])
def test_labels_survive_yaml(labels: Labels) -> None:
    back = Labels.from_plain(yaml.safe_load(yaml.safe_dump(labels.plain(), sort_keys=False)))
    assert back.columns == labels.columns
    assert back.texts == labels.texts
    assert (back.meaning, back.kind) == (labels.meaning, labels.kind)
    assert back.questions.structure == labels.questions.structure
    assert back.compatible(labels)
    assert (back.whole is None) == (labels.whole is None)
    assert labels.whole is None or back.whole.compatible(labels.whole)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (CLASSES, "only the first has q01, q02, .* and only the second has class$"),
        (
            Labels(GALAXY_ZOO_2.unrelated, LABELS.columns, "debiased"),
            "^q02 has the parent answer 2 of q01 in the first",
        ),
    ],
)
def test_a_difference_is_named(other: Labels, said: str) -> None:
    assert re.search(said, LABELS.difference(other))


def test_what_does_not_compare() -> None:
    conditional = Labels(GALAXY_ZOO_2.unrelated, LABELS.columns, "debiased")
    assert not LABELS.compatible(conditional)
    assert not CLASSES.compatible(LABELS)
    assert not CLASSES.compatible(class_labels(("long", "round"), "Which?"))
    assert not CLASSES.compatible(class_labels(("red", "blue"), "Which?"))
    assert CLASSES.compatible(class_labels(("round", "long"), "What shape?", ("E0", "E7")))
    assert LABELS.compatible(Labels(GALAXY_ZOO_2, hart16_columns("debiased"), "cumulative"))


def test_two_questions_of_one_tree_do_not_compare_although_their_answers_are_called_alike() -> None:
    tree = {"a": {"answers": {"a1": "yes", "a2": "no"}}, "b": {"answers": {"b1": "yes", "b2": "no"}}}
    whole = Labels.from_plain({"questions": tree})
    a, b = (
        Labels.from_plain({"questions": {key: tree[key]}, "kind": "classes", "whole": whole.plain()})
        for key in tree
    )
    assert a.compatible(a)
    assert not a.compatible(b)
    assert a.compatible(replace(b, whole=None))  # nothing says which question that is


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"a": {"text": "", "answers": {}}}, "a.answers must be columns"),
        ({"a": {"text": "", "answers": {"x": "x"}, "parent": "x"}}, "a.parent is x"),
        ({"a": {"text": "", "answers": {"x": "x"}, "parent": "z"}}, "a.parent is z"),
        ({"a": {"text": "", "answers": {"x": ""}}, "b": {"text": "", "answers": {"x": ""}}}, "x comes twice"),
    ],
)
def test_trees_that_cannot_be(tree: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Labels.from_plain({"questions": tree, "meaning": "m", "kind": "fractions"})


def test_kinds_are_consistent() -> None:
    with pytest.raises(ValueError, match="one question"):
        Labels(GALAXY_ZOO_2, LABELS.columns, "m", "classes")
    with pytest.raises(ValueError, match="2 columns"):
        Labels(GALAXY_ZOO_2, ("a", "b"), "m")
