"""Buffers that are used again, and only when nobody can see it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ottla_broker.transport.grpc_frames import MessageAssembler, prefix
from ottla_broker.transport.message_buffers import MessageBuffers

KIB = 1024


def kept(buffers: MessageBuffers, size: int) -> memoryview:
    """A view of a new buffer that is kept."""
    buffer = bytearray(size)
    buffers.keep(buffer)
    return memoryview(buffer)


def test_a_buffer_is_used_again_when_its_last_view_is_gone() -> None:
    buffers = MessageBuffers()
    view = kept(buffers, 100 * KIB)
    part = view[10:20].toreadonly()
    assert buffers.used_again(100 * KIB) is None
    del view
    assert buffers.used_again(100 * KIB) is None
    del part
    again = buffers.used_again(100 * KIB)
    assert again is not None
    assert len(again) == 100 * KIB
    # Whoever got it holds it.
    assert buffers.used_again(100 * KIB) is None


def test_a_buffer_much_larger_than_the_message_is_left_for_others() -> None:
    buffers = MessageBuffers()
    kept(buffers, 1024 * KIB)
    assert buffers.used_again(100 * KIB) is None
    assert buffers.used_again(1025 * KIB) is None
    assert buffers.used_again(256 * KIB) is not None


def test_small_buffers_are_not_kept() -> None:
    buffers = MessageBuffers()
    kept(buffers, KIB)
    assert buffers.kept_size == 0


def test_new_buffers_take_the_place_of_unseen_ones_and_never_of_seen_ones() -> None:
    buffers = MessageBuffers(kept_size_max=300 * KIB)
    seen = [kept(buffers, 100 * KIB) for _ in range(2)]
    kept(buffers, 100 * KIB)
    kept(buffers, 90 * KIB)
    assert buffers.kept_size == 290 * KIB
    last = kept(buffers, 110 * KIB)
    assert buffers.kept_size == 200 * KIB
    assert buffers.used_again(100 * KIB) is None
    del seen, last
    assert buffers.used_again(100 * KIB) is not None


@given(st.lists(st.tuples(st.integers(1, 500), st.booleans()), max_size=60))
def test_what_is_kept_stays_within_its_bound_and_views_keep_their_bytes(
    steps: list[tuple[int, bool]],
) -> None:
    buffers = MessageBuffers(kept_size_max=1000 * KIB)
    held: list[tuple[int, memoryview]] = []
    for number, (size_kib, let_go) in enumerate(steps):
        size = size_kib * KIB
        buffer = buffers.used_again(size)
        if buffer is None:
            buffer = bytearray(size)
            buffers.keep(buffer)
        mark = number % 251
        view = memoryview(buffer)[:size]
        view[0] = view[-1] = mark
        held.append((mark, view.toreadonly()))
        del view, buffer
        if let_go:
            held.pop(0)
        assert buffers.kept_size <= 1000 * KIB
        assert all(view[0] == view[-1] == mark for mark, view in held)


def receive(assembler: MessageAssembler, message: bytes, *, piece_size: int) -> memoryview:
    """Feed a message in pieces and take it."""
    data = memoryview(prefix(len(message), compressed=False) + message)
    for start in range(0, len(data), piece_size):
        assembler.feed(data[start : start + piece_size])
    return assembler.take().payload


def test_large_messages_of_a_stream_come_in_one_buffer_once_the_last_is_let_go() -> None:
    buffers = MessageBuffers()
    assembler = MessageAssembler(size_max=1 << 20, reserve=lambda _: True, buffers=buffers)
    first = receive(assembler, b"a" * 300 * KIB, piece_size=20_000)
    kept_size = buffers.kept_size
    second = receive(assembler, b"b" * 300 * KIB, piece_size=20_000)
    assert buffers.kept_size > kept_size
    assert bytes(first) + bytes(second) == b"a" * 300 * KIB + b"b" * 300 * KIB
    kept_size = buffers.kept_size
    for letter in (b"c", b"d", b"e"):
        first = receive(assembler, letter * 250 * KIB, piece_size=20_000)
        assert first == letter * 250 * KIB
        assert first.readonly
        assert second == b"b" * 300 * KIB
    # The two buffers took turns.
    assert buffers.kept_size <= kept_size + 300 * KIB


def test_a_half_message_reserves_what_has_come_and_not_what_it_announces() -> None:
    reserved: list[int] = []

    def reserve(size: int) -> bool:
        reserved.append(size)
        return True

    buffers = MessageBuffers()
    assembler = MessageAssembler(size_max=1 << 20, reserve=reserve, buffers=buffers)
    assembler.feed(memoryview(prefix(1 << 20, compressed=False) + b"x"))
    assert sum(reserved) == 64 * KIB
    assert buffers.kept_size == 0
