"""The consumer: partitions assigned, records out, positions kept.

Owns the public face: assigning, seeking, pausing, iterating. Sessions and retries are `fetching`
and the cores under it. Positions are the application's until there are groups.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Final, Self, TypeVar, Unpack, overload

from ottla.api.fetch.v1 import fetch_pb2
from ottla.client.assignment import PartitionAssignment
from ottla.client.clock import Clock, SystemClock
from ottla.client.cluster_access import ClusterAccess
from ottla.client.consumer_settings import ConsumerOptions, ConsumerSettings
from ottla.client.core.fetch_buffer import FetchBuffer
from ottla.client.core.positions import (
    TopicPartition,
)
from ottla.client.core.record_columns import ConsumerRecord
from ottla.client.core.retries import Backoff
from ottla.client.fetch_link import FetchTerms
from ottla.client.fetching import Fetching
from ottla.client.offset_lookups import OffsetAndTime, list_offsets, query
from ottla.client.received_records import ConsumerInterceptor, Deserializer, Reception
from ottla.client.tls import Tls
from ottla.protocol.errors import InvalidRequest

K = TypeVar("K")
V = TypeVar("V")

RECORDS_MAX_DEFAULT: Final = 10_000


class Consumer(PartitionAssignment[K, V]):
    """Reads records of the partitions it is assigned. Belongs to the event loop it was opened on.

    Example:
        async with ottla.Consumer("127.0.0.1:9092", auto_offset_reset="earliest") as consumer:
            await consumer.assign(["flights"])
            async for record in consumer:
                print(record.offset, record.value)

    Memory is bounded: brokers send `fetch_buffer_bytes` ahead of the application each, as it
    travels, and one batch at a time is decompressed. Tasks that read at the same time share the
    records: each goes to one of them.
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

        Args:
            bootstrap: broker addresses, `host[:port],…`.
            key_deserializer: makes keys of bytes; without, keys are bytes.
            value_deserializer: makes values of bytes; without, values are bytes.
            interceptors: see every run of records, in this order.
            tls: makes connections encrypted.
            options: see `ConsumerOptions`.

        Raises:
            InvalidRequest: the addresses cannot be read.
            InvalidConfig: a setting is out of its bounds.
        """
        self._settings = settings = ConsumerSettings(**options)
        clock: Clock = SystemClock()
        chance = random.Random()
        access = ClusterAccess(
            bootstrap, tls=tls, patience=settings.patience, clock=clock, chance=chance
        )
        terms = FetchTerms(
            isolation=settings.wire_isolation,
            rack=settings.rack,
            message_size_max=settings.fetch_message_bytes,
            credit_size=settings.fetch_buffer_bytes,
            open_channel=access.open_channel,
            backoff=Backoff(),
            clock=clock,
            chance=chance,
        )
        fetching = Fetching(
            access,
            FetchBuffer(decompressed_size_max=settings.decompressed_bytes_max),
            terms=terms,
            policy=settings.policy,
            clock=clock,
            chance=chance,
        )
        reception = Reception[K, V](
            key_deserializer=key_deserializer,
            value_deserializer=value_deserializer,
            interceptors=interceptors,
        )
        super().__init__(access, fetching, reception=reception, policy=settings.policy)

    # Life

    async def open(self) -> None:
        """Begin; `async with` does it. Raises Unreachable if no address resolves."""
        await self._fetching.open()

    async def close(self) -> None:
        """End; what was fetched and not consumed is dropped. Again: nothing."""
        self._access.check_process()
        await self._fetching.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # Records

    def __aiter__(self) -> Self:
        """Itself: records come once, whoever iterates."""
        return self

    async def __anext__(self) -> ConsumerRecord[K, V]:
        """The next record; waits for it.

        Raises:
            OttlaError: a partition can't go on, the others do with the next call; or a record can't
                be deserialized, and the next call goes on behind it.
        """
        for record in self._reception.left:
            return record
        await self._refill()
        return next(self._reception.left)

    async def batches(
        self, *, max_records: int = RECORDS_MAX_DEFAULT, max_wait_ms: int = 0
    ) -> AsyncIterator[list[ConsumerRecord[K, V]]]:
        """Lists of records, for ever: the fast form. Arguments and errors as `next_batch`."""
        while True:
            yield await self.next_batch(max_records=max_records, max_wait_ms=max_wait_ms)

    async def next_batch(
        self, *, max_records: int = RECORDS_MAX_DEFAULT, max_wait_ms: int = 0
    ) -> list[ConsumerRecord[K, V]]:
        """One list of records, at least one; waits for the first. Cancelled, it has taken none.

        Args:
            max_records: never more than this.
            max_wait_ms: how long to wait for more, once there is one.
        """
        if max_records < 1:
            raise InvalidRequest(f"max_records={max_records}; at least 1 is handed out")
        if max_wait_ms < 0:
            raise InvalidRequest(f"max_wait_ms={max_wait_ms}; time does not go back")
        while True:
            taken = self._reception.take(max_records)
            if not taken:
                await self._refill()
                taken = self._reception.take(max_records)
            if max_wait_ms > 0 and len(taken) < max_records:
                await self._gather(taken, max_records, max_wait_ms)
            if taken:  # no other task has sought elsewhere meanwhile
                return taken

    async def _gather(
        self, taken: list[ConsumerRecord[K, V]], max_records: int, max_wait_ms: int
    ) -> None:
        with self._reception.holding(taken):
            try:
                async with asyncio.timeout(max_wait_ms / 1_000):
                    while len(taken) < max_records:
                        await self._refill()
                        taken += self._reception.take(max_records - len(taken))
            except TimeoutError:
                return
            except BaseException:
                self._reception.put_back(taken)
                raise

    async def _refill(self) -> None:
        """Return once there are records to hand out; the loop's other tasks get their turn."""
        await asyncio.sleep(0)
        while not self._reception.has_some():  # another task may have got some meanwhile
            self._access.check_usable()
            if self._reception.go_on():
                break
            records = self._fetching.take()
            if records:
                self._reception.receive(records)
            else:
                await self._fetching.wait()
        self._fetching.wake_others()

    # Places

    async def beginning_offsets(
        self, partitions: Iterable[tuple[str, int]]
    ) -> dict[TopicPartition, int]:
        """The first offset each partition still holds. Raises OttlaError."""
        return await self._named(partitions, fetch_pb2.OFFSET_POSITION_EARLIEST)

    async def end_offsets(self, partitions: Iterable[tuple[str, int]]) -> dict[TopicPartition, int]:
        """The offset behind each partition's last committed record. Raises OttlaError."""
        return await self._named(partitions, fetch_pb2.OFFSET_POSITION_LATEST)

    async def offsets_for_times(
        self, times_ms: Mapping[TopicPartition | tuple[str, int], int]
    ) -> dict[TopicPartition, OffsetAndTime | None]:
        """The first record of a time or later, a partition each; None if there is none."""
        places = {TopicPartition(*each): time_ms for each, time_ms in times_ms.items()}
        queries = {place: query(place, timestamp_ms=each) for place, each in places.items()}
        return await self._offsets(queries)

    async def _named(
        self,
        partitions: Iterable[tuple[str, int]],
        position: fetch_pb2.OffsetPosition.ValueType,
    ) -> dict[TopicPartition, int]:
        places = [TopicPartition(*each) for each in partitions]
        found = await self._offsets({place: query(place, position=position) for place in places})
        return {place: each.offset for place, each in found.items() if each is not None}

    async def _offsets(
        self, queries: Mapping[TopicPartition, fetch_pb2.OffsetQuery]
    ) -> dict[TopicPartition, OffsetAndTime | None]:
        self._access.check_usable()
        return await list_offsets(
            self._access.caller, queries, isolation=self._settings.wire_isolation
        )
