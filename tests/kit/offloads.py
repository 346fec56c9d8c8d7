"""A fake of the storage's `Offload` that lets a test see what happens before work is done."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


class HeldOffload:
    """While it `holds`, keeps work until `release`; then as any other, on threads."""

    def __init__(self) -> None:
        self.holds = False
        self._held: deque[tuple[asyncio.Future[Any], Callable[[], Any]]] = deque()
        self._arrived = asyncio.Event()

    @property
    def held_count(self) -> int:
        """How much work waits."""
        return len(self._held)

    def run(self, work: Callable[[], Result]) -> asyncio.Future[Result]:
        loop = asyncio.get_running_loop()
        if not self.holds:
            return loop.run_in_executor(None, work)
        future: asyncio.Future[Result] = loop.create_future()
        self._held.append((future, work))
        self._arrived.set()
        return future

    async def held(self, count: int) -> None:
        """Returns once so much work waits."""
        while len(self._held) < count:
            self._arrived.clear()
            await self._arrived.wait()

    async def release(self, count: int | None = None) -> None:
        """Do the oldest work that waits, all of it unless told how much."""
        loop = asyncio.get_running_loop()
        for _ in range(len(self._held) if count is None else count):
            future, work = self._held.popleft()
            try:
                result = await loop.run_in_executor(None, work)
            except Exception as error:  # noqa: BLE001 - whoever waits for the work gets it
                future.set_exception(error)
            else:
                future.set_result(result)
        await asyncio.sleep(0)

    def give_up(self) -> None:
        """Never do the work that waits, as a pool of threads that is shut down."""
        while self._held:
            self._held.popleft()[0].cancel()
