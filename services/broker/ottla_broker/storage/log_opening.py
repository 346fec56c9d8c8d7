"""Opens the log of one replica, and recovers it if its process stopped without a word.

    leftovers removed ─► segments listed ─► each believed or scanned ─► verdict
                                                                     ├ sound: opened
                                                                     ├ torn tail: cut, flushed
                                                                     └ corrupt: left alone

Blocking, off the loop. What damage means is `core.recovery`'s to say; nothing is changed before
the verdict.
"""

from __future__ import annotations

from ottla_broker.core.log_events import (
    EventSink,
    LogCorrupted,
    LogRecovered,
    TailCut,
)
from ottla_broker.core.log_state import LogState
from ottla_broker.core.recovery import (
    Corrupt,
    CutTail,
    judge,
)
from ottla_broker.storage.checkpoints import Marks
from ottla_broker.storage.epochs_opening import EpochsOpening
from ottla_broker.storage.filesystem import TEMPORARY_SUFFIX, Filesystem, copy_to_new, is_full
from ottla_broker.storage.kept_epochs import KeptEpochs
from ottla_broker.storage.log_survey import FoundSegment, LogSurvey
from ottla_broker.storage.partition_log import LogContent
from ottla_broker.storage.replica_files import ReplicaFiles
from ottla_broker.storage.segment import Segment
from ottla_broker.storage.segments import Segments

_OFFSET_BEYOND = 2**63


class LogOpening:
    """Opens one log, once."""

    def __init__(
        self,
        files: ReplicaFiles,
        *,
        marks: Marks,
        epochs: KeptEpochs | None,
        is_clean: bool,
        interval_bytes: int,
        now_ms: int,
        events: EventSink,
    ) -> None:
        self._files = files
        self._filesystem: Filesystem = files.filesystem
        self._marks = marks
        self._epochs = EpochsOpening(files, kept=epochs, events=events)
        self._is_clean = is_clean
        self._interval_bytes = interval_bytes
        self._now_ms = now_ms
        self._events = events
        self._survey = LogSurvey(
            files,
            marks=marks,
            is_clean=is_clean,
            interval_bytes=interval_bytes,
            now_ms=now_ms,
            events=events,
        )

    def open(self) -> LogContent | LogCorrupted:
        """The log as it can be used, or what is wrong with it.

        Raises OSError, and UnsupportedVersion where a newer release wrote a file.
        """
        known = self._files.read_corruption()
        if known is not None:
            return known
        found = self._survey.find()
        if not found:
            return self._open_empty()
        point = self._marks.recovery_point
        judged_point = found[-1].segment.base_offset if point is None else point
        verdict = judge([one.scan for one in found], recovery_point=judged_point)
        match verdict:
            case Corrupt(base_offset, position, message):
                return self._corruption(base_offset, position, message)
            case CutTail():
                kept_in = ""
                if point is None:
                    try:
                        kept_in = self._keep_aside(verdict)
                    except OSError as error:
                        if not is_full(error):
                            raise
                        return self._corruption(
                            verdict.base_offset, verdict.size, f"{verdict.message}; {error}"
                        )
                found = self._cut(found, verdict, kept_in=kept_in)
        return self._open_found(found)

    # -- opening -----------------------------------------------------------------------------

    def _open_empty(self) -> LogContent | LogCorrupted:
        marks = self._marks
        if (marks.recovery_point or 0) > marks.log_start:
            message = f"no segment is there, but offset {marks.recovery_point} was durable"
            return self._corruption(marks.log_start, 0, message)
        segment = self._files.create_segment(
            marks.log_start, now_ms=self._now_ms, interval_bytes=self._interval_bytes
        )
        self._filesystem.sync_directory(self._files.directory)
        return self._content([segment], log_end=marks.log_start, names_are_durable=True)

    def _open_found(self, found: list[FoundSegment]) -> LogContent | LogCorrupted:
        if found[-1].builder is None:
            found = [*found[:-1], self._survey.resume(found[-1])]
            if (defect := found[-1].scan.defect) is not None:
                base_offset = found[-1].segment.base_offset
                return self._corruption(base_offset, defect.position, defect.message)
        for one in found[:-1]:
            self._keep_indexes(one)
        active, builder = found[-1].segment, found[-1].builder
        assert builder is not None
        fd = self._filesystem.open(active.path, write=True)
        active.grow(fd, builder, logged=found[-1].logged)
        try:
            names_are_durable = self._make_durable(found, fd)
            content = self._content(
                [one.segment for one in found],
                log_end=active.next_offset,
                names_are_durable=names_are_durable,
            )
        except BaseException:
            active.close()
            raise
        if not self._is_clean:
            self._tell_recovered(content, sum(one.verified_size for one in found))
        return content

    def _tell_recovered(self, content: LogContent, verified_size: int) -> None:
        self._events(
            LogRecovered(
                topic=self._files.name.topic,
                partition=self._files.name.partition,
                log_start=content.state.log_start,
                log_end=content.state.log_end,
                verified_size=verified_size,
            )
        )

    def _keep_indexes(self, found: FoundSegment) -> None:
        if found.builder is not None:
            indexes = found.builder.offset_index, found.builder.time_index
            try:
                found.segment.write_indexes(found.segment.head, indexes)
            except OSError as error:
                if not is_full(error):
                    raise
                found.segment.use_indexes(indexes)

    def _make_durable(self, found: list[FoundSegment], active_fd: int) -> bool:
        """What was written but perhaps never flushed is served from here on: flush it first.

        Returns whether the names of all files are durable. Those of an active segment that is
        empty need not be before something is flushed to it.
        """
        point = self._marks.recovery_point
        names_are_durable = point is not None and point > found[-1].segment.base_offset
        if self._is_clean:
            return names_are_durable
        for one in found[:-1]:
            if one.segment.next_offset > (point or 0):
                fd = self._filesystem.open(one.segment.path, write=True)
                try:
                    self._filesystem.datasync(fd)
                finally:
                    self._filesystem.close(fd)
        if point is not None and found[-1].segment.next_offset <= point:
            return names_are_durable
        self._filesystem.datasync(active_fd)
        if not names_are_durable:
            self._filesystem.sync_directory(self._files.directory)
        return True

    def _content(
        self, segments: list[Segment], *, log_end: int, names_are_durable: bool
    ) -> LogContent:
        marks = self._marks
        log_start = min(max(marks.log_start, segments[0].base_offset), log_end)
        high_watermark = min(max(marks.high_watermark, log_start), log_end)
        epochs, filed_epoch = self._epochs.read(
            lambda: self._survey.epochs_of(segments),
            log_end=log_end,
            is_empty=log_end == segments[0].base_offset,
        )
        epochs.truncate_end(log_end + 1)  # one that has begun and written nothing stays
        epochs.truncate_start(log_start)
        return LogContent(
            name=self._files.name,
            files=self._files,
            segments=Segments(segments),
            state=LogState(
                log_start=log_start,
                high_watermark=high_watermark,
                flushed_end=log_end,
                log_end=log_end,
            ),
            epochs=epochs,
            filed_epoch=filed_epoch,
            names_are_durable=names_are_durable,
        )

    # -- damage ------------------------------------------------------------------------------

    def _keep_aside(self, verdict: CutTail) -> str:
        """Copies what is to be cut of the last segment: without marks it may be acknowledged."""
        segment = self._files.segment(verdict.base_offset, created_ms=self._now_ms)
        target = segment.path.with_suffix(f".cut-{verdict.size}-{self._now_ms}")
        temporary = target.with_name(target.name + TEMPORARY_SUFFIX)
        source = self._filesystem.open(segment.path)
        try:
            size = self._filesystem.size(source) - verdict.size
            fd = copy_to_new(self._filesystem, source, temporary, position=verdict.size, size=size)
        finally:
            self._filesystem.close(source)
        self._filesystem.close(fd)
        self._filesystem.rename(temporary, target)
        self._filesystem.sync_directory(self._files.directory)
        return target.name

    def _cut(
        self, found: list[FoundSegment], verdict: CutTail, *, kept_in: str
    ) -> list[FoundSegment]:
        kept = [one for one in found if one.segment.base_offset <= verdict.base_offset]
        for one in found[: len(kept) - 1 : -1]:
            if kept_in:
                path = one.segment.path
                self._filesystem.rename(path, path.with_suffix(f".cut-0-{self._now_ms}"))
            one.segment.remove()
        last = kept[-1]
        last.segment.remove_indexes()
        last.logged = None
        fd = self._filesystem.open(last.segment.path, write=True)
        try:
            self._filesystem.truncate(fd, verdict.size)
            self._filesystem.datasync(fd)
        finally:
            self._filesystem.close(fd)
        self._filesystem.sync_directory(self._files.directory)
        self._events(
            TailCut(
                topic=self._files.name.topic,
                partition=self._files.name.partition,
                log_end=verdict.log_end,
                lost_size=verdict.lost_size,
                cause=verdict.message,
                kept_in=kept_in,
            )
        )
        return kept

    def _corruption(self, base_offset: int, position: int, message: str) -> LogCorrupted:
        """Remembers the damage for the next start, as far as there is room to."""
        event = LogCorrupted(
            topic=self._files.name.topic,
            partition=self._files.name.partition,
            base_offset=base_offset,
            position=position,
            cause=message,
        )
        try:
            self._files.write_corruption(event)
        except OSError as error:
            if not is_full(error):
                raise
        return event
