"""Records decoded a column at a time are those decoded one by one, and bad ones are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.api.record.v1 import record_pb2
from ottla.client.core import record_columns
from ottla.client.core.record_columns import decode_batch
from ottla.protocol.batch import encode_batch, read_batch, stamp
from ottla.protocol.compression import Codec
from ottla.protocol.errors import CorruptBatch
from ottla.protocol.records import RecordInput, encode_record_batch, read_records

from ..protocol.examples import record_lists

SIZE_MAX = 1 << 20


def stamped(frame: bytearray, *, append_time_ms: int = 0) -> bytearray:
    stamp(frame, base_offset=100, leader_epoch=3, append_time_ms=append_time_ms)
    return frame


@given(
    records=record_lists,
    codec=st.sampled_from(Codec),
    append_time_ms=st.sampled_from([0, 1_700_000_000_000]),
    skipped=st.integers(0, 14),
)
def test_columns_give_what_one_by_one_gives(
    records: list[RecordInput], codec: Codec, append_time_ms: int, skipped: int
) -> None:
    frame = stamped(encode_record_batch(records, codec=codec), append_time_ms=append_time_ms)
    batch = read_batch(frame)
    expected = [
        ("t", 4, *record)
        for record in read_records(batch, size_max=SIZE_MAX)
        if record.offset >= 100 + skipped
    ]
    runs = decode_batch(batch, "t", 4, from_offset=100 + skipped, size_max=SIZE_MAX)
    assert [tuple(record) for run in runs for record in run] == expected


def test_a_payload_too_large_for_one_go_comes_in_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_columns, "BULK_SIZE_MAX", 100)
    frame = stamped(encode_record_batch([(None, b"v", 5, ())] * 2_500))
    runs = list(decode_batch(read_batch(frame), "t", 0, from_offset=110, size_max=SIZE_MAX))
    assert [len(run) for run in runs] == [1_024, 1_024, 442]
    assert (runs[0][0].offset, runs[-1][-1].offset) == (110, 2_599)


def broken(deltas: list[int], *, count: int, last: int, time_delta: int = 0) -> bytes:
    records = record_pb2.Records(
        records=[
            record_pb2.Record(offset_delta=delta, value=b"v", timestamp_delta=time_delta)
            for delta in deltas
        ]
    )
    return bytes(
        stamped(
            encode_batch(
                records.SerializeToString(),
                codec=Codec.NONE,
                record_count=count,
                last_offset_delta=last,
                base_timestamp_ms=1_000,
                max_timestamp_ms=1_000,
            )
        )
    )


@pytest.mark.parametrize(
    "frame",
    [
        broken([0, 1], count=3, last=2),
        broken([1, 0], count=2, last=1),
        broken([0, 0], count=2, last=1),
        broken([0, 9], count=2, last=5),
        broken([-1, 0], count=2, last=1),
        broken([0], count=1, last=0, time_delta=2**63 - 1),
    ],
)
def test_records_that_contradict_their_header_are_refused(frame: bytes) -> None:
    with pytest.raises(CorruptBatch):
        list(decode_batch(read_batch(frame), "t", 0, from_offset=0, size_max=SIZE_MAX))


def test_gaps_that_compaction_left_are_kept() -> None:
    frame = broken([0, 3, 7], count=3, last=9)
    (run,) = decode_batch(read_batch(frame), "t", 0, from_offset=0, size_max=SIZE_MAX)
    assert [record.offset for record in run] == [100, 103, 107]


def test_a_payload_that_is_no_records_is_refused() -> None:
    frame = stamped(
        encode_batch(
            b"\x0a\xff", codec=Codec.NONE, record_count=1, last_offset_delta=0,
            base_timestamp_ms=0, max_timestamp_ms=0,
        )
    )  # fmt: skip
    with pytest.raises(CorruptBatch):
        list(decode_batch(read_batch(frame), "t", 0, from_offset=0, size_max=SIZE_MAX))


def test_control_batches_hold_nothing_for_applications() -> None:
    frame = stamped(
        encode_batch(
            b"", codec=Codec.NONE, record_count=1, last_offset_delta=0,
            base_timestamp_ms=0, max_timestamp_ms=0, is_control=True,
        )
    )  # fmt: skip
    batch = read_batch(frame)
    assert list(decode_batch(batch, "t", 0, from_offset=0, size_max=SIZE_MAX)) == []
