"""What a catalog's targets are: the tree of questions, the columns and what the values mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from galaxy.labels.tree import Answer, Question, Questions
from galaxy.system.errors import meant

Kind = Literal["fractions", "classes"]

_QUESTION_KEYS = ("text", "answers", "parent")
_EXAMPLE = """A question looks like this; only answers are needed:
  bar:                               # its name
    text: Is there a bar?
    answers: {bar: barred, no_bar: not barred}   # columns of the table and words; or columns: [bar, no_bar]
    parent: disk                     # the column whose fraction these sum to"""


@dataclass(frozen=True)
class Labels:
    """The meaning of (N, K) targets.

    Example:
        >>> labels = class_labels(("elliptical", "spiral"), "Which kind of galaxy is it?")
        >>> labels.columns, labels.kind
        (('elliptical', 'spiral'), 'classes')

    Attributes:
        questions: The tree with K answers, one for each column. The parent of a question is the answer to
            whose target the targets of the question sum. Conditional labels have no parents: their targets
            sum to 1 or to nothing in particular.
        columns: The K names of the columns, in order. Names that tables of predictions use themselves (id,
            class, true/...) are refused.
        meaning: One word for what the values are: "cumulative" where the fractions of a question sum to the
            value of its parent (Kaggle), "debiased", "classes" and so on. Errors on different meanings do not
            compare.
        kind: "classes" where the labels are one question and the galaxy has one answer, known for sure or
            not; "fractions" for everything else.
        whole: The labels of the whole tree where these are one question of it; None for any other labels.

    Raises:
        ValueError: The columns do not fit the questions, or a name is taken.
    """

    questions: Questions
    columns: tuple[str, ...]
    meaning: str
    kind: Kind = "fractions"
    whole: Labels | None = None

    def __post_init__(self) -> None:
        if len(self.columns) != self.questions.size:
            raise ValueError(f"columns has {len(self.columns)} columns for {self.questions.size} answers")
        if self.kind == "classes" and len(self.questions) != 1:
            raise ValueError(f"kind is classes; that is one question, not {len(self.questions)}")
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
        """Whether targets of `other` can be compared with predictions of these labels.

        They can if both have the same answers in the same order of the same tree. The names of the columns do
        not matter. Two questions of one tree, such as two of yes or no, are never the same.
        """
        mine = (self.kind, self.questions.structure, self.texts)
        if mine != (other.kind, other.questions.structure, other.texts):
            return False
        if self.whole is None or other.whole is None or not self.whole.compatible(other.whole):
            return True
        return [question.key for question in self.questions] == [question.key for question in other.questions]

    def difference(self, other: Labels) -> str:
        """Says in what these labels, "the first", differ from others that are not compatible with them.

        Example:
            >>> labels = class_labels(("spiral", "ring"), "Which?")
            >>> labels.difference(class_labels(("spiral", "bar"), "Which?"))
            'class has the answers spiral, ring in the first and spiral, bar in the second'
        """
        first, second = (
            {question.key: question for question in labels.questions} for labels in (self, other)
        )
        lone = {
            "the first": [key for key in first if key not in second],
            "the second": [key for key in second if key not in first],
        }
        if any(lone.values()):
            return " and ".join(f"only {which} has {', '.join(keys)}" for which, keys in lone.items() if keys)
        for key, question in first.items():
            for what, described in (("answers", _answers), ("parent", _parent)):
                here, there = described(question), described(second[key])
                if here != there:
                    return f"{key} has the {what} {here} in the first and {there} in the second"
        if list(first) != list(second):
            return f"the first has the order {', '.join(first)} and the second {', '.join(second)}"
        return f"the first has {self.kind} and the second {other.kind}"

    def plain(self) -> dict[str, Any]:
        """The labels as dicts, lists and strings, which a checkpoint or a YAML file can hold."""
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
        whole = {} if self.whole is None else {"whole": self.whole.plain()}
        return {"questions": tree, "meaning": self.meaning, "kind": self.kind, **whole}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Labels:
        """Makes labels from what `plain` returns, or from a tree as a user writes it in YAML.

        Args:
            values: A mapping with `questions` and perhaps `meaning`, `kind` and `whole`. Each question is a
                mapping with `answers`, which are columns or a mapping of columns to words. It may have a
                `text` (the name of the question if left out) and a `parent`: the column of another question's
                answer to whose fraction these answers sum. The meaning is "cumulative" if left out where a
                question has a parent, else "fractions"; the kind is "fractions" if left out. `whole` is such
                a mapping too.

        Raises:
            ValueError: The questions do not form a tree. The first mistake is named.
        """
        if not values["questions"]:
            raise ValueError(f"there is no question.\n{_EXAMPLE}")
        nodes = {str(name): _question_node(str(name), node) for name, node in values["questions"].items()}
        columns = [column for node in nodes.values() for column in node["answers"]]
        if len(set(columns)) < len(columns):
            twice = next(column for column in columns if columns.count(column) > 1)
            raise ValueError(f"the answer {twice} comes twice")
        place = {
            column: (name, index)
            for name, node in nodes.items()
            for index, column in enumerate(node["answers"])
        }
        questions = []
        for name, node in nodes.items():
            _check_parent(name, node["parent"], place)
            answers = tuple(Answer(text) for text in node["answers"].values())
            parent = None if node["parent"] is None else place[node["parent"]]
            questions.append(Question(name, node["text"], answers, parent))
        tree = Questions(tuple(questions))
        _ = tree.order  # raises ValueError if there is a cycle
        cumulative = any(question.parent is not None for question in questions)
        meaning = values.get("meaning") or ("cumulative" if cumulative else "fractions")
        whole = cls.from_plain(values["whole"]) if values.get("whole") is not None else None
        return cls(tree, tuple(columns), meaning, values.get("kind", "fractions"), whole)


def class_labels(names: tuple[str, ...], text: str, columns: tuple[str, ...] | None = None) -> Labels:
    """Labels of a survey whose galaxies have one class each.

    Args:
        names: The K classes, in order.
        text: The question that the classes answer.
        columns: The names of the K columns; the names of the classes if None.
    """
    question = Question("class", text, tuple(Answer(name) for name in names))
    return Labels(Questions((question,)), columns or names, "classes", "classes")


def _answers(question: Question) -> str:
    return ", ".join(answer.text for answer in question.answers)


def _parent(question: Question) -> str:
    return "none" if question.parent is None else f"answer {question.parent[1] + 1} of {question.parent[0]}"


def _question_node(name: str, node: Any) -> dict[str, Any]:
    """The node of a question with all its keys, and its answers as a mapping of columns to words."""
    if not isinstance(node, Mapping):
        raise ValueError(f"{name} is {node!r}, which is no question.\n{_EXAMPLE}")
    for key in node:
        if key not in _QUESTION_KEYS:
            raise ValueError(f"{name}.{key} is unknown{meant(str(key), _QUESTION_KEYS)}\n{_EXAMPLE}")
    answers = node.get("answers")
    if isinstance(answers, list):
        if any(isinstance(column, list | dict) for column in answers):
            raise ValueError(f"{name}.answers is {answers}; answers must be columns.\n{_EXAMPLE}")
        if len(set(map(str, answers))) < len(answers):
            raise ValueError(f"{name}.answers names a column twice: {answers}")
        answers = dict.fromkeys(answers)
    if not isinstance(answers, Mapping) or not answers:
        raise ValueError(f"{name}.answers must be columns of the table, but is {answers!r}.\n{_EXAMPLE}")
    parent = node.get("parent")
    for column in [*answers, *([] if parent is None else [parent])]:
        # YAML reads yes, no, on and off as true and false, but whole numbers as they were written.
        if not isinstance(column, str | int) or isinstance(column, bool):
            raise ValueError(f"{name} names the column {column!r}, which is no text: put quotes around it.")
    return {
        "text": str(node.get("text") or name),
        "answers": {str(column): str(column if text is None else text) for column, text in answers.items()},
        "parent": None if parent is None else str(parent),
    }


def _check_parent(name: str, parent: str | None, place: Mapping[str, tuple[str, int]]) -> None:
    """Raises a ValueError unless the parent is None or an answer of another question."""
    others = [column for column, (question, _) in place.items() if question != name]
    if parent is not None and parent not in others:
        there = f"\nThere are: {', '.join(others)}" if others else ""
        raise ValueError(
            f"{name}.parent is {parent}, which is no answer of another question{meant(parent, others)}{there}"
        )
