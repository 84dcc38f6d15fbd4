"""What a class or function takes, read from its source: importing torch to learn it would take seconds."""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

# Bases whose constructors take nothing. `torch.nn.Module.__init__` says it does, and then refuses.
TAKE_NOTHING = ("object", "abc.ABC", "typing.Generic", "typing.Protocol", "torch.nn.Module")
# Longer chains of re-exports are cycles.
MAX_HOPS = 10


@dataclass(frozen=True)
class Parameter:
    """One parameter; `annotation` is None where there is none."""

    annotation: ast.expr | None
    required: bool


@dataclass(frozen=True)
class Signature:
    """Parameters by name; `open` if there is a `**kwargs`, which takes any other name too."""

    parameters: dict[str, Parameter]
    open: bool = False

    def names(self, partial: bool) -> set[str]:
        """Those that a file may set: not the first that a `partial` call needs, for which it waits."""
        required = [name for name, parameter in self.parameters.items() if parameter.required]
        return self.parameters.keys() - (required[:1] if partial else [])


class UnknownNameError(Exception):
    """A dotted name leads nowhere.

    Attributes:
        owner: The module that lacks the name.
        name: The name.
        known: What the module has.
    """

    def __init__(self, owner: str, name: str, known: list[str]) -> None:
        super().__init__(f"{owner} has no {name}")
        self.owner = owner
        self.name = name
        self.known = known


class _OpaqueError(Exception):
    """Only an import could tell."""


@cache
def signature_of(target: str) -> Signature | None:
    """Reads the signature of `package.module.name` without importing anything.

    Re-exports are followed; a class is its constructor, its own or an inherited one, or its fields if it is
    a dataclass.

    Returns:
        The signature without `self`, or None where only an import could tell: compiled code, methods, names
        made at run time.

    Raises:
        UnknownNameError: There is no such name.
    """
    try:
        module, node = _resolve(target)
        if isinstance(node, ast.FunctionDef):
            return _of_function(node)
        if isinstance(node, ast.ClassDef):
            return _of_class(module, node) or Signature({})
    except (_OpaqueError, SyntaxError):
        pass
    return None


class _Module:
    """A source file, parsed when it is asked for."""

    def __init__(self, name: str, file: Path) -> None:
        self.name = name
        self.file = file

    @cached_property
    def names(self) -> dict[str, ast.stmt | str]:
        """What the module defines, and the dotted names of what it imports."""
        names: dict[str, ast.stmt | str] = {}
        package = self.name if self.file.name == "__init__.py" else self.name.rpartition(".")[0]
        for statement in _flat(ast.parse(self.file.read_bytes()).body):
            if isinstance(statement, ast.ClassDef | ast.FunctionDef):
                names[statement.name] = statement
            elif isinstance(statement, ast.Assign | ast.AnnAssign):
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                names.update({target.id: statement for target in targets if isinstance(target, ast.Name)})
            elif isinstance(statement, ast.Import):
                for alias in statement.names:
                    root = alias.name.partition(".")[0]
                    names[alias.asname or root] = alias.name if alias.asname else root
            elif isinstance(statement, ast.ImportFrom):
                # One dot is the package itself, each further dot a level up.
                base = package.split(".")[: len(package.split(".")) - statement.level + 1]
                origin = [*base, statement.module] if statement.level else [statement.module]
                prefix = ".".join(part for part in origin if part)
                for alias in statement.names:
                    names[prefix if alias.name == "*" else alias.asname or alias.name] = (
                        f"{prefix}.{alias.name}"
                    )
        return names

    def find(self, name: str, hops: int) -> ast.stmt | str | None:
        """The definition of a name, or the dotted name that it was imported as."""
        if name in self.names:
            return self.names[name]
        for origin in self.names.values():
            if isinstance(origin, str) and origin.endswith(".*"):
                try:
                    _resolve(dotted := origin[:-1] + name, hops + 1)
                except UnknownNameError:
                    continue
                return dotted
        if "__getattr__" in self.names:
            raise _OpaqueError
        return None

    def submodule(self, name: str) -> _Module | None:
        if self.file.name != "__init__.py":
            return None
        for file in (self.file.parent / name / "__init__.py", self.file.parent / f"{name}.py"):
            if file.is_file():
                return _module(f"{self.name}.{name}", file)
        if list(self.file.parent.glob(f"{name}.*")) or (self.file.parent / name).is_dir():
            raise _OpaqueError  # compiled, or a folder without __init__.py
        return None

    def known(self) -> list[str]:
        """The public names: of a package also its submodules and what it re-exports."""
        package = self.file.name == "__init__.py"
        names = {
            name
            for name, definition in self.names.items()
            if (package or isinstance(definition, ast.stmt)) and not name.startswith("_") and "." not in name
        }
        if package:
            entries = [path for path in self.file.parent.iterdir() if path.is_dir() or path.suffix == ".py"]
            names |= {path.stem for path in entries if not path.name.startswith(("_", "."))}
        return sorted(names)


@cache
def _module(name: str, file: Path) -> _Module:
    return _Module(name, file)


def _flat(statements: list[ast.stmt]) -> list[ast.stmt]:
    """The statements of a module, with those under `if` and `try`, which bind names too."""
    found = []
    for statement in statements:
        found.append(statement)
        for field in ("body", "handlers", "orelse"):
            if isinstance(statement, ast.If | ast.Try):
                for inner in getattr(statement, field, []):
                    found += _flat(inner.body if isinstance(inner, ast.ExceptHandler) else [inner])
    return found


def _resolve(dotted: str, hops: int = 0) -> tuple[_Module, ast.stmt]:
    """The statement that defines a dotted name, and its module."""
    if hops > MAX_HOPS:
        raise _OpaqueError
    top, *rest = dotted.split(".")
    spec = importlib.util.find_spec(top) if top else None  # of a top-level name, this imports nothing
    if spec is None:
        raise UnknownNameError("the Python environment", top, [])
    if spec.origin is None or not spec.origin.endswith(".py"):
        raise _OpaqueError
    module = _module(top, Path(spec.origin))
    for index, name in enumerate(rest):
        last = index == len(rest) - 1
        # Half way, a folder is tried before the names of the package: torch/__init__.py is long.
        if not (last and name in module.names) and (submodule := module.submodule(name)):
            module = submodule
            continue
        found = module.find(name, hops)
        if found is None:
            raise UnknownNameError(module.name, name, module.known())
        if isinstance(found, str):
            return _resolve(".".join([found, *rest[index + 1 :]]), hops + 1)
        if not last:
            raise _OpaqueError  # a method, or an attribute of an object
        return module, found
    raise _OpaqueError  # a module


def _of_function(node: ast.FunctionDef, bound: bool = False) -> Signature:
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [*[None] * (len(positional) - len(arguments.defaults)), *arguments.defaults]
    pairs = list(zip(positional, defaults, strict=True))[1 if bound else 0 :]
    pairs += list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
    parameters = {argument.arg: _parameter(argument.annotation, default) for argument, default in pairs}
    return Signature(parameters, open=arguments.kwarg is not None)


def _parameter(annotation: ast.expr | None, default: ast.expr | None) -> Parameter:
    if annotation is not None and isinstance(default, ast.Constant) and default.value is None:
        # `size: int = None` means that None is fine.
        annotation = ast.BinOp(annotation, ast.BitOr(), ast.Constant(None))
    return Parameter(annotation, required=default is None)


def _of_class(module: _Module, node: ast.ClassDef) -> Signature | None:
    """The constructor's signature; None if nothing but `object` defines one."""
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        return _of_dataclass(module, node)
    methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
    if "__init__" in methods:
        constructor = methods["__init__"]
        return _with_handed_on(module, node, constructor, _of_function(constructor, bound=True))
    if "__new__" in methods or node.keywords:
        raise _OpaqueError
    for base in _bases(module, node):
        inherited = _of_class(*base)
        if inherited is not None:
            return inherited
    return None


def _with_handed_on(
    module: _Module, node: ast.ClassDef, constructor: ast.FunctionDef, own: Signature
) -> Signature:
    """What a constructor takes that gives its `**arguments` to the one of its base."""
    rest = constructor.args.kwarg
    for call in ast.walk(constructor):
        if not isinstance(call, ast.Call) or ast.unparse(call.func) != "super().__init__" or rest is None:
            continue
        given = {part.arg for part in call.keywords}  # None stands for `**`
        if None not in given:
            continue
        inherited = [_of_class(*base) or Signature({}) for base in _bases(module, node)]
        handed_on = {
            name: parameter
            for base in inherited
            for name, parameter in base.parameters.items()
            if name not in given
        }
        return Signature({**handed_on, **own.parameters}, any(base.open for base in inherited))
    return own


def _of_dataclass(module: _Module, node: ast.ClassDef) -> Signature:
    parameters: dict[str, Parameter] = {}
    for base in reversed(_bases(module, node)):
        parameters |= (_of_class(*base) or Signature({})).parameters
    for item in node.body:
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
            continue
        parameter = _parameter(item.annotation, item.value)
        if isinstance(item.value, ast.Call) and ast.unparse(item.value.func).endswith("field"):
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in item.value.keywords}
            if options.get("init") == "False":
                continue
            parameter = replace(parameter, required=not {"default", "default_factory"} & options.keys())
        if "ClassVar" not in ast.unparse(item.annotation):
            parameters[item.target.id] = parameter
    return Signature(parameters)


def _bases(module: _Module, node: ast.ClassDef) -> list[tuple[_Module, ast.ClassDef]]:
    found = []
    for base in node.bases:
        expression = base.value if isinstance(base, ast.Subscript) else base  # Generic[T]
        root, _, rest = ast.unparse(expression).partition(".")
        definition = module.names.get(root, root)
        dotted = definition if isinstance(definition, str) else f"{module.name}.{root}"
        dotted = f"{dotted}.{rest}" if rest else dotted
        if dotted in TAKE_NOTHING:
            continue
        try:
            owner, statement = _resolve(dotted)
        except UnknownNameError:
            raise _OpaqueError from None
        if not isinstance(statement, ast.ClassDef):
            raise _OpaqueError
        found.append((owner, statement))
    return found
