"""The engine room of a producer: what is held, who waits for room, what is overdue, what failed.

    send ─► accumulator ─► router ─► links ─► brokers
              ▲  done: room, failures, flush ──┘

Owns the tasks and the waiting around the pure accumulator. The public face, and the filling of
batches record by record, is `producer`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ottla.client import leaving
from ottla.client.batch_encoder import BatchEncoder
from ottla.client.buffer_room import BufferRoom
from ottla.client.clock import Clock
from ottla.client.cluster_access import ClusterAccess
from ottla.client.core.accumulator import Accumulator
from ottla.client.core.error_copies import restated
from ottla.client.core.outgoing_batch import OutgoingBatch
from ottla.client.core.partition_queue import PartitionQueue
from ottla.client.core.partitioners import Partitioner
from ottla.client.core.retries import Backoff
from ottla.client.deliveries import receipt_of, until_done
from ottla.client.produce_link import LinkTerms
from ottla.client.produce_router import ProduceRouter
from ottla.client.producer_settings import ProducerSettings
from ottla.client.record_values import ProducerInterceptor
from ottla.protocol.errors import (
    BufferFull,
    Internal,
    OttlaError,
    StatusCode,
    UnknownReason,
    UnknownTopicOrPartition,
)

_log = logging.getLogger(__name__)

_SCAN_INTERVAL_MS: Final = 50
_IGNORED_MAX: Final = 1_000


class Observable(Protocol):
    """Records sent together."""

    is_observed: bool
    """Somebody waits, or waited, for one of them."""


class ProducerClosed(UnknownReason):
    """The producer was closed before the record was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="PRODUCER_CLOSED", status=StatusCode.CANCELLED)


@dataclass(frozen=True, slots=True)
class TopicLane:
    """A topic with a queue for each of its partitions."""

    topic: str
    queues: Sequence[PartitionQueue]

    def queue(self, partition: int) -> PartitionQueue:
        """The queue of a partition. Raises UnknownTopicOrPartition."""
        if not 0 <= partition < len(self.queues):
            raise UnknownTopicOrPartition(
                f"topic {self.topic} has partitions 0 to {len(self.queues) - 1}, not {partition}",
                metadata={"topic": self.topic, "partition": partition},
            )
        return self.queues[partition]


class Sending:
    """Belongs to one producer and its event loop."""

    def __init__(
        self,
        access: ClusterAccess,
        settings: ProducerSettings,
        *,
        partitioner: Partitioner,
        interceptors: Sequence[ProducerInterceptor],
        on_error: Callable[[OttlaError], None] | None,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self._access = access
        self._settings = settings
        self._interceptors = interceptors
        self._on_error = on_error
        self._clock = clock
        self._lanes: dict[str, TopicLane] = {}
        self._failure: OttlaError | None = None
        self._ignored: list[tuple[Observable, OttlaError, int]] = []
        self._unkept_count = 0
        self._busy = asyncio.Event()
        self.accumulator = Accumulator(
            settings.accumulator_terms(),
            on_ready=self.ready,
            on_sealed=partitioner.batch_sealed,
        )
        self.accumulator.on_done = self._done
        self._room = BufferRoom(self.accumulator.has_room)
        self.on_abandon: Callable[[OttlaError], int] = lambda _: 0
        """Gives up records that are still on their way here; returns how many."""
        terms = LinkTerms(
            acks=settings.wire_acks,
            request_timeout_ms=settings.request_timeout_ms,
            idle_ms=settings.idle_ms,
            encoder=BatchEncoder(settings.codec, level=settings.compression_level),
            open_channel=access.open_channel,
            backoff=Backoff(),
            clock=clock,
            chance=chance,
        )
        self._router = ProduceRouter(access, terms=terms, queues=self.accumulator.queues)
        access.on_change = self._metadata_changed
        access.on_defect = self._defect

    async def open(self) -> None:
        """Begin to send. Raises what opening an access raises."""
        await self._access.open()
        leaving.opened(self, lambda: self.accumulator.record_count)
        self._access.tasks.start(self._keep_house(), name="ottla-produce-deadlines")

    def start(self, work: Coroutine[object, object, None], *, name: str) -> None:
        """Run `work` until it ends or the producer closes."""
        self._access.tasks.start(work, name=name)

    async def close(self, timeout_ms: int) -> None:
        """Send what is left within a time, then end.

        Raises:
            OttlaError: records failed that nobody waited for, or were not sent in time.
        """
        if not self._access.is_open:
            return
        try:
            await self._flush_within(timeout_ms)
        finally:
            error = ProducerClosed("the producer was closed before it was sent")
            lost_count = self.accumulator.record_count + self.on_abandon(error)
            self.accumulator.abandon(error)
            if lost_count:
                _log.warning("closed a producer with %d records not acknowledged", lost_count)
            leaving.closed(self)
            self._room.close()
            await self._access.close()
        self._raise_ignored()

    async def _flush_within(self, timeout_ms: int) -> None:
        if timeout_ms == 0:
            return
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                await self._all_done()
        except TimeoutError:
            return  # what is left is given up by name

    async def flush(self) -> None:
        """Return when everything held is acknowledged or failed.

        Raises:
            OttlaError: a record failed that nobody waited for, since the last flush.
        """
        await self._all_done()
        self._raise_ignored()

    async def _all_done(self) -> None:
        for batch in self.accumulator.flush():
            await until_done(batch)

    def _raise_ignored(self) -> None:
        kept, self._ignored = self._ignored, []
        unkept_count, self._unkept_count = self._unkept_count, 0
        # Who asks for a delivery after it failed knows of it, too.
        ignored = [(error, count) for what, error, count in kept if not what.is_observed]
        if ignored:
            error = ignored[0][0]
            record_count = unkept_count + sum(count for _, count in ignored)
            text = f"{record_count} records could not be delivered; the first: {error.message}"
            raise restated(error, message=text)

    # What `send` needs

    async def lane(self, topic: str) -> TopicLane:
        """The topic's queues.

        Raises:
            InvalidTopic, UnknownTopicOrPartition: there is no such topic.
            OttlaError: no broker could be asked, or the producer has failed.
        """
        self._check_usable()
        known = await self._access.follower.topic(topic)
        queues = [
            self.accumulator.queue(topic, partition) for partition in range(known.partition_count)
        ]
        lane = self._lanes[topic] = TopicLane(topic, queues)
        return lane

    def known_lane(self, topic: str) -> TopicLane | None:
        """The same, if metadata has not changed since it was asked for."""
        return self._lanes.get(topic)

    async def admit(self, topic: str, size: int) -> TopicLane:
        """The topic's queues, once they are known and so many bytes more may be held.

        Raises:
            BufferFull: there was no room for `max_block_ms`.
            OttlaError: as `lane`.
        """
        try:
            while True:
                lane = self._lanes.get(topic) or await self.lane(topic)
                self._check_usable()
                if self.accumulator.has_room(size):
                    return lane
                await self.room_for(size)
        except BaseException:
            self._room.wake()  # it had waited for room that it takes no longer
            raise

    def _check_usable(self) -> None:
        self._access.check_usable()
        if self._failure is not None:
            raise restated(self._failure)

    def ready(self, queue: PartitionQueue) -> None:
        """The queue may have something to send."""
        self._busy.set()
        self._router.schedule(queue)

    async def room_for(self, size: int, *, deadline: float | None = None) -> None:
        """Return when so many bytes more may be held.

        Raises:
            BufferFull: there was no room until the deadline, a time of the event loop; without
                one: for `max_block_ms`.
        """
        if deadline is None:
            deadline = asyncio.get_running_loop().time() + self._settings.max_block_ms / 1_000
        if not self.accumulator.has_room(size):
            try:
                await self._room.wait_for(size, deadline=deadline)
            except TimeoutError:
                raise self.buffer_full() from None
            self._check_usable()

    def buffer_full(self) -> BufferFull:
        """What to raise when there was no room in time."""
        return BufferFull(
            f"the producer's {self._settings.buffer_bytes} bytes of buffer stayed full for "
            f"{self._settings.max_block_ms} ms"
        )

    # What happens beside `send`

    def _done(self, batch: OutgoingBatch) -> None:
        self._room.wake()
        errors = batch.errors()
        for interceptor in self._interceptors:
            first = None if errors else receipt_of(batch, 0, 0)
            interceptor.on_done(
                batch.topic, batch.partition, first=first, error=errors[0] if errors else None
            )
        if not errors or batch.is_observed:
            return
        self.ignored(batch, errors[0], batch.record_count)

    def ignored(self, what: Observable, error: OttlaError, record_count: int) -> None:
        """Records failed that nobody waits for: `on_error` is told, and the next flush."""
        if len(self._ignored) < _IGNORED_MAX:
            self._ignored.append((what, error, record_count))
        else:
            self._unkept_count += record_count
        if self._on_error is not None:
            self._on_error(restated(error))

    def _metadata_changed(self) -> None:
        self._lanes.clear()
        self._router.metadata_changed()

    def _defect(self, error: Exception) -> None:
        """One of our own tasks failed: nothing more will be sent, so say so to everybody."""
        failure = Internal(f"the producer failed unexpectedly: {error}")
        failure.__cause__ = error
        self._failure = failure
        self._lanes.clear()  # whoever sends from now on asks for one, and hears of it
        self.accumulator.abandon(failure)

    async def _keep_house(self) -> None:
        """Offer what has lingered, give up what is too late, try again what may be."""
        scan_ms = 0
        linger_ms = self._settings.linger_ms or _SCAN_INTERVAL_MS
        while True:
            await self._busy.wait()
            now_ms = self._clock.monotonic_ms()
            self.accumulator.due(now_ms)
            if now_ms >= scan_ms:
                self.accumulator.expire(now_ms)
                scan_ms = now_ms + _SCAN_INTERVAL_MS
            if not any(True for _ in self.accumulator.incomplete):
                self._busy.clear()
                continue
            wake_ms = now_ms + min(linger_ms, _SCAN_INTERVAL_MS)
            due_ms = self.accumulator.next_due_ms()
            await self._clock.sleep_until(wake_ms if due_ms is None else min(wake_ms, due_ms))
