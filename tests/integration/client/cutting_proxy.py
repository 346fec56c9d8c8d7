"""A TCP proxy between a client and a broker that a test can cut, or silence, at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_CHUNK_SIZE = 16 << 10


class CuttingProxy:
    """Passes bytes on; `cut` ends all connections, some of what was sent having arrived.

    `silence` leaves them open and passes nothing more on, as a network does that lost its way;
    connections made later pass.
    """

    def __init__(self) -> None:
        self.port = 0
        self.target_port = 0
        self.passed_size = 0
        self.cut_at: list[int] = []
        """Sizes passed, growing, at which everything is cut."""
        self.connection_count = 0
        """Of all time."""
        self.is_unused = asyncio.Event()
        """No connection passes through it."""
        self._writers: set[asyncio.StreamWriter] = set()
        self._silent: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def silence(self) -> None:
        self._silent |= self._writers

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.is_unused.clear()
        self.connection_count += 1
        try:
            broker_reader, broker_writer = await asyncio.open_connection(
                "127.0.0.1", self.target_port
            )
            self._writers.add(broker_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, broker_writer), name="to-broker")
                group.create_task(self._pass_on(broker_reader, writer), name="to-client")
        except* OSError:
            pass  # cut, or the broker is gone: the other side is told below
        finally:
            for each in (writer, broker_writer):
                self._writers.discard(each)
                self._silent.discard(each)
                each.transport.abort()
            if not self._writers:
                self.is_unused.set()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK_SIZE):
            if writer in self._silent:
                continue
            writer.write(data)
            self.passed_size += len(data)
            if self.cut_at and self.passed_size >= self.cut_at[0]:
                del self.cut_at[0]
                self.cut()
            await writer.drain()
        raise ConnectionResetError


@asynccontextmanager
async def cutting_proxy() -> AsyncIterator[CuttingProxy]:
    proxy = CuttingProxy()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    async with server:
        yield proxy
        proxy.cut()
