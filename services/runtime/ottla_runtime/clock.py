"""Time as services see it: the `Clock` port and the clock of the machine.

Owns reading time and sleeping until a moment. Does not own timers, deadlines or retries. Tests use
`kit.clock.ManualClock`, which passes the same contract test.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

_NANOSECONDS_PER_MS = 1_000_000


class Clock(Protocol):
    """Tells the time. Constructors take it keyword-only and without default."""

    def monotonic_ms(self) -> int:
        """Milliseconds since an arbitrary moment; never goes back. For deadlines and intervals."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since 1970 in UTC; may jump either way. For timestamps that people see."""
        ...

    async def sleep_until(self, monotonic_ms: int) -> None:
        """Returns once `monotonic_ms()` is at least `monotonic_ms`; lets others run in any case."""
        ...


class SystemClock:
    """The machine's clock."""

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // _NANOSECONDS_PER_MS

    def wall_ms(self) -> int:
        return time.time_ns() // _NANOSECONDS_PER_MS

    async def sleep_until(self, monotonic_ms: int) -> None:
        await asyncio.sleep(0)
        # Event loops round their timers, so one sleep can end a little early.
        while (left_ns := monotonic_ms * _NANOSECONDS_PER_MS - time.monotonic_ns()) > 0:  # noqa: ASYNC110 - time is no event
            await asyncio.sleep(left_ns / 1e9)
