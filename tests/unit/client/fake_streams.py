"""A channel whose streams end in the test: what was written, and what is read next."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import grpc


class FakeStream:
    """One stream; `answers` are read in their order, EOF comes when the client has done writing."""

    def __init__(self) -> None:
        self.written: list[Any] = []
        self.answers: asyncio.Queue[Any] = asyncio.Queue()
        self.has_written = asyncio.Event()
        self.is_cancelled = False

    async def write(self, message: Any) -> None:
        self.written.append(message)
        self.has_written.set()

    async def written_count(self, count: int) -> None:
        """Return once so many messages were written."""
        while len(self.written) < count:
            self.has_written.clear()
            await self.has_written.wait()

    async def read(self) -> Any:
        return await self.answers.get()

    async def done_writing(self) -> None:
        self.answers.put_nowait(grpc.aio.EOF)

    async def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.OK

    def cancel(self) -> None:
        self.is_cancelled = True


class FakeChannel:
    """A channel for one stream."""

    def __init__(self) -> None:
        self.stream = FakeStream()
        self.is_closed = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.is_closed.set()

    def stream_stream(self, *_: object, **__: object) -> Any:
        return lambda: self.stream


class FakeOpener:
    """Opens fake channels, and tells of each."""

    def __init__(self) -> None:
        self.opened: asyncio.Queue[FakeChannel] = asyncio.Queue()

    def open(self, address: object) -> Any:
        channel = FakeChannel()
        self.opened.put_nowait(channel)
        return channel
