"""Index logs: every piece that is whole is believed, nothing that is torn or out of order is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla_broker.core.index_file import IndexHead
from ottla_broker.core.index_log import (
    IndexPiece,
    LoggedIndex,
    decode_index_log,
    encode_piece,
)
from ottla_broker.core.sparse_index import OffsetIndex, TimeIndex

BASE = 5
BEYOND = 10**9


def piece(number: int, *, entries: int = 2, base_offset: int = BASE) -> IndexPiece:
    """The piece that ends at 100 bytes and 10 offsets for each number."""
    first = number * 10
    return IndexPiece(
        IndexHead(base_offset, (number + 1) * 100, BASE + first + 10, 7_000 + number, 42),
        number,
        OffsetIndex(
            [first + 1 + n for n in range(entries)], [number * 100 + n for n in range(entries)]
        ),
        TimeIndex([7_000 + first + n for n in range(entries)], [first + n for n in range(entries)]),
    )


def decoded(data: bytes, *, offset_max: int = BEYOND, size_max: int = BEYOND) -> LoggedIndex | None:
    return decode_index_log(data, base_offset=BASE, offset_max=offset_max, size_max=size_max)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6))
def test_pieces_come_back_as_one_index(counts: list[int]) -> None:
    pieces = [piece(number, entries=count) for number, count in enumerate(counts)]
    data = b"".join(map(encode_piece, pieces))
    logged = decoded(data)
    assert logged is not None
    assert (logged.head, logged.leader_epoch) == (pieces[-1].head, pieces[-1].leader_epoch)
    assert logged.file_size == len(data)
    assert list(logged.offset_index.offsets) == [
        one for each in pieces for one in each.offset_entries.offsets
    ]
    assert list(logged.offset_index.positions) == [
        one for each in pieces for one in each.offset_entries.positions
    ]
    assert list(logged.time_index.timestamps) == [
        one for each in pieces for one in each.time_entries.timestamps
    ]
    assert list(logged.time_index.offsets) == [
        one for each in pieces for one in each.time_entries.offsets
    ]


def test_log_torn_at_any_byte_holds_what_is_whole() -> None:
    parts = [encode_piece(piece(number)) for number in range(3)]
    data = b"".join(parts)
    ends = [len(parts[0]), len(parts[0] + parts[1]), len(data)]
    for size in range(len(data)):
        logged = decoded(data[:size])
        whole = [end for end in ends if end <= size]
        assert (logged.file_size if logged else 0) == (whole[-1] if whole else 0)


def test_flip_of_any_bit_ends_the_log_before_its_piece() -> None:
    first, second = encode_piece(piece(0)), encode_piece(piece(1))
    data = first + second
    for position in range(len(data)):
        for bit in (0x01, 0x80):
            damaged = bytearray(data)
            damaged[position] ^= bit
            logged = decoded(bytes(damaged))
            if position < len(first):
                assert logged is None
            else:
                assert logged is not None
                assert logged.file_size == len(first)


def test_what_lies_behind_an_offset_is_left_out() -> None:
    data = b"".join(encode_piece(piece(number)) for number in range(4))
    for offset_max, ends_at in [(BASE + 9, None), (BASE + 10, 10), (BASE + 29, 20), (BEYOND, 40)]:
        logged = decoded(data, offset_max=offset_max)
        assert (logged and logged.head.next_offset - BASE) == ends_at


def test_log_that_knows_of_more_than_there_is_means_nothing() -> None:
    data = encode_piece(piece(0)) + encode_piece(piece(1))
    assert decoded(data, size_max=199) is None
    later = decoded(data, size_max=199, offset_max=BASE + 10)
    assert later is not None
    assert later.head.log_size == 100


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"OIXP",
        b"\0" * 500,
        encode_piece(piece(0, base_offset=6)),
        encode_piece(replace(piece(0), head=IndexHead(BASE, 0, BASE, 0, 0))),
    ],
)
def test_something_else_is_no_index_log(data: bytes) -> None:
    assert decoded(data) is None


def test_piece_that_does_not_go_on_from_the_last_ends_the_log() -> None:
    parts = [encode_piece(piece(number)) for number in range(3)]
    for data in (parts[1] + parts[0], parts[1] + parts[1], parts[2] + parts[1]):
        logged = decoded(data)
        assert logged is not None
        assert logged.file_size == len(parts[0])
