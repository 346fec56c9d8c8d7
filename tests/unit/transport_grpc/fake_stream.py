"""A `GrpcStream` in memory: a test is its client, and reads what was sent."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ottla_broker.transport.stream import (
    FileRange,
    Header,
    InboundMessage,
    Part,
    StreamReset,
)

REQUEST_HEADERS: tuple[Header, ...] = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/test.Service/Method"),
    (b":authority", b"localhost"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
    (b"user-agent", b"fake/1"),
)


def request_headers(
    method: str = "Method", *, without: bytes = b"", extra: Sequence[Header] = ()
) -> list[Header]:
    """The headers of a call to `test.Service`, one left out, others added or replaced."""
    replaced = {name for name, _ in extra if name.startswith(b":") or name == b"content-type"}
    kept = [item for item in REQUEST_HEADERS if item[0] not in {without, *replaced}]
    path = (b":path", b"/test.Service/" + method.encode())
    kept = [path if name == b":path" else (name, value) for name, value in kept]
    return [*kept, *extra]


class FakeFile:
    """Counts its holders, as a `FileOwner`."""

    def __init__(self, descriptor: int = -1) -> None:
        self.holders = 0
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def acquire(self) -> None:
        self.holders += 1

    def release(self) -> None:
        self.holders -= 1


class FakeStream:
    """One request; `room` messages fit before `send_message` waits for `make_room`."""

    def __init__(self, headers: Sequence[Header] = REQUEST_HEADERS, *, room: int = 1000) -> None:
        self.stream_id = 1
        self.headers = tuple(headers)
        self.peer = "ipv4:127.0.0.1:5000"
        self.auth_context: dict[str, Sequence[bytes]] = {}
        self.sent_headers: Any = None
        self.sent: list[bytes] = []
        self.sent_compressed: list[bool] = []
        self.sent_files: list[FakeFile] = []
        self.trailers: Any = None
        self.reset_code: int | None = None
        self._inbound: deque[InboundMessage | Exception | None] = deque()
        self._arrived = asyncio.Event()
        self._room = room
        self._room_made = asyncio.Event()
        self._reset: StreamReset | None = None
        self._callbacks: list[Callable[[StreamReset | None], None]] = []
        self.over = asyncio.Event()

    # The client's side

    def request(self, payload: bytes, *, compressed: bool = False) -> FakeStream:
        self._arrive(InboundMessage(memoryview(payload).toreadonly(), compressed))
        return self

    def end_requests(self) -> FakeStream:
        self._arrive(None)
        return self

    def break_requests(self, error: Exception) -> FakeStream:
        self._arrive(error)
        return self

    def client_resets(self, error_code: int = 8) -> None:
        self._reset = StreamReset(error_code)
        self._arrive(self._reset)
        self._room_made.set()
        self._end(self._reset)

    def make_room(self, count: int) -> None:
        self._room += count
        self._room_made.set()

    def status(self) -> tuple[int, str]:
        """The call's status and message, from its trailers."""
        fields = dict(self.trailers or ())
        return int(fields[b"grpc-status"]), fields.get(b"grpc-message", b"").decode()

    def _arrive(self, item: InboundMessage | Exception | None) -> None:
        self._inbound.append(item)
        self._arrived.set()

    def _end(self, reset: StreamReset | None) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(reset)
        self.over.set()

    # The server's side

    def receive_nowait(self) -> InboundMessage | None:
        if not self._inbound or self._inbound[0] is None:
            return None
        item = self._inbound.popleft()
        if isinstance(item, Exception):
            self._inbound.appendleft(item)
            raise item
        return item

    async def receive(self) -> InboundMessage | None:
        while not self._inbound:
            self._arrived.clear()
            await self._arrived.wait()
        return self.receive_nowait()

    async def send_headers(self, headers: Sequence[Header]) -> None:
        self._check_open()
        assert self.sent_headers is None, "response headers are sent once"
        self.sent_headers = list(headers)

    def send_message_nowait(self, parts: Sequence[Part], *, compressed: bool = False) -> bool:
        try:
            self._check_open()
        except StreamReset:
            _release(parts)
            raise
        assert self.sent_headers is not None, "response headers go before messages"
        if self._room == 0:
            return False
        self._room -= 1
        self.sent.append(b"".join(_bytes_of(part) for part in parts))
        self.sent_compressed.append(compressed)
        _release(parts)
        return True

    def writable_nowait(self) -> int:
        return 65_535 if self._room > 0 else 0

    async def writable(self) -> int:
        while not self._room:
            self._room_made.clear()
            await self._room_made.wait()
        return self.writable_nowait()

    async def send_message(self, parts: Sequence[Part], *, compressed: bool = False) -> None:
        try:
            while self._room == 0 and self._reset is None:
                self._room_made.clear()
                await self._room_made.wait()
            self._check_open()
        except BaseException:
            _release(parts)
            raise
        self.send_message_nowait(parts, compressed=compressed)

    async def send_trailers(self, headers: Sequence[Header]) -> None:
        self._check_open()
        assert self.trailers is None, "trailers are sent once"
        names = [name for name, _ in headers]
        assert (b":status" in names) == (self.sent_headers is None), "one :status a response"
        self.trailers = list(headers)
        self._end(None)

    def reset(self, error_code: int) -> None:
        self.reset_code = error_code
        self._end(StreamReset(error_code))

    def add_done_callback(self, callback: Callable[[StreamReset | None], None]) -> None:
        self._callbacks.append(callback)

    def _check_open(self) -> None:
        if self._reset is not None:
            raise self._reset


def _bytes_of(part: Part) -> bytes:
    return b"<%d>" % part.size if isinstance(part, FileRange) else bytes(part)


def _release(parts: Sequence[Part]) -> None:
    for part in parts:
        if isinstance(part, FileRange):
            part.file.release()
