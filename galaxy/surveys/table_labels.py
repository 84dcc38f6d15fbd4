"""Which columns of a table hold labels, and what is in them, as the user says it."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from galaxy.labels.labels import Labels
from galaxy.surveys.table_targets import Scale
from galaxy.system.errors import UserError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelColumns:
    """The columns of labels, and what is in them. The attributes are parameters of `read_table`.

    Attributes:
        columns: Columns of numbers, each a question of its own; of votes, the answers of one question.
        class_column: The column of classes.
        classes: All classes, in order.
        questions: A tree whose answers are columns of numbers.
        meaning: The meaning of the fractions.
        votes: Whether the numbers are votes.
        percent: Whether they are percent.

    Raises:
        ValueError: The parameters contradict each other.
    """

    columns: Sequence[str] | None
    class_column: str | None
    classes: Sequence[str] | Sequence[int] | None
    questions: Mapping[str, Mapping[str, Any]] | None
    meaning: str | None
    votes: bool
    percent: bool

    def __post_init__(self) -> None:
        given = {"columns": self.columns, "questions": self.questions, "class_column": self.class_column}
        used = [name for name, value in given.items() if value is not None]
        if len(used) > 1:
            raise ValueError(
                f"{used[0]} is given together with {' and '.join(used[1:])}; the targets are one of them"
            )
        if self.classes is not None and self.class_column is None:
            raise ValueError("classes is given without class_column, the column that holds them")
        if self.meaning is not None and self.columns is None and self.questions is None:
            raise ValueError("meaning is given without fractions, which columns or questions would name")
        if self.votes and self.percent:
            raise ValueError("votes is true together with percent; the numbers are one of them")
        if self.votes and self.class_column is not None:
            raise ValueError(
                f"votes is true together with class_column={self.class_column}; votes are in columns or "
                "questions (data.counts=true asks for votes)"
            )
        if self.columns is not None and len(set(self.columns)) < max(1, len(self.columns)):
            raise ValueError(f"columns is {self.columns}; it must name one column or more, each once")
        for name, node in (self.questions or {}).items():
            if self.votes and isinstance(node, Mapping) and len(node.get("answers") or ()) == 1:
                raise ValueError(
                    f"questions.{name} has one answer; with votes it must name all answers of the question"
                )

    @property
    def scale(self) -> Scale:
        """What the numbers are."""
        return "votes" if self.votes else "percent" if self.percent else "fractions"

    @property
    def key(self) -> str:
        """The setting that names the columns of numbers."""
        return "data.catalog.columns" if self.questions is None else "data.catalog.questions"

    def labels(self) -> Labels | None:
        """The labels of the columns of numbers; None if there are no such columns.

        Raises:
            ValueError: The columns of votes are not those of one question.
            UserError: The questions are no tree.
        """
        questions = self.questions
        if self.columns is not None:
            questions = {column: {"answers": [column]} for column in self.columns}
            if self.votes:
                questions = _vote_questions(self.columns)
        if questions is None:
            return None
        try:
            return Labels.from_plain({"questions": questions, "meaning": self.meaning})
        except ValueError as error:
            raise UserError(f"{self.key}: {error}") from error


def _without_common_ending(columns: Sequence[str]) -> list[list[str]]:
    """The words of each column, without the last ones that all columns have."""
    words = [column.split("_") for column in columns]
    while len({own[-1] for own in words}) == 1 and all(len(own) > 1 for own in words):
        words = [own[:-1] for own in words]
    return words


def _vote_questions(columns: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """The question whose votes are in some columns.

    Raises:
        ValueError: There is a single column, or their names are those of several questions, as Galaxy Zoo
            writes them: `bar_yes`, `bar_no`.
    """
    if len(columns) < 2:
        raise ValueError(f"columns is {list(columns)}; with votes it must name all answers of a question")
    groups: dict[str, list[str]] = defaultdict(list)
    for column, words in zip(columns, _without_common_ending(columns), strict=True):
        # The tables of Galaxy Zoo 2 have columns such as t03_bar_a06_bar_count.
        answer = next((place for place, word in enumerate(words) if re.fullmatch(r"a\d+", word)), -1)
        groups["_".join(words[:answer])].append(column)
    if len(groups) > 1 and all(len(names) > 1 for names in groups.values()):
        tree = ", ".join(f"{name}: {{answers: [{', '.join(names)}]}}" for name, names in groups.items())
        raise ValueError(
            f"columns is {list(columns)}; with votes these are the answers of one question. If there are "
            f"several questions, say so: 'data.catalog.questions={{{tree}}}'"
        )
    _log.info(
        "the %d columns are taken for the answers of one question; data.catalog.questions describes several",
        len(columns),
    )
    return {"votes": {"answers": list(columns)}}
