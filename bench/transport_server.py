"""One contestant: the same servicers on our server or on `grpc.aio`, in a process of its own.

    python -m bench.transport_server ours|grpc SOURCE SINK

Streams messages out of the file SOURCE and writes messages that come in to SINK. Prints its port;
ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import uvloop

from ottla_broker.transport import EncodedMessage, FileRange, Server, raw_request
from ottla_broker.transport.aio_adapter import AioServerAdapter

SERVICE = "bench.v1.BenchService"
MESSAGE_BYTES = 1024 * 1024
# The sink is written round and round, or a run would measure the disk.
SINK_BYTES = 256 * MESSAGE_BYTES
# Field 2, a number: the small fields that go before the bytes of a fetched message.
_HEAD = b"\x10\x07"


class OpenFile:
    """A file that is open for as long as the process lives."""

    def __init__(self, path: str, flags: int) -> None:
        self._descriptor = os.open(path, flags, 0o600)
        self.size = os.fstat(self._descriptor).st_size

    def fileno(self) -> int:
        return self._descriptor

    def acquire(self) -> None:
        """Nothing to count."""

    def release(self) -> None:
        """Nothing to count."""


class BenchServicer:
    """What a broker does with bytes, and nothing else."""

    def __init__(self, source: OpenFile, sink: OpenFile) -> None:
        self._source = source
        self._sink = sink

    @raw_request
    async def fetch(self, request: memoryview, context: Any) -> AsyncIterator[EncodedMessage]:
        """As many messages of 1 MiB, out of the file, as the request says in text."""
        prefix = _HEAD + _bytes_field_prefix(MESSAGE_BYTES)
        positions = self._source.size // MESSAGE_BYTES
        for number in range(int(bytes(request))):
            self._source.acquire()
            position = number % positions * MESSAGE_BYTES
            yield EncodedMessage((prefix, FileRange(self._source, position, MESSAGE_BYTES)))

    @raw_request
    async def produce(
        self, requests: AsyncIterator[memoryview], context: Any
    ) -> AsyncIterator[bytes]:
        """Write every message to the sink and acknowledge it."""
        position = 0
        descriptor = self._sink.fileno()
        async for request in requests:
            if position + len(request) > SINK_BYTES:
                position = 0
            position += os.pwrite(descriptor, request, position)
            yield b"\x08\x01"

    @raw_request
    async def acknowledge(
        self, requests: AsyncIterator[memoryview], context: Any
    ) -> AsyncIterator[bytes]:
        """Answer every message and keep none."""
        async for request in requests:
            yield b"\x08%c" % (len(request) & 0x7F)

    @raw_request
    async def call(self, request: memoryview, context: Any) -> bytes:
        """Answer one message."""
        return b"\x08%c" % (len(request) & 0x7F)


def _bytes_field_prefix(size: int) -> bytes:
    """Tag and length of field 1."""
    encoded = bytearray(b"\x0a")
    while size > 0x7F:
        encoded.append(size & 0x7F | 0x80)
        size >>= 7
    encoded.append(size)
    return bytes(encoded)


def _register(servicer: BenchServicer, registrar: Any) -> None:
    registrar.add_registered_method_handlers(
        SERVICE,
        {
            "Fetch": grpc.unary_stream_rpc_method_handler(servicer.fetch),
            "Produce": grpc.stream_stream_rpc_method_handler(servicer.produce),
            "Acknowledge": grpc.stream_stream_rpc_method_handler(servicer.acknowledge),
            "Call": grpc.unary_unary_rpc_method_handler(servicer.call),
        },
    )


async def _serve(kind: str, source: str, sink: str) -> None:
    servicer = BenchServicer(OpenFile(source, os.O_RDONLY), OpenFile(sink, os.O_RDWR))
    server: grpc.aio.Server
    if kind == "ours":
        server = Server()
        _register(servicer, server)
    else:
        server = grpc.aio.server()
        _register(servicer, AioServerAdapter(server))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(json.dumps({"port": port}) + "\n")
    sys.stdout.flush()
    input_ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), input_ended.set)
    await input_ended.wait()
    await server.stop(None)


def main() -> None:
    """Serve until the input ends."""
    kind, source, sink = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(kind, source, sink))


if __name__ == "__main__":
    main()
