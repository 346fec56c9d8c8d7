"""Looks at the segments of a log that is being opened: which are there, and what is in them.

    recovery point            ▼
    [believed: index files]   [index log │ scanned, heads │ and payloads ]
    a flushed segment         the one that grew

A flushed segment is believed what its index files say if they fit the file and its neighbour; one
that grew, what its index log says of what was flushed. All else is read: heads with their checksums
and order, payloads from the recovery point on. Blocking, off the loop; changes nothing but to
remove leftovers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ottla.protocol.batch import BatchHead
from ottla_broker.core.index_file import DamagedIndexError
from ottla_broker.core.index_log import LoggedIndex, decode_index_log
from ottla_broker.core.leader_epochs import LeaderEpochs
from ottla_broker.core.log_events import EventSink, IndexRebuilt, LeftoverRemoved
from ottla_broker.core.recovery import BatchOrder, SegmentScan
from ottla_broker.core.sparse_index import IndexBuilder
from ottla_broker.storage.checkpoints import Marks
from ottla_broker.storage.index_log import INDEX_LOG_SUFFIX
from ottla_broker.storage.replica_files import ReplicaFiles, base_offset_of, is_leftover
from ottla_broker.storage.segment import Segment
from ottla_broker.storage.segment_scan import ScannedSegment, scan_segment

_OFFSET_BEYOND = 2**63


@dataclass(slots=True)
class FoundSegment:
    """A segment file with what is known of it; without a builder its index files hold."""

    segment: Segment
    scan: SegmentScan
    builder: IndexBuilder | None
    verified_size: int = 0
    logged: LoggedIndex | None = None
    """What of its indexes the index log has, where that was gone on from."""


class LogSurvey:
    """Looks at one log, once."""

    def __init__(
        self,
        files: ReplicaFiles,
        *,
        marks: Marks,
        is_clean: bool,
        interval_bytes: int,
        now_ms: int,
        events: EventSink,
    ) -> None:
        self._files = files
        self._filesystem = files.filesystem
        self._marks = marks
        self._is_clean = is_clean
        self._interval_bytes = interval_bytes
        self._now_ms = now_ms
        self._events = events
        self._order = BatchOrder(0)
        self._index_logs: set[int] = set()

    def find(self) -> list[FoundSegment]:
        """All segments in order, each as far as it is whole."""
        entries = self._filesystem.list(self._files.directory)
        by_offset = {
            base: entry for entry in entries if (base := base_offset_of(entry)) is not None
        }
        for entry in entries:
            if is_leftover(entry, set(by_offset)):
                path = self._files.directory / entry.name
                self._filesystem.unlink(path)
                self._events(LeftoverRemoved(path=str(path)))
            index_log = base_offset_of(entry, INDEX_LOG_SUFFIX)
            if index_log in by_offset:
                self._index_logs.add(index_log)
        offsets = self._without_given_up(sorted(by_offset))
        if not offsets:
            return []
        ends: list[int | None] = [*offsets[1:], None]
        self._order = BatchOrder(offsets[0])
        return [
            self._look_at(base, by_offset[base].size, end, created_ms=by_offset[base].modified_ms)
            for base, end in zip(offsets, ends, strict=True)
        ]

    def _without_given_up(self, offsets: list[int]) -> list[int]:
        """Without those that end at or below the log's start: their removal was interrupted.

        Some may be gone and others not, in any order, which is no damage.
        """
        start = self._marks.log_start
        first = max((slot for slot, base in enumerate(offsets) if base <= start), default=0)
        for base in offsets[:first]:
            segment = self._files.segment(base, created_ms=0)
            segment.remove()
            self._events(LeftoverRemoved(path=str(segment.path)))
        return offsets[first:]

    def _look_at(self, base: int, size: int, end: int | None, *, created_ms: int) -> FoundSegment:
        """Believe what is written of a segment as far as it was flushed; scan the rest."""
        segment = self._files.segment(base, created_ms=min(created_ms, self._now_ms))
        if end is None:
            return self._look_at_last(segment, size)
        point = self._marks.recovery_point
        cause = ""
        if point is not None and end <= point:
            try:
                head = segment.read_index_head()
                if (head.log_size, head.next_offset) == (size, end):
                    segment.adopt(head)
                    self._order = BatchOrder(head.next_offset, self._order.leader_epoch)
                    scan = SegmentScan(base, size, size, head.next_offset)
                    return FoundSegment(segment, scan, None)
                cause = f"made for {head.log_size} bytes to offset {head.next_offset}"
            except DamagedIndexError as error:
                cause = str(error)
        return self._scan(segment, size, cause)

    def _look_at_last(self, segment: Segment, size: int) -> FoundSegment:
        base = segment.base_offset
        if size == 0:
            self._order = BatchOrder(base, self._order.leader_epoch)
            builder = IndexBuilder(base, interval_bytes=self._interval_bytes)
            return FoundSegment(segment, SegmentScan(base, 0, 0, base), builder)
        is_lost = self._is_clean and base not in self._index_logs
        return self._scan(segment, size, "the index log is missing" if is_lost else "")

    def _scan(self, segment: Segment, size: int, cause: str) -> FoundSegment:
        """Read the segment from where its index log ends, if it has one that can be believed."""
        order = BatchOrder(segment.base_offset, self._order.leader_epoch)
        logged = self._logged(segment, size)
        fd = self._filesystem.open(segment.path)
        try:
            scanned = self._scan_behind(fd, segment, order, logged)
            if logged is not None and _found_nothing_behind(logged, scanned.scan):
                logged = None  # what if the index log is wrong, and not what follows?
                scanned = self._scan_behind(fd, segment, order, None)
        finally:
            self._filesystem.close(fd)
        scan = scanned.scan
        segment.size, segment.next_offset = scan.valid_size, scan.next_offset
        segment.max_timestamp_ms = scanned.builder.max_timestamp_ms
        if cause:
            self._events(
                IndexRebuilt(
                    topic=self._files.name.topic,
                    partition=self._files.name.partition,
                    base_offset=segment.base_offset,
                    cause=cause,
                )
            )
        return FoundSegment(segment, scan, scanned.builder, scanned.verified_size, logged)

    def _logged(self, segment: Segment, size: int) -> LoggedIndex | None:
        """What the segment's index log says of what is below the recovery point."""
        point = self._marks.recovery_point
        if point is None or segment.base_offset not in self._index_logs:
            return None
        path = segment.path.with_suffix(INDEX_LOG_SUFFIX)
        return decode_index_log(
            self._filesystem.read_file(path),
            base_offset=segment.base_offset,
            offset_max=point,
            size_max=size,
        )

    def _scan_behind(
        self, fd: int, segment: Segment, order: BatchOrder, logged: LoggedIndex | None
    ) -> ScannedSegment:
        """Scan what is behind the logged part; all of it where nothing is logged."""
        start = 0
        builder = IndexBuilder(segment.base_offset, interval_bytes=self._interval_bytes)
        self._order = BatchOrder(order.next_offset, order.leader_epoch)
        if logged is not None:
            start = logged.head.log_size
            segment.created_ms = logged.head.created_ms
            self._order = BatchOrder(logged.head.next_offset, logged.leader_epoch)
            builder = IndexBuilder.resume(
                segment.base_offset,
                interval_bytes=self._interval_bytes,
                offset_index=logged.offset_index,
                time_index=logged.time_index,
                max_timestamp_ms=logged.head.max_timestamp_ms,
                log_size=start,
            )
        if not self._is_clean:  # a flush that failed leaves bytes here that no disk has
            self._filesystem.drop_cache(fd, start)
        return self._scan_file(fd, builder, start=start)

    def _scan_file(
        self,
        fd: int,
        builder: IndexBuilder,
        *,
        start: int = 0,
        on_batch: Callable[[BatchHead], None] | None = None,
    ) -> ScannedSegment:
        point = self._marks.recovery_point
        return scan_segment(
            self._filesystem,
            fd,
            builder=builder,
            order=self._order,
            verify_from=0 if point is None else _OFFSET_BEYOND if self._is_clean else point,
            start=start,
            on_batch=on_batch,
        )

    def resume(self, found: FoundSegment) -> FoundSegment:
        """The segment grows on: its indexes are needed in memory, from file if they hold.

        A scan instead may meet a defect in what the index files had vouched for.
        """
        segment = found.segment
        try:
            offset_index, time_index = segment.load_indexes()
        except DamagedIndexError as error:
            return self._scan(segment, found.scan.size, str(error))
        builder = IndexBuilder.resume(
            segment.base_offset,
            interval_bytes=self._interval_bytes,
            offset_index=offset_index,
            time_index=time_index,
            max_timestamp_ms=segment.max_timestamp_ms,
            log_size=segment.size,
        )
        return FoundSegment(segment, found.scan, builder)

    def epochs_of(self, segments: list[Segment]) -> LeaderEpochs:
        """The leader epochs that the batches were written under."""
        epochs = LeaderEpochs()

        def note(head: BatchHead) -> None:
            epochs.begin(head.header.leader_epoch, head.header.base_offset)

        self._order = BatchOrder(segments[0].base_offset)
        for segment in segments:
            fd = self._filesystem.open(segment.path)
            try:
                builder = IndexBuilder(segment.base_offset, interval_bytes=self._interval_bytes)
                self._scan_file(fd, builder, on_batch=note)
            finally:
                self._filesystem.close(fd)
        return epochs


def _found_nothing_behind(logged: LoggedIndex, scan: SegmentScan) -> bool:
    return scan.defect is not None and scan.valid_size == logged.head.log_size
