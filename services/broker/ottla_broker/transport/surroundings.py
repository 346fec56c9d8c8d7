"""What the connections of one listener share: bounds, time, memory, buffers, threads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from ottla_broker.transport.byte_budget import ByteBudget
from ottla_broker.transport.limits import TransportLimits
from ottla_broker.transport.page_cache import PageCache
from ottla_broker.transport.reader import ReadBuffer
from ottla_broker.transport.stream import FileRange, GrpcStream
from ottla_broker.transport.writer import WriteBuffer

_Connection = TypeVar("_Connection")


class Clock(Protocol):
    """What the transport needs to know of time."""

    def monotonic_ms(self) -> int: ...


class Surroundings(Generic[_Connection]):
    """What the connections of a listener share."""

    def __init__(
        self,
        *,
        on_stream: Callable[[GrpcStream], None],
        limits: TransportLimits,
        clock: Clock,
        on_closed: Callable[[_Connection], None],
    ) -> None:
        self.on_stream = on_stream
        self.limits = limits
        self.clock = clock
        self.on_closed = on_closed
        self.loop = asyncio.get_running_loop()
        self.budget = ByteBudget(limits.memory_max)
        self.page_cache = PageCache()
        self.read_buffer = ReadBuffer()
        self.write_buffer = WriteBuffer()

    def read_ahead(
        self, piece: FileRange, callback: Callable[[BaseException | None], None]
    ) -> None:
        """Read a cold range in a thread, then call back in the loop, with an error or None."""

        def done(error: BaseException | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and everything with it
                self.loop.call_soon_threadsafe(back_in_loop, error)

        def back_in_loop(error: BaseException | None) -> None:
            piece.file.release()
            callback(error)

        self.page_cache.read_ahead(piece, done)
