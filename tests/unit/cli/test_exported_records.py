"""Counting the records of an export, however its bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.storage.metadata.v1 import metadata_record_pb2 as records
from ottla_cli.directories import shown_size
from ottla_cli.exported_records import DamagedExportError, RecordCounter, summary

RECORDS = [
    records.ExportedRecord(cluster=records.ClusterRecord(cluster_id="c")),
    records.ExportedRecord(topic=records.TopicRecord(name="t" * 300)),
    records.ExportedRecord(partition=records.PartitionRecord(partition=1)),
    records.ExportedRecord(partition=records.PartitionRecord(partition=2)),
    records.ExportedRecord(config=records.ConfigRecord(configs={"a": "b" * 20_000})),
    records.ExportedRecord(end=records.ExportEnd(record_count=5, crc32c=77)),
]
COUNTS = {"cluster": 1, "topics": 1, "partitions": 2, "settings": 1}


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def exported() -> bytes:
    parts = [record.SerializeToString() for record in RECORDS]
    return b"".join(varint(len(part)) + part for part in parts)


def counted(*chunks: bytes) -> RecordCounter:
    counter = RecordCounter()
    for chunk in chunks:
        counter.feed(chunk)
    return counter


def test_records_are_counted_by_kind() -> None:
    counter = counted(exported())
    assert counter.counts == COUNTS
    assert counter.is_whole
    assert summary(counter.counts) == "1 topic, 2 partitions, 1 set of settings"


@given(st.lists(st.integers(1, 400), min_size=1, max_size=400))
def test_the_count_does_not_depend_on_where_bytes_are_cut(sizes: list[int]) -> None:
    rest, chunks = exported(), []
    for size in sizes:
        chunks.append(rest[:size])
        rest = rest[size:]
    counter = counted(*chunks, rest)
    assert counter.counts == COUNTS
    assert counter.is_whole


def test_one_byte_at_a_time_is_counted_too() -> None:
    assert counted(*(bytes([byte]) for byte in exported())).counts == COUNTS


def test_an_export_that_ends_early_is_not_whole() -> None:
    whole = exported()
    assert not counted(whole[:-1]).is_whole
    assert not counted(whole[:1]).is_whole
    assert not counted().is_whole
    end = RECORDS[-1].SerializeToString()
    assert not counted(whole[: -len(varint(len(end)) + end)]).is_whole, "between two records"


@pytest.mark.parametrize("data", [b"\x00\x01", b"no export at all", b"\xff" * 20, b"\x05\x08abcd"])
def test_what_is_no_export_is_told(data: bytes) -> None:
    with pytest.raises(DamagedExportError):
        counted(data)


@given(st.lists(st.binary(max_size=50)))
def test_any_bytes_are_counted_or_refused(chunks: list[bytes]) -> None:
    try:
        counted(*chunks)
    except DamagedExportError:
        return


def test_kinds_of_later_releases_are_others() -> None:
    later = varint(3) + b"\xfa\x01\x00"
    assert summary(counted(later).counts) == "1 other"


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (5 << 30, "5.0 GiB"),
        (1 << 62, "4,096.0 PiB"),
    ],
)
def test_sizes_are_shown_as_people_read_them(size: int, shown: str) -> None:
    assert shown_size(size) == shown
