"""What the stock clients call: a service of bytes on our server."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import grpc

from ottla_broker.transport import (
    EncodedMessage,
    FileRange,
    Server,
    TlsCredentials,
    raw_request,
)

from .toolchains import StockClient

SERVICE = "interop.v1.InteropService"
CERTIFICATES = Path(__file__).parent.parent / "kit" / "tls"
SEGMENT_CONTENT = bytes(range(256)) * 4096 * 3
_CLIENT_SECONDS = 30


class Segment:
    """An open file whose holders are counted."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self._descriptor).st_size
        self.holders = 0

    def fileno(self) -> int:
        return self._descriptor

    def acquire(self) -> None:
        self.holders += 1

    def release(self) -> None:
        self.holders -= 1

    def close(self) -> None:
        os.close(self._descriptor)


class InteropServicer:
    """Handlers in every form, on bytes."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        # No call waits: a client that gives up before its call arrives leaves none behind.
        self.nobody_waits = asyncio.Event()
        self.nobody_waits.set()
        self.waits = 0
        self.drain_asked = asyncio.Event()
        self.drain_begun = asyncio.Event()

    async def echo(self, request: bytes, context: Any) -> bytes:
        return request

    async def echo_compressed(self, request: bytes, context: Any) -> bytes:
        context.set_compression(grpc.Compression.Gzip)
        return request

    async def echo_stream(
        self, requests: AsyncIterator[bytes], context: Any
    ) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    async def fetch(self, request: bytes, context: Any) -> AsyncIterator[EncodedMessage]:
        """As many messages as the request says; each a number, then a range of the file."""
        for number in range(int(request)):
            self._segment.acquire()
            piece = FileRange(self._segment, number * 1000, fetched_size(number) - 4)
            yield EncodedMessage((number.to_bytes(4, "big"), piece))

    @raw_request
    async def digest(self, requests: AsyncIterator[memoryview], context: Any) -> bytes:
        hashed = hashlib.sha256()
        async for request in requests:
            hashed.update(request)
        return hashed.hexdigest().encode()

    async def fail(self, request: bytes, context: Any) -> None:
        await context.abort(
            grpc.StatusCode.FAILED_PRECONDITION,
            "100% \N{SNOWMAN}\nwrong",
            (("x-why", "one"), ("x-why", "two"), ("x-raw-bin", b"\0\xff")),
        )

    async def fail_later(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"first"
        yield b"second"
        await context.abort(grpc.StatusCode.OUT_OF_RANGE, "no third")

    async def drain(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """Two messages, and between them the server begins to drain."""
        yield b"before"
        self.drain_asked.set()
        await self.drain_begun.wait()
        yield b"after"

    async def metadata(self, request: bytes, context: Any) -> bytes:
        own = [pair for pair in context.invocation_metadata() if pair[0].startswith("x-")]
        await context.send_initial_metadata(own)
        context.set_trailing_metadata(own)
        return b""

    async def wait(self, request: bytes, context: Any) -> None:
        self.waits += 1
        self.nobody_waits.clear()
        try:
            await context.write(b"waiting")
            await asyncio.Event().wait()
        finally:
            self.nobody_waits.set()


def fetched_size(number: int) -> int:
    """The size of the message of that number: all about 1 MiB, none alike."""
    return 1024 * 1024 - 7 * number


class InteropServer:
    """The service on one port, and the running of a client against it."""

    def __init__(self, segment: Path, *, tls: bool) -> None:
        self.segment = Segment(segment)
        self.servicer = InteropServicer(self.segment)
        self._tls = tls
        self._server = Server()
        self._port = 0

    async def __aenter__(self) -> Self:
        servicer = self.servicer
        self._server.add_registered_method_handlers(
            SERVICE,
            {
                "Echo": grpc.unary_unary_rpc_method_handler(servicer.echo),
                "EchoCompressed": grpc.unary_unary_rpc_method_handler(servicer.echo_compressed),
                "EchoStream": grpc.stream_stream_rpc_method_handler(servicer.echo_stream),
                "Fetch": grpc.unary_stream_rpc_method_handler(servicer.fetch),
                "Digest": grpc.stream_unary_rpc_method_handler(servicer.digest),
                "Fail": grpc.unary_unary_rpc_method_handler(servicer.fail),
                "FailLater": grpc.unary_stream_rpc_method_handler(servicer.fail_later),
                "Drain": grpc.unary_stream_rpc_method_handler(servicer.drain),
                "Metadata": grpc.unary_unary_rpc_method_handler(servicer.metadata),
                "Wait": grpc.unary_stream_rpc_method_handler(servicer.wait),
            },
        )
        if self._tls:
            credentials = TlsCredentials(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")
            self._port = self._server.add_secure_port("127.0.0.1:0", credentials)
        else:
            self._port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(None)
        self.segment.close()

    async def drain_when_asked(self) -> None:
        """Stop in good order, as a broker that is told to: GOAWAY, and calls go on to their end."""
        await self.servicer.drain_asked.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._server.stop(_CLIENT_SECONDS), name="drain")
            await asyncio.sleep(0)  # it has said so to its clients
            self.servicer.drain_begun.set()

    async def run(self, client: StockClient, scenario: str) -> dict[str, Any]:
        """What the client says of the scenario."""
        arguments = [f"localhost:{self._port}", scenario]
        if self._tls:
            arguments.append(str(CERTIFICATES / "ca.pem"))
        process = await asyncio.create_subprocess_exec(
            *client.command,
            *arguments,
            env=client.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_CLIENT_SECONDS):
                output, errors = await process.communicate()
        except BaseException:
            process.kill()
            await process.wait()
            raise
        assert process.returncode == 0, f"{scenario} failed:\n{errors.decode()}"
        outcome: dict[str, Any] = json.loads(output)
        return outcome
