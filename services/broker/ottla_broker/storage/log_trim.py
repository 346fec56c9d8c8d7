"""Makes a log shorter: at its beginning for good, at its end to agree with a leader.

    beginning   checkpoint ─► log start moves ─► answer            whole segments go later
    end         what stays is copied ─► checkpoint ─► state ─► files are exchanged

The order matters for a crash in between: a log that is longer than its checkpoint says is verified
and kept, one that is shorter is taken for damaged. And for a full disk: what needs room comes
before anything has changed, so that it can be tried again.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from ottla.protocol.errors import StorageFull, StorageOffline
from ottla_broker.core.leader_epochs import LeaderEpochs
from ottla_broker.core.log_events import LogTruncatedTo, SegmentsDeleted
from ottla_broker.core.recovery import BatchOrder
from ottla_broker.core.retention import RetentionPlan, plan_retention
from ottla_broker.core.roll import RollReason
from ottla_broker.core.sparse_index import IndexBuilder
from ottla_broker.storage.filesystem import TEMPORARY_SUFFIX, copy_to_new, is_full
from ottla_broker.storage.segment import Segment
from ottla_broker.storage.segment_file import SegmentFile
from ottla_broker.storage.segment_scan import ScannedSegment, scan_segment

if TYPE_CHECKING:
    from ottla_broker.storage.partition_log import PartitionLog

_OFFSET_BEYOND = 2**63


class LogTrim:
    """Belongs to one `PartitionLog`, on its loop; one call at a time."""

    def __init__(self, log: PartitionLog) -> None:
        self._log = log
        self._starts: list[int] = []
        self._ends: list[int] = []

    @property
    def is_under_way(self) -> bool:
        """Whether a checkpoint is to say something else than the log's state."""
        return bool(self._starts or self._ends)

    @property
    def end_to_keep(self) -> int:
        """Where a checkpoint is to say the log ends at most: it is about to be cut there."""
        return min(self._ends, default=_OFFSET_BEYOND)

    @property
    def start_to_keep(self) -> int:
        """What a checkpoint is to say the log's start is: readers see it once that is durable."""
        return max(self._log.state.log_start, *self._starts, 0)

    async def delete_records(self, offset: int) -> int:
        """Move the log's start up to `offset`; returns it once it is durable.

        Raises OffsetOutOfRange above the high watermark, StorageOffline.
        """
        log = self._log
        log.check_online()
        log.state.check_log_start(offset)
        if offset > log.state.flushed_end:  # or a crash would give its offsets out again
            await log.flush()
        if offset > log.state.log_start:
            await self._keep_start(offset)
        return log.state.log_start

    async def _keep_start(self, offset: int) -> None:
        """Move the log's start once that is durable; refused or cancelled, nothing has happened."""
        log = self._log
        self._starts.append(offset)
        try:
            await log.surroundings.home.checkpoint()
            log.check_online()
            log.state.advance_log_start(offset)
        finally:
            self._starts.remove(offset)

    async def apply_retention(self) -> None:
        """Remove the oldest segments that age, size or a moved start allow to go.

        A segment still to be flushed waits for the next time. Without room for a checkpoint the
        files alone say where the log begins: they go one after the other, each durably.
        Raises StorageOffline, StorageFull.
        """
        log = self._log
        log.check_online()
        plan = self._plan()
        if plan.segment_count == 0:
            return
        if plan.rolls_active:
            log.roll(RollReason.RETENTION, now_ms=log.surroundings.clock.wall_ms())
            await log.flush()
            plan = self._plan()
        flushed = list(
            takewhile(lambda one: one.next_offset <= log.state.flushed_end, log.segments)
        )
        count = min(plan.segment_count, len(flushed), len(log.segments) - 1)
        if count == 0:
            return
        start = flushed[count - 1].next_offset
        if start > log.state.log_start:
            with suppress(StorageFull):
                await self._keep_start(start)
        log.check_online()
        log.state.advance_log_start(start)
        log.epochs.truncate_start(log.state.log_start)
        gone = log.segments.drop_oldest(self._given_up_count(start))
        if not gone:
            return
        await self._remove(gone)
        self._tell_deleted(gone, plan)

    async def truncate(self, offset: int, *, below_high_watermark: bool = False) -> None:
        """End the log at `offset`, or at the beginning of the batch that holds it.

        Nothing may be appended meanwhile. Readers of the old end keep the old file. What is refused
        has changed nothing; cancelled or failed at the very end, the log is offline.

        Raises StorageOffline, StorageFull.
        """
        log = self._log
        await log.flush()
        if offset >= log.state.log_end:
            return
        old = log.segments.holding(offset)
        file = old.hold()
        try:
            kept = await log.blocking(lambda: self._scan_kept(file, old.base_offset, offset))
            if (defect := kept.scan.defect) is not None:
                raise await log.report_corruption(
                    old, position=defect.position, message=defect.message
                )
            end = kept.scan.next_offset
            log.state.check_truncation(end, below_high_watermark=below_high_watermark)
            fd = await log.blocking(lambda: self._copy_kept(file, old, kept))
        finally:
            file.release()
        try:
            await self._keep_end(end)
        except BaseException:
            log.surroundings.filesystem.close(fd)
            raise
        log.state.truncate(end, below_high_watermark=below_high_watermark)
        await self._exchange(old, kept, fd)
        log.surroundings.events(
            LogTruncatedTo(
                topic=log.name.topic, partition=log.name.partition, log_end=log.state.log_end
            )
        )

    async def _keep_end(self, offset: int) -> None:
        """The checkpoint says that the log ends there; refused or cancelled, nothing is done."""
        log = self._log
        self._ends.append(offset)
        try:
            await log.surroundings.home.checkpoint()
            log.check_online()
        finally:
            self._ends.remove(offset)

    def _plan(self) -> RetentionPlan:
        log = self._log
        return plan_retention(
            [segment.facts for segment in log.segments],
            log.config,
            log_start=log.state.log_start,
            high_watermark=log.state.high_watermark,
            now_ms=log.surroundings.clock.wall_ms(),
        )

    def _given_up_count(self, start: int) -> int:
        """Segments below `start` that are still there; others may have been removed meanwhile."""
        return sum(one.next_offset <= start for one in tuple(self._log.segments)[:-1])

    async def _remove(self, segments: list[Segment]) -> None:
        log = self._log

        def remove() -> None:
            for segment in segments:
                segment.remove()
                log.surroundings.filesystem.sync_directory(log.files.directory)

        log.forget(segments)
        log.flushing.forget(segments)
        await log.blocking(remove)

    def _tell_deleted(self, gone: list[Segment], plan: RetentionPlan) -> None:
        log = self._log
        reasons = dict.fromkeys(reason.value for reason in plan.reasons[: len(gone)])
        log.surroundings.events(
            SegmentsDeleted(
                topic=log.name.topic,
                partition=log.name.partition,
                count=len(gone),
                size=sum(segment.size for segment in gone),
                log_start=log.state.log_start,
                reason=", ".join(reasons),
            )
        )

    def _scan_kept(self, file: SegmentFile, base_offset: int, offset: int) -> ScannedSegment:
        interval_bytes = self._log.config.index_interval_bytes
        return scan_segment(
            self._log.surroundings.filesystem,
            file.fileno(),
            builder=IndexBuilder(base_offset, interval_bytes=interval_bytes),
            order=BatchOrder(base_offset),
            verify_from=_OFFSET_BEYOND,
            stop_at=offset,
        )

    def _copy_kept(self, file: SegmentFile, old: Segment, kept: ScannedSegment) -> int:
        """What stays, in a file of its own beside the old one; blocking. Returns its descriptor."""
        filesystem, temporary = self._log.surroundings.filesystem, _temporary(old)
        if filesystem.exists(temporary):
            filesystem.unlink(temporary)
        return copy_to_new(
            filesystem, file.fileno(), temporary, position=0, size=kept.scan.valid_size
        )

    async def _exchange(self, old: Segment, kept: ScannedSegment, fd: int) -> None:
        """What stays takes the old segment's name; the rest is unlinked. No room is needed."""
        log = self._log
        log.epochs = LeaderEpochs(log.epochs.entries)
        log.epochs.truncate_end(log.state.log_end)
        later = [one for one in log.segments if one.base_offset > old.base_offset]
        new = log.files.segment(old.base_offset, created_ms=old.created_ms)
        new.size, new.next_offset = kept.scan.valid_size, kept.scan.next_offset
        new.grow(fd, kept.builder)
        log.flushing.forget([old, *later])
        is_done = False
        try:
            is_filed = await log.blocking(lambda: self._rename_kept(new, later))
            is_done = True
        finally:
            if not is_done:  # state and files are not of one mind: nobody may append
                new.close()
                message = f"{log.name}: a truncation did not come to its end"
                log.fail(StorageOffline(message, metadata=log.name.details))
        if is_filed:
            log.epoch_keeping.filed(log.epochs)
        log.forget(log.segments.replace_from(old.base_offset, new))
        with suppress(StorageFull):
            await log.surroundings.home.keep_epochs()

    def _rename_kept(self, new: Segment, later: list[Segment]) -> bool:
        """Blocking; returns whether the log's own file of epochs has room and is right again."""
        log, filesystem = self._log, self._log.surroundings.filesystem
        for segment in reversed(later):
            segment.remove()
        new.remove_indexes()
        filesystem.rename(_temporary(new), new.path)
        filesystem.sync_directory(log.files.directory)
        try:
            log.files.write_epochs(log.epochs)
        except OSError as error:
            if not is_full(error):
                raise
            return False  # epochs behind the log's end are passed over when they are read
        return True


def _temporary(segment: Segment) -> Path:
    return segment.path.with_name(segment.path.name + TEMPORARY_SUFFIX)
