"""The writer against a port that takes as little as it likes: every byte, in order, once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla_broker.transport.byte_ports import TruncatedFile
from ottla_broker.transport.page_cache import ColdPages, PageCache
from ottla_broker.transport.stream import FileRange, Part
from ottla_broker.transport.writer import WriteBuffer, Writer

from .client import FakeFile

CONTENT = bytes(range(256)) * 1_200


class StingyPort:
    """Takes `allowances` bytes in turn, 0 meaning that the socket is full."""

    reads_when_writable = False
    may_hold_received_bytes = False

    def __init__(self, allowances: Iterator[int], *, sends_files: bool = True) -> None:
        self.sends_files = sends_files
        self.sent = bytearray()
        self.calls: list[tuple[str, int, bool]] = []
        self._allowances = allowances

    def _allowed(self) -> int:
        allowed = next(self._allowances, 1 << 30)
        if not allowed:
            raise BlockingIOError
        return allowed

    def send(self, pieces: Sequence[bytes | memoryview], *, more: bool) -> int:
        data = b"".join(pieces)[: self._allowed()]
        self.sent += data
        self.calls.append(("send", len(data), more))
        return len(data)

    def send_file(self, piece: FileRange) -> int:
        assert self.sends_files
        data = os.pread(piece.file.fileno(), min(piece.size, self._allowed()), piece.position)
        if not data:
            raise TruncatedFile
        self.sent += data
        self.calls.append(("send_file", len(data), False))
        return len(data)

    def fileno(self) -> int:
        return -1

    def handshake(self) -> None: ...

    def receive_into(self, buffers: Sequence[memoryview]) -> int:
        raise BlockingIOError

    def finish_sending(self) -> None: ...

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        return {}

    def close(self) -> None: ...


class Context:
    """A writer, the portions it will be given, and what all of them amount to."""

    def __init__(self, port: StingyPort, portions: list[list[Part]]) -> None:
        self.port = port
        self.portions = portions
        self.warm = True
        self.writer = Writer(port, self._take, probe=lambda _: self.warm, buffer=WriteBuffer())

    def _take(self, size_max: int) -> list[Part]:
        return self.portions.pop(0) if self.portions else []

    def write_all(self) -> None:
        while True:
            try:
                if self.writer.write():
                    return
            except BlockingIOError:
                continue


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    path = tmp_path_factory.mktemp("writer") / "content"
    path.write_bytes(CONTENT)
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


ranges = st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(1, 100_000)).map(
    lambda pair: (pair[0], min(pair[1], len(CONTENT) - pair[0]))
)
pieces = st.one_of(st.binary(min_size=1, max_size=50), ranges)


@given(
    portions=st.lists(st.lists(pieces, min_size=1, max_size=12), max_size=4),
    allowances=st.lists(st.sampled_from([0, 1, 7, 1_000, 40_000, 10**6]), max_size=30),
    sends_files=st.booleans(),
)
def test_whatever_the_socket_takes_the_bytes_go_out_in_order_and_files_are_let_go(
    content: int,
    portions: list[list[bytes | tuple[int, int]]],
    allowances: list[int],
    *,
    sends_files: bool,
) -> None:
    file = FakeFile(content)
    expected = b""
    planned: list[list[Part]] = []
    for portion in portions:
        parts: list[Part] = []
        for piece in portion:
            if isinstance(piece, bytes):
                parts.append(piece)
                expected += piece
            else:
                file.acquire()
                parts.append(FileRange(file, *piece))
                expected += CONTENT[piece[0] : piece[0] + piece[1]]
        planned.append(parts)
    context = Context(StingyPort(iter(allowances), sends_files=sends_files), planned)
    context.write_all()
    assert bytes(context.port.sent) == expected
    assert context.writer.written_size == len(expected)
    assert not context.writer.busy
    assert file.holders == 1


def test_a_large_range_follows_its_header_without_a_copy(content: int) -> None:
    port = StingyPort(iter(()))
    parts: list[Part] = [b"header", FileRange(FakeFile(content), 0, 100_000), b"next"]
    Context(port, [parts]).write_all()
    assert port.calls == [("send", 6, True), ("send_file", 100_000, False), ("send", 4, False)]


def test_small_frames_leave_together_in_one_call(content: int) -> None:
    port = StingyPort(iter(()))
    file = FakeFile(content)
    file.holders = 10
    parts: list[Part] = []
    for number in range(10):
        parts += [b"header-%d" % number, FileRange(file, number * 16_384, 16_384)]
    Context(port, [parts]).write_all()
    assert port.calls == [("send", 10 * (8 + 16_384), False)]


@pytest.mark.parametrize("size", [1_000, 100_000])
def test_a_range_past_the_end_of_its_file_is_never_filled_with_anything(
    content: int, size: int
) -> None:
    port = StingyPort(iter(()))
    file = FakeFile(content)
    start = len(CONTENT) - 10
    context = Context(port, [[b"header", FileRange(file, start, size)]])
    with pytest.raises(TruncatedFile):
        context.write_all()
    assert bytes(port.sent) in (b"header" + CONTENT[-10:], b"")
    context.writer.drop()
    assert file.holders == 0


def test_a_range_that_became_cold_while_the_socket_was_full_is_not_sent_before_it_is_read(
    content: int,
) -> None:
    port = StingyPort(iter((6, 30_000, 0)))
    file = FakeFile(content)
    context = Context(port, [[b"header", FileRange(file, 0, 100_000)]])
    with pytest.raises(BlockingIOError):
        context.writer.write()
    context.warm = False
    with pytest.raises(ColdPages) as cold:
        context.writer.write()
    assert (cold.value.piece.position, cold.value.piece.size) == (30_000, 70_000)
    context.writer.warmed()
    context.write_all()
    assert bytes(port.sent) == b"header" + CONTENT[:100_000]
    assert file.holders == 0


def test_a_range_read_in_a_thread_is_held_until_the_caller_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    path.write_bytes(CONTENT)
    descriptor = os.open(path, os.O_RDONLY)
    file = FakeFile(descriptor)
    cache = PageCache()
    outcomes: SimpleQueue[BaseException | None] = SimpleQueue()
    cache.read_ahead(FileRange(file, 100, 200_000), outcomes.put)
    cache.read_ahead(FileRange(file, 0, len(CONTENT) + 5), outcomes.put)
    cache.close()
    assert [outcomes.get(timeout=30), outcomes.get(timeout=30)] == [None, None]
    assert file.holders == 3
    os.close(descriptor)


def test_an_unreadable_range_is_reported_to_the_caller() -> None:
    cache = PageCache()
    outcomes: SimpleQueue[BaseException | None] = SimpleQueue()
    cache.read_ahead(FileRange(FakeFile(-1), 0, 10), outcomes.put)
    cache.close()
    assert isinstance(outcomes.get(timeout=30), OSError)
