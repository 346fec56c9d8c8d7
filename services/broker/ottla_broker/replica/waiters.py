"""Who waits for the high watermark: appends for their acknowledgement, readers for data.

Owns nothing but futures; belongs to one `Partition` and its loop. Nobody polls: each future is
set once, when the watermark passes its offset, or failed when that cannot happen here any more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class CommitQueue:
    """Appends in the order of their offsets, each waiting for everything below its end."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def add(self, next_offset: int) -> asyncio.Future[None]:
        """A future that is done once the high watermark reaches `next_offset`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        assert not self._waiting or self._waiting[-1][0] <= next_offset
        self._waiting.append((next_offset, future))
        return future

    def committed(self, high_watermark: int) -> None:
        """Acknowledge every append below the watermark."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= high_watermark:
            future = waiting.popleft()[1]
            if not future.done():
                future.set_result(None)

    def fail(self, make_error: Callable[[], Exception]) -> None:
        """None of the waiting appends will be known to have succeeded."""
        while self._waiting:
            future = self._waiting.popleft()[1]
            if not future.done():
                future.set_exception(make_error())


class ReaderSet:
    """Readers at the end of the log; one that gives up leaves no trace."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], tuple[int, Callable[[], None]]] = {}

    async def wait(self, offset: int, *, on_ready: Callable[[], None]) -> None:
        """Returns once the watermark lies above `offset`. Raises what `fail` was given.

        `on_ready` is called in the moment itself, a turn of the loop before this returns.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[future] = offset, on_ready
        try:
            await future
        finally:
            self._waiting.pop(future, None)

    def committed(self, high_watermark: int) -> None:
        """Wake every reader whose offset lies below the watermark."""
        ready = [future for future, (offset, _) in self._waiting.items() if offset < high_watermark]
        for future in ready:
            _, on_ready = self._waiting.pop(future)
            if not future.done():
                future.set_result(None)
                on_ready()

    def fail(self, make_error: Callable[[], Exception]) -> None:
        """Nothing more will come to any of the readers."""
        waiting, self._waiting = self._waiting, {}
        for future in waiting:
            if not future.done():
                future.set_exception(make_error())
