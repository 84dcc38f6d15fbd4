"""Unknown answers, votes, percent and classes in a user's table."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from galaxy.surveys.catalog import Catalog
from galaxy.surveys.table import read_table
from galaxy.system.errors import UserError

TREE: dict[str, Any] = {
    "shape": {"answers": ["smooth", "disk"]},
    "bar": {"answers": ["bar", "no_bar"]},
}
CUMULATIVE: dict[str, Any] = {**TREE, "bar": {"answers": ["bar", "no_bar"], "parent": "disk"}}


def write(root: Path, columns: dict[str, list[Any]], file: str = "labels.csv") -> None:
    table = pd.DataFrame(columns)
    table.insert(0, "name", [f"g{row}" for row in range(len(table))])
    (root / "images").mkdir(exist_ok=True)
    for name in table["name"]:
        (root / "images" / f"{name}.png").touch()
    if file.endswith(".parquet"):
        table.to_parquet(root / file)
    else:
        table.to_csv(root / file, index=False)


def read(root: Path, on_bad: str = "error", **arguments: Any) -> Catalog:
    return read_table(root, on_bad, bands=[2, 1, 0], softening=10.0, **arguments)  # type: ignore[arg-type]


def error(root: Path, on_bad: str = "error", **arguments: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(root, on_bad, **arguments)
    return str(caught.value)


NAN = float("nan")


@pytest.mark.parametrize("file", ["labels.csv", "labels.parquet"])
def test_unknown_answers_have_the_weight_0(
    tmp_path: Path, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    write(tmp_path, {"smooth": [0.9, 0.3, NAN], "bar": [NAN, 0.2, 0.4]}, file)
    catalog = read(tmp_path, columns=["smooth", "bar"])
    assert catalog.weights is not None
    assert catalog.weights.dtype == np.float32
    assert catalog.weights.tolist() == [[1, 0], [1, 1], [0, 1]]
    assert catalog.targets is not None
    np.testing.assert_allclose(catalog.targets, [[0.9, 0], [0.3, 0.2], [0, 0.4]], atol=1e-7)
    assert (
        "2 of 6 answers are empty; these fractions have the weight 0:\n  smooth: 1\n  bar: 1" in caplog.text
    )


@pytest.mark.parametrize("word", ["", "NaN", "nan", "NA", "N/A", "null", "NULL", "None", "--"])
def test_unknown_is_written_in_many_ways(tmp_path: Path, word: str) -> None:
    write(tmp_path, {"smooth": ["0.9", "0.3"], "bar": [word, "0.2"]})
    catalog = read(tmp_path, columns=["smooth", "bar"])
    assert catalog.weights is not None
    assert catalog.weights.tolist() == [[1, 0], [1, 1]]


def test_a_galaxy_without_any_answer_is_bad(tmp_path: Path) -> None:
    write(tmp_path, {"smooth": [0.9, NAN, 0.2], "bar": [0.1, NAN, NAN]})
    message = error(tmp_path, columns=["smooth", "bar"])
    assert "1 row(s) without any answer" in message
    assert "labels.csv, line 3, g1: smooth is empty or NaN (and 1 more columns)" in message
    assert read(tmp_path, "skip", columns=["smooth", "bar"]).names == ("g0", "g2")


def test_a_question_that_is_answered_in_part_is_bad(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"smooth": [1, 0.3, 0], "disk": [0, 0.7, 1], "bar": [NAN, 0.2, 0], "no_bar": [NAN, NAN, 1]},
    )
    message = error(tmp_path, questions=TREE)
    assert "1 row(s) with some answers of a question only (write 0 where" in message
    assert "line 3, g1: no_bar empty, the other answers of bar are not" in message


def test_a_column_without_any_number_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"smooth": [0.9, 0.3], "bar": [NAN, NAN]})
    assert "no row has a number in the column(s) bar" in error(tmp_path, columns=["smooth", "bar"])


def test_an_unknown_question_of_a_tree_is_not_held_against_its_parent(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"smooth": [0.9, 0.3], "disk": [0.1, 0.7], "bar": [NAN, 0.2], "no_bar": [NAN, 0.5]},
    )
    catalog = read(tmp_path, questions=CUMULATIVE)
    assert catalog.weights is not None
    assert catalog.weights.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]


def test_all_known_is_no_weight(tmp_path: Path) -> None:
    write(tmp_path, {"smooth": [0.9, 0.3]})
    assert read(tmp_path, columns=["smooth"]).weights is None


def test_what_rounding_puts_outside_is_clipped(tmp_path: Path) -> None:
    write(tmp_path, {"smooth": [1.0000001, -1e-9, 1.000005]})
    catalog = read(tmp_path, columns=["smooth"])
    assert catalog.targets is not None
    assert catalog.targets.tolist() == [[1], [0], [1]]
    write(tmp_path, {"smooth": [1.001, 0.5, -0.001]})
    assert "2 row(s) with labels that are not fractions in [0, 1]" in error(tmp_path, columns=["smooth"])


# Votes.


@pytest.mark.parametrize("file", ["labels.csv", "labels.parquet"])
def test_votes_become_fractions_and_counts(tmp_path: Path, file: str) -> None:
    write(tmp_path, {"q_smooth": [30, 10, 5], "q_disk": [10, 30, 0]}, file)
    catalog = read(tmp_path, columns=["q_smooth", "q_disk"], votes=True)
    assert catalog.counts is not None
    assert catalog.counts.dtype == np.float32
    assert catalog.counts.tolist() == [[30, 10], [10, 30], [5, 0]]
    assert catalog.targets is not None
    assert catalog.targets.tolist() == [[0.75, 0.25], [0.25, 0.75], [1, 0]]
    assert catalog.weights is None
    assert catalog.labels is not None
    assert catalog.labels.questions.structure == ((2, None),)


def test_a_question_counts_by_its_votes_and_one_that_nobody_was_asked_not_at_all(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"smooth": [40, 10], "disk": [0, 30], "bar": [0, 10], "no_bar": [NAN, 10]},
    )
    assert "some answers of a question only" in error(tmp_path, questions=TREE, votes=True)
    write(
        tmp_path,
        {"smooth": [40, 10, 8], "disk": [0, 30, 2], "bar": [0, 10, NAN], "no_bar": [0, 10, NAN]},
    )
    catalog = read(tmp_path, questions=TREE, votes=True)
    assert catalog.weights is not None
    assert catalog.weights.tolist() == [[1, 1, 0, 0], [1, 1, 0.5, 0.5], [1, 1, 0, 0]]
    assert catalog.counts is not None
    assert catalog.counts[2].tolist() == [8, 2, 0, 0]


def test_votes_on_a_tree_become_cumulative_fractions(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"smooth": [40, 10, 5], "disk": [0, 30, 5], "bar": [0, 10, 0], "no_bar": [0, 10, 0]},
    )
    catalog = read(tmp_path, questions=CUMULATIVE, votes=True)
    assert catalog.targets is not None
    assert catalog.targets.tolist() == [[1, 0, 0, 0], [0.25, 0.75, 0.375, 0.375], [0.5, 0.5, 0, 0]]
    # The first galaxy has no bar for sure. Of the third nobody was asked, although it is half a disk.
    assert catalog.weights is not None
    assert catalog.weights.tolist() == [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 0, 0]]
    assert catalog.labels is not None
    assert catalog.labels.meaning == "cumulative"


def test_votes_that_are_none_are_named(tmp_path: Path) -> None:
    write(tmp_path, {"smooth": [3.5, 1, 2, 0], "disk": [1, -1, 2, 0]})
    message = error(tmp_path, columns=["smooth", "disk"], votes=True)
    assert "2 row(s) with votes that are no whole numbers from 0" in message
    assert "g0: smooth is 3.5" in message
    assert "g1: disk is -1" in message
    assert "1 row(s) without any answer" in message


@pytest.mark.parametrize(
    ("round_", "bar"),
    [
        (("round_yes", "round_no"), ("bar_yes", "bar_no")),
        (("round_yes_count", "round_no_count"), ("bar_yes_count", "bar_no_count")),
        (
            ("t07_round_a16_yes_count", "t07_round_a17_not_count"),
            ("t03_a06_bar_count", "t03_a07_no_bar_count"),
        ),
    ],
)
def test_columns_of_several_questions_are_not_taken_for_one(
    tmp_path: Path, round_: tuple[str, str], bar: tuple[str, str]
) -> None:
    write(tmp_path, {name: [1, 2] for name in (*round_, *bar)})
    with pytest.raises(ValueError, match=r"^columns is .* one question") as caught:
        read(tmp_path, columns=[*round_, *bar], votes=True)
    assert f": {{answers: [{', '.join(round_)}]}}, " in str(caught.value)
    assert f": {{answers: [{', '.join(bar)}]}}}}'" in str(caught.value)


def test_answers_whose_names_end_alike_are_of_one_question(tmp_path: Path) -> None:
    columns = ["smooth_count", "disk_count", "artifact_count"]
    write(tmp_path, {name: [1, 2] for name in columns})
    assert read(tmp_path, columns=columns, votes=True).labels.columns == tuple(columns)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"columns": ["smooth"]}, "columns is ['smooth']; with votes it must name all answers"),
        ({"questions": {"a": {"answers": ["smooth"]}}}, "questions.a has one answer"),
        ({"class_column": "smooth"}, "votes is true together with class_column"),
        ({"columns": ["smooth"], "percent": True}, "votes is true together with percent"),
    ],
)
def test_votes_that_contradict_the_rest_are_refused(
    tmp_path: Path, arguments: dict[str, Any], words: str
) -> None:
    write(tmp_path, {"smooth": [1, 2]})
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the words are compared below
        read(tmp_path, votes=True, **arguments)
    assert str(caught.value).startswith(words)


# Numbers of another scale.


def test_percent_are_read_if_asked(tmp_path: Path) -> None:
    write(tmp_path, {"smooth": [64.5, 100, NAN], "disk": [35.5, 0, NAN], "bar": [1, 2, 3]})
    catalog = read(tmp_path, columns=["smooth", "disk", "bar"], percent=True)
    assert catalog.targets is not None
    np.testing.assert_allclose(catalog.targets[0], [0.645, 0.355, 0.01], atol=1e-7)
    assert catalog.weights is not None
    assert catalog.weights[2].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ([64.5, 20], "(are they percent? data.catalog.percent=true)"),
        ([64, 20], "(are they votes? data.catalog.votes=true or percent? data.catalog.percent=true)"),
        ([640, 20], "(are they votes? data.catalog.votes=true)"),
        (["64 %", "20 %"], "(take away the % signs; data.catalog.percent=true reads percent)"),
        ([0.5, -999], "(if -999 stands for a missing value, empty these cells)"),
        (["1,234", "2,345"], "(commas: are they decimal signs? data.catalog.decimal=comma)"),
    ],
)
def test_numbers_of_another_scale_are_refused_with_the_key_that_reads_them(
    tmp_path: Path, values: list[Any], hint: str
) -> None:
    write(tmp_path, {"smooth": values})
    assert hint in error(tmp_path, columns=["smooth"])


def test_commas_between_thousands_of_votes_are_to_be_taken_out(tmp_path: Path) -> None:
    write(tmp_path, {"smooth": ["1,000", "20"], "disk": [3, 4]})
    message = error(tmp_path, columns=["smooth", "disk"], votes=True)
    assert "(write 1,000 as 1000, without a sign between the thousands)" in message
    assert "decimal" not in message


def test_percent_that_look_like_fractions_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, {"smooth": [0.1, 0.9]})
    read(tmp_path, columns=["smooth"], percent=True)
    assert "no number is above 1, although data.catalog.percent=true" in caplog.text
    caplog.clear()
    write(tmp_path, {"smooth": [0.1, 1.5]})
    read(tmp_path, columns=["smooth"], percent=True)
    assert not caplog.messages


# Classes.


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([True, False, True], ("False", "True")),
        (["yes", "no", "yes"], ("no", "yes")),
        ([3, 1, 20], ("1", "3", "20")),
        (["Größe [a]", "b, c", "b, c"], ("b, c", "Größe [a]")),
        (["ring ", " ring", "spiral"], ("ring", "spiral")),
        (["S0", "S0-", "S0+"], ("S0", "S0+", "S0-")),
    ],
)
def test_classes_may_be_called_anything(tmp_path: Path, values: list[Any], names: tuple[str, ...]) -> None:
    write(tmp_path, {"kind": values})
    labels = read(tmp_path, class_column="kind").labels
    assert labels is not None
    assert labels.columns == names


@pytest.mark.parametrize(
    ("values", "case"),
    [
        (["ring", "Ring ", "ring", "disk"], "'ring' (2 galaxies) and 'Ring' (1 galaxies)"),
        (
            ["edge on", "edge-on", "edge_on", "disk"],
            "'edge on' (1 galaxies) and 'edge-on' (1 galaxies) and 'edge_o",
        ),
    ],
)
def test_classes_that_may_be_one_are_refused_and_told_how_to_go_on(
    tmp_path: Path, values: list[str], case: str
) -> None:
    write(tmp_path, {"kind": values})
    message = error(tmp_path, class_column="kind")
    assert "data.catalog.class_column=kind has classes that may be one, written in two ways" in message
    assert case in message
    assert "'data.catalog.classes=[" in message
    classes = sorted({value.strip() for value in values})
    labels = read(tmp_path, class_column="kind", classes=classes).labels
    assert labels is not None
    assert labels.columns == tuple(classes)
