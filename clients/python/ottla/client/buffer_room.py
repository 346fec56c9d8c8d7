"""Who waits for room in a producer's buffer, and in which order it comes to them.

Owns the line. Room that comes free goes to those who have waited longest, as many as it holds, so
that a batch that is done costs no more when many wait. Whoever is woken looks again and keeps its
place: a sender that found room without waiting may have come first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class _Waiter:
    size: int
    woken: asyncio.Future[None]


class BufferRoom:
    """Belongs to one producer and its event loop."""

    def __init__(self, has_room: Callable[[int], bool]) -> None:
        self._has_room = has_room
        self._line: dict[_Waiter, None] = {}
        self._is_closed = False

    async def wait_for(self, size: int, *, deadline: float) -> None:
        """Return when so many bytes more may be held, or there is nothing to wait for any more.

        Args:
            size: in bytes.
            deadline: a time of the event loop.

        Raises:
            TimeoutError: there was no room until the deadline.
        """
        loop = asyncio.get_running_loop()
        waiter = _Waiter(size, loop.create_future())
        self._line[waiter] = None
        try:
            async with asyncio.timeout_at(deadline):
                while not self._has_room(size) and not self._is_closed:
                    await waiter.woken
                    waiter.woken = loop.create_future()
        except BaseException:
            del self._line[waiter]
            self.wake()  # what was promised to one that gave up is for those behind it
            raise
        del self._line[waiter]

    def wake(self) -> None:
        """Room may have come free: tell as many as it holds."""
        promised_size = 0
        for waiter in self._line:
            promised_size += waiter.size
            if not self._has_room(promised_size):
                return
            _tell(waiter)

    def close(self) -> None:
        """Nobody waits from now on."""
        self._is_closed = True
        for waiter in self._line:
            _tell(waiter)


def _tell(waiter: _Waiter) -> None:
    if not waiter.woken.done():
        waiter.woken.set_result(None)
