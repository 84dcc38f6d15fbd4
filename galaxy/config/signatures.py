"""Reads from source what a class or function takes, because it takes seconds to import torch."""

from __future__ import annotations

import ast
import importlib.util
import pkgutil
import re
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

# The constructors of these bases take nothing. `torch.nn.Module.__init__` says it does, and then refuses.
TAKE_NOTHING = ("object", "abc.ABC", "typing.Generic", "typing.Protocol", "torch.nn.Module")
# A chain of more re-exports is taken for a cycle.
MAX_HOPS = 10
# The owner of the names of packages.
ENVIRONMENT = "the Python environment"


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Attributes:
        annotation: The syntax tree of its annotation; None if it has none.
        required: Whether it lacks a default.
    """

    annotation: ast.expr | None
    required: bool


@dataclass(frozen=True)
class Signature:
    """The parameters of a function or constructor.

    Attributes:
        parameters: Each parameter by its name, without `self`.
        open: Whether any other name is taken as well, as by `**kwargs`.
    """

    parameters: dict[str, Parameter]
    open: bool = False

    def names(self, partial: bool) -> set[str]:
        """The parameters that a file may set. Of a partial call, the program gives the first required one."""
        required = [name for name, parameter in self.parameters.items() if parameter.required]
        return self.parameters.keys() - (required[:1] if partial else [])


class UnknownNameError(Exception):
    """A dotted name leads nowhere, or to a module, which cannot be called.

    Attributes:
        owner: The module that lacks the name.
        name: The missing name.
        known: The names that the module has.
    """

    def __init__(self, owner: str, name: str, known: list[str], text: str = "") -> None:
        super().__init__(text or (missing(name) if owner == ENVIRONMENT else f"{owner} has no {name}"))
        self.owner = owner
        self.name = name
        self.known = known


def missing(package: str) -> str:
    """Says how to mend it that Python does not find a package."""
    return f"Python finds no package {package}: install it, or add the folder that holds it to PYTHONPATH"


class _OpaqueError(Exception):
    """The source does not tell; an import would."""


@cache
def signature_of(target: str) -> Signature | None:
    """Reads the signature of `package.module.name` without importing anything.

    Re-exports are followed. The signature of a class is that of its constructor, which may be inherited, or
    the fields of a dataclass.

    Returns:
        The signature, or None for what the source does not tell: compiled code, methods, names made at run
        time.

    Raises:
        UnknownNameError: The name does not exist.
    """
    try:
        module, node = _resolve(target)
        if isinstance(node, ast.FunctionDef):
            return _of_function(node)
        if isinstance(node, ast.ClassDef):
            return _of_class(module, node) or Signature({})
    except (_OpaqueError, SyntaxError, ValueError):  # ValueError: the source is not text
        pass
    return None


class _Module:
    """A source file.

    Attributes:
        name: The dotted name of the module.
        folders: The folders of a package's submodules; empty if the module is not a package.
        names: The definitions and imports at the top level. An import has the dotted name of its origin, and
            `from origin import *` is held as "origin.*".
    """

    def __init__(self, name: str, source: str, folders: list[str]) -> None:
        self.name = name
        self.source = source
        self.folders = folders
        self.names: dict[str, ast.stmt | str] = {}
        package = name.split(".")[: None if folders else -1]
        for statement in ast.parse(source).body:
            match statement:
                case ast.ClassDef(name=defined) | ast.FunctionDef(name=defined):
                    self.names[defined] = statement
                case ast.Import(aliases):
                    for alias in aliases:
                        root = alias.name.partition(".")[0]
                        self.names[alias.asname or root] = alias.name if alias.asname else root
                case ast.ImportFrom(origin, aliases, level):
                    # One dot is the package itself, and each further dot is a level up.
                    base = package[: len(package) + 1 - level] if level else []
                    for alias in aliases:
                        dotted = ".".join([*base, *([origin] if origin else []), alias.name])
                        self.names[dotted if alias.name == "*" else alias.asname or alias.name] = dotted

    def find(self, name: str, hops: int) -> ast.stmt | str:
        """Finds the definition of a name, or the dotted name that it was imported as."""
        if name in self.names:
            return self.names[name]
        for star in [key for key in self.names if key.endswith(".*")]:
            try:
                _resolve(dotted := star[:-1] + name, hops + 1)
            except UnknownNameError:
                continue
            return dotted
        if re.search(rf"\b(def __getattr__|{re.escape(name)})\b", self.source):
            raise _OpaqueError  # It may be assigned, or made at run time.
        raise UnknownNameError(self.name, name, self.public())

    def public(self) -> list[str]:
        """Lists the names that somebody may mean."""
        known = {key for key, node in self.names.items() if self.folders or not isinstance(node, str)}
        known |= {module.name for module in pkgutil.iter_modules(self.folders)}
        return sorted(key for key in known if not key.startswith("_") and "." not in key)


@cache
def _module(name: str) -> _Module | None:
    """Reads a module by its dotted name; None if there is no such module."""
    parent, _, _ = name.rpartition(".")
    if not parent:
        spec = importlib.util.find_spec(name)  # This imports nothing, as the name has no dot.
    elif (package := _module(parent)) is not None and package.folders:
        spec = PathFinder.find_spec(name, package.folders)
    else:
        return None
    if spec is None:
        return None
    if spec.origin is None or not spec.origin.endswith(".py"):
        raise _OpaqueError  # It is compiled, or a folder without __init__.py.
    return _Module(name, Path(spec.origin).read_text("utf-8"), spec.submodule_search_locations or [])


def _resolve(dotted: str, hops: int = 0) -> tuple[_Module, ast.stmt]:
    """Finds the statement that defines a dotted name, and its module."""
    top, *rest = dotted.split(".")
    module = _module(top) if top else None
    if module is None:
        raise UnknownNameError(ENVIRONMENT, top, [])
    while rest and hops <= MAX_HOPS:
        name, *rest = rest
        # Before the last name, a submodule is tried before the names of the package.
        if (rest or name not in module.names) and (submodule := _module(f"{module.name}.{name}")):
            module = submodule
            continue
        found = module.find(name, hops)
        if isinstance(found, str):
            return _resolve(".".join([found, *rest]), hops + 1)
        if not rest:
            return module, found
        break
    if not rest and hops <= MAX_HOPS:
        text = "that is a module, and a class or a function of it is needed"
        raise UnknownNameError(module.name, "", module.public(), text)
    raise _OpaqueError  # a method or a cycle


def _of_function(node: ast.FunctionDef, bound: bool = False) -> Signature:
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [*[None] * (len(positional) - len(arguments.defaults)), *arguments.defaults]
    pairs = list(zip(positional, defaults, strict=True))[1 if bound else 0 :]
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    parameters = {argument.arg: _parameter(argument.annotation, default) for argument, default in pairs}
    return Signature(parameters, open=arguments.kwarg is not None)


def _parameter(annotation: ast.expr | None, default: ast.expr | None) -> Parameter:
    if annotation is not None and isinstance(default, ast.Constant) and default.value is None:
        # The parameter `size: int = None` takes None as well.
        annotation = ast.BinOp(annotation, ast.BitOr(), ast.Constant(None))
    return Parameter(annotation, required=default is None)


def _of_class(module: _Module, node: ast.ClassDef) -> Signature | None:
    """Reads the constructor's signature; None if only `object` defines a constructor."""
    own = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
    given: set[str | None] = set()  # what the constructor itself gives to that of its base
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        signature = _of_fields(node)
    elif "__init__" in own:
        signature = _of_function(own["__init__"], bound=True)
        for call in ast.walk(own["__init__"]):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__":
                given |= {part.arg for part in call.keywords}
        if not signature.open or None not in given:  # None stands for `**kwargs`.
            return signature
        signature = Signature(signature.parameters, open=len(node.bases) > 1)
    elif "__new__" in own or node.keywords:
        raise _OpaqueError
    else:
        return _of_bases(module, node)
    base = _of_bases(module, node) or Signature({})
    inherited = {name: parameter for name, parameter in base.parameters.items() if name not in given}
    return Signature({**inherited, **signature.parameters}, base.open or signature.open)


def _of_fields(node: ast.ClassDef) -> Signature:
    """Reads the constructor that a dataclass makes of its own fields."""
    parameters = {}
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and "ClassVar" not in ast.unparse(item.annotation):
            default = ast.unparse(item.value) if item.value is not None else ""
            required = not default or ("field(" in default and "default" not in default)
            if "init=False" not in default:
                parameters[ast.unparse(item.target)] = Parameter(item.annotation, required)
    return Signature(parameters)


def _of_bases(module: _Module, node: ast.ClassDef) -> Signature | None:
    """Reads the first constructor that a base of the class has."""
    for base in node.bases:
        expression = base.value if isinstance(base, ast.Subscript) else base  # Generic[T]
        root, dot, rest = ast.unparse(expression).partition(".")
        definition = module.names.get(root, root)
        dotted = (definition if isinstance(definition, str) else f"{module.name}.{root}") + dot + rest
        if dotted in TAKE_NOTHING:
            continue
        try:
            owner, statement = _resolve(dotted)
        except UnknownNameError:
            raise _OpaqueError from None
        if not isinstance(statement, ast.ClassDef):
            raise _OpaqueError
        if (signature := _of_class(owner, statement)) is not None:
            return signature
    return None
