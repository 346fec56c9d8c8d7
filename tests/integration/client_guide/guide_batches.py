"""Record batches and keys as the client guide describes them, and nothing of ours to help.

Written from `docs/protocols/client-guide.md` alone, with generated stubs, the standard library and
a CRC-32C: what the guide leaves out, this could not do. The guide shows pieces of it.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from crc32c import crc32c

from ottla.api.record.v1 import record_pb2

CODEC_BITS, CONTROL_BIT, KNOWN_BITS = 0x07, 0x20, 0xFF37
NO_CODEC, GZIP = 0, 1
PLAIN_SIZE_MAX = 16 << 20
LEADER_PART = struct.Struct("<BQ BI Bq")  # fields 1 to 3: 23 bytes
CHECKSUM = struct.Struct("<BI")  # fields 4 and 5, each: 5 bytes
PRODUCER_PART = struct.Struct("<BI BI BI Bq Bq Bq BI BI")  # 6 to 13: 52 bytes


class GuideRecord(NamedTuple):
    """A record on its way in or out; its offset is the leader's to give."""

    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    offset: int = 0


class BadBatch(Exception):  # noqa: N818 - reads as what it is
    """A batch that is not what was written."""


def varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def producer_part(batch: record_pb2.RecordBatch) -> bytes:
    """Every byte that crc32c covers: fields 6 to 13, then the payload with its tag and length."""
    fields = PRODUCER_PART.pack(
        *(0x35, batch.attributes, 0x3D, batch.last_offset_delta, 0x45, batch.record_count),
        *(0x49, batch.base_timestamp_ms, 0x51, batch.max_timestamp_ms),
        *(0x59, batch.producer_id, 0x65, batch.producer_epoch, 0x6D, batch.base_sequence),
    )
    return fields + b"\x7a" + varint(len(batch.records)) + batch.records


def encoded_batch(records: list[GuideRecord], *, codec: int = NO_CODEC) -> bytes:
    """A batch in its canonical form, as a producer sends it; the leader's fields are 0."""
    base_ms = records[0].timestamp_ms
    plain = record_pb2.Records(
        records=[
            record_pb2.Record(
                timestamp_delta=record.timestamp_ms - base_ms,
                offset_delta=number,
                key=record.key,
                value=record.value,
            )
            for number, record in enumerate(records)
        ]
    ).SerializeToString()
    batch = record_pb2.RecordBatch(
        attributes=1 << 8 | codec,
        last_offset_delta=len(records) - 1,
        record_count=len(records),
        base_timestamp_ms=base_ms,
        max_timestamp_ms=max(record.timestamp_ms for record in records),
        records=gzip.compress(plain) if codec == GZIP else plain,
    )
    covered = producer_part(batch)
    leader_part = LEADER_PART.pack(0x09, 0, 0x15, 0, 0x19, 0) + CHECKSUM.pack(0x25, 0)
    return leader_part + CHECKSUM.pack(0x2D, crc32c(covered)) + covered


def in_request(batch: bytes) -> bytes:
    """The batch as an element of `batches`, field 1 of a ProduceRequest."""
    return b"\x0a" + varint(len(batch)) + batch


def check_batch(batch: record_pb2.RecordBatch) -> None:
    """Both checksums, then what the attributes may say. Raises BadBatch."""
    covered = producer_part(batch)
    if crc32c(covered) != batch.crc32c:
        raise BadBatch("crc32c does not hold")
    fields = (0x09, batch.base_offset, 0x15, batch.leader_epoch, 0x19, batch.append_time_ms)
    frame_head = b"\x0a" + varint(33 + len(covered)) + LEADER_PART.pack(*fields)
    if crc32c(frame_head + CHECKSUM.pack(0x2D, batch.crc32c)) != batch.header_crc32c:
        raise BadBatch("header_crc32c does not hold")
    if batch.attributes >> 8 & 0xFF != 1 or batch.attributes & ~KNOWN_BITS:
        raise BadBatch(f"attributes {batch.attributes:#x} are of a later version")


def records_of(batch: record_pb2.RecordBatch, *, from_offset: int) -> Iterator[GuideRecord]:
    """The batch's records from an offset on; those of a control batch are not for applications."""
    check_batch(batch)
    if batch.attributes & CONTROL_BIT:
        return
    records = record_pb2.Records.FromString(plain_payload(batch)).records
    if len(records) != batch.record_count:
        raise BadBatch(f"{len(records)} records instead of {batch.record_count}")
    for record in records:
        offset = batch.base_offset + record.offset_delta
        if offset >= from_offset:
            yield GuideRecord(
                record.key if record.HasField("key") else None,
                record.value if record.HasField("value") else None,
                batch.append_time_ms or batch.base_timestamp_ms + record.timestamp_delta,
                offset,
            )


def plain_payload(batch: record_pb2.RecordBatch) -> bytes:
    codec = batch.attributes & CODEC_BITS
    if codec == NO_CODEC:
        return batch.records
    if codec != GZIP:
        raise BadBatch(f"codec {codec} is none of this client's")
    decompressor = zlib.decompressobj(wbits=31)
    plain = decompressor.decompress(batch.records, PLAIN_SIZE_MAX + 1)
    if len(plain) > PLAIN_SIZE_MAX or not decompressor.eof or decompressor.unused_data:
        raise BadBatch("the payload is no single gzip member within bounds")
    return plain


def murmur2(key: bytes) -> int:
    mask, multiplier = 0xFFFFFFFF, 0x5BD1E995
    state = 0x9747B28C ^ len(key)
    whole = len(key) // 4 * 4
    for position in range(0, whole, 4):
        word = int.from_bytes(key[position : position + 4], "little") * multiplier & mask
        word = (word ^ word >> 24) * multiplier & mask
        state = state * multiplier & mask ^ word
    if key[whole:]:
        state = (state ^ int.from_bytes(key[whole:], "little")) * multiplier & mask
    state = (state ^ state >> 13) * multiplier & mask
    return state ^ state >> 15


def partition_of(key: bytes, partition_count: int) -> int:
    return (murmur2(key) & 0x7FFFFFFF) % partition_count
