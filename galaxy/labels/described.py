"""A tree of questions as a user writes it in YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from galaxy.labels.labels import Labels
from galaxy.system.errors import UserError, meant

KEYS = ("text", "answers", "parent")
_FORM = """A question looks like this; only answers are needed:
  bar:                               # its name
    text: Is there a bar?
    answers: {bar: barred, no_bar: not barred}   # columns of the table and words; or columns: [bar, no_bar]
    parent: disk                     # the column whose fraction these sum to"""


def tree_labels(questions: Mapping[str, Any], meaning: str | None, key: str) -> Labels:
    """Labels whose columns are the answers of a user's questions.

    Args:
        questions: Each a mapping with `answers`, which are columns or a mapping of columns to words, and,
            if wanted, `text` (else the question's name) and `parent`, the column of another question whose
            fraction these answers sum to.
        meaning: Of the fractions; None for "cumulative" where a question has a parent, else "fractions".
        key: Of the questions in the configuration, for errors.

    Raises:
        UserError: The questions do not form a tree; the first mistake is named.
    """
    if not questions:
        raise UserError(f"{key} is empty.\n{_FORM}")
    nodes = {str(name): _node(node, f"{key}.{name}") for name, node in questions.items()}
    for name, node in nodes.items():
        others = [column for other in nodes if other != name for column in nodes[other]["answers"]]
        if node["parent"] is not None and node["parent"] not in others:
            there = f"\nThere are: {', '.join(others)}" if others else ""
            raise UserError(
                f"{key}.{name}.parent is {node['parent']}, no answer of another question"
                f"{meant(node['parent'], others)}{there}"
            )
    cumulative = any(node["parent"] is not None for node in nodes.values())
    meaning = meaning or ("cumulative" if cumulative else "fractions")
    try:
        labels = Labels.from_plain({"questions": nodes, "meaning": meaning, "kind": "fractions"})
        _ = labels.questions.order  # which refuses cycles
    except ValueError as error:
        raise UserError(f"{key}: {error}") from error
    return labels


def _node(node: Any, key: str) -> dict[str, Any]:
    """A question with all its keys, answers as a mapping of columns to words."""
    if not isinstance(node, Mapping):
        raise UserError(f"{key} is {node!r}, no question.\n{_FORM}")
    for name in node:
        if name not in KEYS:
            raise UserError(f"{key}.{name} is unknown{meant(str(name), KEYS)}\n{_FORM}")
    answers = node.get("answers")
    if isinstance(answers, list):
        if any(isinstance(column, list | dict) for column in answers):
            raise UserError(f"{key}.answers is {answers}; answers are columns of the table.\n{_FORM}")
        if len(set(map(str, answers))) < len(answers):
            raise UserError(f"{key}.answers names a column twice: {answers}")
        answers = dict.fromkeys(answers)
    if not isinstance(answers, Mapping) or not answers:
        raise UserError(f"{key}.answers must be columns of the table, but is {answers!r}.\n{_FORM}")
    parent = node.get("parent")
    for column in [*answers, *([] if parent is None else [parent])]:
        # YAML reads yes, no, on and off as true and false; whole numbers are as they were written.
        if not isinstance(column, str | int) or isinstance(column, bool):
            raise UserError(f"{key} names the column {column!r}, which is no text: put quotes around it.")
    return {
        "text": str(node.get("text") or key.rpartition(".")[2]),
        "answers": {str(column): str(column if text is None else text) for column, text in answers.items()},
        "parent": None if parent is None else str(parent),
    }
