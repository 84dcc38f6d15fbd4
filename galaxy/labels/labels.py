"""What a catalog's targets are: their tree, their columns and how they must be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from galaxy.labels.tree import Answer, Question, Questions

Kind = Literal["fractions", "classes"]


@dataclass(frozen=True)
class Labels:
    """The meaning of (N, K) targets.

    Attributes:
        questions: The tree whose K answers the columns are. A question's parent is the answer whose target
            its own targets sum to; conditional labels, which sum to 1 or to nothing, have no parents.
        columns: The K names, in order; not those that tables of predictions have beside them.
        meaning: In the words of the tables: "cumulative" where a question's fractions sum to its parent's
            value (Kaggle), "debiased", "classes" and so on. Errors on different meanings do not compare.
        kind: "classes" where one question is asked and the galaxy has one answer, known for sure or not;
            "fractions" for everything else.
    """

    questions: Questions
    columns: tuple[str, ...]
    meaning: str
    kind: Kind = "fractions"

    def __post_init__(self) -> None:
        if len(self.columns) != self.questions.size:
            raise ValueError(f"{len(self.columns)} columns for {self.questions.size} answers")
        if self.kind == "classes" and len(self.questions) != 1:
            raise ValueError(f"classes are the answers of one question, not of {len(self.questions)}")
        taken = [name for name in self.columns if name in ("id", "class") or name.startswith("true/")]
        if taken:
            raise ValueError(
                f"the answer {taken[0]} must be renamed: tables of predictions have columns called id, class "
                "and true/... themselves"
            )

    @property
    def texts(self) -> tuple[str, ...]:
        """The words of each answer."""
        return tuple(answer.text for question in self.questions for answer in question.answers)

    def compatible(self, other: Labels) -> bool:
        """Whether targets of the other can be compared with predictions of these.

        The same answers in the same order, in the same tree; whatever their columns are called.
        """
        return (self.kind, self.questions.structure, self.texts) == (
            other.kind,
            other.questions.structure,
            other.texts,
        )

    def plain(self) -> dict[str, Any]:
        """As dicts, lists and strings, which a checkpoint or a YAML file can hold."""
        tree: dict[str, Any] = {}
        for question, columns, parent in zip(
            self.questions, self.questions.slices, self.questions.parents, strict=True
        ):
            texts = [answer.text for answer in question.answers]
            tree[question.key] = {
                "text": question.text,
                "answers": dict(zip(self.columns[columns], texts, strict=True)),
                "parent": None if parent is None else self.columns[parent],
            }
        return {"questions": tree, "meaning": self.meaning, "kind": self.kind}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Labels:
        """The inverse of `plain`.

        Raises:
            ValueError: A question has no answers, or its parent is no answer of another question.
        """
        tree: Mapping[str, Any] = values["questions"]
        columns = [column for node in tree.values() for column in node["answers"]]
        if len(set(columns)) < len(columns):
            twice = next(column for column in columns if columns.count(column) > 1)
            raise ValueError(f"the answer {twice} comes twice")
        place = {
            column: (key, index) for key, node in tree.items() for index, column in enumerate(node["answers"])
        }
        questions = []
        for key, node in tree.items():
            parent = node.get("parent")
            if not node["answers"]:
                raise ValueError(f"question {key} has no answers")
            if parent is not None and (parent not in place or place[parent][0] == key):
                raise ValueError(f"the parent of question {key} is {parent}, no answer of another question")
            answers = tuple(Answer(text) for text in node["answers"].values())
            questions.append(Question(key, node["text"], answers, None if parent is None else place[parent]))
        return cls(Questions(tuple(questions)), tuple(columns), values["meaning"], values["kind"])


def class_labels(names: tuple[str, ...], text: str, columns: tuple[str, ...] | None = None) -> Labels:
    """Labels of a survey whose galaxies have one class each.

    Args:
        names: The K classes, in order.
        text: The question they answer.
        columns: Names of the K columns; those of the classes if None.
    """
    question = Question("class", text, tuple(Answer(name) for name in names))
    return Labels(Questions((question,)), columns or names, "classes", "classes")
