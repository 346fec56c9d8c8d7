"""How far a long command has come, as a moving line on stderr; nothing off a terminal.

Owns the bar. rich is imported when there is something to show.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Final

from ottla_cli.terminal import stderr_console

# What is measured should not be the bar.
_SHOW_SECONDS: Final = 0.1

Advance = Callable[[int, int], None]
"""Told of records, and of bytes, that are done."""


@contextlib.contextmanager
def shown_progress(
    what: str, *, bytes_total: int | None, records_total: int | None, is_quiet: bool = False
) -> Iterator[Advance]:
    """Shows a bar for the block.

    Args:
        what: stands before the bar.
        bytes_total: bytes that will be done, if known.
        records_total: records that will be done; measures the bar where it is known.
        is_quiet: show nothing.
    """
    if is_quiet or not sys.stderr.isatty():
        yield lambda _records, _bytes: None
        return
    from rich.progress import (  # noqa: PLC0415 - only long runs at a terminal show it
        BarColumn,
        Progress,
        TextColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[records]:,} records, {task.fields[megabytes]:,.1f} MB"),
    )
    record_count = size_bytes = 0
    shown_at = 0.0
    with Progress(*columns, console=stderr_console(), transient=True) as progress:
        task = progress.add_task(what, total=records_total or bytes_total, records=0, megabytes=0.0)

        def advance(records: int, size: int) -> None:
            nonlocal record_count, size_bytes
            record_count += records
            size_bytes += size
            if monotonic() >= shown_at + _SHOW_SECONDS:
                show()

        def show() -> None:
            nonlocal shown_at
            shown_at = monotonic()
            progress.update(
                task,
                completed=record_count if records_total else size_bytes,
                records=record_count,
                megabytes=size_bytes / 1e6,
            )

        try:
            yield advance
        finally:
            show()
