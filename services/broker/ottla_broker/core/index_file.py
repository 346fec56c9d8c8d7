"""What an index file holds: a head about its segment, then the index's columns one by one.

    0        8  10   12       16         24       32          40       48         56    60   64
    "OTTLAIDX" format kind 0    base offs. log size next offset max time created at count crcs

The columns follow, little-endian: offsets (u32) and positions (u32), or times (i64) and offsets
(u32). The first checksum is of the columns, the second of all that is before it: the head says how
far a segment goes and is believed at a start, without a look at the rest. Whole columns instead of
pairs let a mapped file be searched in place. An index file is written once, when its segment is
sealed; whatever is wrong with one, the cure is to build it anew from the segment.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal

from crc32c import crc32c

from ottla_broker.core.sparse_index import Column, OffsetIndex, TimeIndex

_FACTS = struct.Struct("<8sHHIqqqqqII")
_CRC_SIZE = 4
INDEX_HEAD_SIZE = _FACTS.size + _CRC_SIZE
_MAGIC = b"OTTLAIDX"
_FORMAT = 2


class IndexKind(IntEnum):
    """Which of the two indexes a file holds."""

    OFFSET = 1
    TIME = 2


_TYPECODES: Final[dict[IndexKind, tuple[Literal["I", "q"], Literal["I"]]]] = {
    IndexKind.OFFSET: ("I", "I"),
    IndexKind.TIME: ("q", "I"),
}
"""The columns' element types, as `array` names them."""


class DamagedIndexError(Exception):
    """An index file is not what its head promises."""


@dataclass(frozen=True, slots=True)
class IndexHead:
    """What an index file says of the segment it belongs to."""

    base_offset: int
    log_size: int
    next_offset: int
    max_timestamp_ms: int
    created_ms: int


def encode_index(head: IndexHead, index: OffsetIndex | TimeIndex) -> bytes:
    """The file of one index."""
    if isinstance(index, OffsetIndex):
        kind, columns = IndexKind.OFFSET, (index.offsets, index.positions)
    else:
        kind, columns = IndexKind.TIME, (index.timestamps, index.offsets)
    body = b"".join(
        _column_bytes(column, typecode)
        for column, typecode in zip(columns, _TYPECODES[kind], strict=True)
    )
    packed = _pack_facts(head, kind, len(columns[0]), crc32c(body))
    return packed + crc32c(packed).to_bytes(_CRC_SIZE, "little") + body


def decode_head(data: bytes | memoryview, kind: IndexKind) -> IndexHead:
    """The head alone; of the columns nothing is known. Raises DamagedIndexError."""
    return _unpack_head(data, kind)[0]


def decode_index(data: memoryview, kind: IndexKind) -> tuple[IndexHead, Column, Column]:
    """Head and columns, the latter as views into `data`. Raises DamagedIndexError."""
    head, count, crc = _unpack_head(data, kind)
    codes = _TYPECODES[kind]
    first, second = (array(code).itemsize for code in codes)
    split = INDEX_HEAD_SIZE + count * first
    end = split + count * second
    if len(data) != end:
        raise DamagedIndexError(f"{len(data)} bytes instead of {end}")
    if crc32c(data[INDEX_HEAD_SIZE:]) != crc:
        raise DamagedIndexError("wrong checksum")
    return head, data[INDEX_HEAD_SIZE:split].cast(codes[0]), data[split:end].cast(codes[1])


def _column_bytes(column: Column, typecode: Literal["I", "q"]) -> bytes:
    if isinstance(column, array):
        return column.tobytes()
    return array(typecode, column).tobytes()


def _pack_facts(head: IndexHead, kind: IndexKind, count: int, crc: int) -> bytes:
    return _FACTS.pack(
        _MAGIC,
        _FORMAT,
        kind,
        0,
        head.base_offset,
        head.log_size,
        head.next_offset,
        head.max_timestamp_ms,
        head.created_ms,
        count,
        crc,
    )


def _unpack_head(data: bytes | memoryview, kind: IndexKind) -> tuple[IndexHead, int, int]:
    if len(data) < INDEX_HEAD_SIZE:
        raise DamagedIndexError(f"only {len(data)} bytes")
    magic, version, found, zero, *facts, count, crc = _FACTS.unpack_from(data)
    if magic != _MAGIC or version != _FORMAT or found != kind or zero != 0:
        raise DamagedIndexError("not an index of this kind and format")
    if crc32c(data[: _FACTS.size]) != int.from_bytes(data[_FACTS.size : INDEX_HEAD_SIZE], "little"):
        raise DamagedIndexError("wrong checksum of the head")
    return IndexHead(*facts), count, crc
