"""All records a producer holds: bounded in bytes, batched by partition, given out when ripe.

Owns the queues, the count of bytes, and whose linger or delivery time is over. The producer's
`send` fills batches in line (a call a record would cost more than the rest of it) and keeps to
`reserve` and `open_batch`. Pure: the time is an argument, who waits for room is the shell's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count

from ottla.client.core.outgoing_batch import BATCH_OVERHEAD, OutgoingBatch, record_size
from ottla.client.core.partition_queue import PartitionQueue, QueueTerms
from ottla.client.core.retries import Backoff
from ottla.protocol.batch import read_batch
from ottla.protocol.errors import OttlaError
from ottla.protocol.records import RecordInput, read_records


@dataclass(frozen=True, slots=True)
class AccumulatorTerms:
    """The bounds of one producer; times in ms, sizes in bytes."""

    linger_ms: int = 5
    batch_size: int = 64 << 10
    batch_size_max: int = 1 << 20
    buffer_size_max: int = 64 << 20
    in_flight_max: int = 8
    delivery_timeout_ms: int = 120_000
    retries_max: int | None = None
    backoff: Backoff = field(default_factory=Backoff)


class Accumulator:
    """Belongs to one producer and its event loop."""

    def __init__(
        self,
        terms: AccumulatorTerms,
        *,
        on_ready: Callable[[PartitionQueue], None],
        on_sealed: Callable[[str, int], None],
    ) -> None:
        self._terms = terms
        self._queue_terms = QueueTerms(
            batch_size=terms.batch_size,
            batch_size_max=terms.batch_size_max,
            in_flight_max=terms.in_flight_max,
            retries_max=terms.retries_max,
            backoff=terms.backoff,
            split=split,
            on_sealed=on_sealed,
        )
        self._on_ready = on_ready
        self._queues: dict[tuple[str, int], PartitionQueue] = {}
        self._numbers = count()
        self._lingering: deque[tuple[PartitionQueue, OutgoingBatch]] = deque()
        self._incomplete: dict[OutgoingBatch, None] = {}
        self.used_size = 0
        """Bytes held, by the estimate that `record_size` makes."""
        self.on_done: Callable[[OutgoingBatch], None] = lambda _: None
        """Told of every batch whose fate is known; its bytes are free by then."""

    @property
    def incomplete(self) -> Iterable[OutgoingBatch]:
        """Batches whose fate is open, the oldest first."""
        return self._incomplete

    @property
    def record_count(self) -> int:
        """Records whose fate is open."""
        return sum(batch.record_count or len(batch.entries) for batch in self._incomplete)

    def queues(self) -> Iterable[PartitionQueue]:
        """Every partition that records were sent to."""
        return self._queues.values()

    def queue(self, topic: str, partition: int) -> PartitionQueue:
        """The queue of a partition, made when first asked for."""
        queue = self._queues.get((topic, partition))
        if queue is None:
            queue = PartitionQueue(topic, partition, terms=self._queue_terms)
            self._queues[topic, partition] = queue
        return queue

    def has_room(self, size: int) -> bool:
        """Whether so many bytes more may be held; one record always may, alone."""
        return (
            self.used_size + size + BATCH_OVERHEAD <= self._terms.buffer_size_max
            or not self._incomplete
        )

    def open_batch(self, queue: PartitionQueue, now_ms: int) -> OutgoingBatch:
        """Seal the queue's open batch, if any, and begin another."""
        queue.seal()
        batch = OutgoingBatch(
            queue.topic,
            queue.partition,
            sequence=(next(self._numbers),),
            linger_until_ms=now_ms + self._terms.linger_ms,
            deadline_ms=now_ms + self._terms.delivery_timeout_ms,
        )
        queue.open = batch
        self.used_size += batch.size
        self._incomplete[batch] = None
        batch.on_done(lambda: self._done(batch))
        self._lingering.append((queue, batch))
        # With nothing on the wire the record goes at once; with a full batch sealed, that one may.
        self._on_ready(queue)
        return batch

    def _done(self, batch: OutgoingBatch) -> None:
        self.used_size -= batch.size
        del self._incomplete[batch]
        self.on_done(batch)

    def flush(self) -> list[OutgoingBatch]:
        """Let what is held wait for no more records; returns it."""
        for queue in self._queues.values():
            if queue.open is not None:
                queue.sealed_up_to = queue.open.sequence
            if not queue.is_empty:
                self._on_ready(queue)
        return list(self._incomplete)

    def due(self, now_ms: int) -> None:
        """Offer every queue whose open batch has lingered, or that may try again."""
        lingering = self._lingering
        while lingering:
            queue, batch = lingering[0]
            if queue.open is batch and now_ms < batch.linger_until_ms:
                break
            lingering.popleft()
            if queue.open is batch:
                self._on_ready(queue)

    def next_due_ms(self) -> int | None:
        """When the next open batch will have lingered."""
        return self._lingering[0][1].linger_until_ms if self._lingering else None

    def expire(self, now_ms: int) -> None:
        """Give up what could not be delivered in time, and offer what waited for a retry."""
        oldest = next(iter(self._incomplete), None)
        is_late = oldest is not None and oldest.deadline_ms <= now_ms
        for queue in self._queues.values():
            if is_late:
                queue.expire(now_ms)
            if queue.retry_at_ms and queue.retry_at_ms <= now_ms:
                queue.retry_at_ms = 0
                self._on_ready(queue)

    def abandon(self, error: OttlaError) -> None:
        """Give everything up."""
        for queue in self._queues.values():
            queue.abandon(error)


def split(batch: OutgoingBatch) -> tuple[OutgoingBatch, ...]:
    """The batch's records in two batches; none if there is but one record.

    The records come out of the encoded frame again, since they are not kept twice.
    """
    if batch.record_count < 2:
        return ()
    entries: list[RecordInput] = batch.entries
    if batch.frame is not None:
        source = read_batch(batch.frame)
        entries = [
            (record.key, record.value, record.timestamp_ms, record.headers)
            for record in read_records(source, size_max=2**31 - 1)
        ]
    middle = len(entries) // 2
    halves = []
    for place, part in enumerate((entries[:middle], entries[middle:])):
        half = OutgoingBatch(
            batch.topic,
            batch.partition,
            sequence=(*batch.sequence, place),
            linger_until_ms=batch.linger_until_ms,
            deadline_ms=batch.deadline_ms,
        )
        half.entries = part
        half.record_count = len(part)
        half.size += sum(map(record_size, part))
        half.failure = batch.failure
        half.maybe_appended = batch.maybe_appended
        halves.append(half)
    return tuple(halves)
