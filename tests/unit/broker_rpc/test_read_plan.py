"""The bounds of a Read request, where it ends, and what its messages hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.api.fetch.v1 import fetch_pb2
from ottla.protocol.batch import stamp
from ottla.protocol.compression import Codec
from ottla.protocol.errors import CorruptLog, InvalidRequest, RecordTooLarge, UnsupportedVersion
from ottla.protocol.records import encode_record_batch
from ottla_broker.rpc.read_plan import (
    AtOffset,
    AtPosition,
    AtTime,
    BeforeEnd,
    ReadCursor,
    check_read,
)
from ottla_broker.rpc.read_responses import (
    DECOMPRESSED_SIZE_MAX,
    RESPONSE_SIZE_MAX,
    Positions,
    cut_batches,
)
from ottla_broker.rpc.records_decoding import RecordsDecoding

Request = fetch_pb2.ReadRequest
Start = fetch_pb2.ReadStart
EARLIEST, LATEST = fetch_pb2.OFFSET_POSITION_EARLIEST, fetch_pb2.OFFSET_POSITION_LATEST
UNKNOWN: list[Any] = [0, 77]  # values of enums that no contract names, and the one not said
POSITIONS = Positions(high_watermark=1_000, log_start_offset=0, leader_epoch=3)


def batches(*counts: int, first: int = 0, size: int = 10, codec: Codec = Codec.NONE) -> bytes:
    data = bytearray()
    offset = first
    for count in counts:
        values = [(None, b"%d" % (offset + each) + b"." * size, 5, ()) for each in range(count)]
        frame = encode_record_batch(values, codec=codec)
        stamp(frame, base_offset=offset, leader_epoch=3, append_time_ms=0)
        data += frame
        offset += count
    return bytes(data)


def cursor(
    next_offset: int = 0, *, stop: int | None = None, records: int | None = None
) -> ReadCursor:
    return ReadCursor(next_offset, stop, records, None)


def read(data: bytes, place: ReadCursor) -> list[fetch_pb2.ReadResponse]:
    """All messages about `data`, as a reader that sends them would make them."""
    messages = []
    decoding = RecordsDecoding(data, place)
    while (step := decoding.step(POSITIONS, size_max=RESPONSE_SIZE_MAX)) is not None:
        place.advance(next_offset=step.next_offset, record_count=step.record_count, size=step.size)
        messages.append(fetch_pb2.ReadResponse.FromString(step.message))
    return messages


def offsets(messages: Sequence[fetch_pb2.ReadResponse]) -> list[int]:
    return [record.offset for message in messages for record in message.records]


def test_every_way_to_begin_is_understood() -> None:
    starts = {
        AtOffset(7): Start(offset=7),
        AtTime(-5): Start(timestamp_ms=-5),
        BeforeEnd(3): Start(last_count=3),
        AtPosition(fetch_pb2.OFFSET_POSITION_EARLIEST): Start(
            position=fetch_pb2.OFFSET_POSITION_EARLIEST
        ),
        AtPosition(LATEST): Start(),
    }
    for expected, start in starts.items():
        assert check_read(Request(start=start)).start == expected


def test_ends_left_out_do_not_end_a_read() -> None:
    terms = check_read(Request())
    assert (terms.follows, terms.until_offset, terms.records_max, terms.bytes_max) == (
        True,
        None,
        None,
        None,
    )
    assert not terms.as_batches


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (Request(start=Start(offset=-1)), InvalidRequest),
        (Request(until=fetch_pb2.ReadUntil(offset=-2)), InvalidRequest),
        (Request(start=Start(position=UNKNOWN[0])), InvalidRequest),
        (Request(start=Start(position=fetch_pb2.OFFSET_POSITION_MAX_TIMESTAMP)), InvalidRequest),
        (Request(start=Start(position=UNKNOWN[1])), UnsupportedVersion),
        (Request(format=UNKNOWN[1]), UnsupportedVersion),
        (Request(isolation=UNKNOWN[1]), UnsupportedVersion),
    ],
)
def test_requests_that_make_no_sense_are_refused(bad: Request, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_read(bad)


def test_a_read_ends_at_the_watermark_of_its_beginning_or_at_an_offset() -> None:
    at_watermark = fetch_pb2.ReadUntil(high_watermark_at_start=fetch_pb2.HighWatermarkAtStart())
    terms = check_read(Request(until=at_watermark))
    assert ReadCursor.at(terms, start=5, high_watermark=9).stop_offset == 9
    terms = check_read(Request(until=fetch_pb2.ReadUntil(offset=7)))
    place = ReadCursor.at(terms, start=5, high_watermark=9)
    assert not place.is_done
    place.advance(next_offset=7, record_count=2, size=1)
    assert place.is_done


def test_records_and_bytes_are_counted_down() -> None:
    place = ReadCursor(0, None, 3, None)
    place.advance(next_offset=2, record_count=2, size=100)
    assert (place.records_left, place.is_done) == (1, False)
    place.advance(next_offset=9, record_count=7, size=100)
    assert (place.records_left, place.is_done) == (0, True)
    place = ReadCursor(0, None, None, 150)
    assert place.size_limit(1_000) == 150
    place.advance(next_offset=2, record_count=2, size=200)
    assert place.is_done


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.integers(0, 60),
    st.none() | st.integers(0, 60),
    st.none() | st.integers(1, 60),
)
def test_exactly_the_records_asked_for_come(
    counts: list[int], start: int, stop: int | None, most: int | None
) -> None:
    end = sum(counts)
    start = min(start, end - 1)
    place = cursor(start, stop=None if stop is None else max(stop, start + 1), records=most)
    expected = list(range(start, min(end, place.stop_offset or end)))[:most]
    messages = read(batches(*counts), place)
    assert offsets(messages) == expected
    assert place.next_offset == expected[-1] + 1
    assert messages[-1].next_offset == place.next_offset
    assert messages[-1].high_watermark == POSITIONS.high_watermark


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.integers(0, 60),
    st.none() | st.integers(0, 60),
    st.none() | st.integers(1, 60),
)
def test_a_cut_ends_with_the_batch_in_which_the_read_ends(
    counts: list[int], start: int, stop: int | None, most: int | None
) -> None:
    ends = [sum(counts[: each + 1]) for each in range(len(counts))]
    start = min(start, counts[0] - 1)
    place = cursor(start, stop=None if stop is None else max(stop, start + 1), records=most)
    last = next(
        end
        for end in ends
        if (place.stop_offset is not None and end >= place.stop_offset)
        or (most is not None and end - start >= most)
        or end == ends[-1]
    )
    cut = cut_batches(batches(*counts), place)
    assert cut.next_offset == last
    assert cut.size == len(batches(*counts[: ends.index(last) + 1]))
    assert cut.record_count == last - start


def test_long_slices_come_in_messages_of_a_mebibyte_at_most() -> None:
    data = batches(100, size=50_000)
    messages = read(data, cursor())
    assert offsets(messages) == list(range(100))
    assert len(messages) > 4
    assert max(message.ByteSize() for message in messages) <= RESPONSE_SIZE_MAX + 64


def test_a_batch_whose_records_are_all_gone_still_brings_the_reader_on() -> None:
    data = batches(3, first=10)
    messages = read(data, cursor(13))
    assert messages == []
    place = cursor(12, stop=13)
    assert offsets(read(data, place)) == [12]
    assert place.is_done


def test_damage_on_disk_is_told_from_a_bad_request() -> None:
    data = bytearray(batches(3))
    data[-1] ^= 1
    with pytest.raises(CorruptLog):
        read(bytes(data), cursor())


@pytest.mark.parametrize("size", [10, RESPONSE_SIZE_MAX // 4], ids=["one run", "several runs"])
def test_what_is_whole_before_a_damaged_batch_is_sent_before_the_error(size: int) -> None:
    data = bytearray(batches(3, 2, 1, size=size))
    data[len(batches(3, 2, size=size)) - 1] ^= 1
    place = cursor(1)
    messages = read(bytes(data), place)
    assert (offsets(messages), place.next_offset) == ([1, 2], 3)
    with pytest.raises(CorruptLog, match="offset 3"):
        read(bytes(data), place)


def test_a_batch_that_inflates_beyond_bounds_is_refused_and_says_what_to_do() -> None:
    data = batches(2, size=DECOMPRESSED_SIZE_MAX // 2, codec=Codec.ZSTD)
    with pytest.raises(RecordTooLarge, match="READ_FORMAT_BATCHES"):
        read(data, cursor())
