"""When records are due: a schedule that does not wait for answers. Pure.

A load that sends the next record when the last one is answered stops asking while the platform is
slow, and so leaves the worst out of its figures ("coordinated omission", a term of Gil Tene's).
Here every record has its time from the beginning on; one that is sent late is late from then.
"""

from __future__ import annotations

from typing import Final

NS_PER_SECOND: Final = 1_000_000_000


class OpenLoop:
    """Records at an even rate, from a moment on; nanoseconds of a monotonic clock."""

    def __init__(self, rate: float, *, started_ns: int) -> None:
        assert rate > 0
        self._interval_ns = NS_PER_SECOND / rate
        self._started_ns = started_ns

    def time_ns(self, index: int) -> int:
        """When the record of that index, from 0, is due."""
        return self._started_ns + round(index * self._interval_ns)

    def due_count(self, now_ns: int) -> int:
        """How many records are due by now, sent or not."""
        if now_ns < self._started_ns:
            return 0
        count = int((now_ns - self._started_ns) / self._interval_ns) + 1
        # Where rounding differs from `time_ns`, that one is right.
        while self.time_ns(count) <= now_ns:
            count += 1
        while count and self.time_ns(count - 1) > now_ns:
            count -= 1
        return count
