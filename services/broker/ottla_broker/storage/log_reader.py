"""Reads a log: slices for consumers, offsets for times.

    read ─► segment, index ─► heads from memory ─► slice
                                  │ not in memory: the same in a thread, which brings them in

Owns the order of attempts and one open settled segment, so that a reader going through an old
segment does not open it anew for every slice. Which bytes answer a read is `core.extent`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ottla.protocol.batch import BatchHead, read_batch
from ottla.protocol.errors import CorruptBatch, OttlaError, RecordTooLarge
from ottla.protocol.records import read_records
from ottla_broker.core.extent import Extent, SegmentSpan, find_extent
from ottla_broker.core.index_file import DamagedIndexError
from ottla_broker.core.log_events import IndexRebuilt
from ottla_broker.core.recompression import EXPANSION_MAX
from ottla_broker.core.recovery import BatchOrder, Defect
from ottla_broker.core.sparse_index import IndexBuilder
from ottla_broker.storage.beside import beside
from ottla_broker.storage.filesystem import is_full
from ottla_broker.storage.head_walk import DamagedSegmentError, Read, walk_heads
from ottla_broker.storage.log_slice import LogSlice
from ottla_broker.storage.segment import Indexes, Segment
from ottla_broker.storage.segment_file import SegmentFile
from ottla_broker.storage.segment_scan import batch_time, scan_segment

if TYPE_CHECKING:
    from ottla_broker.storage.partition_log import PartitionLog

Result = TypeVar("Result")
_OFFSET_BEYOND = 2**63


@dataclass(frozen=True, slots=True)
class TimedOffset:
    """A record's offset, its time, and the leader epoch it was written under."""

    offset: int
    timestamp_ms: int
    leader_epoch: int


class LogReader:
    """Belongs to one `PartitionLog`, on its loop."""

    def __init__(self, log: PartitionLog) -> None:
        self._log = log
        self._filesystem = log.surroundings.filesystem
        self._kept: tuple[Segment, SegmentFile] | None = None

    async def read(self, offset: int, *, max_bytes: int, limit: int) -> LogSlice | None:
        """Whole batches from the one that holds `offset` on, that end at or below `limit`.

        Raises StorageOffline, CorruptLog; both take the log offline.
        """
        self._log.check_online()
        segment = self._log.segments.holding(offset)
        file = self._hold(segment)
        try:
            extent = await self._extent(
                segment, file, offset=offset, max_bytes=max_bytes, limit=limit
            )
        except BaseException:
            file.release()
            raise
        if extent is None:
            file.release()
            return None
        return LogSlice(file, extent.position, extent.size, extent.first_offset, extent.next_offset)

    async def load(self, part: LogSlice) -> bytes:
        """The bytes of a slice."""
        fd = part.file.fileno()
        try:
            return self._filesystem.pread_cached(fd, part.size, part.position)
        except BlockingIOError:
            read = partial(self._filesystem.pread, fd, part.size, part.position)
            return await self._beside(read, part.file)
        except OSError as error:
            raise self._log.disk_error(error) from error

    async def offset_for_time(self, timestamp_ms: int, *, limit: int) -> TimedOffset | None:
        """The first record of this time or later below `limit`; None if there is none."""
        self._log.check_online()
        for segment in tuple(self._log.segments):
            if segment not in self._log.segments:
                continue  # removed while an earlier one was looked at
            if segment.size > 0 and segment.max_timestamp_ms >= timestamp_ms:
                found = await self._first_at(segment, timestamp_ms)
                if found is not None:
                    return found if found.offset < limit else None
        return None

    async def offset_of_max_timestamp(self, *, limit: int) -> TimedOffset | None:
        """The first record below `limit` with the largest time; None in an empty log."""
        self._log.check_online()
        log_start = self._log.state.log_start
        held = [
            one
            for one in self._log.segments
            if one.size > 0 and one.base_offset < limit and one.next_offset > log_start
        ]
        best: TimedOffset | None = None
        if held and held[0].base_offset < log_start:
            best = await self._largest_above(held[0], log_start)
            held = [one for one in held[1:] if one in self._log.segments]
        if held:
            largest = max(held, key=lambda one: (one.max_timestamp_ms, -one.base_offset))
            if best is None or largest.max_timestamp_ms > best.timestamp_ms:
                best = await self._first_at(largest, largest.max_timestamp_ms)
        return best if best is not None and best.offset < limit else None

    def release(self) -> None:
        """Let go of the segment that is kept open."""
        if self._kept is not None:
            segment, file = self._kept
            self._kept = None
            segment.forget_indexes()
            file.release()

    def forget(self, segments: Sequence[Segment]) -> None:
        """Do not keep any of these open."""
        if self._kept is not None and any(self._kept[0] is one for one in segments):
            self.release()

    def _hold(self, segment: Segment) -> SegmentFile:
        try:
            file = segment.hold()
        except OSError as error:
            raise self._log.disk_error(error) from error
        if segment.is_settled and (self._kept is None or self._kept[0] is not segment):
            self.release()
            file.acquire()
            self._kept = segment, file
        return file

    async def _extent(
        self, segment: Segment, file: SegmentFile, *, offset: int, max_bytes: int, limit: int
    ) -> Extent | None:
        index = (segment.indexes or await self._load_indexes(segment, file))[0]
        span = SegmentSpan(segment.base_offset, segment.next_offset, segment.size)
        if offset >= span.next_offset:
            return None

        def find(read: Read) -> Extent | None:
            walk = partial(walk_heads, read)
            return find_extent(span, index, walk, offset=offset, max_bytes=max_bytes, limit=limit)

        def find_and_fetch() -> Extent | None:
            extent = find(partial(self._filesystem.pread, file.fileno()))
            if extent is not None:
                self._filesystem.prefetch(file.fileno(), extent.size, extent.position)
            return extent

        try:
            extent = find(partial(self._filesystem.pread_cached, file.fileno()))
            if extent is not None:
                last = extent.position + extent.size - 1
                self._filesystem.pread_cached(file.fileno(), 1, last)
            return extent
        except BlockingIOError:
            return await self._checked(segment, find_and_fetch, file)
        except DamagedSegmentError as error:
            raise await self._damaged(segment, error.defect) from None
        except OSError as error:
            raise self._log.disk_error(error) from error

    async def _first_at(self, segment: Segment, timestamp_ms: int) -> TimedOffset | None:
        file = self._hold(segment)
        try:
            indexes = segment.indexes or await self._load_indexes(segment, file)
            size = segment.size
            read = partial(self._filesystem.pread, file.fileno())
            log_start = self._log.state.log_start
            size_max = self._log.config.max_message_bytes * EXPANSION_MAX

            def find() -> TimedOffset | None:
                kept = indexes[0].position_before(max(log_start - segment.base_offset, 0))
                start = max(_time_start(indexes, timestamp_ms), kept)
                for position, head in walk_heads(read, start, size):
                    if batch_time(head) >= timestamp_ms and head.header.next_offset > log_start:
                        data = read(head.frame_size, position)
                        found = _record_at(data, head, timestamp_ms, log_start, size_max)
                        if found is not None:
                            return found
                return None

            return await self._checked(segment, find, file)
        finally:
            file.release()

    async def _largest_above(self, segment: Segment, log_start: int) -> TimedOffset | None:
        """The first record with the largest time of those at or above the log's start."""
        file = self._hold(segment)
        try:
            indexes = segment.indexes or await self._load_indexes(segment, file)
            size = segment.size
            read = partial(self._filesystem.pread, file.fileno())
            size_max = self._log.config.max_message_bytes * EXPANSION_MAX

            def find() -> TimedOffset | None:
                best: TimedOffset | None = None
                start = indexes[0].position_before(log_start - segment.base_offset)
                for position, head in walk_heads(read, start, size):
                    time_ms = batch_time(head)
                    if head.header.next_offset <= log_start:
                        continue
                    if best is None or time_ms > best.timestamp_ms:
                        data = read(head.frame_size, position)
                        found = _largest_in(data, head, log_start, size_max)
                        if best is None or found.timestamp_ms > best.timestamp_ms:
                            best = found
                return best

            return await self._checked(segment, find, file)
        finally:
            file.release()

    async def _load_indexes(self, segment: Segment, file: SegmentFile) -> Indexes:
        try:
            return await self._beside(segment.load_indexes, file)
        except DamagedIndexError as error:
            cause = str(error)
        indexes = await self._checked(segment, lambda: self._rebuild(segment, file), file)
        self._log.surroundings.events(
            IndexRebuilt(
                topic=self._log.name.topic,
                partition=self._log.name.partition,
                base_offset=segment.base_offset,
                cause=cause,
            )
        )
        return indexes

    def _rebuild(self, segment: Segment, file: SegmentFile) -> Indexes:
        interval_bytes = self._log.config.index_interval_bytes
        scanned = scan_segment(
            self._filesystem,
            file.fileno(),
            builder=IndexBuilder(segment.base_offset, interval_bytes=interval_bytes),
            order=BatchOrder(segment.base_offset),
            verify_from=_OFFSET_BEYOND,
        )
        if scanned.scan.defect is not None:
            raise DamagedSegmentError(scanned.scan.defect)
        builder = scanned.builder
        indexes = builder.offset_index, builder.time_index
        try:
            segment.write_indexes(segment.head, indexes)
        except OSError as error:
            if not is_full(error):
                raise
        segment.use_indexes(indexes)
        return indexes

    async def _checked(
        self, segment: Segment, work: Callable[[], Result], file: SegmentFile
    ) -> Result:
        try:
            return await self._beside(work, file)
        except DamagedSegmentError as error:
            raise await self._damaged(segment, error.defect) from None

    async def _beside(self, work: Callable[[], Result], file: SegmentFile) -> Result:
        try:
            self._log.check_online()  # its files may be another log's by now
            return await beside(self._log.work, work, files=(file,))
        except OSError as error:
            raise self._log.disk_error(error) from error

    async def _damaged(self, segment: Segment, defect: Defect) -> OttlaError:
        return await self._log.report_corruption(
            segment, position=defect.position, message=defect.message
        )


def _time_start(indexes: Indexes, timestamp_ms: int) -> int:
    """Position from which the first batch of this time or later is at most an interval away."""
    offset_index, time_index = indexes
    reached = time_index.offset_reached(timestamp_ms)
    if reached is not None:
        return offset_index.position_preceding(reached)
    return offset_index.positions[-1] if len(offset_index.positions) else 0


def _record_at(
    data: bytes, head: BatchHead, timestamp_ms: int, log_start: int, size_max: int
) -> TimedOffset | None:
    """The batch's first record of this time or later; its first one where nobody can tell.

    None if it lies below the log's start.
    """
    found = _kept_records(data, head, log_start, size_max)
    later = (one for one in found if one.timestamp_ms >= timestamp_ms)
    return next(later, None)


def _largest_in(data: bytes, head: BatchHead, log_start: int, size_max: int) -> TimedOffset:
    """The batch's first record with the largest time of those the log still holds."""
    found = _kept_records(data, head, log_start, size_max)
    return max(found, key=lambda one: (one.timestamp_ms, -one.offset))


def _kept_records(data: bytes, head: BatchHead, log_start: int, size_max: int) -> list[TimedOffset]:
    """The times of a batch's records from the log's start on; of one, where nobody can tell."""
    header = head.header
    if header.append_time_ms == 0:
        with suppress(CorruptBatch, RecordTooLarge):  # the payload is not what the header says
            found = [
                TimedOffset(record.offset, record.timestamp_ms, header.leader_epoch)
                for record in read_records(read_batch(data), size_max=size_max)
                if record.offset >= log_start
            ]
            if found:
                return found
    offset = max(header.base_offset, log_start)
    return [TimedOffset(offset, batch_time(head), header.leader_epoch)]
