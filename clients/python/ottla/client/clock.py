"""Time as the client sees it; the same shape as the services' clock, without their package."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

_NANOSECONDS_PER_MS = 1_000_000


class Clock(Protocol):
    """Tells the time and waits for it."""

    def monotonic_ms(self) -> int:
        """Milliseconds since an arbitrary moment; never goes back."""
        ...

    async def sleep_until(self, monotonic_ms: int) -> None:
        """Returns once `monotonic_ms()` is at least `monotonic_ms`."""
        ...


class SystemClock:
    """The machine's clock."""

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // _NANOSECONDS_PER_MS

    async def sleep_until(self, monotonic_ms: int) -> None:
        # Event loops round their timers, so one sleep can end a little early.
        while True:
            left_ns = monotonic_ms * _NANOSECONDS_PER_MS - time.monotonic_ns()
            await asyncio.sleep(max(0, left_ns) / 1e9)
            if left_ns <= 0:
                return
