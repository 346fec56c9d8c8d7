"""What was fetched and is not consumed yet: messages in the order they came, still compressed.

    message ─► buffer ─► next batch, checked and decoded ─► records
                 │ seek, pause, end: dropped                  │
                 └──────────── credit goes back ◄─────────────┘

Owns the order, the bytes, and that nothing of an old subscription is ever consumed. Decodes one
batch at a time, so that decompressed bytes are bounded by one batch. Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ottla.client.core.positions import PartitionPosition
from ottla.client.core.record_columns import RawRecord, decode_batch
from ottla.protocol.batch import Batch, iter_batches, verify_crc
from ottla.protocol.errors import CorruptBatch, CorruptLog, OttlaError, RecordTooLarge


@dataclass(slots=True)
class _Held:
    position: PartitionPosition
    subscription_id: int
    batches: memoryview
    next_offset: int
    size: int
    release: Callable[[int], None]
    """Gives the message's credit back to where it came from."""
    is_dropped: bool = False


_NOTHING = memoryview(b"")


class FetchBuffer:
    """Belongs to one consumer."""

    def __init__(self, *, decompressed_size_max: int) -> None:
        self._decompressed_size_max = decompressed_size_max
        self._held: deque[_Held] = deque()
        self._of: dict[int, deque[_Held]] = {}
        """The same by position, so that dropping one costs only what is held of it."""
        self._dropped_count = 0
        self._runs: Iterator[list[RawRecord]] = iter(())
        self._taking: _Held | None = None
        self.size = 0
        """Bytes of messages held, as they came."""

    def add(
        self,
        position: PartitionPosition,
        batches: memoryview,
        *,
        next_offset: int,
        size: int,
        release: Callable[[int], None],
    ) -> None:
        """Hold a message of the position's subscription."""
        assert position.subscription_id is not None
        held = _Held(position, position.subscription_id, batches, next_offset, size, release)
        self._held.append(held)
        self._of.setdefault(id(position), deque()).append(held)
        self.size += size

    def drop(self, position: PartitionPosition) -> None:
        """Let go of everything of a partition, and give its credit back."""
        if self._taking is not None and self._taking.position is position:
            self._done()
        for held in self._of.pop(id(position), ()):
            held.is_dropped, held.batches = True, _NOTHING
            self._dropped_count += 1
            self._release(held)
        if self._dropped_count * 2 > len(self._held):
            self._held = deque(held for held in self._held if not held.is_dropped)
            self._dropped_count = 0

    def next_records(self) -> list[RawRecord] | None:
        """The next run of records, and the position moved behind it; None: nothing is held.

        Raises:
            CorruptLog: a batch is not what was written; its partition's `failure` says so too.
            RecordTooLarge: a batch decompresses to more than this consumer takes.
        """
        while True:
            try:
                records = next(self._runs, None)
            except OttlaError as error:
                self._fail(error)
            if records:
                taking = self._taking
                assert taking is not None
                taking.position.next_offset = records[-1].offset + 1
                return records
            if self._taking is not None:
                taking, next_offset = self._taking, self._taking.next_offset
                at = taking.position.next_offset
                taking.position.next_offset = max(next_offset, at or 0)
                self._done()
            self._taking = held = self._next()
            if held is None:
                return None
            self._runs = self._decoded(held)

    def _next(self) -> _Held | None:
        while self._held:
            held = self._held.popleft()
            if not held.is_dropped:
                of_position = self._of[id(held.position)]
                of_position.popleft()
                if not of_position:
                    del self._of[id(held.position)]
                return held
            self._dropped_count -= 1
        return None

    def _decoded(self, held: _Held) -> Iterator[list[RawRecord]]:
        position = held.position
        for batch in iter_batches(held.batches):
            verify_crc(batch)
            yield from self._records(batch, position)
            position.last_epoch = batch.header.leader_epoch

    def _records(self, batch: Batch, position: PartitionPosition) -> Iterator[list[RawRecord]]:
        return decode_batch(
            batch,
            position.topic,
            position.partition,
            from_offset=position.next_offset or 0,
            size_max=self._decompressed_size_max,
        )

    def _fail(self, error: OttlaError) -> None:
        assert self._taking is not None
        position = self._taking.position
        names = {"topic": position.topic, "partition": position.partition}
        text = f"{position.topic}-{position.partition} at {position.next_offset}: {error.message}"
        failure: OttlaError
        if isinstance(error, RecordTooLarge):
            failure = RecordTooLarge(text, metadata=names)
        elif isinstance(error, CorruptBatch):
            failure = CorruptLog(text, metadata=names)
        else:
            failure = error
        position.failure = failure
        self.drop(position)
        raise failure from error

    def _done(self) -> None:
        assert self._taking is not None
        held, self._taking = self._taking, None
        self._runs = iter(())
        self._release(held)

    def _release(self, held: _Held) -> None:
        self.size -= held.size
        held.release(held.size)
