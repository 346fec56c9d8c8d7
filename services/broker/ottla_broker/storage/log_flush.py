"""What of one log is not durable yet, and who waits until it is.

    begin (loop) ──► LogFlushJob.run (thread) ──► finish (loop): the flushed end moves, segments
                                                  that were sealed let go of their files

Owns the bookkeeping between two rounds of the directory's group commit; the rounds themselves are
`group_commit`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ottla.protocol.errors import OttlaError
from ottla_broker.storage.flush_job import LogFlushJob, SealedPart
from ottla_broker.storage.segment import Segment

if TYPE_CHECKING:
    from ottla_broker.storage.partition_log import PartitionLog


class LogFlush:
    """Belongs to one `PartitionLog`, on its loop."""

    def __init__(self, log: PartitionLog, *, names_are_durable: bool) -> None:
        """Without `names_are_durable`, the first flush of anything else flushes the names too."""
        self._log = log
        self._unsettled: list[Segment] = []
        self._inherits_names = not names_are_durable
        self._names_version = 0
        self._names_synced = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def is_needed(self) -> bool:
        """Whether anything is not durable yet."""
        state = self._log.state
        return self._log.failure is None and (
            state.flushed_end < state.log_end
            or bool(self._unsettled)
            or self._names_synced < self._names_version
        )

    def sealed(self, segment: Segment) -> None:
        """A segment was closed and needs its last flush."""
        self._unsettled.append(segment)

    def is_settled(self, segment: Segment) -> bool:
        """Whether no flush is still to come for a segment that is not the active one."""
        return not any(one is segment for one in self._unsettled)

    def forget(self, segments: Sequence[Segment]) -> None:
        """These are no longer part of the log."""
        self._unsettled = [
            one for one in self._unsettled if not any(one is gone for gone in segments)
        ]

    def names_changed(self) -> None:
        """Files came or went: the next flush makes their names durable too."""
        self._names_version += 1

    def begin(self) -> LogFlushJob | None:
        """What a flush has to do now; None if there is nothing."""
        if not self.is_needed:
            self._tell()
            return None
        log = self._log
        is_dirty = log.state.flushed_end < log.state.log_end
        names_are_new = self._inherits_names or self._names_synced < self._names_version
        active = log.segments.active
        return LogFlushJob(
            filesystem=log.surroundings.filesystem,
            directory=log.files.directory,
            generation=log.state.generation,
            next_offset=log.state.log_end,
            sealed=[_sealed_part(segment) for segment in self._unsettled],
            active=active.hold() if is_dirty else None,
            names_version=self._names_version if names_are_new else None,
            piece=active.index_piece(
                leader_epoch=log.epochs.latest or 0,
                now_ms=log.surroundings.clock.monotonic_ms(),
            ),
        )

    def finish(self, job: LogFlushJob) -> bool:
        """The job succeeded; True if the flushed end moved. Means nothing after a truncation."""
        if self._log.failure is not None:
            return False
        if job.generation != self._log.state.generation:
            self._tell()
            if self._waiting:
                self._log.surroundings.home.request_flush(self._log)
            return False
        for part in job.settled:
            if not self.is_settled(part.segment):
                self._unsettled.remove(part.segment)
            part.segment.settle()
        if job.names_version is not None:
            self._names_synced = job.names_version
            self._inherits_names = False
        if job.piece is not None:
            job.piece.finish()
        moved = self._log.state.flushed(generation=job.generation, next_offset=job.next_offset)
        self._tell()
        return moved

    async def wait(self) -> None:
        """Returns once everything written so far is durable. Raises what `fail` was given."""
        if self.is_needed:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((self._log.state.log_end, future))
            self._log.surroundings.home.request_flush(self._log)
            await future

    def fail(self, error: OttlaError) -> None:
        """Nothing will be durable any more."""
        waiting, self._waiting = self._waiting, []
        for _, future in waiting:
            if not future.done():
                future.set_exception(type(error)(error.message, metadata=error.metadata))

    def _tell(self) -> None:
        state = self._log.state
        waiting, self._waiting = self._waiting, []
        for target, future in waiting:
            if min(target, state.log_end) > state.flushed_end:
                self._waiting.append((target, future))
            elif not future.done():
                future.set_result(None)


def _sealed_part(segment: Segment) -> SealedPart:
    indexes = segment.indexes
    assert indexes is not None
    return SealedPart(segment, segment.hold(), segment.head, indexes)
