"""Turns a `RecordBatch` as any protobuf library writes it into the canonical frame.

A generated stub in another language may write the fields in another order, leave out the checksum
(and those fields whose value is 0), or use longer varints. Owns: telling such an encoding from
a canonical one, and the frame made of it. Does not own what the payload holds
(`records.check_records`).
"""

from __future__ import annotations

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from ottla.api.record.v1 import record_pb2
from ottla.protocol.batch import (
    BATCH_HEAD_SIZE_MAX,
    BATCH_SIZE_MAX,
    BatchHeader,
    Buffer,
    check_header,
    encode_batch,
    encode_varint,
    read_head,
)
from ottla.protocol.errors import CorruptBatch, RecordTooLarge, UnsupportedVersion

_FRAME_TAG = b"\x0a"
_PAYLOAD_SIZE_MAX = BATCH_SIZE_MAX - BATCH_HEAD_SIZE_MAX


def is_canonical(message: Buffer) -> bool:
    """Whether an encoded `RecordBatch` (without the frame's tag and length) is in canonical form.

    Looks at its layout alone, in constant time; the checksum may still fail.
    """
    head = bytes(memoryview(message)[:BATCH_HEAD_SIZE_MAX])
    prefix = _FRAME_TAG + encode_varint(len(message))
    try:
        return read_head(prefix + head).frame_size == len(prefix) + len(message)
    except CorruptBatch:
        return False


def canonical(message: Buffer) -> bytearray:
    """The canonical frame of an encoded `RecordBatch`, checked, with the leader's fields zero.

    The header must be one `check_header` accepts, and the checksum, where there is one, must hold
    for the canonical encoding. Fields this version does not know are refused, because they would
    be lost.

    Raises:
        CorruptBatch: it cannot be parsed, lacks a field, or its checksum does not hold.
        UnsupportedVersion: a format version, codec or field that is not known here.
    """
    parsed = _parse(message)
    header = _header(parsed)
    check_header(header)
    frame = encode_batch(
        parsed.records,
        codec=header.codec,
        record_count=header.record_count,
        last_offset_delta=header.last_offset_delta,
        base_timestamp_ms=header.base_timestamp_ms,
        max_timestamp_ms=header.max_timestamp_ms,
        producer_id=header.producer_id,
        producer_epoch=header.producer_epoch,
        base_sequence=header.base_sequence,
        is_transactional=header.is_transactional,
        is_control=header.is_control,
    )
    if parsed.HasField("crc32c") and parsed.crc32c != read_head(frame).header.crc32c:
        raise CorruptBatch("the batch's crc32c does not hold for its canonical encoding")
    return frame


def _parse(message: Buffer) -> record_pb2.RecordBatch:
    """The message with its necessary fields present and none unknown."""
    try:
        parsed = record_pb2.RecordBatch.FromString(bytes(message))
    except DecodeError:
        raise CorruptBatch("the batch cannot be parsed as a RecordBatch") from None
    unknown = UnknownFieldSet(parsed)
    if len(unknown) > 0:
        raise UnsupportedVersion(f"the batch's field {unknown[0].field_number} is not known here")
    for field in ("attributes", "record_count", "records"):
        if not parsed.HasField(field):
            raise CorruptBatch(f"the batch lacks the field {field}")
    if len(parsed.records) > _PAYLOAD_SIZE_MAX:
        raise RecordTooLarge(f"the batch's payload has more than {_PAYLOAD_SIZE_MAX} bytes")
    return parsed


def _header(parsed: record_pb2.RecordBatch) -> BatchHeader:
    """The producer's part of the header; what only the leader may say stays 0."""
    return BatchHeader(
        base_offset=0,
        leader_epoch=0,
        append_time_ms=0,
        header_crc32c=0,
        crc32c=parsed.crc32c,
        attributes=parsed.attributes,
        last_offset_delta=parsed.last_offset_delta,
        record_count=parsed.record_count,
        base_timestamp_ms=parsed.base_timestamp_ms,
        max_timestamp_ms=parsed.max_timestamp_ms,
        producer_id=parsed.producer_id,
        producer_epoch=parsed.producer_epoch,
        base_sequence=parsed.base_sequence,
    )
