"""What the client library's sources say of themselves: classes, signatures, docstrings.

Owns reading them as syntax trees, so that nothing is imported and comments below attributes are
seen; which names of a class are public, its bases' included. Layout is `write_api_reference`'s.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "clients" / "python"
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Attribute:
    """A field, property or attribute with a docstring."""

    name: str
    annotation: str
    default: str
    doc: str


@dataclass(frozen=True, slots=True)
class Callee:
    """A function or method: how it is called, and its docstring."""

    name: str
    signature: str
    """With `self` and the type of `self` left out; empty for one that is never called so."""
    doc: str


@dataclass(frozen=True, slots=True)
class Class:
    """A class with what it has for others, its bases' part included."""

    name: str
    doc: str
    constructor: Callee | None
    attributes: tuple[Attribute, ...]
    methods: tuple[Callee, ...]


@cache
def module(name: str) -> ast.Module:
    """The module of a dotted name."""
    path = ROOT.joinpath(*name.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(source.read_text(encoding="utf-8"))


def module_doc(name: str) -> str:
    """The module's docstring."""
    return ast.get_docstring(module(name)) or ""


def read_class(module_name: str, name: str) -> Class:
    """A class of a module.

    Raises:
        KeyError: there is none of that name.
    """
    attributes: dict[str, Attribute] = {}
    methods: dict[str, Callee] = {}
    constructor = None
    for owner in reversed(list(_lineage(module_name, name))):
        attributes |= {each.name: each for each in _attributes(owner)}
        for function in _functions(owner):
            if function.name == "__init__":
                constructor = _callee(function)
            elif _is_property(function):
                attributes[function.name] = _property(function)
            elif not function.name.startswith("_"):
                methods[function.name] = _callee(function)
    found = _definition(module_name, name)
    return Class(
        name=name,
        doc=ast.get_docstring(found) or "",
        constructor=constructor,
        attributes=tuple(attributes.values()),
        methods=tuple(methods.values()),
    )


def read_function(module_name: str, name: str) -> Callee:
    """A function of a module. Raises KeyError."""
    for node in module(module_name).body:
        if isinstance(node, Function) and node.name == name:
            return _callee(node)
    raise KeyError(f"{module_name}.{name}")


def _definition(module_name: str, name: str) -> ast.ClassDef:
    for node in module(module_name).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node
    raise KeyError(f"{module_name}.{name}")


def _lineage(module_name: str, name: str) -> Iterator[ast.ClassDef]:
    """The class, then its bases as far as they are the library's own."""
    found = _definition(module_name, name)
    yield found
    homes = _imported(module_name)
    for base in found.bases:
        plain = base.value if isinstance(base, ast.Subscript) else base
        if isinstance(plain, ast.Name):
            home = homes.get(plain.id, module_name)
            if home.startswith("ottla"):
                try:
                    yield from _lineage(home, plain.id)
                except KeyError:
                    continue  # a type of another kind, such as a protocol of the standard library


def _imported(module_name: str) -> dict[str, str]:
    """Where the module's imported names come from."""
    return {
        alias.asname or alias.name: node.module or ""
        for node in module(module_name).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def _functions(owner: ast.ClassDef) -> Iterator[Function]:
    """Methods as they are implemented: of overloads only the one with a body."""
    for node in owner.body:
        if isinstance(node, Function) and "overload" not in map(ast.unparse, node.decorator_list):
            yield node


def _is_property(function: Function) -> bool:
    return not function.name.startswith("_") and "property" in map(
        ast.unparse, function.decorator_list
    )


def _property(function: Function) -> Attribute:
    returned = ast.unparse(function.returns) if function.returns else ""
    return Attribute(function.name, returned, "", ast.get_docstring(function) or "")


def _attributes(owner: ast.ClassDef) -> Iterator[Attribute]:
    """Annotated fields, and attributes of the constructor that say what they are."""
    yield from _documented(owner.body, is_class=True)
    for function in _functions(owner):
        if function.name == "__init__":
            yield from _documented(function.body, is_class=False)


def _documented(body: list[ast.stmt], *, is_class: bool) -> Iterator[Attribute]:
    for node, behind in zip(body, [*body[1:], None], strict=True):
        doc = _text(behind)
        target: ast.expr
        if isinstance(node, ast.AnnAssign):
            target, annotation = node.target, ast.unparse(node.annotation)
        elif isinstance(node, ast.Assign) and doc:
            target, annotation = node.targets[0], ""
        else:
            continue
        name = ast.unparse(target).removeprefix("self.")
        is_kept = is_class or bool(doc)
        if is_kept and not name.startswith("_") and not annotation.startswith("ClassVar"):
            default = ast.unparse(node.value) if is_class and node.value is not None else ""
            yield Attribute(name, annotation, default, doc)


def _text(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return str(node.value.value)
    return ""


def _callee(function: Function) -> Callee:
    arguments = function.args
    first = [each.arg for each in arguments.args[:1]]
    if first in (["self"], ["cls"]):
        arguments = ast.arguments(
            arguments.posonlyargs,
            arguments.args[1:],
            arguments.vararg,
            arguments.kwonlyargs,
            arguments.kw_defaults,
            arguments.kwarg,
            arguments.defaults,
        )
    returned = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    word = "async " if isinstance(function, ast.AsyncFunctionDef) else ""
    signature = f"{word}{function.name}({ast.unparse(arguments)}){returned}"
    return Callee(function.name, signature, ast.get_docstring(function) or "")
