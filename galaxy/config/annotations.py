"""Whether a value from a YAML file fits a type annotation, and how to say what would."""

from __future__ import annotations

import ast
import re
from typing import Any

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
LISTS = ("list", "List", "tuple", "Tuple", "Sequence", "Iterable", "Collection", "set", "Set")
MAPPINGS = ("dict", "Dict", "Mapping", "MutableMapping")
PATHS = ("Path", "PathLike", "PurePath")


def fits(annotation: ast.expr | None, value: Any) -> bool:
    """Whether a plain value may be given where the annotation stands; what it does not know, it lets pass.

    Args:
        annotation: The annotation's syntax tree; None fits everything.
        value: None, bool, int, float, str, list or dict. A dict with a `_target_` stands for an object.
    """
    if annotation is None or (isinstance(value, dict) and "_target_" in value):
        return True
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return fits(ast.parse(annotation.value, mode="eval").body, value)
    members = _members(annotation)
    if len(members) > 1:
        # In `float | Tensor` the class is for code: a YAML file has no tensors.
        known = [member for member in members if not _is_class(member)]
        if any(_name(member) not in ("", "None") for member in known):
            members = known
        return any(fits(member, value) for member in members)
    if isinstance(annotation, ast.Subscript):
        return _fits_generic(_name(annotation.value), _arguments(annotation), value)
    return _fits_name(_name(annotation), value)


def choices(annotation: ast.expr | None) -> list[Any]:
    """The values of the `Literal`s in an annotation."""
    found: list[Any] = []
    for member in _members(annotation) if annotation is not None else []:
        if isinstance(member, ast.Subscript) and _name(member.value) == "Literal":
            found += [item.value for item in _arguments(member) if isinstance(item, ast.Constant)]
    return found


def describe(annotation: ast.expr) -> str:
    """Says what fits: "a whole number or null", "error or skip"."""
    words = []
    for member in _members(annotation):
        if isinstance(member, ast.Subscript) and _name(member.value) == "Literal":
            words += ["null" if item is None else str(item) for item in choices(member)]
        elif isinstance(member, ast.Subscript) and _name(member.value) in LISTS:
            inner = [describe(item) for item in _arguments(member) if not _is_ellipsis(item)]
            fixed = _name(member.value) in ("tuple", "Tuple") and len(inner) == len(_arguments(member))
            words.append(f"[{', '.join(inner if fixed else [*inner, '...'])}]")
        elif not _is_class(member) or len(_members(annotation)) == 1:
            name = _name(member.value if isinstance(member, ast.Subscript) else member)
            words.append(WORDS.get(name, ast.unparse(member)))
    return " or ".join(dict.fromkeys(words))


def _members(annotation: ast.expr) -> list[ast.expr]:
    """The members of a union, however it is written; anything else is its own only member."""
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return [*_members(annotation.left), *_members(annotation.right)]
    if isinstance(annotation, ast.Subscript):
        name = _name(annotation.value)
        if name in ("Optional", "Union"):
            members = [member for item in _arguments(annotation) for member in _members(item)]
            return [*members, ast.Constant(None)] if name == "Optional" else members
        if name in ("Annotated", "Final"):
            return _members(_arguments(annotation)[0])
    return [annotation]


def _fits_generic(name: str, arguments: list[ast.expr], value: Any) -> bool:
    if name == "Literal":
        allowed = [item.value for item in arguments if isinstance(item, ast.Constant)]
        return any(value == item and type(value) is type(item) for item in allowed)
    if name in LISTS:
        if not isinstance(value, list):
            return False
        if name in ("tuple", "Tuple") and not _is_ellipsis(arguments[-1]):
            pairs = list(zip(arguments, value, strict=False))
            return len(value) == len(arguments) and all(fits(item, part) for item, part in pairs)
        return all(fits(arguments[0], item) for item in value)
    if name in MAPPINGS:
        return isinstance(value, dict) and all(fits(arguments[-1], item) for item in value.values())
    return name != "Callable"  # which a node with a _target_ makes


def _fits_name(name: str, value: Any) -> bool:
    types: dict[str, type | tuple[type, ...]] = {
        "int": int,
        "float": (int, float),
        "str": str,
        "bool": bool,
        "None": type(None),
        **dict.fromkeys(PATHS, str),
        **dict.fromkeys(LISTS, list),
        **dict.fromkeys(MAPPINGS, dict),
    }
    if name not in types:
        return True
    if isinstance(value, bool):
        return name == "bool"  # though Python's bool is an int
    return isinstance(value, types[name])


def _name(expression: ast.expr) -> str:
    """The last part of a dotted name; "None" of None; "" of anything else."""
    if isinstance(expression, ast.Constant):
        return "None" if expression.value is None else ""
    if isinstance(expression, ast.Attribute):
        return expression.attr
    return expression.id if isinstance(expression, ast.Name) else ""


def _arguments(annotation: ast.Subscript) -> list[ast.expr]:
    inner = annotation.slice
    return list(inner.elts) if isinstance(inner, ast.Tuple) else [inner]


def _is_class(annotation: ast.expr) -> bool:
    """Whether a name looks like a class and not like an alias, which may stand for anything."""
    name = _name(annotation.value if isinstance(annotation, ast.Subscript) else annotation)
    known = {*LISTS, *MAPPINGS, *PATHS, *WORDS, "Any", "Literal"}
    return name not in known and re.fullmatch(r"[A-Z][a-z][A-Za-z0-9]*", name) is not None


def _is_ellipsis(expression: ast.expr) -> bool:
    return isinstance(expression, ast.Constant) and expression.value is Ellipsis
