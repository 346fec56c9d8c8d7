"""How late the event loop is: the one thing that shows a blocking call in a running service.

Owns measuring and reporting it. A loop that hangs for good is seen by the health check that gets
no answer.
"""

from __future__ import annotations

import structlog

from ottla_runtime import fields
from ottla_runtime.clock import Clock

_INTERVAL_MS = 500
_logger = structlog.get_logger(__name__)


class LoopLagWatch:
    """Sleeps for an interval over and over and sees how late it wakes. Runs as one task."""

    def __init__(self, *, clock: Clock, lag_max_ms: int) -> None:
        self._clock = clock
        self.lag_max_ms = lag_max_ms
        """Lag from which a warning is logged; may become another while it watches."""
        self._last_lag_ms = 0

    @property
    def last_lag_ms(self) -> int:
        """How late the last interval ended."""
        return self._last_lag_ms

    async def run(self) -> None:
        """Watch until cancelled; a lag above the bound is logged once each time it happens."""
        while True:
            due_ms = self._clock.monotonic_ms() + _INTERVAL_MS
            await self._clock.sleep_until(due_ms)
            self._last_lag_ms = self._clock.monotonic_ms() - due_ms
            if self._last_lag_ms > self.lag_max_ms:
                _logger.warning("event_loop.lagged", **{fields.LAG_MS: self._last_lag_ms})
