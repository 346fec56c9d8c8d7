"""The consumer without await: records for any thread, fetched as the asyncio consumer does.

Owns handing records out to callers' threads, each to one of them. Records that are here are handed
out without crossing threads; the client's thread is asked for more when there are none left.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Generic, Self, TypeVar, Unpack, cast, overload

from ottla.blocking.faces import Face, crossing, waiting
from ottla.client.consumer import RECORDS_MAX_DEFAULT
from ottla.client.consumer import Consumer as AsyncConsumer
from ottla.client.consumer_settings import ConsumerOptions
from ottla.client.core.record_columns import ConsumerRecord
from ottla.client.received_records import ConsumerInterceptor, Deserializer
from ottla.client.tls import Tls

K = TypeVar("K")
V = TypeVar("V")


class Consumer(Face[AsyncConsumer[K, V]], Generic[K, V]):
    """Reads records of the partitions it is assigned, for one thread or several.

    Example:
        with ottla.blocking.Consumer("127.0.0.1:9092", auto_offset_reset="earliest") as consumer:
            consumer.assign(["flights"])
            for record in consumer:
                print(record.offset, record.value)

    Threads that iterate share the records: each goes to one of them. Deserializers and interceptors
    are called in the process's client thread. Memory is bounded as in `ottla.Consumer`.
    """

    @overload
    def __init__(
        self: Consumer[bytes, bytes],
        bootstrap: str | Sequence[str],
        *,
        interceptors: Sequence[ConsumerInterceptor] = (),
        tls: Tls | None = None,
        **options: Unpack[ConsumerOptions],
    ) -> None: ...

    @overload
    def __init__(
        self,
        bootstrap: str | Sequence[str],
        *,
        key_deserializer: Deserializer[K],
        value_deserializer: Deserializer[V],
        interceptors: Sequence[ConsumerInterceptor] = (),
        tls: Tls | None = None,
        **options: Unpack[ConsumerOptions],
    ) -> None: ...

    def __init__(
        self,
        bootstrap: str | Sequence[str],
        *,
        key_deserializer: Deserializer[K] | None = None,
        value_deserializer: Deserializer[V] | None = None,
        interceptors: Sequence[ConsumerInterceptor] = (),
        tls: Tls | None = None,
        **options: Unpack[ConsumerOptions],
    ) -> None:
        """Checks settings; nothing is connected before the consumer is opened.

        Args and errors are those of `ottla.Consumer`.
        """
        inner = AsyncConsumer[K, V](
            bootstrap,
            key_deserializer=cast("Deserializer[K]", key_deserializer),
            value_deserializer=cast("Deserializer[V]", value_deserializer),
            interceptors=interceptors,
            tls=tls,
            **options,
        )
        super().__init__(inner)
        self._reception = inner._reception
        self._reading = threading.Lock()
        """Held by the thread that takes records, also while it waits for them."""
        self._handing = threading.Lock()
        """Held by the thread that touches records outside the loop, or moves them on it."""

    # Life

    def open(self) -> None:
        """Begin; `with` does it. Raises Unreachable if no address resolves."""
        self._open(self._inner.open)

    def close(self) -> None:
        """End; what was fetched and not consumed is dropped. Again: nothing."""
        self._close(self._inner.close)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # Records

    def __iter__(self) -> Self:
        """Itself: records come once, whoever iterates."""
        return self

    def __next__(self) -> ConsumerRecord[K, V]:
        """The next record; waits for it.

        Raises:
            OttlaError: a partition can't go on; the others do with the next call.
        """
        thread = self._thread
        if thread is None or self._is_forked or threading.get_ident() == thread.ident:
            self._running().check_caller()
        with self._reading:
            while True:
                with self._handing:
                    for record in self._reception.left:
                        return record
                self._call(self._inner._refill)

    def batches(
        self, *, max_records: int = RECORDS_MAX_DEFAULT, max_wait_ms: int = 0
    ) -> Iterator[list[ConsumerRecord[K, V]]]:
        """Lists of records, for ever: the fast form. Arguments and errors as `next_batch`."""
        while True:
            yield self.next_batch(max_records=max_records, max_wait_ms=max_wait_ms)

    def next_batch(
        self, *, max_records: int = RECORDS_MAX_DEFAULT, max_wait_ms: int = 0
    ) -> list[ConsumerRecord[K, V]]:
        """One list of records, at least one; waits for the first. Interrupted, it has taken none.

        Args:
            max_records: never more than this.
            max_wait_ms: how long to wait for more, once there is one.
        """
        self._running().check_caller()
        with self._reading:
            return self._call(
                lambda: self._inner.next_batch(max_records=max_records, max_wait_ms=max_wait_ms),
                give_back=self._put_back,
            )

    def _put_back(self, records: list[ConsumerRecord[K, V]]) -> None:
        with self._handing:
            self._reception.put_back(records)

    def _moving(self) -> AbstractContextManager[object]:
        return self._handing

    # Places

    assign = waiting(AsyncConsumer.assign, moves=True)
    assignment = crossing(AsyncConsumer.assignment)
    seek = crossing(AsyncConsumer.seek)
    seek_to_time = crossing(AsyncConsumer.seek_to_time)
    seek_to_beginning = crossing(AsyncConsumer.seek_to_beginning)
    seek_to_end = crossing(AsyncConsumer.seek_to_end)
    seek_to_last = crossing(AsyncConsumer.seek_to_last)
    pause = crossing(AsyncConsumer.pause)
    resume = crossing(AsyncConsumer.resume)
    paused = crossing(AsyncConsumer.paused)
    position = waiting(AsyncConsumer.position)
    beginning_offsets = waiting(AsyncConsumer.beginning_offsets)
    end_offsets = waiting(AsyncConsumer.end_offsets)
    offsets_for_times = waiting(AsyncConsumer.offsets_for_times)
