"""Decides whether a value from a YAML file fits a type annotation, and says in words what would fit."""

from __future__ import annotations

import ast
import re
from typing import Any

LISTS = ("list", "List", "tuple", "Tuple", "Sequence", "Iterable", "Collection", "set", "Set")
MAPPINGS = ("dict", "Dict", "Mapping", "MutableMapping")
# The types that YAML's values have, by the names that annotations give them.
TYPES: dict[str, Any] = {
    "int": int,
    "float": (int, float),
    "str": str,
    "bool": bool,
    "None": type(None),
    "Callable": (),  # Only a node with a `_target_` makes one.
    **dict.fromkeys(("Path", "PathLike", "PurePath"), str),
    **dict.fromkeys(LISTS, list),
    **dict.fromkeys(MAPPINGS, dict),
}
WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "None": "null",
    "list": "a list",
    "dict": "a mapping",
    "Callable": "something with a _target_",
}


def fits(annotation: ast.expr | None, value: Any) -> bool:
    """Decides whether a plain value may be given for a parameter; an unknown type lets any value pass.

    Args:
        annotation: The syntax tree of the parameter's annotation; None fits everything.
        value: None, bool, int, float, str, list or dict. A dict with a `_target_` stands for an object.
    """
    if annotation is None or (isinstance(value, dict) and "_target_" in value):
        return True
    return any(_fits_one(name, arguments, value) for name, arguments, _ in _members(annotation))


def choices(annotation: ast.expr | None) -> list[Any]:
    """Lists the values of the `Literal`s in an annotation."""
    members = _members(annotation) if annotation is not None else []
    return [item for name, arguments, _ in members if name == "Literal" for item in _constants(arguments)]


def describe(annotation: ast.expr) -> str:
    """Says what fits, such as "a whole number or null" or "error or skip"."""
    words = []
    for name, arguments, text in _members(annotation):
        if name == "Literal":
            words += ["null" if item is None else str(item) for item in _constants(arguments)]
        elif name in LISTS and arguments:
            inner = ["..." if _is_ellipsis(item) else describe(item) for item in arguments]
            fixed = name in ("tuple", "Tuple") or inner[-1] == "..."
            words.append(f"[{', '.join(inner if fixed else [*inner, '...'])}]")
        else:
            words.append(WORDS.get(name, text))
    return " or ".join(dict.fromkeys(words))


def _members(annotation: ast.expr) -> list[tuple[str, list[ast.expr], str]]:
    """Takes a union apart, however it is written.

    Returns:
        The name of each alternative without its module, the arguments in its brackets, and its source. Beside
        other types a class is left out: it is for code, as a YAML file cannot hold a tensor.
    """
    found = _alternatives(annotation)
    plain = [member for member in found if not _is_class(member[0])]
    return plain if any(name != "None" for name, _, _ in plain) else found


def _alternatives(annotation: ast.expr) -> list[tuple[str, list[ast.expr], str]]:
    match annotation:
        case ast.BinOp(left, ast.BitOr(), right):
            return [*_alternatives(left), *_alternatives(right)]
        case ast.Constant(str() as text):
            return _alternatives(ast.parse(text, mode="eval").body)
        case ast.Subscript(ast.Name(name) | ast.Attribute(attr=name), inner):
            arguments = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            wrapped = {"Union": [], "Optional": [ast.Constant(None)], "Annotated": [], "Final": []}
            if name in wrapped:
                arguments = [*(arguments[:1] if name == "Annotated" else arguments), *wrapped[name]]
                return [member for item in arguments for member in _alternatives(item)]
            return [(name, arguments, ast.unparse(annotation))]
        case ast.Name(name) | ast.Attribute(attr=name):
            return [(name, [], ast.unparse(annotation))]
    return [("None" if ast.unparse(annotation) == "None" else "", [], ast.unparse(annotation))]


def _fits_one(name: str, arguments: list[ast.expr], value: Any) -> bool:
    if name == "Literal":
        return any(value == item and type(value) is type(item) for item in _constants(arguments))
    if name not in TYPES or isinstance(value, bool):  # Python's bool is an int, but YAML's is not.
        return name not in TYPES or name == "bool"
    if not isinstance(value, TYPES[name]):
        return False
    if name in ("tuple", "Tuple") and arguments and not _is_ellipsis(arguments[-1]):
        pairs = list(zip(arguments, value, strict=False))
        return len(value) == len(arguments) and all(fits(inner, item) for inner, item in pairs)
    items = value.values() if isinstance(value, dict) else value
    inner = arguments[-1 if name in MAPPINGS else 0] if arguments and name in (*LISTS, *MAPPINGS) else None
    return inner is None or all(fits(inner, item) for item in items)


def _constants(arguments: list[ast.expr]) -> list[Any]:
    return [item.value for item in arguments if isinstance(item, ast.Constant)]


def _is_class(name: str) -> bool:
    """Decides whether a name looks like a class; an alias, such as `_PATH`, may stand for anything."""
    return name not in {*TYPES, "Any", "Literal"} and re.fullmatch("[A-Z][a-z][A-Za-z0-9]*", name) is not None


def _is_ellipsis(expression: ast.expr) -> bool:
    return isinstance(expression, ast.Constant) and expression.value is Ellipsis
