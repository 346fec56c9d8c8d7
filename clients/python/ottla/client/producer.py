"""The producer: records in, deliveries out, batches in between.

Owns the public face and the filling of batches, which stands in line here because it is paid for
every record. Holding, sending and retrying are `sending` and the cores under it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from types import TracebackType
from typing import Final, Generic, Self, TypeVar, Unpack, cast, overload

from ottla.client.application_calls import HarmlessInterceptor, HarmlessPartitioner, harmless
from ottla.client.clock import SystemClock
from ottla.client.cluster_access import ClusterAccess
from ottla.client.core.outgoing_batch import record_size
from ottla.client.core.partitioners import Partitioner, StickyPartitioner
from ottla.client.deliveries import Deliveries, Delivery, Span
from ottla.client.filling import Filling
from ottla.client.producer_settings import ProducerOptions, ProducerSettings
from ottla.client.record_values import (
    Preparation,
    ProducerInterceptor,
    Serializer,
    checked_time,
    serialized,
)
from ottla.client.sending import Sending
from ottla.client.tls import Tls
from ottla.protocol.errors import OttlaError

K = TypeVar("K")
V = TypeVar("V")

CHUNK_COUNT_MAX: Final = 1_024
TURN_SIZE_LEAST: Final = 4 << 10
PLAIN: Final = {bytes}


class Producer(Generic[K, V]):
    """Sends records to topics. Belongs to the event loop it was opened on.

    Example:
        async with ottla.Producer("127.0.0.1:9092") as producer:
            delivery = await producer.send("flights", b"UA1545 EWR IAH", key=b"UA")
            receipt = await delivery

    A record goes out at once while nothing of its partition is on its way; otherwise it waits for
    others, for `linger_ms` at most or until `batch_bytes` are together. Delivery is at least once:
    a retry after an unknown outcome may duplicate (`retries=0` turns retries off).
    """

    @overload
    def __init__(
        self: Producer[bytes, bytes],
        bootstrap: str | Sequence[str],
        *,
        partitioner: Partitioner | None = None,
        interceptors: Sequence[ProducerInterceptor] = (),
        on_error: Callable[[OttlaError], None] | None = None,
        tls: Tls | None = None,
        **options: Unpack[ProducerOptions],
    ) -> None: ...

    @overload
    def __init__(
        self,
        bootstrap: str | Sequence[str],
        *,
        key_serializer: Serializer[K],
        value_serializer: Serializer[V],
        partitioner: Partitioner | None = None,
        interceptors: Sequence[ProducerInterceptor] = (),
        on_error: Callable[[OttlaError], None] | None = None,
        tls: Tls | None = None,
        **options: Unpack[ProducerOptions],
    ) -> None: ...

    def __init__(
        self,
        bootstrap: str | Sequence[str],
        *,
        key_serializer: Serializer[K] | None = None,
        value_serializer: Serializer[V] | None = None,
        partitioner: Partitioner | None = None,
        interceptors: Sequence[ProducerInterceptor] = (),
        on_error: Callable[[OttlaError], None] | None = None,
        tls: Tls | None = None,
        **options: Unpack[ProducerOptions],
    ) -> None:
        """Checks settings; nothing is connected before the producer is opened.

        Args:
            bootstrap: broker addresses, `host[:port],…`.
            key_serializer: makes bytes of keys; without, keys are bytes.
            value_serializer: makes bytes of values; without, values are bytes.
            partitioner: chooses partitions; by default keys by hash, the rest a batch at a time.
            interceptors: see every record, in this order.
            on_error: told of failures that nobody awaits, as they happen.
            tls: makes connections encrypted.
            options: see `ProducerOptions`.

        Raises:
            InvalidRequest: the addresses cannot be read.
            InvalidConfig: a setting is out of its bounds.
        """
        settings = ProducerSettings(**options)
        clock, chance = SystemClock(), random.Random()
        chooser = partitioner or StickyPartitioner(chance)
        self._access = ClusterAccess(
            bootstrap, tls=tls, patience=settings.patience, clock=clock, chance=chance
        )
        self._access.on_doubt = self._check_next
        self._access.makes_topics = True
        self._settings = settings
        self._sending = Sending(
            self._access,
            settings,
            partitioner=HarmlessPartitioner(chooser),
            interceptors=[HarmlessInterceptor(each) for each in interceptors],
            on_error=None if on_error is None else harmless(on_error, name="on_error"),
            clock=clock,
            chance=chance,
        )
        self._preparation = Preparation(
            key_serializer=cast("Serializer[object] | None", key_serializer),
            value_serializer=cast("Serializer[object] | None", value_serializer),
            interceptors=interceptors,
        )
        self._is_custom = self._preparation.is_custom
        self._filling = Filling(self._sending, settings, partitioner=chooser, clock=clock)
        # What is done for every record is reached without a detour.
        self._known_lane = self._sending.known_lane
        self._has_room = self._sending.accumulator.has_room
        self._add = self._filling.add
        self._turn_size = max(settings.ripe_batch_bytes, TURN_SIZE_LEAST)
        self._size_since_turn = self._turn_size

    def _check_next(self) -> None:
        """The next `send` looks whether the producer may be used."""
        self._size_since_turn = self._turn_size

    async def open(self) -> None:
        """Begin; `async with` does it. Raises Unreachable if no address resolves."""
        await self._sending.open()

    async def close(self, timeout_ms: int | None = None) -> None:
        """Send what is left, then end; None waits for the delivery time-out. Again: nothing.

        Raises:
            OttlaError: records failed that nobody awaited, or were not sent in time.
        """
        self._access.check_process()
        self._check_next()
        limit_ms = self._settings.delivery_timeout_ms if timeout_ms is None else timeout_ms
        await self._sending.close(limit_ms)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close; after an exception without waiting, and without another in its place."""
        if error is None:
            await self.close()
            return
        try:
            await self.close(timeout_ms=0)
        except OttlaError as failed:
            error.add_note(f"the producer lost records: {failed.message}")

    async def flush(self) -> None:
        """Return when every record so far is acknowledged or failed.

        Raises:
            OttlaError: records failed that nobody awaited, since the last flush.
        """
        self._access.check_usable()
        await self._sending.flush()

    async def send(
        self,
        topic: str,
        value: V | None = None,
        *,
        key: K | None = None,
        headers: Sequence[tuple[str, bytes | None]] = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> Delivery:
        """Queue a record; waits only for metadata, once, and for room.

        Cancelled, it has queued nothing.

        Args:
            topic: where to.
            value: the payload; None is a tombstone of its key.
            key: what the record is about; decides the partition.
            headers: pairs of name and value, order kept.
            partition: instead of the partitioner's choice.
            timestamp_ms: instead of now.

        Raises:
            BufferFull: there was no room for `max_block_ms`.
            InvalidRequest: something cannot be turned into bytes, or the producer isn't open.
            RecordTooLarge: it exceeds `batch_bytes_max`.
            UnknownTopicOrPartition: there is no such topic or partition.
        """
        if self._size_since_turn >= self._turn_size:
            await self._take_turn()
        time_ms = (
            time.time_ns() // 1_000_000 if timestamp_ms is None else checked_time(timestamp_ms)
        )
        if headers or self._is_custom or type(value) is not bytes:
            record = self._preparation.prepare(
                topic, key, value, headers, partition=partition, timestamp_ms=time_ms
            )
            topic, raw_key, raw_value, headers, partition, time_ms = record
        else:
            raw_value = value
            raw_key = key if type(key) is bytes or key is None else serialized(key, None, "key")
        entry = (raw_key, raw_value, time_ms, headers)
        size = record_size(entry)
        lane = self._known_lane(topic)
        if lane is None or not self._has_room(size):
            lane = await self._sending.admit(topic, size)
        # From here to the end nothing waits: the record is queued, or it isn't.
        delivery = self._add(lane, entry, size, partition)
        self._size_since_turn += size
        return delivery

    async def send_many(
        self,
        topic: str,
        values: Iterable[V | tuple[K | None, V | None]],
        *,
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> Deliveries:
        """Queue many records: the fast form. Values, or pairs of key and value.

        Cancelled, or failing half-way, it has queued the records before.

        Args:
            topic: where to.
            values: values, or tuples of key and value.
            partition: for all of them, instead of the partitioner's choice.
            timestamp_ms: for all of them, instead of now.

        Raises:
            OttlaError: as `send`.
        """
        time_fixed = None if timestamp_ms is None else checked_time(timestamp_ms)
        spans: list[Span] = []
        iterator = iter(values)
        count = 64
        while chunk := list(islice(iterator, count)):
            if self._size_since_turn >= self._turn_size:
                await self._take_turn()
            time_ms = time.time_ns() // 1_000_000 if time_fixed is None else time_fixed
            size = None if self._is_custom else self._filling.plain_size(chunk, partition)
            if size is None:
                for one in chunk:
                    key, value = one if isinstance(one, tuple) and len(one) == 2 else (None, one)
                    delivery = await self.send(
                        topic, value, key=key, partition=partition, timestamp_ms=time_ms
                    )
                    spans.append(delivery.span())
                continue
            lane = self._known_lane(topic)
            if lane is None or not self._has_room(size):
                lane = await self._sending.admit(topic, size)
            plain = cast("list[bytes]", chunk)
            spans.append(self._filling.add_plain(lane, plain, size, partition, time_ms))
            self._size_since_turn += size
            count = max(1, min(CHUNK_COUNT_MAX, self._turn_size * len(chunk) // size))
        return Deliveries(spans)

    async def _take_turn(self) -> None:
        """Let the tasks that send run, every so many bytes; also the place to notice the end."""
        self._access.check_usable()
        self._size_since_turn = 0
        await asyncio.sleep(0)
        self._access.check_usable()
