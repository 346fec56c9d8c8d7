"""The indexes of a segment that grows, kept on file piece by piece, so that a crash costs little.

    0     4      6  8            16        24           32        40          48     52     56   60
    "OIXP" format 0  base offset  log size  next offset  max time  created at  epoch  counts     crc

A piece says: up to `log size` the segment is whole and flushed and ends at `next offset`, nothing
later in it is of an older leader epoch, and these are the entries since the piece before. Columns
follow as in `index_file`, the offset index's first. The checksum covers all but itself. Whatever
follows the first piece that is damaged, or does not continue the one before, means nothing.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from crc32c import crc32c

from ottla_broker.core.index_file import IndexHead
from ottla_broker.core.sparse_index import OffsetIndex, TimeIndex

_FACTS = struct.Struct("<4sHHqqqqqIII")
_CRC_SIZE: Final = 4
_HEAD_SIZE: Final = _FACTS.size + _CRC_SIZE
_MAGIC: Final = b"OIXP"
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class IndexPiece:
    """What of a segment's indexes is news since the piece before, and how far they go with it."""

    head: IndexHead
    leader_epoch: int
    """No batch behind the piece is of an older one."""
    offset_entries: OffsetIndex
    time_entries: TimeIndex


@dataclass(frozen=True, slots=True)
class LoggedIndex:
    """The indexes that the first `file_size` bytes of an index log hold."""

    head: IndexHead
    leader_epoch: int
    offset_index: OffsetIndex
    time_index: TimeIndex
    file_size: int


def encode_piece(piece: IndexPiece) -> bytes:
    """The bytes to add to the log."""
    head = piece.head
    columns = [
        piece.offset_entries.offsets,
        piece.offset_entries.positions,
        piece.time_entries.timestamps,
        piece.time_entries.offsets,
    ]
    body = b"".join(
        column.tobytes() if isinstance(column, array) else array(code, column).tobytes()
        for column, code in zip(columns, "IIqI", strict=True)
    )
    facts = _FACTS.pack(
        _MAGIC,
        _FORMAT,
        0,
        head.base_offset,
        head.log_size,
        head.next_offset,
        head.max_timestamp_ms,
        head.created_ms,
        piece.leader_epoch,
        len(columns[0]),
        len(columns[2]),
    )
    return facts + crc32c(body, crc32c(facts)).to_bytes(_CRC_SIZE, "little") + body


def decode_index_log(
    data: bytes, *, base_offset: int, offset_max: int, size_max: int
) -> LoggedIndex | None:
    """The indexes up to the last piece that ends at or before an offset; None if there is none.

    Args:
        data: the log.
        base_offset: the segment's.
        offset_max: what is behind this offset is not asked for.
        size_max: of the segment; a log that knows of more, before that offset, means nothing.
    """
    view = memoryview(data)
    offset_index, time_index = OffsetIndex.growing(), TimeIndex.growing()
    found: LoggedIndex | None = None
    position = 0
    while (piece := _decode_piece(view[position:])) is not None:
        before = found.head if found else None
        if not _continues(piece.head, before, base_offset) or piece.head.next_offset > offset_max:
            break
        if piece.head.log_size > size_max:
            return None
        _extend(offset_index, time_index, piece)
        position += _size(piece)
        found = LoggedIndex(piece.head, piece.leader_epoch, offset_index, time_index, position)
    return found


def _continues(head: IndexHead, before: IndexHead | None, base_offset: int) -> bool:
    if head.base_offset != base_offset:
        return False
    if before is None:
        return head.next_offset > base_offset and head.log_size > 0
    return head.next_offset > before.next_offset and head.log_size > before.log_size


def _extend(offset_index: OffsetIndex, time_index: TimeIndex, piece: IndexPiece) -> None:
    pairs = (
        (offset_index.offsets, piece.offset_entries.offsets),
        (offset_index.positions, piece.offset_entries.positions),
        (time_index.timestamps, piece.time_entries.timestamps),
        (time_index.offsets, piece.time_entries.offsets),
    )
    for column, entries in pairs:
        assert isinstance(column, array)
        column.extend(entries)


def _size(piece: IndexPiece) -> int:
    return _HEAD_SIZE + piece.offset_entries.size + piece.time_entries.size


def _decode_piece(view: memoryview) -> IndexPiece | None:
    """The piece that data begins with; None if it is none, or damaged."""
    if len(view) < _HEAD_SIZE:
        return None
    magic, version, zero, *facts, epoch, offset_count, time_count = _FACTS.unpack_from(view)
    if magic != _MAGIC or version != _FORMAT or zero != 0:
        return None
    ends = [_HEAD_SIZE]
    for count, item_size in (
        (offset_count, 4),
        (offset_count, 4),
        (time_count, 8),
        (time_count, 4),
    ):
        ends.append(ends[-1] + count * item_size)
    if len(view) < ends[-1]:
        return None
    crc = int.from_bytes(view[_FACTS.size : _HEAD_SIZE], "little")
    if crc32c(view[_HEAD_SIZE : ends[-1]], crc32c(view[: _FACTS.size])) != crc:
        return None
    columns = [
        array(code, bytes(view[start:end]))
        for code, (start, end) in zip("IIqI", pairwise(ends), strict=True)
    ]
    return IndexPiece(
        IndexHead(*facts),
        epoch,
        OffsetIndex(columns[0], columns[1]),
        TimeIndex(columns[2], columns[3]),
    )
