"""Writes the indexes of a growing segment to its index log, after the bytes they tell of.

    flush begins (loop) ─► piece ─► [thread] segment flushed, then piece written ─► taken (loop)

A piece is never flushed: one that a crash tore is told by its checksum, and costs a longer scan.
Owns how far the log has come; what is in a piece is `core.index_log`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ottla_broker.core.index_file import IndexHead
from ottla_broker.core.index_log import IndexPiece, LoggedIndex, encode_piece
from ottla_broker.core.sparse_index import OffsetIndex, TimeIndex
from ottla_broker.storage.filesystem import Filesystem, is_exhausted, is_full, write_whole

INDEX_LOG_SUFFIX: Final = ".indexlog"
PIECE_SIZE_LEAST: Final = 128 * 1024
"""Bytes of log that are worth a piece: a recovery reads that much in a few milliseconds."""
PIECE_INTERVAL_MS: Final = 5_000
"""No piece is believed beyond the checkpoint, which is not written more often."""


@dataclass(frozen=True, slots=True)
class _Progress:
    """How far an index log has come: bytes of it, entries in it, bytes of the segment."""

    file_size: int = 0
    offset_count: int = 0
    time_count: int = 0
    log_size: int = 0


class IndexLog:
    """The index log of one growing segment, on the loop of whoever appends to that."""

    def __init__(self, path: Path, logged: LoggedIndex | None = None) -> None:
        self._path = path
        self._progress = _Progress()
        self._written_at_ms: int | None = None
        if logged is not None:
            self._progress = _Progress(
                logged.file_size,
                len(logged.offset_index.offsets),
                len(logged.time_index.offsets),
                logged.head.log_size,
            )

    def is_due(self, size: int, *, now_ms: int) -> bool:
        """Whether a segment of that size has grown enough since the last piece, and it is old."""
        if size - self._progress.log_size < PIECE_SIZE_LEAST:
            return False
        return self._written_at_ms is None or now_ms - self._written_at_ms >= PIECE_INTERVAL_MS

    def piece(
        self,
        head: IndexHead,
        indexes: tuple[OffsetIndex, TimeIndex],
        *,
        leader_epoch: int,
        now_ms: int,
    ) -> PendingPiece | None:
        """What the log lacks of a segment as it is now; None if it lacks nothing."""
        before = self._progress
        if head.log_size <= before.log_size:
            return None
        offsets, times = indexes
        piece = IndexPiece(
            head,
            leader_epoch,
            OffsetIndex(
                offsets.offsets[before.offset_count :], offsets.positions[before.offset_count :]
            ),
            TimeIndex(times.timestamps[before.time_count :], times.offsets[before.time_count :]),
        )
        return PendingPiece(self, self._path, before.file_size, piece, now_ms)

    def taken(self, pending: PendingPiece) -> None:
        """The piece is written: the next goes on from it."""
        before, piece = self._progress, pending.piece
        self._written_at_ms = pending.now_ms
        self._progress = _Progress(
            pending.position + pending.size,
            before.offset_count + len(piece.offset_entries.offsets),
            before.time_count + len(piece.time_entries.offsets),
            piece.head.log_size,
        )


@dataclass(slots=True)
class PendingPiece:
    """A piece on its way to the file; `write` belongs to another thread."""

    log: IndexLog
    path: Path
    position: int
    piece: IndexPiece
    now_ms: int
    size: int = 0
    """Bytes of it; 0: not written."""

    def write(self, filesystem: Filesystem) -> None:
        """Write it; for want of room, descriptors or the file it is left out. Raises OSError."""
        data = encode_piece(self.piece)
        try:
            fd = filesystem.open(self.path, write=True, create=not filesystem.exists(self.path))
            try:
                if filesystem.size(fd) > self.position:  # pieces that were not believed
                    filesystem.truncate(fd, self.position)
                write_whole(filesystem, fd, [data], self.position)
            finally:
                filesystem.close(fd)
        except FileNotFoundError:
            return  # the segment has gone meanwhile, or is about to
        except OSError as error:
            if not is_full(error) and not is_exhausted(error):
                raise
        else:
            self.size = len(data)

    def finish(self) -> None:
        """Called on the loop once `write` has returned."""
        if self.size:
            self.log.taken(self)
