"""Flow-control windows: the arithmetic, apart from streams and frames.

```
send     size = what the peer allows us; SETTINGS may push it below zero
receive  |<------------- limit ------------->|
         | available | received, owed |  held by the application
```
`available` falls when a frame arrives and rises when its bytes are credited back; credits are
gathered until they are half the window, so that an update is sent per half window, not per frame.
"""

from __future__ import annotations

WINDOW_MAX = 2**31 - 1


class SendWindow:
    """How many bytes of DATA the peer lets us send."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size

    def shift(self, delta: int) -> bool:
        """Add `delta`, which a change of SETTINGS may make negative; False when past 2³¹-1."""
        size = self.size + delta
        if size > WINDOW_MAX:
            return False
        self.size = size
        return True


class ReceiveWindow:
    """How many bytes of DATA we have let the peer send, and how many we owe it back."""

    __slots__ = ("_credit_min", "available", "owed")

    def __init__(self, limit: int) -> None:
        self.available = limit
        self.owed = 0
        self._credit_min = max(limit // 2, 1)

    def debit(self, size: int) -> bool:
        """Take a frame of `size` bytes off; False when the peer sent more than it may."""
        self.available -= size
        return self.available >= 0

    def credit(self, size: int) -> int:
        """Owe `size` bytes back. Returns the increment to announce now, 0 for not yet."""
        self.owed += size
        if self.owed < self._credit_min:
            return 0
        increment, self.owed = self.owed, 0
        self.available += increment
        return increment
