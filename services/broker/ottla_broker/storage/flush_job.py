"""One log's part of a round of flushes: what was written, made durable in the right order."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from pathlib import Path

from ottla_broker.core.index_file import IndexHead
from ottla_broker.storage.filesystem import Filesystem, is_full
from ottla_broker.storage.index_log import PendingPiece
from ottla_broker.storage.segment import Indexes, Segment
from ottla_broker.storage.segment_file import SegmentFile


@dataclass(frozen=True, slots=True)
class SealedPart:
    """A segment that was closed since the last flush, as it was when the job was made."""

    segment: Segment
    file: SegmentFile
    head: IndexHead
    indexes: Indexes


@dataclass(slots=True)
class LogFlushJob:
    """Everything below `next_offset`: sealed segments first, then the active one, then names.

    Last comes the `piece` of the active one's index log, which says that all this is durable.

    Made and released on the loop; `run` belongs to another thread and touches only held files and
    arrays that no longer change.
    """

    filesystem: Filesystem
    directory: Path
    generation: int
    next_offset: int
    sealed: list[SealedPart]
    active: SegmentFile | None
    names_version: int | None
    piece: PendingPiece | None = None
    settled: list[SealedPart] = field(default_factory=list)

    def run(self) -> None:
        """Make it durable. Raises OSError; then nothing is known of any of it."""
        for part in self.sealed:
            self._sync(part.file)
            if self._write_indexes(part):
                self.settled.append(part)
        if self.active is not None:
            self._sync(self.active)
        if self.names_version is not None:
            self.filesystem.sync_directory(self.directory)
        if self.piece is not None:
            self.piece.write(self.filesystem)

    def release(self) -> None:
        """Let go of the files."""
        for part in self.sealed:
            part.file.release()
        if self.active is not None:
            self.active.release()

    def _sync(self, file: SegmentFile) -> None:
        """A flush that fails has failed, for whatever reason: pages may be lost."""
        try:
            self.filesystem.datasync(file.fileno())
        except OSError as error:
            raise OSError(errno.EIO, f"the flush failed: {error}") from error

    def _write_indexes(self, part: SealedPart) -> bool:
        """Indexes are no promise to anybody: without room for them they are written later."""
        try:
            part.segment.write_indexes(part.head, part.indexes)
        except OSError as error:
            if is_full(error):
                return False
            raise
        return True
