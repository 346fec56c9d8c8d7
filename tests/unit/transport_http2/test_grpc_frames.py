"""Length-prefixed messages, however their bytes are cut, within their bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla_broker.transport.byte_budget import BudgetShare, ByteBudget
from ottla_broker.transport.grpc_frames import (
    MessageAssembler,
    OutOfMemoryBudget,
    prefix,
)
from ottla_broker.transport.stream import MalformedMessage, MessageTooLarge


class Context:
    def __init__(self, *, size_max: int = 4 << 20, memory: int = 1 << 30) -> None:
        self.budget = ByteBudget(memory)
        self.share = BudgetShare(self.budget, limit=memory)
        self.assembler = MessageAssembler(size_max=size_max, reserve=self.share.reserve)

    def feed(self, data: bytes) -> None:
        self.assembler.feed(memoryview(data))

    def take_all(self) -> list[tuple[bytes, bool]]:
        taken = []
        while self.assembler.messages:
            message = self.assembler.take()
            assert message.payload.readonly
            taken.append((bytes(message.payload), message.compressed))
        return taken


def framed(payload: bytes, *, compressed: bool = False) -> bytes:
    return prefix(len(payload), compressed=compressed) + payload


messages = st.lists(
    st.tuples(
        st.one_of(st.binary(max_size=50), st.integers(60_000, 300_000).map(lambda n: b"m" * n)),
        st.booleans(),
    ),
    max_size=6,
)


@given(messages, st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=12))
def test_messages_come_out_whole_however_their_bytes_are_cut(
    sent: list[tuple[bytes, bool]], cuts: list[tuple[float, bool]]
) -> None:
    context = Context()
    stream = b"".join(framed(payload, compressed=flag) for payload, flag in sent)
    ends = sorted((int(part * len(stream)), direct) for part, direct in cuts)
    position = 0
    for end, direct in [*ends, (len(stream), False)]:
        room = context.assembler.room() if direct else None
        if room is not None:
            count = min(end - position, len(room))
            room[:count] = stream[position : position + count]
            context.assembler.received(count)
            position += count
        context.feed(stream[position:end])
        position = end
    assert context.take_all() == sent
    assert not context.assembler.inside_message
    assert context.assembler.held_size == 0


def test_a_payload_outlives_the_buffer_it_came_in() -> None:
    context = Context()
    data = bytearray(framed(b"keep me"))
    context.assembler.feed(memoryview(data))
    data[:] = bytes(len(data))
    assert context.take_all() == [(b"keep me", False)]


def test_a_length_prefix_alone_reserves_nothing() -> None:
    context = Context()
    context.feed(prefix(4 << 20, compressed=False))
    assert context.assembler.inside_message
    assert context.assembler.held_size == 0
    context.feed(b"x" * 100)
    assert context.budget.used == 64 * 1024


def test_the_buffer_grows_with_what_has_arrived() -> None:
    context = Context()
    context.feed(prefix(4 << 20, compressed=False))
    received = 0
    while received < 2 << 20:
        context.feed(b"x" * 16_384)
        received += 16_384
        assert context.budget.used <= max(4 * received, 64 * 1024)


def test_a_message_above_the_limit_is_refused_before_any_of_it_is_kept() -> None:
    context = Context(size_max=100)
    context.feed(framed(b"fine") + prefix(101, compressed=False) + b"y" * 101)
    assert context.take_all() == [(b"fine", False)]
    refused = context.assembler.refused
    assert isinstance(refused, MessageTooLarge)
    assert (refused.size, refused.limit) == (101, 100)
    assert str(refused) == "received message larger than max (101 vs. 100)"
    context.feed(b"y" * 10_000)
    assert context.assembler.held_size == 0


def test_a_message_of_exactly_the_limit_is_taken() -> None:
    context = Context(size_max=100)
    context.feed(framed(b"z" * 100))
    assert context.take_all() == [(b"z" * 100, False)]


def test_a_compressed_flag_that_is_no_flag_is_refused() -> None:
    context = Context()
    context.feed(b"\x02\0\0\0\1a")
    assert isinstance(context.assembler.refused, MalformedMessage)


def test_bytes_beyond_the_budget_are_not_taken() -> None:
    context = Context(memory=100_000)
    context.feed(prefix(200_000, compressed=False) + b"a" * 60_000)
    with pytest.raises(OutOfMemoryBudget):
        context.feed(b"a" * 60_000)
    assert context.budget.used == 64 * 1024


def test_a_share_is_bounded_by_itself_and_by_the_whole() -> None:
    budget = ByteBudget(100)
    first, second = BudgetShare(budget, limit=60), BudgetShare(budget, limit=60)
    assert first.reserve(60)
    assert not first.reserve(1)
    assert second.reserve(40)
    assert not second.reserve(1)
    first.adjust(-10)
    assert second.reserve(10)
    assert first.exhausted
    second.close()
    assert budget.used == 50


def test_dropping_gives_everything_back() -> None:
    context = Context()
    context.feed(framed(b"a" * 1_000) + prefix(500_000, compressed=False) + b"b" * 10)
    assert context.assembler.drop() == context.budget.used
    assert not context.assembler.inside_message
    assert context.take_all() == []


def test_a_prefix_in_two_pieces_and_an_empty_message_are_understood() -> None:
    context = Context()
    context.feed(b"\1\0")
    assert context.assembler.inside_message
    context.feed(b"\0\0\0")
    assert context.take_all() == [(b"", True)]
