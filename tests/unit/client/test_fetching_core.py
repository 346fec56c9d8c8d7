"""Messages taken apart, held within their credit, and consumed from where the position is."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.api.fetch.v1 import fetch_pb2
from ottla.client.core.fetch_buffer import FetchBuffer
from ottla.client.core.fetch_wire import parse_response
from ottla.client.core.positions import PartitionPosition, start_earliest
from ottla.protocol.batch import stamp
from ottla.protocol.errors import CorruptBatch, CorruptLog, RecordTooLarge
from ottla.protocol.records import encode_record_batch


def frame(base_offset: int, *values: bytes, epoch: int = 1) -> bytes:
    made = encode_record_batch([(None, value, 5, ()) for value in values])
    stamp(made, base_offset=base_offset, leader_epoch=epoch, append_time_ms=0)
    return bytes(made)


def fields_of(message: bytes) -> list[bytes]:
    """The top-level fields of a FetchResponse, one by one, to be put in any order."""
    parsed = fetch_pb2.FetchResponse.FromString(message)
    names = [descriptor.name for descriptor, _ in parsed.ListFields()]
    found = []
    for name in names:
        copy = fetch_pb2.FetchResponse()
        copy.CopyFrom(parsed)
        for other in names:
            if other != name:
                copy.ClearField(other)  # type: ignore[arg-type]  # a name of its own
        found.append(copy.SerializeToString())
    return found


@given(order=st.randoms(use_true_random=False), batch_count=st.integers(0, 4))
def test_a_message_is_understood_whatever_order_its_fields_have(
    order: random.Random, batch_count: int
) -> None:
    head = fetch_pb2.FetchResponse(
        subscription_id=7,
        high_watermark=2**62,
        next_offset=300,
        aborted=[fetch_pb2.AbortedTransaction(producer_id=9)],
    )
    frames = [frame(number * 2, b"a", b"b") for number in range(batch_count)]
    pieces = [*fields_of(head.SerializeToString()), *frames]
    order.shuffle(pieces)
    found = parse_response(b"".join(pieces))
    assert found.fields == head
    assert bytes(found.batches) == b"".join(piece for piece in pieces if piece in frames)
    assert found.size == sum(map(len, pieces))


@given(st.binary(max_size=60))
def test_garbage_is_refused_or_parsed_and_never_anything_else(message: bytes) -> None:
    try:
        found = parse_response(message)
    except CorruptBatch:
        return
    assert len(found.batches) <= len(message)


class Held:
    def __init__(self, *, decompressed_size_max: int = 1 << 20) -> None:
        self.buffer = FetchBuffer(decompressed_size_max=decompressed_size_max)
        self.position = PartitionPosition("t", 0, start_earliest(), next_offset=0)
        self.position.subscription_id = 1
        self.returned: list[int] = []

    def add(
        self, *frames: bytes, next_offset: int, position: PartitionPosition | None = None
    ) -> None:
        batches = memoryview(b"".join(frames))
        self.buffer.add(
            position or self.position,
            batches,
            next_offset=next_offset,
            size=len(batches) + 10,
            release=self.returned.append,
        )

    def offsets(self) -> list[int] | None:
        records = self.buffer.next_records()
        return None if records is None else [record.offset for record in records]


def test_batches_come_one_by_one_and_credit_returns_with_the_last() -> None:
    test = Held()
    test.add(frame(0, b"a", b"b"), frame(2, b"c", epoch=4), next_offset=3)
    size = test.buffer.size
    assert (test.offsets(), test.position.next_offset, test.returned) == ([0, 1], 2, [])
    assert (test.offsets(), test.position.next_offset) == ([2], 3)
    assert (test.offsets(), test.returned, test.buffer.size) == (None, [size], 0)
    assert test.position.last_epoch == 4


def test_records_below_the_position_and_gaps_behind_batches_are_skipped() -> None:
    test = Held()
    test.position.next_offset = 3
    test.add(frame(0, b"a", b"b"), frame(2, b"c", b"d"), next_offset=9)
    assert test.offsets() == [3]
    assert (test.offsets(), test.position.next_offset) == (None, 9)


def test_dropping_a_partition_returns_its_credit_and_leaves_the_others() -> None:
    test = Held()
    other = PartitionPosition("t", 1, start_earliest(), next_offset=0, subscription_id=2)
    first, second = frame(0, b"a"), frame(1, b"longer")
    test.add(first, second, next_offset=2)
    test.add(second, next_offset=2)
    test.add(frame(0, b"other"), next_offset=1, position=other)
    assert test.offsets() == [0]  # half of the first message is taken
    test.buffer.drop(test.position)
    assert sorted(test.returned) == sorted([len(first) + len(second) + 10, len(second) + 10])
    assert (test.offsets(), other.next_offset) == ([0], 1)
    assert (test.offsets(), test.buffer.size) == (None, 0)
    assert test.position.next_offset == 1


def test_dropping_costs_what_is_held_of_the_partition_alone() -> None:
    test = Held()
    others = [
        PartitionPosition("t", number, start_earliest(), next_offset=0, subscription_id=number)
        for number in range(1, 3_000)
    ]
    one = frame(0, b"a")
    for position in others * 10:
        test.add(one, next_offset=1, position=position)
    test.add(one, next_offset=1)
    for position in others:  # minutes, if each looked at everything
        test.buffer.drop(position)
        test.add(one, next_offset=1, position=position)
        test.buffer.drop(position)
    assert (len(test.returned), test.buffer.size) == (11 * len(others), len(one) + 10)
    assert len(test.buffer._held) <= 2  # what was dropped isn't kept
    assert (test.offsets(), test.offsets(), test.buffer._of) == ([0], None, {})


def test_a_damaged_batch_stops_its_partition_and_says_where() -> None:
    test = Held()
    damaged = bytearray(frame(1, b"bbbb"))
    damaged[-1] ^= 1
    test.add(frame(0, b"a"), bytes(damaged), next_offset=2)
    assert test.offsets() == [0]
    with pytest.raises(CorruptLog, match="t-0 at 1") as caught:
        test.buffer.next_records()
    assert test.position.failure is caught.value
    assert (test.buffer.next_records(), len(test.returned)) == (None, 1)


def test_a_batch_that_decompresses_beyond_the_bound_stops_its_partition() -> None:
    test = Held(decompressed_size_max=50)
    test.add(frame(0, b"x" * 100), next_offset=1)
    with pytest.raises(RecordTooLarge):
        test.buffer.next_records()
    assert test.position.next_offset == 0
