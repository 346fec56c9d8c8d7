"""A clock that moves only when a test says so."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

_SETTLE_TURNS = 50


class ManualClock:
    """A `Clock` for tests; `advance` moves both of its times and wakes who slept so long."""

    def __init__(self, *, monotonic_ms: int = 1_000, wall_ms: int = 1_700_000_000_000) -> None:
        self._monotonic_ms = monotonic_ms
        self._wall_ms = wall_ms
        self._order = count()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []

    def monotonic_ms(self) -> int:
        return self._monotonic_ms

    def wall_ms(self) -> int:
        return self._wall_ms

    async def sleep_until(self, monotonic_ms: int) -> None:
        await asyncio.sleep(0)
        if monotonic_ms <= self._monotonic_ms:
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (monotonic_ms, next(self._order), woken))
        await woken

    def sleeper_count(self) -> int:
        """How many tasks sleep on this clock."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    def tick(self, ms: int) -> None:
        """Move time on by `ms` and wake, without waiting for the woken to act on it."""
        assert ms >= 0, "a monotonic clock never goes back"
        self._monotonic_ms += ms
        self._wall_ms += ms
        while self._sleepers and self._sleepers[0][0] <= self._monotonic_ms:
            woken = heapq.heappop(self._sleepers)[2]
            if not woken.done():
                woken.set_result(None)

    def jump_wall(self, ms: int) -> None:
        """Set the wall clock on, or back for a negative `ms`, as an administrator might."""
        self._wall_ms += ms

    async def advance(self, ms: int) -> None:
        """Move time on by `ms` from sleeper to sleeper, letting each act when it is due."""
        target_ms = self._monotonic_ms + ms
        await settle()
        while self._sleepers and self._sleepers[0][0] <= target_ms:
            self.tick(max(0, self._sleepers[0][0] - self._monotonic_ms))
            await settle()
        self.tick(target_ms - self._monotonic_ms)
        await settle()


async def settle() -> None:
    """Let every ready task of the loop run on until it waits for something."""
    for _ in range(_SETTLE_TURNS):
        await asyncio.sleep(0)
