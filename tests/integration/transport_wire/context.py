"""A listener with small handlers behind it, and a client of raw frames on a real socket."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from hpack import Encoder
from unit.transport_http2.client import REQUEST, RESPONSE, TRAILERS, Frame, frame

from kit.clock import ManualClock
from ottla_broker.transport.addresses import bound_sockets
from ottla_broker.transport.http2 import frames as wire
from ottla_broker.transport.limits import TransportLimits
from ottla_broker.transport.listener import Listener
from ottla_broker.transport.stream import FileRange, GrpcStream, Header, StreamReset

CERTIFICATES = Path(__file__).parents[2] / "kit" / "tls"

_PATIENCE_S = 30

Handler = Callable[[GrpcStream], Coroutine[Any, Any, None]]


class OpenFile:
    """A `FileOwner` over a file of the test; the last release closes it."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)
        self.holders = 1

    def fileno(self) -> int:
        assert self.holders > 0
        return self.descriptor

    def acquire(self) -> None:
        assert self.holders > 0
        self.holders += 1

    def release(self) -> None:
        self.holders -= 1
        assert self.holders >= 0
        if not self.holders:
            os.close(self.descriptor)

    def range(self, position: int, size: int) -> FileRange:
        """A range whose reference is the transport's to give up."""
        self.acquire()
        return FileRange(self, position, size)


class Server:
    """The arranged context: a listener, its clock, and what its handlers have met."""

    def __init__(self, group: asyncio.TaskGroup, limits: TransportLimits) -> None:
        self.clock = ManualClock()
        self.handlers: dict[bytes, Handler] = {b"/echo": echo, b"/count": count}
        self.resets: list[int] = []
        self.streams: list[GrpcStream] = []
        self.listener = Listener(self._on_stream, limits, clock=self.clock)
        self._group = group

    def listen(self, address: str = "127.0.0.1:0", *, tls: ssl.SSLContext | None = None) -> int:
        """Accept what comes to an address; returns its port."""
        (bound,) = bound_sockets(address)
        self.listener.serve(bound, tls)
        return int(bound.getsockname()[1])

    def _on_stream(self, stream: GrpcStream) -> None:
        self.streams.append(stream)
        path = dict(stream.headers)[b":path"]
        self._group.create_task(self._run(self.handlers[path], stream), name="handler")

    async def _run(self, handler: Handler, stream: GrpcStream) -> None:
        try:
            await handler(stream)
        except StreamReset as reset:
            self.resets.append(reset.error_code)

    def pass_time(self, ms: int) -> None:
        """Move the clock on and let the listener look at it."""
        self.clock.tick(ms)
        self.listener.sweep()


async def echo(stream: GrpcStream) -> None:
    """Every message back."""
    await stream.send_headers(RESPONSE)
    while (message := await stream.receive()) is not None:
        await stream.send_message([message.payload], compressed=message.compressed)
    await stream.send_trailers(TRAILERS)


async def count(stream: GrpcStream) -> None:
    """Takes every message, then says how many and how many bytes."""
    messages = size = 0
    while (message := await stream.receive()) is not None:
        messages += 1
        size += len(message.payload)
    await stream.send_headers(RESPONSE)
    await stream.send_message([b"%d %d" % (messages, size)])
    await stream.send_trailers(TRAILERS)


@asynccontextmanager
async def serving(limits: TransportLimits | None = None) -> AsyncIterator[Server]:
    """A server that is closed, with all its handlers, at the end of the block."""
    # Not a time to meet: a scenario that waits for what never comes fails instead of hanging.
    async with asyncio.timeout(_PATIENCE_S), asyncio.TaskGroup() as group:
        server = Server(group, limits or TransportLimits())
        try:
            yield server
        finally:
            await server.listener.close()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something holds that no event tells of."""
    while not condition():  # noqa: ASYNC110 - what is waited for is in the sockets
        await asyncio.sleep(0)


def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")
    context.load_verify_locations(CERTIFICATES / "ca.pem")
    return context


def client_tls(*, protocols: Sequence[str] = ("h2",)) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(CERTIFICATES / "ca.pem"))
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


class WireClient:
    """A connection whose every frame the test writes and reads itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.encoder = Encoder()
        self.messages: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.resets: dict[int, int] = {}
        self.gives_credit = True

    @classmethod
    async def connect(
        cls,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        settings: Sequence[tuple[int, int]] = (),
        receive_buffer: int | None = None,
    ) -> WireClient:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(
            sock=sock, ssl=tls, server_hostname="localhost" if tls else None, limit=1 << 22
        )
        client = cls(reader, writer)
        client.send(wire.PREFACE + wire.settings_frame(settings))
        return client

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def open(self, stream_id: int, path: bytes, *, payload: bytes | None = None) -> None:
        """Headers; with a payload one message and the end of the request."""
        headers: list[Header] = [
            (name, path if name == b":path" else value) for name, value in REQUEST
        ]
        block = self.encoder.encode(headers)
        self.send(frame(wire.HEADERS, wire.FLAG_END_HEADERS, stream_id, block))
        if payload is not None:
            self.send_message(stream_id, payload, end=True)

    def send_message(self, stream_id: int, payload: bytes, *, end: bool = False) -> None:
        framed = b"\0" + len(payload).to_bytes(4, "big") + payload
        flags = wire.FLAG_END_STREAM if end else 0
        self.send(frame(wire.DATA, flags, stream_id, framed))

    async def read(self) -> Frame | None:
        """The next frame; None at the end of the connection."""
        try:
            header = await self.reader.readexactly(9)
            payload = await self.reader.readexactly(int.from_bytes(header[:3], "big"))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return Frame(header[3], header[4], int.from_bytes(header[5:9], "big"), payload)

    async def until(self, kind: int, *, stream_id: int | None = None) -> Frame:
        """Read on to the next frame of a kind; DATA is kept by stream and credited."""
        while (answer := await self.read()) is not None:
            if answer.kind == wire.DATA and answer.payload:
                self.messages[answer.stream_id] = (
                    self.messages.get(answer.stream_id, b"") + answer.payload
                )
                if self.gives_credit:
                    size = len(answer.payload)
                    self.send(wire.window_update_frame(0, size))
                    self.send(wire.window_update_frame(answer.stream_id, size))
            if answer.kind == wire.RST_STREAM:
                self.resets[answer.stream_id] = answer.code
            if answer.kind == wire.HEADERS and answer.flags & wire.FLAG_END_STREAM:
                self.ended.add(answer.stream_id)
            if answer.kind == kind and stream_id in {None, answer.stream_id}:
                return answer
        raise AssertionError(f"the connection ended before a frame of kind {kind}")

    async def until_end_of(self, stream_id: int) -> bytes:
        """Read on to a stream's trailers; returns its DATA."""
        while stream_id not in self.ended:
            await self.until(wire.HEADERS)
        return self.messages.pop(stream_id, b"")

    async def until_closed(self) -> list[Frame]:
        """Everything up to the end of the connection."""
        answers = []
        while (answer := await self.read()) is not None:
            answers.append(answer)
        return answers

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()

    def stop_reading(self) -> None:
        """Leave what the server sends in the socket."""
        transport = self.writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
