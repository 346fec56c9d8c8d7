"""Records: the same bytes as protobuf's, read back as they were, and checked against the header."""

from __future__ import annotations

import dataclasses
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.api.record.v1 import record_pb2
from ottla.protocol.batch import Batch, BatchHeader, encode_varint, read_batch, stamp
from ottla.protocol.compression import Codec, compress
from ottla.protocol.errors import CorruptBatch, InvalidRequest, RecordTooLarge
from ottla.protocol.records import (
    TIMESTAMP_MS_MAX,
    Record,
    RecordInput,
    RecordLimits,
    check_records,
    decode_records,
    encode_record_batch,
    encode_records,
    read_records,
)

from .examples import RECORDS, as_proto, failure_of, record_lists, stamped_frame

LIMITS = RecordLimits(payload_size_max=1_000_000, record_count_max=10_000)


def expected(records: list[RecordInput], *, base_offset: int) -> list[Record]:
    return [
        Record(base_offset + index, timestamp_ms, key, value, tuple(headers))
        for index, (key, value, timestamp_ms, headers) in enumerate(records)
    ]


def header_for(records: list[RecordInput], **changes: int) -> BatchHeader:
    return dataclasses.replace(read_batch(encode_record_batch(records)).header, **changes)


@given(record_lists)
def test_encoding_is_protobufs_byte_for_byte(records: list[RecordInput]) -> None:
    encoded = encode_records(records)
    assert encoded.payload == as_proto(records).SerializeToString()
    assert encoded.record_count == len(records)
    assert encoded.last_offset_delta == len(records) - 1
    assert encoded.base_timestamp_ms == records[0][2]
    assert encoded.max_timestamp_ms == max(record[2] for record in records)


@given(record_lists, st.sampled_from(Codec), st.integers(0, 2**62))
def test_records_come_back_as_they_were(
    records: list[RecordInput], codec: Codec, base_offset: int
) -> None:
    frame = encode_record_batch(records, codec=codec)
    stamp(frame, base_offset=base_offset, leader_epoch=0, append_time_ms=0)
    batch = read_batch(frame)
    check_records(batch.payload, batch.header, LIMITS)
    read = list(read_records(batch, size_max=LIMITS.payload_size_max))
    assert read == expected(records, base_offset=base_offset)


def test_many_records_cross_the_tables_and_chunks_unharmed() -> None:
    records: list[RecordInput] = [
        (b"k%d" % index, b"v" * (index % 7), 10**12 + index // 3, []) for index in range(10_000)
    ]
    assert encode_records(records).payload == as_proto(records).SerializeToString()
    batch = read_batch(encode_record_batch(records, codec=Codec.LZ4))
    check_records(batch.payload, batch.header, LIMITS)
    assert list(read_records(batch, size_max=1_000_000)) == expected(records, base_offset=0)


@pytest.mark.parametrize("size", [127, 128, 2047, 2048, 16_383, 16_384, 300_000])
def test_keys_and_values_of_every_length_form(size: int) -> None:
    records: list[RecordInput] = [(b"k" * size, b"v" * size, 5, [("h" * size, b"x" * size)])]
    assert encode_records(records).payload == as_proto(records).SerializeToString()
    batch = read_batch(encode_record_batch(records))
    assert list(read_records(batch, size_max=2_000_000)) == expected(records, base_offset=0)


def test_absent_is_not_empty() -> None:
    records: list[RecordInput] = [
        (None, None, 1, [("name", None)]),
        (b"", b"", 1, [("name", b"")]),
    ]
    batch = read_batch(encode_record_batch(records))
    read = list(read_records(batch, size_max=1000))
    assert [(r.key, r.value, r.headers) for r in read] == [
        (None, None, (("name", None),)),
        (b"", b"", (("name", b""),)),
    ]


def test_iterator_is_read_once() -> None:
    assert encode_records(iter(RECORDS)) == encode_records(RECORDS)


def test_no_records_make_no_batch() -> None:
    with pytest.raises(InvalidRequest, match="there are no records"):
        encode_records([])


@pytest.mark.parametrize("timestamp_ms", [TIMESTAMP_MS_MAX + 1, -TIMESTAMP_MS_MAX - 1, 2**70])
def test_time_out_of_range_is_refused(timestamp_ms: int) -> None:
    with pytest.raises(InvalidRequest, match=f"time {timestamp_ms} ms is out of range"):
        encode_records([(None, None, 5, []), (None, None, timestamp_ms, [])])
    with pytest.raises(InvalidRequest, match="out of range"):
        encode_records([(None, None, timestamp_ms, [])])


def test_header_name_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="not Unicode"):
        encode_records([(None, None, 5, [("\ud800", b"")])])


def test_leaders_time_holds_where_there_is_one() -> None:
    frame = stamped_frame()
    stamp(frame, base_offset=3, leader_epoch=1, append_time_ms=777)
    read = list(read_records(read_batch(frame), size_max=1000))
    assert [(record.offset, record.timestamp_ms) for record in read] == [
        (3, 777), (4, 777), (5, 777), (6, 777),
    ]  # fmt: skip


def payload_of(*records: record_pb2.Record) -> bytes:
    return record_pb2.Records(records=records).SerializeToString()


def test_gaps_of_compaction_are_read() -> None:
    payload = payload_of(record_pb2.Record(offset_delta=2), record_pb2.Record(offset_delta=5))
    header = header_for(RECORDS, record_count=2, last_offset_delta=6, base_offset=100)
    assert [record.offset for record in decode_records(payload, header)] == [102, 105]


@pytest.mark.parametrize(
    ("deltas", "words"),
    [
        ([0, 0, 1, 2], "record 1 has offset_delta 0"),
        ([0, 2, 1, 3], "record 2 has offset_delta 1"),
        ([-1, 0, 1, 2], "record 0 has offset_delta -1"),
        ([0, 1, 2, 4], "record 3 has offset_delta 4"),
        ([0, 1, 2], "has 3 records, its header says 4"),
    ],
)
def test_records_that_contradict_their_header_are_corrupt(deltas: list[int], words: str) -> None:
    payload = payload_of(*(record_pb2.Record(offset_delta=delta) for delta in deltas))
    header = header_for(RECORDS)
    with pytest.raises(CorruptBatch, match=words):
        list(decode_records(payload, header))
    with pytest.raises(CorruptBatch):
        check_records(payload, header, LIMITS)


def test_time_that_no_int64_holds_is_corrupt() -> None:
    payload = payload_of(record_pb2.Record(timestamp_delta=2**63 - 1))
    header = header_for([(None, None, 5, [])])
    with pytest.raises(CorruptBatch, match="time out of range"):
        list(decode_records(payload, header))


def test_gap_in_what_a_producer_sends_is_refused() -> None:
    payload = payload_of(record_pb2.Record(offset_delta=0), record_pb2.Record(offset_delta=2))
    header = header_for(RECORDS[:2])
    with pytest.raises(CorruptBatch, match="offset deltas are not 0, 1, 2"):
        check_records(payload, header, LIMITS)
    with pytest.raises(CorruptBatch, match="last_offset_delta is not"):
        check_records(payload, dataclasses.replace(header, last_offset_delta=2), LIMITS)


@pytest.mark.parametrize("change", [1, -1])
def test_wrong_largest_time_or_count_is_refused(change: int) -> None:
    header = header_for(RECORDS)
    payload = encode_records(RECORDS).payload
    wrong_time = dataclasses.replace(header, max_timestamp_ms=header.max_timestamp_ms + change)
    with pytest.raises(CorruptBatch, match="max_timestamp_ms is not the largest"):
        check_records(payload, wrong_time, LIMITS)
    count = header.record_count + change
    wrong_count = dataclasses.replace(header, record_count=count, last_offset_delta=count - 1)
    with pytest.raises(CorruptBatch, match=f"has not the {count} records"):
        check_records(payload, wrong_count, LIMITS)


def test_more_than_the_limits_is_too_large() -> None:
    batch = read_batch(stamped_frame(Codec.ZSTD))
    for limits in (RecordLimits(1_000_000, 3), RecordLimits(100, 10)):
        with pytest.raises(RecordTooLarge):
            check_records(batch.payload, batch.header, limits)


@pytest.mark.parametrize("codec", list(Codec))
def test_payload_cut_at_any_byte_is_corrupt(codec: Codec) -> None:
    batch = read_batch(stamped_frame(codec))
    for size in range(len(batch.payload)):
        cut = Batch(header=batch.header, frame=batch.frame, payload=batch.payload[:size])
        with pytest.raises(CorruptBatch):
            list(read_records(cut, size_max=1000))
        with pytest.raises(CorruptBatch):
            check_records(cut.payload, cut.header, LIMITS)


@given(st.binary(max_size=60))
def test_any_bytes_are_records_or_corrupt(data: bytes) -> None:
    header = header_for(RECORDS)
    assert failure_of(lambda: list(decode_records(data, header))) is CorruptBatch
    assert failure_of(lambda: check_records(data, header, LIMITS)) is CorruptBatch


@pytest.mark.parametrize(
    "data",
    [
        b"\x12\x00",  # another field
        b"\x0a",  # no size
        b"\x0a\x80",  # half a size
        b"\x0a\x05\x08",  # a size beyond the end
        b"\x0a\xff\xff\xff\xff\xff\xff\x01",  # an impossible size
        b"\x0a\x02\x1a\x05",  # a key beyond its record
        b"\x0a\x05\x2a\x03\x0a\x01\xff",  # a header's name that is no UTF-8
        b"\x0a\x00" * 5 + b"\x0a\x01",
    ],
)
def test_malformed_records_are_corrupt(data: bytes) -> None:
    header = header_for(RECORDS)
    assert failure_of(lambda: list(decode_records(data, header))) is CorruptBatch
    assert failure_of(lambda: check_records(data, header, LIMITS)) is CorruptBatch


def test_field_of_a_newer_writer_inside_a_record_is_passed_over() -> None:
    payload = b"\x0a\x05" + b"\x22\x01v" + b"\x30\x07"  # value, and a field 6
    header = header_for([(None, b"v", 5, [])])
    check_records(payload, header, LIMITS)
    assert list(decode_records(payload, header)) == [Record(0, 5, None, b"v")]


def test_a_million_empty_records_never_become_objects_at_once() -> None:
    count = 500_000
    payload = compress(Codec.ZSTD, b"\x0a\x00" * count)
    header = header_for(
        RECORDS, record_count=1000, last_offset_delta=999, attributes=0x100 | Codec.ZSTD
    )
    tracemalloc.start()
    with pytest.raises(CorruptBatch):
        check_records(payload, header, LIMITS)
    _, peak_size = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_size < 3 * 2 * count


def test_payload_is_its_records_sizes_and_bytes() -> None:
    body = b"\x1a\x01k" + b"\x22\x01v"
    assert encode_records([(b"k", b"v", 9, [])]).payload == b"\x0a" + encode_varint(6) + body
