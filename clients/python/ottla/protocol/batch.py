"""The canonical frame of a record batch: read, checked, made, and stamped by a leader.

A frame is one element of `LogSegment.batches`, on disk and on the wire alike, and its head is
laid out so that one `struct` call reads it:

    0x0A  size    fields 1-3      4         5       fields 6-13    0x7A  size     records
    tag   varint  leader's        header_   crc32c  producer's     tag   varint   the payload
                                  crc32c
    `---------------------------'           `-----'                                header_crc32c
                                                   `---------------------------->  crc32c

Owns: that layout and both checksums. Does not own what a header may say (`batch_header`), the
payload (`compression`, `records`), nor what other writers encode (`canonical`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from struct import Struct
from typing import Final

from crc32c import crc32c as crc32c_of

from ottla.protocol.batch_header import (
    FORMAT_VERSION,
    BatchHeader,
    check_header,
    pack_attributes,
)
from ottla.protocol.compression import Codec
from ottla.protocol.errors import CorruptBatch

__all__ = [
    "BATCH_HEAD_SIZE_MAX",
    "BATCH_SIZE_MAX",
    "BATCH_SIZE_MIN",
    "FIELDS_SIZE",
    "FORMAT_VERSION",
    "Batch",
    "BatchHead",
    "BatchHeader",
    "BatchIncomplete",
    "Buffer",
    "check_header",
    "encode_batch",
    "encode_varint",
    "iter_batches",
    "pack_attributes",
    "read_batch",
    "read_head",
    "stamp",
    "verify_crc",
    "verify_head",
    "verify_header_crc",
]

Buffer = bytes | bytearray | memoryview

BATCH_SIZE_MAX: Final = 2**28 - 1
"""The largest batch the format takes; a topic's `max.message.bytes` is far below."""

_FRAME_TAG = 0x0A  # field 1 of LogSegment, length-delimited
_RECORDS_TAG = 0x7A  # field 15 of RecordBatch, length-delimited
_LENGTH_SIZE_MAX = 4  # bytes of the varint of BATCH_SIZE_MAX

# Tag and value of fields 1 to 13, in order.
_FIELDS = Struct("<BQBIBqBIBIBIBIBIBqBqBqBIBI")
_FIELD_TAGS = (0x09, 0x15, 0x19, 0x25, 0x2D, 0x35, 0x3D, 0x45, 0x49, 0x51, 0x59, 0x65, 0x6D)
_LEADER_FIELDS = Struct("<BQBIBqBI")  # fields 1 to 4
_LEADER_FIELDS_SIZE = 23  # fields 1 to 3, what header_crc32c covers of them
_HEADER_CRC = Struct("<BI")
_CRC_POSITION = 28  # of field 5 within the batch
_COVERED_POSITION = 33  # the first byte that crc32c covers

FIELDS_SIZE: Final = _FIELDS.size
BATCH_SIZE_MIN: Final = FIELDS_SIZE + 2
BATCH_HEAD_SIZE_MAX: Final = 1 + _LENGTH_SIZE_MAX + FIELDS_SIZE + 1 + _LENGTH_SIZE_MAX
"""Bytes to read from a file so that the head of any canonical frame is among them."""


class BatchIncomplete(CorruptBatch):
    """The bytes end before the frame does; `size_needed` of it would get further.

    A reader of a file or stream fetches more; for whoever got a whole batch it is a corrupt one.
    """

    def __init__(self, *, size_needed: int, size_present: int) -> None:
        """Says how many bytes, counted from the frame's first, are needed and are there."""
        super().__init__(
            f"the batch is cut short: {size_present} bytes of at least {size_needed} are there"
        )
        self.size_needed = size_needed


@dataclass(frozen=True, slots=True)
class BatchHead:
    """What the first bytes of a frame tell: its header, and where the rest of it lies."""

    header: BatchHeader
    frame_size: int
    payload_position: int
    """Counted from the frame's first byte."""
    payload_size: int


@dataclass(frozen=True, slots=True)
class Batch:
    """A whole frame and views of it; they keep the buffer it was read from alive."""

    header: BatchHeader
    frame: memoryview
    payload: memoryview
    """Serialized `Records`, compressed by `header.codec`."""

    @property
    def frame_size(self) -> int:
        """Bytes of the frame, its tag and length included."""
        return len(self.frame)


def read_head(buffer: Buffer, position: int = 0) -> BatchHead:
    """Reads the head of the frame at `position`, in constant time and without its payload.

    The checksums are not verified and the header's values not judged: `verify_head`, `verify_crc`
    and `check_header` do that.

    Raises:
        BatchIncomplete: the head goes on after the buffer's end.
        CorruptBatch: these bytes are no canonical frame, whatever follows.
    """
    if position >= len(buffer):
        raise BatchIncomplete(size_needed=1, size_present=0)
    if buffer[position] != _FRAME_TAG:
        raise CorruptBatch(f"a batch starts with byte 0x0a, not with {buffer[position]:#04x}")
    size, fields_position = _read_length(buffer, position + 1, frame_position=position)
    if not BATCH_SIZE_MIN <= size <= BATCH_SIZE_MAX:
        raise CorruptBatch(
            f"the batch's size {size} is outside of {BATCH_SIZE_MIN} to {BATCH_SIZE_MAX}"
        )
    records_position = fields_position + FIELDS_SIZE
    if records_position >= len(buffer):
        _raise_incomplete(records_position + 2, buffer, position)
    values = _FIELDS.unpack_from(buffer, fields_position)
    if values[::2] != _FIELD_TAGS or buffer[records_position] != _RECORDS_TAG:
        raise CorruptBatch("the batch's header is not in canonical form")
    payload_size, payload_position = _read_length(
        buffer, records_position + 1, frame_position=position
    )
    if payload_position + payload_size != fields_position + size:
        raise CorruptBatch(
            f"the batch's size {size} does not fit its payload of {payload_size} bytes"
        )
    return BatchHead(
        header=BatchHeader(*values[1::2]),
        frame_size=payload_position + payload_size - position,
        payload_position=payload_position - position,
        payload_size=payload_size,
    )


def verify_head(buffer: Buffer, position: int = 0) -> BatchHead:
    """`read_head`, and `header_crc32c` must hold: the frame's length can then be trusted.

    Raises:
        BatchIncomplete: the head goes on after the buffer's end.
        CorruptBatch: no canonical frame, or the checksum does not hold.
    """
    head = read_head(buffer, position)
    fields_position = position + _fields_position(head)
    if _header_crc(memoryview(buffer), position, fields_position) != head.header.header_crc32c:
        raise CorruptBatch("the batch's header_crc32c does not hold")
    return head


def read_batch(buffer: Buffer, position: int = 0) -> Batch:
    """Reads the whole frame at `position` as views into the buffer, checksums unverified.

    Raises:
        BatchIncomplete: the frame goes on after the buffer's end.
        CorruptBatch: these bytes are no canonical frame.
    """
    head = read_head(buffer, position)
    if len(buffer) - position < head.frame_size:
        _raise_incomplete(position + head.frame_size, buffer, position)
    frame = memoryview(buffer)[position : position + head.frame_size]
    return Batch(header=head.header, frame=frame, payload=frame[head.payload_position :])


def iter_batches(buffer: Buffer) -> Iterator[Batch]:
    """The frames that fill the buffer, one after the other.

    Raises:
        BatchIncomplete: the last frame goes on after the buffer's end.
        CorruptBatch: what follows the frames so far is no canonical frame.
    """
    view = memoryview(buffer)
    position = 0
    while position < len(view):
        batch = read_batch(view, position)
        yield batch
        position += batch.frame_size


def verify_crc(batch: Batch) -> None:
    """Checks the producer's checksum, over everything the leader does not set.

    Raises:
        CorruptBatch: it does not hold.
    """
    fields_position = _fields_position_of(batch.frame)
    if crc32c_of(batch.frame[fields_position + _COVERED_POSITION :]) != batch.header.crc32c:
        raise CorruptBatch("the batch's crc32c does not hold")


def verify_header_crc(batch: Batch) -> None:
    """Checks the leader's checksum, over the frame's length, the leader's fields and `crc32c`.

    Raises:
        CorruptBatch: it does not hold.
    """
    fields_position = _fields_position_of(batch.frame)
    if _header_crc(batch.frame, 0, fields_position) != batch.header.header_crc32c:
        raise CorruptBatch("the batch's header_crc32c does not hold")


def encode_batch(
    records_payload: Buffer,
    *,
    codec: Codec,
    record_count: int,
    last_offset_delta: int,
    base_timestamp_ms: int,
    max_timestamp_ms: int,
    producer_id: int = 0,
    producer_epoch: int = 0,
    base_sequence: int = 0,
    is_transactional: bool = False,
    is_control: bool = False,
) -> bytearray:
    """Makes a frame of a payload that `codec` has already compressed.

    `crc32c` is set; the leader's fields and `header_crc32c` are zero until `stamp`. The values
    are the caller's to get right; `check_header` judges them on the other side.
    """
    attributes = pack_attributes(codec, is_transactional=is_transactional, is_control=is_control)
    producer_part = (producer_id, producer_epoch, base_sequence)
    times = (base_timestamp_ms, max_timestamp_ms)
    values = (0, 0, 0, 0, 0, attributes, last_offset_delta, record_count, *times, *producer_part)
    payload_length = encode_varint(len(records_payload))
    size = FIELDS_SIZE + 1 + len(payload_length) + len(records_payload)
    if size > BATCH_SIZE_MAX:
        raise ValueError(f"a batch of {size} bytes is more than the format's {BATCH_SIZE_MAX}")
    frame = bytearray((_FRAME_TAG,))
    frame += encode_varint(size)
    fields_position = len(frame)
    frame += _FIELDS.pack(*chain.from_iterable(zip(_FIELD_TAGS, values, strict=True)))
    frame.append(_RECORDS_TAG)
    frame += payload_length
    frame += records_payload
    with memoryview(frame) as view, view[fields_position + _COVERED_POSITION :] as covered:
        crc32c = crc32c_of(covered)
    _HEADER_CRC.pack_into(frame, fields_position + _CRC_POSITION, _FIELD_TAGS[4], crc32c)
    return frame


def stamp(
    frame: bytearray | memoryview, *, base_offset: int, leader_epoch: int, append_time_ms: int
) -> None:
    """Sets the leader's fields and `header_crc32c` of a canonical frame, in place.

    Constant work: the producer's checksum does not cover what changes here. `append_time_ms` 0
    lets the records' own times hold.
    """
    fields_position = _fields_position_of(frame)
    tags = _FIELD_TAGS
    _LEADER_FIELDS.pack_into(
        frame,
        fields_position,
        *(tags[0], base_offset, tags[1], leader_epoch, tags[2], append_time_ms, tags[3], 0),
    )
    with memoryview(frame) as view:
        header_crc32c = _header_crc(view, 0, fields_position)
    _HEADER_CRC.pack_into(frame, fields_position + _LEADER_FIELDS_SIZE, tags[3], header_crc32c)


def encode_varint(value: int) -> bytes:
    """The shortest protobuf varint of a non-negative number."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_length(buffer: Buffer, position: int, *, frame_position: int) -> tuple[int, int]:
    """A minimal varint of at most four bytes, and the position after it."""
    value = 0
    for index in range(_LENGTH_SIZE_MAX):
        if position + index >= len(buffer):
            _raise_incomplete(position + index + 1, buffer, frame_position)
        byte = buffer[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if byte == 0 and index > 0:
                raise CorruptBatch("a length of the batch is not in canonical form")
            return value, position + index + 1
    raise CorruptBatch(f"a length of the batch is more than {BATCH_SIZE_MAX}")


def _raise_incomplete(end: int, buffer: Buffer, frame_position: int) -> None:
    raise BatchIncomplete(
        size_needed=end - frame_position, size_present=len(buffer) - frame_position
    )


def _fields_position_of(frame: Buffer) -> int:
    """Where field 1 starts in a canonical frame: after its tag and length."""
    position = 1
    while frame[position] & 0x80:
        position += 1
    return position + 1


def _fields_position(head: BatchHead) -> int:
    """The same, from the sizes alone."""
    payload_length_size = _varint_size(head.payload_size)
    return head.payload_position - payload_length_size - 1 - FIELDS_SIZE


def _varint_size(value: int) -> int:
    return max(1, -(-value.bit_length() // 7))


def _header_crc(view: memoryview, position: int, fields_position: int) -> int:
    """CRC-32C of the frame's tag and length, of fields 1 to 3, and of field 5."""
    leader_part = view[position : fields_position + _LEADER_FIELDS_SIZE]
    crc_part = view[fields_position + _CRC_POSITION : fields_position + _COVERED_POSITION]
    return int(crc32c_of(crc_part, crc32c_of(leader_part)))
