"""A `Server` on fake streams: the arrangement of this folder's tests."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any

import grpc

from ottla_broker.transport.limits import TransportLimits
from ottla_broker.transport.server import Server
from ottla_broker.transport.stream import GrpcStream, Header

from .fake_stream import FakeStream, request_headers

MESSAGE_BYTES_MAX = 1000


class FakeListener:
    """Accepts nothing and notes what it was told."""

    def __init__(self, on_stream: Callable[[GrpcStream], None]) -> None:
        self.on_stream = on_stream
        self.told: list[object] = []
        self.served: list[tuple[int, bool]] = []

    def serve(self, bound: socket.socket, tls: ssl.SSLContext | None) -> None:
        self.served.append((bound.getsockname()[1], tls is not None))
        bound.close()

    def drain(self) -> None:
        self.told.append("drain")

    async def close(self, grace_s: float | None = None) -> None:
        self.told.append("close")


class Serving:
    """A server with methods of `test.Service` that take and give bytes."""

    def __init__(self, **options: Any) -> None:
        self.listener: FakeListener
        limits = TransportLimits(message_size_max=MESSAGE_BYTES_MAX)
        self.server = Server(limits=limits, listen=self._listen, **options)

    def _listen(
        self, on_stream: Callable[[GrpcStream], None], limits: TransportLimits
    ) -> FakeListener:
        self.listener = FakeListener(on_stream)
        return self.listener

    def add(self, name: str, handler: grpc.RpcMethodHandler[Any, Any]) -> None:
        self.server.add_registered_method_handlers("test.Service", {name: handler})

    def unary(self, function: Callable[..., Any], name: str = "Method") -> None:
        self.add(name, grpc.unary_unary_rpc_method_handler(function))

    def streaming(self, function: Callable[..., Any], name: str = "Method") -> None:
        self.add(name, grpc.stream_stream_rpc_method_handler(function))

    def open(
        self, method: str = "Method", *, extra: Sequence[Header] = (), room: int = 1000
    ) -> FakeStream:
        """Open a call whose requests the test sends."""
        stream = FakeStream(request_headers(method, extra=extra), room=room)
        self.server.on_stream(stream)
        return stream

    async def call(self, *requests: bytes, **options: Any) -> FakeStream:
        """A call with these requests, to its end."""
        stream = self.open(**options)
        for request in requests:
            stream.request(request)
        await finished(stream.end_requests())
        return stream


async def finished(stream: FakeStream) -> None:
    """Wait for the stream's end and for the handler to be done with it."""
    await stream.over.wait()
    await settled()


async def settled() -> None:
    """Let every task run until it waits for something."""
    for _ in range(20):
        await asyncio.sleep(0)
