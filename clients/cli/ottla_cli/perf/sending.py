"""Sending at full rate or on schedule, and the time to each acknowledgement.

Owns `perf produce`, and the filling of a topic that `perf consume` reads. A slice of records is
sent, then the acknowledgement of its last one is awaited, beside the sending: one sample stands for
the slice. On a schedule, time runs from when a record was due; without, from the call that sent it,
which includes waiting for room in the producer's buffer.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Final, NamedTuple

import ottla
from ottla.client.producer_settings import ProducerOptions
from ottla_cli.connections.settings import Connection
from ottla_cli.perf.arrangements import Place, topic_for_run, values_of
from ottla_cli.perf.latencies import Latencies
from ottla_cli.perf.open_loop import OpenLoop
from ottla_cli.perf.report import Report
from ottla_cli.progress import Advance, shown_progress
from ottla_cli.session import milliseconds, tls_of

_SLICE_BYTES: Final = 256 << 10
_SLICE_COUNT_MAX: Final = 1_000
_SLICE_COUNT_ONE_BY_ONE: Final = 16
_AWAITED_MAX: Final = 65_536
_TURN_COUNT: Final = 256
_NS_PER_US: Final = 1_000


@dataclass(frozen=True, slots=True)
class Batching:
    """Settings of the producer; None is the library's default."""

    acks: str
    compression: str
    linger_ms: int | None
    batch_bytes: int | None

    def producer(self, connection: Connection) -> ottla.Producer[bytes, bytes]:
        """A producer with these settings, not open yet. Raises InvalidConfig, UsageFailed."""
        timeout_ms = milliseconds(connection.timeout_seconds)
        options: ProducerOptions = {
            "acks": self.acks,
            "compression": self.compression,
            "default_api_timeout_ms": timeout_ms,
            "max_block_ms": timeout_ms,
            "delivery_timeout_ms": timeout_ms,
            "request_timeout_ms": min(timeout_ms, 30_000),
        }
        if self.linger_ms is not None:
            options["linger_ms"] = self.linger_ms
        if self.batch_bytes is not None:
            options["batch_bytes"] = self.batch_bytes
        return ottla.Producer(connection.bootstrap, tls=tls_of(connection), **options)

    def described(self) -> dict[str, object]:
        """For the report."""
        named = {"linger_ms": self.linger_ms, "batch_bytes": self.batch_bytes}
        return {
            "acks": self.acks,
            "compression": self.compression,
            **{name: "default" if value is None else value for name, value in named.items()},
        }


@dataclass(frozen=True, slots=True)
class Load:
    """What to send.

    Attributes:
        record_count: end after so many; None: not for that reason.
        seconds: end after so long; None: not for that reason.
        size_bytes: of each value.
        rate: records a second, on schedule; None: as fast as they go.
        one_by_one: by `send`, not `send_many`.
    """

    record_count: int | None
    seconds: float | None
    size_bytes: int
    rate: float | None
    one_by_one: bool

    @property
    def slice_count(self) -> int:
        """Records between two samples, at most."""
        if self.one_by_one:
            return _SLICE_COUNT_ONE_BY_ONE
        return max(1, min(_SLICE_COUNT_MAX, _SLICE_BYTES // max(1, self.size_bytes)))


class _Sent(NamedTuple):
    last: ottla.Delivery
    record_count: int
    first_ns: int
    last_ns: int


class Sender:
    """Sends a load; `run` in one task, `collect` in another."""

    def __init__(
        self, producer: ottla.Producer[bytes, bytes], topic: str, load: Load, advance: Advance
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._load = load
        self._advance = advance
        self._values = cycle(values_of(load.size_bytes))
        self._awaited: asyncio.Queue[_Sent | None] = asyncio.Queue(_AWAITED_MAX)
        self.latencies = Latencies()
        self.acknowledged_count = 0
        self.seconds = 0.0

    async def run(self) -> None:
        """Send everything, and return when all of it is acknowledged.

        Raises:
            OttlaError: a record could not be delivered.
        """
        started_ns = time.monotonic_ns()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._collect(), name="perf-acknowledgements")
            await self._send_all(started_ns)
            await self._producer.flush()
            await self._awaited.put(None)
        self.seconds = (time.monotonic_ns() - started_ns) / 1e9

    async def _send_all(self, started_ns: int) -> None:
        load = self._load
        most = load.record_count
        ends_ns = None if load.seconds is None else started_ns + round(load.seconds * 1e9)
        schedule = None if load.rate is None else OpenLoop(load.rate, started_ns=started_ns)
        sent_count = 0
        while most is None or sent_count < most:
            now_ns = time.monotonic_ns()
            if ends_ns is not None and now_ns >= ends_ns:
                return
            count = load.slice_count
            first_ns = last_ns = now_ns
            if schedule is not None:
                count = min(count, schedule.due_count(now_ns) - sent_count)
                if count < 1:
                    await asyncio.sleep((schedule.time_ns(sent_count) - now_ns) / 1e9)
                    continue
                first_ns = schedule.time_ns(sent_count)
            if most is not None:
                count = min(count, most - sent_count)
            if schedule is not None:
                last_ns = schedule.time_ns(sent_count + count - 1)
            last = await self._send(count)
            await self._awaited.put(_Sent(last, count, first_ns, last_ns))
            sent_count += count

    async def _send(self, count: int) -> ottla.Delivery:
        """Send a slice, and return the delivery of its last record."""
        producer, topic = self._producer, self._topic
        values = list(islice(self._values, count))
        last = values.pop()
        if self._load.one_by_one:
            for value in values:
                _ = await producer.send(topic, value)
        elif values:
            _ = await producer.send_many(topic, values)
        return await producer.send(topic, last)

    async def _collect(self) -> None:
        turn_count = 0
        while (sent := await self._awaited.get()) is not None:
            await sent.last
            now_ns = time.monotonic_ns()
            self.latencies.add_spread(
                (now_ns - sent.first_ns) // _NS_PER_US,
                (now_ns - sent.last_ns) // _NS_PER_US,
                sent.record_count if self._load.rate else 1,
            )
            self.acknowledged_count += sent.record_count
            self._advance(sent.record_count, sent.record_count * self._load.size_bytes)
            turn_count += 1
            if turn_count % _TURN_COUNT == 0:
                await asyncio.sleep(0)  # what is acknowledged already is no reason to wait


async def measure_producing(
    connection: Connection,
    place: Place,
    load: Load,
    batching: Batching,
) -> Report:
    """Send a load and report how that went.

    Raises:
        OttlaError: a record could not be delivered, or the topic cannot be made.
    """
    async with topic_for_run(connection, place) as name:
        sender = await send_load(connection, name, load, batching, what="produce")
    settings = {
        "size": load.size_bytes,
        "send": "one by one" if load.one_by_one else "many",
        "throughput": load.rate or "unlimited",
        **batching.described(),
        **place.described(),
    }
    since = "schedule" if load.rate else "call"
    return Report(
        kind="produce",
        topic=name,
        record_count=sender.acknowledged_count,
        size_bytes=sender.acknowledged_count * load.size_bytes,
        seconds=sender.seconds,
        latency_of=f"{since} to acknowledgement",
        latencies=sender.latencies,
        settings=settings,
    )


async def send_load(
    connection: Connection, topic: str, load: Load, batching: Batching, *, what: str
) -> Sender:
    """Send a load to a topic, with a bar. Raises OttlaError."""
    records_total = load.record_count
    if records_total is None and load.rate and load.seconds:
        records_total = round(load.rate * load.seconds)
    with shown_progress(what, bytes_total=None, records_total=records_total) as advance:
        async with batching.producer(connection) as producer:
            sender = Sender(producer, topic, load, advance)
            await sender.run()
    return sender
