"""Filling batches: the partition is chosen, the batch found or begun, the record is in it.

Owns what happens between a record's checks and its delivery, without ever waiting. Paid for every
record, so what could be a call of its own stands in line.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Final, cast

from ottla.client.clock import Clock
from ottla.client.core.outgoing_batch import BATCH_OVERHEAD, OutgoingBatch
from ottla.client.core.partition_queue import PartitionQueue
from ottla.client.core.partitioners import Partitioner, StickyPartitioner
from ottla.client.deliveries import Delivery, Span
from ottla.client.producer_settings import ProducerSettings
from ottla.client.record_values import plain_size
from ottla.client.sending import Sending, TopicLane
from ottla.protocol.errors import RecordTooLarge
from ottla.protocol.records import RecordInput

PLAIN: Final = {bytes}


class Filling:
    """Belongs to one producer and its event loop."""

    def __init__(
        self,
        sending: Sending,
        settings: ProducerSettings,
        *,
        partitioner: Partitioner,
        clock: Clock,
    ) -> None:
        self._sending = sending
        self._accumulator = sending.accumulator
        self._partitioner = partitioner
        self._clock = clock
        self._batch_size = settings.ripe_batch_bytes
        self._batch_size_max = settings.batch_bytes_max
        # Records without a key go where the one before went, for a whole batch.
        self._sticks = isinstance(partitioner, StickyPartitioner)

    def add(
        self, lane: TopicLane, entry: RecordInput, size: int, partition: int | None
    ) -> Delivery:
        """Queue one record of `size` bytes. Raises RecordTooLarge, UnknownTopicOrPartition."""
        queues = lane.queues
        if partition is None and len(queues) == 1:
            queue = queues[0]
        else:
            queue = self._queue(lane, entry[0], entry[1], partition)
        batch = queue.open
        if batch is None or batch.size + size > queue.batch_size_max:
            batch = self._begin(queue, size)
        entries = batch.entries
        index = len(entries)
        entries.append(entry)
        before = batch.size
        batch.size = after = before + size
        self._accumulator.used_size += size
        if before < self._batch_size <= after:
            self._sending.ready(queue)
        return Delivery(batch, index, entry[2])

    def plain_size(self, values: Sequence[object], partition: int | None) -> int | None:
        """What values take that `add_plain` may queue at once; None if they go one by one."""
        if set(map(type, values)) != PLAIN or (partition is None and not self._sticks):
            return None
        size = plain_size(cast("Sequence[bytes]", values))
        return size if size <= self._batch_size_max - BATCH_OVERHEAD else None

    def add_plain(
        self,
        lane: TopicLane,
        values: list[bytes],
        size: int,
        partition: int | None,
        timestamp_ms: int,
    ) -> Span:
        """Queue values without keys, `size` bytes in all, in one batch. Raises as `add`."""
        queue = self._queue(lane, None, values[0], partition)
        batch = queue.open
        if batch is None or batch.size + size > queue.batch_size_max:
            batch = self._begin(queue, size)
        span = Span(batch, len(batch.entries), len(values), timestamp_ms)
        batch.entries.extend(zip(repeat(None), values, repeat(timestamp_ms), repeat(())))
        before = batch.size
        batch.size += size
        self._accumulator.used_size += size
        if before < self._batch_size <= batch.size:
            self._sending.ready(queue)
        return span

    def _queue(
        self, lane: TopicLane, key: bytes | None, value: bytes | None, partition: int | None
    ) -> PartitionQueue:
        if partition is None:
            partition = self._partitioner.partition(
                lane.topic, key=key, value=value, partition_count=len(lane.queues)
            )
        return lane.queue(partition)

    def _begin(self, queue: PartitionQueue, size: int) -> OutgoingBatch:
        if size > self._batch_size_max - BATCH_OVERHEAD:
            raise RecordTooLarge(
                f"the record takes about {size} bytes; batch_bytes_max={self._batch_size_max}",
                metadata={"topic": queue.topic, "partition": queue.partition},
            )
        if queue.open is not None and not queue.open.entries:
            return queue.open
        return self._accumulator.open_batch(queue, self._clock.monotonic_ms())
