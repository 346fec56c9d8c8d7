"""What `ottla produce` does: lines in, records out, and how many there were.

Owns the course of one run. Cutting lines is `records.lines`; batches, order and retries are
`ottla.Producer`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

import ottla
from ottla_cli.connections.settings import Connection
from ottla_cli.failures import CommandFailed
from ottla_cli.progress import Advance, shown_progress
from ottla_cli.records.input_thread import InputThread
from ottla_cli.records.lines import Header, LineCutter, LineRecord, LineRule
from ottla_cli.session import milliseconds, tls_of
from ottla_cli.terminal import Output, print_json, say

# What waits for its acknowledgement is bounded by the producer's buffer; this bounds the notes.
_AWAITED_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class ProduceOptions:
    """What the command line asks for."""

    topic: str
    file: Path | None
    rule: LineRule
    headers: Sequence[Header]
    partition: int | None
    acks: str
    is_quiet: bool


class Acknowledgements:
    """Counts records as they are acknowledged, in the order they were sent. `run` is a task."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance
        self._awaited: asyncio.Queue[tuple[ottla.Deliveries, int] | None]
        self._awaited = asyncio.Queue(_AWAITED_MAX)
        self.counts: Counter[int] = Counter()
        """Records acknowledged, by partition."""

    @property
    def record_count(self) -> int:
        """Records acknowledged."""
        return self.counts.total()

    async def expect(self, deliveries: ottla.Deliveries, size_bytes: int) -> None:
        """Count these too; waits while very many are expected already."""
        await self._awaited.put((deliveries, size_bytes))

    async def finish(self) -> None:
        """Nothing more is sent."""
        await self._awaited.put(None)

    async def run(self) -> None:
        """Count until `finish` was called and everything is acknowledged.

        Raises:
            OttlaError: records could not be delivered.
        """
        while (expected := await self._awaited.get()) is not None:
            deliveries, size_bytes = expected
            receipts = await deliveries
            self.counts.update(receipt.partition for receipt in receipts)
            self._advance(len(receipts), size_bytes)


async def produce(connection: Connection, options: ProduceOptions) -> None:
    """Publish every line of the input; done when all of them are acknowledged.

    Raises:
        CommandFailed: a line cannot become a record; those before it are published.
        OttlaError: a record was refused, or no broker took it in time.
    """
    started = monotonic()
    with _input(options.file) as descriptor, _progress(options, descriptor) as advance:
        acknowledgements = Acknowledgements(advance)
        try:
            await _run(connection, options, descriptor, acknowledgements)
        except BaseException:
            if not options.is_quiet:
                say(f"{acknowledgements.record_count:,} records were acknowledged before the end")
            raise
    _summary(connection, options, acknowledgements.counts, seconds=monotonic() - started)


async def _run(
    connection: Connection,
    options: ProduceOptions,
    descriptor: int,
    acknowledgements: Acknowledgements,
) -> None:
    timeout_ms = milliseconds(connection.timeout_seconds)
    producer = ottla.Producer(
        connection.bootstrap,
        tls=tls_of(connection),
        acks=options.acks,
        default_api_timeout_ms=timeout_ms,
        max_block_ms=timeout_ms,
        delivery_timeout_ms=timeout_ms,
        request_timeout_ms=min(timeout_ms, 30_000),
    )
    refused: CommandFailed | None = None
    chunks = _chunks(InputThread(descriptor), options.rule)
    async with producer, contextlib.aclosing(chunks), asyncio.TaskGroup() as group:
        group.create_task(acknowledgements.run(), name="acknowledgements")
        try:
            async for records in chunks:
                await _send(producer, options, records, acknowledgements)
        except CommandFailed as error:
            refused = error
        await acknowledgements.finish()
    if refused is not None:
        raise refused


async def _chunks(source: InputThread, rule: LineRule) -> AsyncGenerator[list[LineRecord], None]:
    """The records of the input as it comes, many at a time.

    Raises:
        CommandFailed: a line cannot become a record; after those before it.
    """
    cutter = LineCutter()
    async with contextlib.aclosing(source.chunks()) as chunks:
        async for chunk in chunks:
            records, refused = _records(cutter.feed(chunk), cutter, rule)
            if records:
                yield records
            if refused is not None:
                raise refused
    records, refused = _records(cutter.finish(), cutter, rule)
    if records:
        yield records
    if refused is not None:
        raise refused


def _records(
    lines: Iterator[bytes], cutter: LineCutter, rule: LineRule
) -> tuple[list[LineRecord], CommandFailed | None]:
    records = []
    try:
        for line in lines:
            records.append(rule.record(line, cutter.count))  # noqa: PERF401 - some, then an error
    except CommandFailed as error:
        return records, error
    return records, None


async def _send(
    producer: ottla.Producer[bytes, bytes],
    options: ProduceOptions,
    records: Sequence[LineRecord],
    acknowledgements: Acknowledgements,
) -> None:
    topic, partition = options.topic, options.partition
    if not options.headers:
        deliveries = await producer.send_many(
            topic,
            # A value alone is the fast form.
            (
                record.value if record.key is None and record.value is not None else record.pair()
                for record in records
            ),
            partition=partition,
        )
        await acknowledgements.expect(deliveries, sum(each.size_bytes() for each in records))
        return
    spans = []
    for record in records:
        delivery = await producer.send(
            topic, record.value, key=record.key, headers=options.headers, partition=partition
        )
        spans.append(delivery.span())
    size_bytes = sum(each.size_bytes() for each in records)
    await acknowledgements.expect(ottla.Deliveries(spans), size_bytes)


@contextlib.contextmanager
def _input(file: Path | None) -> Iterator[int]:
    if file is None:
        descriptor = sys.stdin.fileno()
        try:
            os.read(descriptor, 0)
        except OSError as error:
            raise CommandFailed(
                f"cannot read standard input: {error.strerror}",
                hint="lines come from there, or with --file from a file",
            ) from None
        yield descriptor
        return
    descriptor = os.open(file, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _progress(
    options: ProduceOptions, descriptor: int
) -> contextlib.AbstractContextManager[Advance]:
    return shown_progress(
        options.topic,
        bytes_total=os.fstat(descriptor).st_size or None,
        records_total=None,
        # Typing at a terminal and a moving line would disturb each other.
        is_quiet=options.is_quiet or os.isatty(descriptor),
    )


def _summary(
    connection: Connection, options: ProduceOptions, counts: Counter[int], *, seconds: float
) -> None:
    if connection.output is Output.JSON:
        print_json(
            {
                "topic": options.topic,
                "record_count": counts.total(),
                "seconds": round(seconds, 3),
                "partitions": {str(key): counts[key] for key in sorted(counts)},
            }
        )
        return
    if not options.is_quiet:
        rate = counts.total() / seconds if seconds else 0
        noun = "record" if counts.total() == 1 else "records"
        partitions = "1 partition" if len(counts) == 1 else f"{len(counts)} partitions"
        where = f"{options.topic}, {partitions}"
        say(f"{counts.total():,} {noun} to {where}, {rate:,.0f} records/s")
