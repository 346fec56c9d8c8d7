"""The reference of commands in docs/cli.md, made of their own help.

    python -m ottla_cli.reference docs/cli.md

Owns everything below the marker line in that file; what stands above it is written by hand. A test
fails when the two differ.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import typer

from ottla_cli.command_line import app
from ottla_cli.options import PANEL

MARKER: Final = "<!-- Below this line everything is made by `python -m ottla_cli.reference`. -->\n"
_SHARED_TITLE: Final = "Options of the connection"


def reference() -> str:
    """All commands with their arguments and options, as Markdown."""
    root = typer.main.get_command(app)
    context = root.context_class(root, info_name="ottla")
    shared: dict[str, str] = {}
    sections = list(_sections(root, context, shared))
    rows = "".join(f"| `{_cell(names)}` | {_cell(text)} |\n" for names, text in shared.items())
    return f"\n## {_SHARED_TITLE}\n\n| | |\n|---|---|\n{rows}" + "".join(sections)


def refreshed(page: str) -> str:
    """The page with the reference as it is now."""
    above, marker, _ = page.partition(MARKER)
    if not marker:
        raise ValueError("the page has no line that says where the reference begins")
    return above + MARKER + reference()


def _sections(command: Any, context: Any, shared: dict[str, str]) -> Iterator[str]:
    for name, each in getattr(command, "commands", {}).items():
        inner = each.context_class(each, info_name=name, parent=context)
        if getattr(each, "commands", None):
            yield f"\n## `{inner.command_path}`\n\n{each.help}\n"
            if each.epilog:
                yield f"\n{each.epilog}\n"
            yield from _sections(each, inner, shared)
        else:
            yield _section(each, inner, shared)


def _section(command: Any, context: Any, shared: dict[str, str]) -> str:
    """One command; the options of its connection go to `shared`."""
    depth = "##" if context.parent.parent is None else "###"
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f"\n{depth} `{context.command_path}`\n", f"\n    {context.command_path} {usage}\n"]
    lines.append(f"\n{command.help}\n")
    rows = []
    connects = False
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is None:
            continue
        names, text = record
        if getattr(parameter, "rich_help_panel", None) == PANEL:
            connects = True
            shared.setdefault(names, text)
        else:
            rows.append(f"| `{_cell(names)}` | {_cell(text)} |\n")
    if rows:
        lines += ["\n| | |\n|---|---|\n", *rows]
    if connects:
        anchor = _SHARED_TITLE.lower().replace(" ", "-")
        lines.append(f"\nAnd [the {_SHARED_TITLE.lower()}](#{anchor}).\n")
    return "".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    """Refresh the page named on the command line."""
    page = Path(sys.argv[1])
    page.write_text(refreshed(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
