"""What `ottla consume` does: records out, until there is a reason to end.

Owns the course of one run: all partitions or one, at most so many records, at most so long without
any, and no longer than somebody reads the output. Printing is `records.formats`, reading is
`reading`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ottla_cli.connections.settings import Connection
from ottla_cli.reading import RECORDS_MAX, TopicReader
from ottla_cli.records.formats import Formatter
from ottla_cli.records.positions import Start
from ottla_cli.session import consumer_of
from ottla_cli.terminal import say, writing_stdout


@dataclass(frozen=True, slots=True)
class ConsumeOptions:
    """What the command line asks for."""

    topic: str
    partitions: Sequence[int]
    start: Start
    until_end: bool
    record_count_max: int
    idle_seconds: float | None
    print_records: Formatter
    is_quiet: bool


async def consume(connection: Connection, options: ConsumeOptions) -> None:
    """Print records until the end asked for.

    Raises:
        BrokenPipeError: nobody reads the output any more.
        CommandFailed, OttlaError: records cannot be read.
    """
    async with consumer_of(connection) as consumer:
        reader = TopicReader(consumer, connection, until_end=options.until_end)
        await reader.begin(options.topic, options.partitions, options.start)
        with _watched_output():
            printed_count = await _print_all(reader, options)
    if not options.is_quiet and sys.stderr.isatty():
        say(f"{printed_count:,} {'record' if printed_count == 1 else 'records'}")


async def _print_all(reader: TopicReader, options: ConsumeOptions) -> int:
    """Print until the end asked for, and return how many records there were."""
    printed_count = 0
    most = options.record_count_max or sys.maxsize
    while printed_count < most:
        count_max = min(RECORDS_MAX, most - printed_count)
        records = await reader.next_records(count_max, wait_seconds=options.idle_seconds)
        if not records:
            break
        printed = options.print_records(records)
        with writing_stdout():
            sys.stdout.buffer.write(printed)
            sys.stdout.buffer.flush()
        printed_count += len(records)
    return printed_count


@contextlib.contextmanager
def _watched_output() -> Iterator[None]:
    """End the block with BrokenPipeError when the reader of our output goes, though none comes.

    Without it, `| head` would keep the command until the next record.
    """
    output = sys.stdout.fileno()
    if not stat.S_ISFIFO(os.fstat(output).st_mode):
        yield
        return
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None, "runs inside an event loop"
    is_gone = False

    def reader_went() -> None:
        nonlocal is_gone
        is_gone = True
        loop.remove_reader(output)
        task.cancel()

    # Nothing can be read here: what wakes us is the error of a pipe without a reader.
    loop.add_reader(output, reader_went)
    try:
        yield
    except asyncio.CancelledError:
        if is_gone and not task.uncancel():
            raise BrokenPipeError from None
        raise
    finally:
        loop.remove_reader(output)
