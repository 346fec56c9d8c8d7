"""Until when this broker may trust that nobody was made leader in its place.

Owns the moment at which the session with the controller is over as seen from here: the session's
length after the *sending* of the last heartbeat that was answered, so the controller can't have
counted less. Pure. Does not own what is refused then: `append_guard` does.
"""

from __future__ import annotations


class ControllerLease:
    """Begins with a registration, goes on with each answered heartbeat."""

    def __init__(self) -> None:
        self._timeout_ms = 0
        self._ends_at_ms: int | None = None

    def began(self, *, sent_at_ms: int, timeout_ms: int) -> None:
        """A registration sent at that time was accepted; sessions last `timeout_ms`."""
        self._timeout_ms = timeout_ms
        self._ends_at_ms = sent_at_ms + timeout_ms

    def answered(self, *, sent_at_ms: int) -> None:
        """A heartbeat sent at that time was answered; answers may come out of order."""
        assert self._ends_at_ms is not None, "a heartbeat is only sent once registered"
        self._ends_at_ms = max(self._ends_at_ms, sent_at_ms + self._timeout_ms)

    def ended(self) -> None:
        """The controller says that the session is another's or none."""
        self._ends_at_ms = None

    def is_held(self, now_ms: int) -> bool:
        """Whether the session surely lasts."""
        return self._ends_at_ms is not None and now_ms < self._ends_at_ms
