"""Index files: what is written is read back, and damage is always found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla_broker.core.index_file import (
    INDEX_HEAD_SIZE,
    DamagedIndexError,
    IndexHead,
    IndexKind,
    decode_head,
    decode_index,
    encode_index,
)
from ottla_broker.core.sparse_index import IndexBuilder, OffsetIndex, TimeIndex

HEAD = IndexHead(
    base_offset=5, log_size=900, next_offset=77, max_timestamp_ms=1_234, created_ms=1_000
)


def built(count: int) -> IndexBuilder:
    builder = IndexBuilder(5, interval_bytes=0)
    for number in range(count):
        builder.add(
            base_offset=5 + number, position=number * 100, size=100, max_timestamp_ms=number * 3
        )
    return builder


@given(st.integers(0, 40))
def test_both_kinds_come_back_as_they_were(count: int) -> None:
    builder = built(count)
    offsets = encode_index(HEAD, builder.offset_index)
    times = encode_index(HEAD, builder.time_index)
    head, *columns = decode_index(memoryview(offsets), IndexKind.OFFSET)
    assert head == HEAD
    again = OffsetIndex(*columns)
    assert list(again.offsets) == list(builder.offset_index.offsets)
    assert list(again.positions) == list(builder.offset_index.positions)
    head, *columns = decode_index(memoryview(times), IndexKind.TIME)
    assert list(TimeIndex(*columns).timestamps) == list(builder.time_index.timestamps)
    assert encode_index(HEAD, again) == offsets


def test_head_is_read_without_the_columns() -> None:
    data = encode_index(HEAD, built(9).time_index)
    assert decode_head(data[:INDEX_HEAD_SIZE], IndexKind.TIME) == HEAD


@pytest.mark.parametrize("kind", list(IndexKind))
def test_a_flip_of_any_bit_is_found(kind: IndexKind) -> None:
    builder = built(6)
    index = builder.offset_index if kind is IndexKind.OFFSET else builder.time_index
    data = encode_index(HEAD, index)
    for position in range(len(data)):
        for bit in (0x01, 0x80):
            damaged = bytearray(data)
            damaged[position] ^= bit
            with pytest.raises(DamagedIndexError):
                decode_index(memoryview(damaged), kind)


@pytest.mark.parametrize("kind", list(IndexKind))
def test_a_cut_at_any_byte_is_found(kind: IndexKind) -> None:
    builder = built(6)
    index = builder.offset_index if kind is IndexKind.OFFSET else builder.time_index
    data = encode_index(HEAD, index)
    for size in range(len(data)):
        with pytest.raises(DamagedIndexError):
            decode_index(memoryview(data[:size]), kind)


def test_one_kind_is_not_taken_for_the_other() -> None:
    data = encode_index(HEAD, built(3).offset_index)
    with pytest.raises(DamagedIndexError, match="not an index of this kind"):
        decode_index(memoryview(data), IndexKind.TIME)
