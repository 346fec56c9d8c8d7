"""Writes appends to a log's active segment, whole or not at all.

Owns what becomes of an append that fails in the middle; offsets and rolling are the log's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ottla.protocol.batch import Batch
from ottla.protocol.errors import OutcomeUnknown, StorageOffline
from ottla_broker.storage.filesystem import Bytes, write_whole
from ottla_broker.storage.segment import Segment

if TYPE_CHECKING:
    from ottla_broker.storage.partition_log import PartitionLog


class LogWriting:
    """Belongs to one `PartitionLog`, on its loop."""

    def __init__(self, log: PartitionLog) -> None:
        self._log = log

    def write(self, segment: Segment, buffers: Sequence[Bytes]) -> None:
        filesystem = self._log.surroundings.filesystem
        file = segment.hold()
        try:
            write_whole(filesystem, file.fileno(), buffers, segment.size)
        except OSError as error:
            is_partly_written = filesystem.size(file.fileno()) > segment.size
            failure = self._log.write_error(error)
            if self._log.failure is None:
                self._cut_back(file.fileno(), segment.size)
            elif is_partly_written:
                failure = OutcomeUnknown(
                    f"{self._log.name}: partly written: {error}", metadata=self._log.name.details
                )
            raise failure from error
        finally:
            file.release()

    @contextmanager
    def failing_unless_done(self, segment: Segment) -> Iterator[None]:
        """What is written must also be known: if it can't be, the log ends before it, offline."""
        size, is_done = segment.size, False
        try:
            yield
            is_done = True
        finally:
            if not is_done:
                file = segment.hold()
                self._cut_back(file.fileno(), size)
                file.release()
                message = f"{self._log.name}: an append could not be taken note of"
                self._log.fail(StorageOffline(message, metadata=self._log.name.details))

    def _cut_back(self, fd: int, size: int) -> None:
        """Nobody has seen the bytes behind `size`: a partial batch must not stay there."""
        try:
            self._log.surroundings.filesystem.truncate(fd, size)
        except OSError as error:
            self._log.disk_error(error)

    def index(self, segment: Segment, batches: Sequence[Batch], *, append_time_ms: int) -> None:
        offset = self._log.state.log_end
        for batch in batches:
            segment.index(
                base_offset=offset,
                position=segment.size,
                size=batch.frame_size,
                max_timestamp_ms=append_time_ms or batch.header.max_timestamp_ms,
            )
            segment.size += batch.frame_size
            offset += batch.header.last_offset_delta + 1
        segment.next_offset = offset
