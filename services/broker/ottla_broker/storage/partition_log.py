"""The log of one replica: appended to, flushed, read, trimmed.

    append ─► segment file (page cache) ─► request_flush ─► begin_flush ─► [thread] ─► finish_flush
                                                                             flushed end moves ◄─┘

Owns the replica's segments, its `LogState`, its leader epochs, and what becomes of them when a
write fails. Flushing is `log_flush`, reading `log_reader`, trimming `log_trim`, opening
`log_opening`, making epochs durable `log_epochs`. One owner calls it, on the event loop; appends
never wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from ottla.protocol.batch import Batch, stamp
from ottla.protocol.errors import (
    CorruptLog,
    OttlaError,
    StorageFull,
    StorageOffline,
)
from ottla.protocol.ids import DirectoryId
from ottla_broker.core.append_checks import check_extent
from ottla_broker.core.leader_epochs import LeaderEpochs
from ottla_broker.core.log_config import LogConfig, TimestampType
from ottla_broker.core.log_events import AppendRefusedFull, EventSink, LogCorrupted, SegmentRolled
from ottla_broker.core.log_state import LogState
from ottla_broker.core.replica_name import ReplicaName
from ottla_broker.core.roll import RollReason, roll_reason
from ottla_broker.storage.beside import beside
from ottla_broker.storage.checkpoints import NEW_LOG, Marks
from ottla_broker.storage.counted_offload import CountedOffload
from ottla_broker.storage.filesystem import (
    Bytes,
    Filesystem,
    is_exhausted,
    is_full,
)
from ottla_broker.storage.flush_job import LogFlushJob
from ottla_broker.storage.log_epochs import LogEpochs
from ottla_broker.storage.log_flush import LogFlush
from ottla_broker.storage.log_reader import LogReader
from ottla_broker.storage.log_trim import LogTrim
from ottla_broker.storage.log_writing import LogWriting
from ottla_broker.storage.ports import Clock, LogHome, Offload
from ottla_broker.storage.replica_files import ReplicaFiles
from ottla_broker.storage.segment import Segment
from ottla_broker.storage.segments import Segments

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSurroundings:
    """What a log is given besides its own files."""

    filesystem: Filesystem
    clock: Clock
    offload: Offload
    events: EventSink
    home: LogHome


@dataclass(frozen=True, slots=True, kw_only=True)
class LogContent:
    """What a log is made of, as it was opened."""

    name: ReplicaName
    files: ReplicaFiles
    segments: Segments
    state: LogState
    epochs: LeaderEpochs
    filed_epoch: int | None = None
    """The latest epoch in the log's own file; None: there is no such file."""
    names_are_durable: bool = True
    """Whether the names of all its files are known to be; else the first flush sees to it."""
    failure: CorruptLog | None = None
    """Why it cannot be used; segments and state are then no more than place holders."""


@dataclass(frozen=True, slots=True)
class Appended:
    """Offsets that an append was given; `append_time_ms` is 0 where the records' times hold."""

    base_offset: int
    next_offset: int
    append_time_ms: int


class PartitionLog:
    """One log, owned by its `Partition`; its log directory flushes, checkpoints and fails it.

    `reader` reads it and `trim` makes it shorter. `on_progress` is called when the log's end or
    flushed end moved, `on_failure` once when the log goes offline.
    """

    def __init__(
        self, content: LogContent, *, config: LogConfig, surroundings: LogSurroundings
    ) -> None:
        self.name = content.name
        self.files = content.files
        self.state = content.state
        self.segments = content.segments
        self.epochs = content.epochs
        self.config = config
        self.surroundings = surroundings
        self.on_progress: Callable[[], None] = _nothing
        self.on_failure: Callable[[OttlaError], None] = _ignore
        self.failure: OttlaError | None = content.failure
        self.work = CountedOffload(surroundings.offload)
        self.flushing = LogFlush(self, names_are_durable=content.names_are_durable)
        self.epoch_keeping = LogEpochs(self, filed_up_to=content.filed_epoch)
        self.reader = LogReader(self)
        self.trim = LogTrim(self)
        self._writing = LogWriting(self)
        self._is_full = False
        self._marks = NEW_LOG

    @property
    def directory_id(self) -> DirectoryId:
        """The log directory it is in."""
        return self.surroundings.home.directory_id

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return self.segments.size

    @property
    def marks(self) -> Marks:
        """What the next checkpoint is to say of the log; the same object while nothing changed."""
        state, known = self.state, self._marks
        if self.trim.is_under_way:
            end = self.trim.end_to_keep
            return Marks(
                min(state.flushed_end, end), min(state.high_watermark, end), self.trim.start_to_keep
            )
        if (
            known.recovery_point != state.flushed_end
            or known.high_watermark != state.high_watermark
            or known.log_start != state.log_start
        ):
            self._marks = Marks(state.flushed_end, state.high_watermark, state.log_start)
        return self._marks

    def check_online(self) -> None:
        """Returns while the log can be used. Raises why it cannot."""
        if self.failure is not None:
            raise type(self.failure)(self.failure.message, metadata=self.name.details)

    def append(self, batches: Sequence[Batch], *, leader_epoch: int, now_ms: int) -> Appended:
        """Give batches their offsets and write them, all or none.

        Raises:
            StorageFull: no room; nothing was appended, reads go on.
            StorageOffline: the directory failed, now or before; nothing was appended.
            RecordTooLarge: more than a segment can hold; nothing was appended.
            OutcomeUnknown: the directory failed with a part of the append written.
        """
        self.check_online()
        assert batches
        assert leader_epoch == self.epochs.latest, (leader_epoch, self.epochs.latest)
        base_offset = self.state.log_end
        next_offset = base_offset + sum(one.header.last_offset_delta + 1 for one in batches)
        append_size = sum(batch.frame_size for batch in batches)
        check_extent(record_count=next_offset - base_offset, size=append_size)
        segment = self._segment_for(append_size, last_offset=next_offset - 1, now_ms=now_ms)
        stamps_time = self.config.message_timestamp_type is TimestampType.LOG_APPEND_TIME
        append_time_ms = now_ms if stamps_time else 0
        buffers = _stamped(
            batches,
            base_offset=base_offset,
            leader_epoch=leader_epoch,
            append_time_ms=append_time_ms,
        )
        self._writing.write(segment, buffers)
        with self._writing.failing_unless_done(segment):
            self._writing.index(segment, batches, append_time_ms=append_time_ms)
            self.state.appended(next_offset)
        self._is_full = False
        if self.config.flush_on_ack:
            self.surroundings.home.request_flush(self)
        self.on_progress()
        return Appended(base_offset, next_offset, append_time_ms)

    async def begin_epoch(self, epoch: int) -> None:
        """Appends belong to `epoch` from here on; durable when this returns.

        Raises StorageFull, StorageOffline; then the log's epochs are as they were.
        """
        await self.epoch_keeping.begin(epoch)

    def roll(self, reason: RollReason, *, now_ms: int) -> None:
        """Close the active segment and go on in a new one. Raises StorageFull, StorageOffline."""
        old = self.segments.active
        try:
            new = self.files.create_segment(
                self.state.log_end,
                now_ms=now_ms,
                interval_bytes=self.config.index_interval_bytes,
            )
        except OSError as error:
            raise self.write_error(error) from error
        self.segments.append(new)
        self.flushing.sealed(old)
        self.flushing.names_changed()
        self.surroundings.events(
            SegmentRolled(
                topic=self.name.topic,
                partition=self.name.partition,
                base_offset=old.base_offset,
                reason=reason,
            )
        )

    def begin_flush(self) -> LogFlushJob | None:
        """What a flush has to do now; None if there is nothing."""
        return self.flushing.begin()

    def finish_flush(self, job: LogFlushJob) -> None:
        """The job's bytes are durable, unless the log has been truncated meanwhile."""
        if self.flushing.finish(job):
            self.on_progress()

    async def flush(self) -> None:
        """Returns once everything written so far is durable. Raises StorageOffline."""
        self.check_online()
        await self.flushing.wait()

    async def blocking(self, work: Callable[[], Result]) -> Result:
        """Run blocking work on this log's files; its disk errors become this log's."""
        self.check_online()
        try:
            return await beside(self.work, work)
        except OSError as error:
            raise self.write_error(error) from error

    def write_error(self, error: OSError) -> OttlaError:
        """What a failed write means; anything but a full disk takes the directory offline."""
        if not is_full(error):
            return self.disk_error(error)
        if not self._is_full:
            self._is_full = True
            self.surroundings.events(
                AppendRefusedFull(
                    topic=self.name.topic, partition=self.name.partition, cause=str(error)
                )
            )
        return StorageFull(f"{self.name}: {error}", metadata=self.name.details)

    def disk_error(self, error: OSError) -> OttlaError:
        """The disk failed: the directory goes offline.

        Unless the log is offline already (its files may have been deleted meanwhile), or only
        descriptors or memory were lacking: then this call alone fails.
        """
        if self.failure is None and not is_exhausted(error):
            self.surroundings.home.fail(error)
        return StorageOffline(f"{self.name}: {error}", metadata=self.name.details)

    async def report_corruption(
        self, segment: Segment, *, position: int, message: str
    ) -> OttlaError:
        """Durable bytes are damaged: go offline, leave the files, remember it across restarts.

        Returns the error for whoever met the damage.
        """
        event = LogCorrupted(
            topic=self.name.topic,
            partition=self.name.partition,
            base_offset=segment.base_offset,
            position=position,
            cause=message,
        )
        error = self.files.corrupt_log(event)
        if self.failure is not None:
            return self.failure  # its files may be another log's by now
        self.surroundings.events(event)
        self.fail(error)
        with suppress(OSError):  # without the report the next start finds the damage again
            await beside(self.work, lambda: self.files.write_corruption(event))
        return error

    def forget(self, segments: Sequence[Segment]) -> None:
        """These are no longer part of the log; who reads them keeps their files."""
        self.reader.forget(segments)
        for segment in segments:
            segment.close()

    def fail(self, error: OttlaError) -> None:
        """Go offline, for the first reason given."""
        if self.failure is None:
            self.failure = error
            self.flushing.fail(error)
            self.close_files()
            self.on_failure(error)

    async def close(self) -> None:
        """Flush, keep the active segment's indexes, let go of the files. No append may follow."""
        await self.flush()
        piece = self.segments.active.index_piece(
            leader_epoch=self.epochs.latest or 0,
            now_ms=self.surroundings.clock.monotonic_ms(),
            is_last=True,
        )
        if piece is not None:
            filesystem = self.surroundings.filesystem
            await self.blocking(lambda: piece.write(filesystem))
        self.fail(StorageOffline(f"{self.name} is closed", metadata=self.name.details))

    def _segment_for(self, append_size: int, *, last_offset: int, now_ms: int) -> Segment:
        active = self.segments.active
        reason = roll_reason(
            active.shape,
            self.config,
            append_size=append_size,
            last_offset=last_offset,
            now_ms=now_ms,
        )
        if reason is not None:
            self.roll(reason, now_ms=now_ms)
        elif active.size == 0:
            active.created_ms = now_ms
        return self.segments.active

    def close_files(self) -> None:
        """Let go of the files; who reads them keeps them."""
        self.reader.release()
        for segment in self.segments:
            segment.close()


def _stamped(
    batches: Sequence[Batch], *, base_offset: int, leader_epoch: int, append_time_ms: int
) -> list[Bytes]:
    """Heads with the leader's fields, each followed by its payload as it was received."""
    buffers: list[Bytes] = []
    for batch in batches:
        head = bytearray(batch.frame[: batch.frame_size - len(batch.payload)])
        stamp(
            head, base_offset=base_offset, leader_epoch=leader_epoch, append_time_ms=append_time_ms
        )
        buffers += (head, batch.payload)
        base_offset += batch.header.last_offset_delta + 1
    return buffers


def _nothing() -> None:
    """Before anybody listens."""


def _ignore(error: OttlaError) -> None:
    """Before anybody listens."""
