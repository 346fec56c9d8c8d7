"""The rules of the house that no linter has: sizes, names, reasons, who may start a task.

Each rule is a function from a module's text to the lines that break it, so that it is tested on
planted text; `test_tidiness.py` applies all of them to the tree.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

MODULE_LINES_MAX = 500
CLASS_LINES_MAX = 250
FUNCTION_LINES_MAX = 60
FORBIDDEN_MODULE_NAMES = {
    "common", "helper", "helpers", "manager", "managers", "misc", "util", "utils",
}  # fmt: skip
TASK_STARTERS = {"create_task", "ensure_future"}
TASK_OWNER = re.compile(r"(group|supervisor)s?$")
TASK_OWNER_TYPE = re.compile(r"\b(TaskGroup|Supervisor)\b")
UNOWNED_TASK = "noqa: OTL001"
# What disables a rule, and the text that may follow it.
SUPPRESSIONS = (
    re.compile(r"#\s*noqa(?P<codes>:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)?(?P<rest>.*)$"),
    re.compile(r"#\s*type:\s*ignore(?P<codes>\[[a-z\-, ]+\])?(?P<rest>.*)$"),
    re.compile(r"#\s*fmt:\s*(?P<codes>skip|off)(?P<rest>.*)$"),
    re.compile(r"#\s*pragma:\s*(?P<codes>no cover)(?P<rest>.*)$"),
)
ANOTHER_SUPPRESSION = re.compile(r"#\s*(noqa:[A-Z0-9, ]*|type:\s*ignore\[[^\]]*\])")
LAYOUT_ONLY = "skip"  # `fmt: skip` changes nothing that is checked


def oversized(text: str) -> Iterator[str]:
    """Modules, classes and functions above the hard limits, docstrings included."""
    lines = len(text.splitlines())
    if lines > MODULE_LINES_MAX:
        yield f"module has {lines} lines, at most {MODULE_LINES_MAX}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            kind, limit = "class", CLASS_LINES_MAX
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            kind, limit = "function", FUNCTION_LINES_MAX
        else:
            continue
        size = (node.end_lineno or node.lineno) - node.lineno + 1
        if size > limit:
            yield f"{node.lineno}: {kind} {node.name} has {size} lines, at most {limit}"


def unowned_tasks(text: str) -> Iterator[str]:
    """Tasks started outside a TaskGroup or supervisor, and tasks without a name.

    An owner is told by how the module binds it (`with TaskGroup() as tasks`, an annotation) or
    by its name (`self._connection_group`, `supervisor`). `# noqa: OTL001 - reason` exempts a line.
    """
    tree, lines = ast.parse(text), text.splitlines()
    owners = set(bound_owners(tree))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or UNOWNED_TASK in lines[node.lineno - 1]:
            continue
        match node.func:
            case ast.Name(id=name) if name in TASK_STARTERS:
                yield f"{node.lineno}: {name} outside a TaskGroup or supervisor"
            case ast.Attribute(attr=name, value=owner) if name in TASK_STARTERS:
                if not (ast.unparse(owner) in owners or TASK_OWNER.search(ast.unparse(owner))):
                    yield f"{node.lineno}: {ast.unparse(node.func)} is no TaskGroup or supervisor"
                elif not any(keyword.arg in {"name", None} for keyword in node.keywords):
                    yield f"{node.lineno}: a task without a name"
            case _:
                continue


def bound_owners(tree: ast.Module) -> Iterator[str]:
    """Names that the module binds to a task group or supervisor."""
    for node in ast.walk(tree):
        match node:
            case ast.withitem(context_expr=made, optional_vars=ast.expr() as name):
                if TASK_OWNER_TYPE.search(ast.unparse(made)):
                    yield ast.unparse(name)
            case ast.arg(arg=argument, annotation=ast.expr() as annotation):
                if TASK_OWNER_TYPE.search(ast.unparse(annotation)):
                    yield argument
            case ast.AnnAssign(target=target, annotation=annotation):
                if TASK_OWNER_TYPE.search(ast.unparse(annotation)):
                    yield ast.unparse(target)
            case _:
                continue


def unreasoned_suppressions(text: str) -> Iterator[str]:
    """Disabled rules that name no code, or say no reason behind it on the same line."""
    for number, line in enumerate(text.splitlines(), start=1):
        for pattern in SUPPRESSIONS:
            found = pattern.search(line)
            if found is None or found["codes"] == LAYOUT_ONLY:
                continue
            if found["codes"] is None:
                yield f"{number}: names no rule: {line.strip()}"
            elif not re.search(r"\w{2,}", ANOTHER_SUPPRESSION.sub("", found["rest"])):
                yield f"{number}: says no reason: {line.strip()}"


def forbidden_name(stem: str) -> bool:
    """Tells whether a module of this name would be a drawer for anything."""
    return stem.lower().lstrip("_") in FORBIDDEN_MODULE_NAMES
