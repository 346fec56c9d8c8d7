"""Waking streams that were idle for too long, so that each sends its sign of life.

Owns one list of deadlines for all streams of a service and the one task that watches it: thousands
of idle streams cost one timer. Looks every half second, so an alarm may ring that much late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from ottla_runtime.clock import Clock

IDLE_MS = 15_000
LOOK_INTERVAL_MS = 500


class IdleAlarm:
    """One stream's event, set by whoever has news, and here when there were none for long."""

    def __init__(self, *, clock: Clock, idle_ms: int) -> None:
        self.event = asyncio.Event()
        self._clock = clock
        self._idle_ms = idle_ms
        self._due_at_ms = clock.monotonic_ms() + idle_ms

    def sent(self) -> None:
        """Something was sent: the next sign of life is due a while from now."""
        self._due_at_ms = self._clock.monotonic_ms() + self._idle_ms

    def is_due(self) -> bool:
        """Whether a sign of life has to be sent."""
        return self._clock.monotonic_ms() >= self._due_at_ms

    async def wait(self) -> None:
        """Return when there is news or a sign of life is due."""
        await self.event.wait()
        self.event.clear()


class IdleAlarms:
    """The alarms of all streams. `run` is its one task."""

    def __init__(self, *, clock: Clock, idle_ms: int = IDLE_MS) -> None:
        self._clock = clock
        self._idle_ms = idle_ms
        self._alarms: set[IdleAlarm] = set()

    @contextmanager
    def alarm(self) -> Iterator[IdleAlarm]:
        """An alarm for as long as a stream lasts."""
        alarm = IdleAlarm(clock=self._clock, idle_ms=self._idle_ms)
        self._alarms.add(alarm)
        try:
            yield alarm
        finally:
            self._alarms.discard(alarm)

    async def run(self) -> None:
        """Ring the alarms that are due, for ever."""
        while True:
            await self._clock.sleep_until(self._clock.monotonic_ms() + LOOK_INTERVAL_MS)
            for alarm in self._alarms:
                if alarm.is_due():
                    alarm.event.set()
