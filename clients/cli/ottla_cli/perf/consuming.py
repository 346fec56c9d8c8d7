"""Reading as fast as records come, and how long each batch was waited for.

Owns `perf consume`. Without a topic it fills one first, so that one command says what a cluster
gives. Time runs from the first request for records to the last record.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import ottla
from ottla_cli.connections.settings import Connection
from ottla_cli.perf.arrangements import Place, topic_for_run
from ottla_cli.perf.latencies import Latencies
from ottla_cli.perf.report import Report
from ottla_cli.perf.sending import Batching, Load, send_load
from ottla_cli.progress import Advance, shown_progress
from ottla_cli.reading import RECORDS_MAX, TopicReader
from ottla_cli.records.positions import Start
from ottla_cli.session import consumer_of

_STILL_SECONDS: Final = 0.5
_ADVANCE_COUNT: Final = 4_096
_NS_PER_US: Final = 1_000


@dataclass(frozen=True, slots=True)
class Reading:
    """What to read.

    Attributes:
        record_count: end after so many; None: not for that reason.
        seconds: end after so long; None: not for that reason.
        from_beginning: what is there, to the end it has now; else what comes.
        one_by_one: by `async for record`, not in batches.
    """

    record_count: int | None
    seconds: float | None
    from_beginning: bool
    one_by_one: bool


class _Meter:
    """Counts what comes."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance
        self.waits = Latencies()
        self.record_count = 0
        self.size_bytes = 0
        self.started_ns = self.last_ns = time.monotonic_ns()

    def count(self, record_count: int, size_bytes: int) -> None:
        self.last_ns = time.monotonic_ns()
        self.record_count += record_count
        self.size_bytes += size_bytes
        self._advance(record_count, size_bytes)

    @property
    def seconds(self) -> float:
        """From the beginning to the last record."""
        return (self.last_ns - self.started_ns) / 1e9


async def measure_consuming(
    connection: Connection,
    place: Place,
    reading: Reading,
    *,
    fill: Load,
) -> Report:
    """Read, and report how that went.

    Raises:
        OttlaError: there is no such topic, or no broker answers.
    """
    async with topic_for_run(connection, place) as name:
        if place.topic is None:
            batching = Batching(acks="all", compression="none", linger_ms=None, batch_bytes=None)
            await send_load(connection, name, fill, batching, what="fill")
        meter = await _read(connection, name, reading)
    settings: dict[str, object] = {
        "read": "one by one" if reading.one_by_one else "batches",
        "from": "beginning" if reading.from_beginning else "end",
    }
    if place.topic is None:
        settings |= {"size": fill.size_bytes, **place.described()}
    return Report(
        kind="consume",
        topic=name,
        record_count=meter.record_count,
        size_bytes=meter.size_bytes,
        seconds=meter.seconds,
        latency_of="" if reading.one_by_one else "wait for a batch",
        latencies=None if reading.one_by_one else meter.waits,
        settings=settings,
    )


async def _read(connection: Connection, topic: str, reading: Reading) -> _Meter:
    async with consumer_of(connection) as consumer:
        reader = TopicReader(consumer, connection, until_end=reading.from_beginning)
        await reader.begin(topic, (), Start(earliest=reading.from_beginning))
        most = sys.maxsize if reading.record_count is None else reading.record_count
        if reading.from_beginning:
            most = min(most, reader.expected_count)
        total = most if most < sys.maxsize else None
        with shown_progress("consume", bytes_total=None, records_total=total) as advance:
            meter = _Meter(advance)
            try:
                async with asyncio.timeout(reading.seconds) as limit:
                    if reading.one_by_one:
                        await _one_by_one(consumer, reader, meter, most, limit)
                    else:
                        await _in_batches(reader, meter, most)
            except TimeoutError:
                if not limit.expired():
                    raise
        return meter


async def _in_batches(reader: TopicReader, meter: _Meter, most: int) -> None:
    while meter.record_count < most:
        asked_ns = time.monotonic_ns()
        count_max = min(RECORDS_MAX, most - meter.record_count)
        records = await reader.next_records(count_max, wait_seconds=None)
        if not records:
            return
        meter.waits.add((time.monotonic_ns() - asked_ns) // _NS_PER_US)
        meter.count(len(records), _size_bytes(records))


def _size_bytes(records: Sequence[ottla.ConsumerRecord[bytes, bytes]]) -> int:
    return sum([len(record.value or b"") + len(record.key or b"") for record in records])


async def _one_by_one(
    consumer: ottla.Consumer[bytes, bytes],
    reader: TopicReader,
    meter: _Meter,
    most: int,
    limit: asyncio.Timeout,
) -> None:
    if most < 1:
        return
    async with asyncio.TaskGroup() as group:
        watch = group.create_task(_end_when_still(reader, meter, limit), name="perf-still")
        left = _ADVANCE_COUNT
        size_bytes = 0
        try:
            async for record in consumer:
                size_bytes += len(record.value or b"") + len(record.key or b"")
                left -= 1
                if not left or meter.record_count + _ADVANCE_COUNT - left >= most:
                    meter.count(_ADVANCE_COUNT - left, size_bytes)
                    left, size_bytes = _ADVANCE_COUNT, 0
                    if meter.record_count >= most:
                        break
        finally:
            if left < _ADVANCE_COUNT:
                meter.count(_ADVANCE_COUNT - left, size_bytes)
        watch.cancel()


async def _end_when_still(reader: TopicReader, meter: _Meter, limit: asyncio.Timeout) -> None:
    """End the reading where offsets without records, as compaction leaves, would keep it."""
    while not reader.is_at_end:
        before = meter.record_count
        await asyncio.sleep(_STILL_SECONDS)
        if meter.record_count == before:
            await reader.look_for_ends()
    limit.reschedule(asyncio.get_running_loop().time())
