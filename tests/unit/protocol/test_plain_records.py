"""Thin clients' records: in with the broker's clock, out with offsets, times and headers."""

from __future__ import annotations

from hypothesis import given

from ottla.api.record.v1 import record_pb2
from ottla.protocol.batch import encode_batch, read_batch, stamp
from ottla.protocol.compression import Codec
from ottla.protocol.plain_records import plain_records, record_inputs
from ottla.protocol.records import RecordInput, encode_record_batch, encode_records

from .examples import RECORDS, record_lists, stamped_frame


@given(record_lists)
def test_published_records_are_read_back(records: list[RecordInput]) -> None:
    published = [
        record_pb2.PlainRecord(
            timestamp_ms=abs(timestamp_ms) or 1,
            key=key,
            value=value,
            headers=[record_pb2.Header(key=name, value=text) for name, text in headers],
        )
        for key, value, timestamp_ms, headers in records
    ]
    frame = encode_record_batch(record_inputs(published, now_ms=5), codec=Codec.LZ4)
    stamp(frame, base_offset=70, leader_epoch=0, append_time_ms=0)
    read = list(plain_records(read_batch(frame), size_max=10**6))
    for index, record in enumerate(published):
        record.offset = 70 + index
    assert read == published


def test_time_of_zero_or_less_means_now() -> None:
    records = [record_pb2.PlainRecord(timestamp_ms=time_ms) for time_ms in (-5, 0, 7)]
    assert [given[2] for given in record_inputs(records, now_ms=99)] == [99, 99, 7]


def test_offsets_before_the_one_asked_for_are_left_out() -> None:
    batch = read_batch(stamped_frame(Codec.ZSTD))
    read = plain_records(batch, size_max=1000, from_offset=1002)
    assert [record.offset for record in read] == [1002, 1003]


def test_control_batch_has_no_records_for_applications() -> None:
    encoded = encode_records(RECORDS)
    frame = encode_batch(
        encoded.payload,
        codec=Codec.NONE,
        record_count=encoded.record_count,
        last_offset_delta=encoded.last_offset_delta,
        base_timestamp_ms=encoded.base_timestamp_ms,
        max_timestamp_ms=encoded.max_timestamp_ms,
        is_control=True,
    )
    assert list(plain_records(read_batch(frame), size_max=1000)) == []
