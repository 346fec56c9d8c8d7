"""The producer without await: callers in any thread, batches as the asyncio producer makes them.

Owns what is done in the caller's thread: serializers, interceptors' `on_send` and all checks, so
that errors are raised where the record is. The rest is handed over to the asyncio producer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from types import TracebackType
from typing import Final, Generic, Self, TypeVar, Unpack, cast, overload

from ottla.blocking.deliveries import Deliveries, Delivery, Portion
from ottla.blocking.faces import Face
from ottla.blocking.hand_over import HandOver
from ottla.blocking.portions import Cutter
from ottla.client.core.outgoing_batch import record_size
from ottla.client.core.partitioners import Partitioner
from ottla.client.producer import Producer as AsyncProducer
from ottla.client.producer_settings import ProducerOptions, ProducerSettings
from ottla.client.record_values import (
    Preparation,
    PreparedRecord,
    ProducerInterceptor,
    Serializer,
    checked_time,
    serialized,
)
from ottla.client.tls import Tls
from ottla.protocol.errors import OttlaError

K = TypeVar("K")
V = TypeVar("V")

PORTION_COUNT_FIRST: Final = 64
PORTION_COUNT_MAX: Final = 8_192


class Producer(Face[AsyncProducer[bytes, bytes]], Generic[K, V]):
    """Sends records to topics, from any number of threads.

    Example:
        with ottla.blocking.Producer("127.0.0.1:9092") as producer:
            delivery = producer.send("flights", b"UA1545 EWR IAH", key=b"UA")
            receipt = delivery.result()

    `send` leaves the record with the process's client thread and returns; batches and guarantees
    are those of `ottla.Producer`. Serializers, partitioners and interceptors' `on_send` must bear
    being called from every thread that sends; `on_error` and interceptors' `on_done` are called
    in the client thread, where a blocking call would wait for itself and is refused. A producer
    left open is flushed at the interpreter's end, for 5 s at most; losses are logged.
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

        Args and errors are those of `ottla.Producer`.
        """
        self._settings = settings = ProducerSettings(**options)
        inner = AsyncProducer(
            bootstrap,
            partitioner=partitioner,
            interceptors=[_Told(each) for each in interceptors],
            on_error=on_error,
            tls=tls,
            **options,
        )
        super().__init__(inner)
        serializers: dict[str, Serializer[object] | None] = {
            "key_serializer": cast("Serializer[object] | None", key_serializer),
            "value_serializer": cast("Serializer[object] | None", value_serializer),
        }
        self._preparation = Preparation(**serializers, interceptors=interceptors)
        self._has_interceptors = bool(interceptors)
        self._is_custom = self._preparation.is_custom
        self._hand_over = HandOver(inner, settings=settings, running=self._running)
        self._portion_size_max = self._hand_over.portion_size_max
        self._cutter = Cutter(
            **serializers,
            portion_size_max=self._portion_size_max,
            check_size=self._hand_over.check_size,
        )
        # What is done for every record is reached without a detour.
        self._put = self._hand_over.put
        self._know = self._hand_over.know

    # Life

    def open(self) -> None:
        """Begin; `with` does it. Raises Unreachable if no address resolves."""
        self._open(self._hand_over.open)

    def close(self, timeout_ms: int | None = None) -> None:
        """Send what is left, then end; None waits for the delivery time-out. Again: nothing.

        Interrupted, it ends at once.

        Raises:
            OttlaError: records failed that nobody waited for, or were not sent in time.
        """
        self._check_caller()
        self._hand_over.is_stopped = True
        limit_ms = self._settings.delivery_timeout_ms if timeout_ms is None else timeout_ms
        self._close(lambda: self._hand_over.close(limit_ms))

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close; after an exception without waiting, and without another in its place."""
        if error is None:
            self.close()
            return
        try:
            self.close(timeout_ms=0)
        except OttlaError as failed:
            error.add_note(f"the producer lost records: {failed.message}")

    def flush(self) -> None:
        """Return when every record so far is acknowledged or failed.

        Raises:
            OttlaError: records failed that nobody waited for, since the last flush.
        """
        self._call(self._hand_over.flush)

    def _forked(self) -> None:
        super()._forked()
        self._hand_over.is_stopped = True

    async def _leave(self, timeout_ms: int) -> None:
        await self._hand_over.close(timeout_ms)

    # Records

    def send(
        self,
        topic: str,
        value: V | None = None,
        *,
        key: K | None = None,
        headers: Sequence[tuple[str, bytes | None]] = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> Delivery:
        """Queue a record; waits only for metadata, once a topic, and for room.

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
        self._know(topic, partition)
        entry = (raw_key, raw_value, time_ms, headers)
        delivery = Delivery(
            self._hand_over, topic, entry, size=record_size(entry), partition=partition
        )
        self._put(delivery)
        return delivery

    def send_many(
        self,
        topic: str,
        values: Iterable[V | tuple[K | None, V | None]],
        *,
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> Deliveries:
        """Queue many records: the fast form. Values, or pairs of key and value.

        Interrupted, or failing half-way, it has queued the records before.

        Args:
            topic: where to.
            values: values, or tuples of key and value.
            partition: for all of them, instead of the partitioner's choice.
            timestamp_ms: for all of them, instead of now.

        Raises:
            OttlaError: as `send`.
        """
        time_fixed = None if timestamp_ms is None else checked_time(timestamp_ms)
        parts: list[Delivery | Portion] = []
        iterator = iter(values)
        count = PORTION_COUNT_FIRST
        while chunk := list(islice(iterator, count)):
            if self._has_interceptors:
                for one in chunk:
                    key, value = one if isinstance(one, tuple) and len(one) == 2 else (None, one)
                    delivery = self.send(
                        topic, value, key=key, partition=partition, timestamp_ms=timestamp_ms
                    )
                    parts.append(delivery)
                continue
            self._know(topic, partition)
            time_ms = time.time_ns() // 1_000_000 if time_fixed is None else time_fixed
            for items, size in self._cutter.cut(topic, chunk):
                portion = Portion(
                    self._hand_over,
                    topic,
                    items,
                    size=size,
                    partition=partition,
                    timestamp_ms=time_ms,
                )
                self._put(portion)
                parts.append(portion)
                count = self._next_count(len(items), size)
        return Deliveries(self._hand_over, parts)

    def _next_count(self, record_count: int, size: int) -> int:
        """How many records like these make a portion."""
        return max(1, min(PORTION_COUNT_MAX, self._portion_size_max * record_count // size))


class _Told:
    """An interceptor as the client thread sees it: records were shown to it before."""

    def __init__(self, told: ProducerInterceptor) -> None:
        self.on_done = told.on_done

    def on_send(self, record: PreparedRecord) -> PreparedRecord:
        return record
