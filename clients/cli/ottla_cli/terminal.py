"""Where output goes: data to stdout, everything said to people to stderr.

Owns the two consoles, tables and JSON documents, and when there is colour: on a terminal only, and
never with NO_COLOR. rich is imported when first needed.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, TextIO

from ottla_cli.failures import CommandFailed

if TYPE_CHECKING:
    from rich.console import Console


class Output(enum.StrEnum):
    """How commands print what they found."""

    TABLE = "table"
    JSON = "json"


def stdout_console() -> Console:
    """For tables. Off a terminal they are as wide as they need to be, not cut to 80 columns."""
    from rich.console import Console  # noqa: PLC0415 - only commands that print tables need it

    width = None if sys.stdout.isatty() else 10_000
    return Console(file=sys.stdout, width=width, highlight=False, color_system=_color_system())


def stderr_console() -> Console:
    """For messages and progress."""
    from rich.console import Console  # noqa: PLC0415 - only commands that say something need it

    return Console(file=sys.stderr, highlight=False, soft_wrap=True, color_system=_color_system())


def _color_system() -> Literal["auto"] | None:
    # rich alone would leave bold in place, which is a surprise to who asked for plain text.
    return None if os.environ.get("NO_COLOR") else "auto"


def print_json(document: object) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str = "") -> None:
    """A table on stdout. A column whose name begins with `#` holds numbers, which stand right."""
    from rich import box  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold cyan")
    for column in columns:
        is_number = column.startswith("#")
        table.add_column(
            column.removeprefix("#").upper(), justify="right" if is_number else "left", no_wrap=True
        )
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console = stdout_console()
    with console.capture() as captured:
        if title:
            console.print(Text(title, style="bold"), soft_wrap=True)
        console.print(table, crop=False)
    lines = captured.get().splitlines()
    # Without the spaces that fill up columns: `cut` and eyes do better without them.
    sys.stdout.write("".join(line.rstrip() + "\n" for line in lines))


def say(message: str, *, style: str = "") -> None:
    """A line for people, on stderr."""
    from rich.text import Text  # noqa: PLC0415 - as above

    stderr_console().print(Text(message, style=style))


def complete_streams() -> None:
    """Give each standard stream that is closed one that fails when it is used.

    Else the next file or socket would get its number, and what is meant for a terminal.
    """
    sys.stdin = sys.stdin or _failing(os.O_WRONLY, "r")
    sys.stdout = sys.stdout or _failing(os.O_RDONLY, "w")
    # Nobody can be told that nobody can be told.
    sys.stderr = sys.stderr or _failing(os.O_WRONLY, "w")


def _failing(flags: int, mode: Literal["r", "w"]) -> TextIO:
    descriptor = os.open(os.devnull, flags)  # gets the lowest number that is free: the closed one
    os.set_inheritable(descriptor, True)
    return open(descriptor, mode, encoding="utf-8", closefd=False)


def flush_stdout() -> None:
    """Write what is left to be written.

    Raises:
        BrokenPipeError: nobody reads it any more.
        CommandFailed: it cannot be written, and nothing will be from now on.
    """
    with writing_stdout():
        sys.stdout.flush()


@contextlib.contextmanager
def writing_stdout() -> Iterator[None]:
    """For a block that does nothing but write to stdout; raises as `flush_stdout`."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        silence_stdout()
        raise CommandFailed(f"cannot write to standard output: {error.strerror}") from None


def silence_stdout() -> None:
    """Let what is left to be written go nowhere: nobody takes it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
