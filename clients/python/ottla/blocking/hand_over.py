"""Records on their way from callers' threads into the batches of the asyncio producer.

    threads ─ put ─► inbox ─ one wake-up for many ─► filler (on the loop) ─► asyncio producer

Owns the inbox: its order, its share of the producer's buffer, and what becomes of it when the
producer closes. A thread leaves its record there and goes on; crossing threads for each would cost
more than all the rest.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from ottla.blocking.deliveries import Delivery, Portion
from ottla.blocking.loop_thread import LoopThread
from ottla.client.core.outgoing_batch import BATCH_OVERHEAD
from ottla.client.producer import Producer
from ottla.client.producer_settings import ProducerSettings
from ottla.protocol.errors import (
    InvalidRequest,
    OttlaError,
    RecordTooLarge,
    UnknownTopicOrPartition,
)

R = TypeVar("R")

PORTION_SIZE_MAX: Final = 256 << 10


class HandOver:
    """Belongs to one producer. `put` and `know` are for any thread, the rest runs on the loop."""

    def __init__(
        self,
        inner: Producer[bytes, bytes],
        *,
        settings: ProducerSettings,
        running: Callable[[], LoopThread],
    ) -> None:
        self._inner = inner
        self._sending = inner._sending
        self._held = inner._sending.accumulator
        self._settings = settings
        self._running = running
        self._record_size_max = settings.batch_bytes_max - BATCH_OVERHEAD
        self._size_max = settings.buffer_bytes - BATCH_OVERHEAD
        self._lock = threading.Lock()
        self._inbox: deque[Delivery | Portion | asyncio.Future[None]] = deque()
        self._wake = asyncio.Event()
        self._is_called = False
        # One is written by putting threads alone, the other by the loop alone.
        self._put_size = 0
        self._taken_size = 0
        self._partition_counts: dict[str, int] = {}
        self._filling: Delivery | Portion | None = None
        self.is_stopped = True
        """Nothing can be put; `check` says why."""

    def call(self, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """The result of work on the loop."""
        return self._running().call(work)

    # In callers' threads

    @property
    def portion_size_max(self) -> int:
        """What one portion of a `send_many` may take: with its batches' heads it has room."""
        return min(PORTION_SIZE_MAX, self._settings.buffer_bytes // 4)

    def know(self, topic: str, partition: int | None) -> None:
        """Return if there is such a topic and partition. Raises OttlaError."""
        count = self._partition_counts.get(topic)
        if count is None or (partition is not None and not 0 <= partition < count):
            self.call(lambda: self._look_up(topic, partition))

    def put(self, item: Delivery | Portion) -> None:
        """Leave records to be sent; waits for room only.

        Raises:
            BufferFull: there was no room for `max_block_ms`.
            InvalidRequest: the producer can't be used.
            RecordTooLarge: it exceeds `batch_bytes_max`.
        """
        if self.is_stopped:
            self._running()
            raise InvalidRequest("the client is closed")
        size = item.size
        if size > self._record_size_max and isinstance(item, Delivery):
            self.check_size(item.topic, size)
        deadline: float | None = None
        while True:
            with self._lock:
                held_size = self._held.used_size + self._put_size - self._taken_size
                if not held_size or held_size + size <= self._size_max:
                    self._put_size += size
                    self._inbox.append(item)
                    is_called, self._is_called = self._is_called, True
                    break
            deadline = self._wait_for_room(size, deadline)
        if not is_called:
            self._running().post(self._wake.set)

    def _wait_for_room(self, size: int, deadline: float | None) -> float:
        return self.call(lambda: self._room(size, deadline))

    def check_size(self, topic: str, size: int) -> None:
        """Return if one record may take so many bytes. Raises RecordTooLarge."""
        if size > self._record_size_max:
            raise RecordTooLarge(
                f"the record takes about {size} bytes; "
                f"batch_bytes_max={self._settings.batch_bytes_max}",
                metadata={"topic": topic},
            )

    # On the loop

    async def open(self) -> None:
        """Open the producer, and begin to fill it."""
        await self._inner.open()
        self._sending.on_abandon = self._abandon
        self._sending.start(self._fill_all(), name="ottla-hand-over")
        self.is_stopped = False

    async def close(self, timeout_ms: int) -> None:
        """Send what is left within a time, then end. Raises as the producer's `close`."""
        self.is_stopped = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_ms / 1_000
        try:
            async with asyncio.timeout_at(deadline):
                await self.caught_up()
        except TimeoutError:
            pass  # what is left is given up by name
        finally:
            left_ms = max(0, int((deadline - loop.time()) * 1_000))
            await self._inner.close(timeout_ms=left_ms)

    async def flush(self) -> None:
        """As the producer's `flush`, for all that was put so far."""
        await self.caught_up()
        await self._inner.flush()

    async def caught_up(self) -> None:
        """Return when all that was put so far is filled."""
        if not self._inbox and self._put_size == self._taken_size:
            return
        mark = asyncio.get_running_loop().create_future()
        self._inbox.append(mark)
        self._wake.set()
        await mark

    async def _look_up(self, topic: str, partition: int | None) -> None:
        lane = await self._sending.lane(topic)
        if partition is not None:
            lane.queue(partition)
        self._partition_counts[topic] = len(lane.queues)

    async def _room(self, size: int, deadline: float | None) -> float:
        """Return the deadline, when so many bytes more may be held. Raises BufferFull."""
        loop = asyncio.get_running_loop()
        if deadline is None:
            deadline = loop.time() + self._settings.max_block_ms / 1_000
        try:
            async with asyncio.timeout_at(deadline):
                await self.caught_up()
        except TimeoutError:
            raise self._sending.buffer_full() from None
        await self._sending.room_for(size, deadline=deadline)
        return deadline

    async def _fill_all(self) -> None:
        """Fill the producer's batches with all that is put."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._is_called = False  # who puts from here on calls again
            while self._inbox:
                item = self._inbox.popleft()
                if isinstance(item, asyncio.Future):
                    if not item.done():
                        item.set_result(None)
                    continue
                self._filling = item
                await self._fill(item)
                self._filling = None
                self._taken_size += item.size

    async def _fill(self, item: Delivery | Portion) -> None:
        try:
            if not self._held.has_room(item.size):
                await self._make_room(item.size)
            if isinstance(item, Delivery):
                assert item.record is not None, "an item is filled once"
                key, value, timestamp_ms, headers = item.record
                item.filled = await self._inner.send(
                    item.topic,
                    value,
                    key=key,
                    headers=headers,
                    partition=item.partition,
                    timestamp_ms=timestamp_ms,
                )
                item.record = None  # its bytes are the batch's now
            else:
                item.filled = await self._inner.send_many(
                    item.topic,
                    item.items,
                    partition=item.partition,
                    timestamp_ms=item.timestamp_ms,
                )
                item.items = ()
            if item.is_observed:
                item.filled.observe()
        except OttlaError as error:
            self._failed(item, error)
        except Exception as error:  # noqa: BLE001 - a partitioner's: its record's alone
            failed = InvalidRequest(f"the record can't be queued: {error}")
            failed.__cause__ = error
            self._failed(item, failed)

    async def _make_room(self, size: int) -> None:
        """What was put has its place, so it waits as long as any delivery may take."""
        within_ms = self._settings.delivery_timeout_ms
        loop = asyncio.get_running_loop()
        await self._sending.room_for(size, deadline=loop.time() + within_ms / 1_000)

    def _failed(self, item: Delivery | Portion, error: OttlaError) -> None:
        item.filled = error
        if isinstance(error, UnknownTopicOrPartition):
            self._partition_counts.pop(item.topic, None)  # the next `send` asks, and raises
        if not item.is_observed:
            self._sending.ignored(item, error, item.record_count)

    def _abandon(self, error: OttlaError) -> int:
        """Give up what is not filled; returns how many records."""
        record_count = 0
        if self._filling is not None:
            self._inbox.appendleft(self._filling)
        while self._inbox:
            item = self._inbox.popleft()
            if isinstance(item, asyncio.Future):
                item.cancel()
            else:
                record_count += item.record_count
                self._failed(item, error)
        return record_count
