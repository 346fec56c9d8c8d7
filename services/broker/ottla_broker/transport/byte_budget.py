"""One count of the bytes that messages hold in memory, over all connections.

A length prefix reserves nothing: bytes are counted as buffers grow to take them. What cannot be
refused (a response that a handler has made already) is counted too, so that the pressure it
makes is felt where refusing is possible.
"""

from __future__ import annotations

from ottla_broker.transport.message_buffers import MessageBuffers


class ByteBudget:
    """The whole listener's count; connections draw on it through a `BudgetShare`."""

    __slots__ = ("buffers", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.buffers = MessageBuffers()
        self.limit = limit
        self.used = 0


class BudgetShare:
    """What one connection holds of the budget."""

    __slots__ = ("_budget", "_limit", "used")

    def __init__(self, budget: ByteBudget, *, limit: int) -> None:
        self._budget = budget
        self._limit = limit
        self.used = 0

    @property
    def buffers(self) -> MessageBuffers:
        """The buffers of large messages, which all connections share."""
        return self._budget.buffers

    def reserve(self, size: int) -> bool:
        """Count `size` bytes more; False, and nothing counted, when there is no room."""
        if self.used + size > self._limit or self._budget.used + size > self._budget.limit:
            return False
        self.used += size
        self._budget.used += size
        return True

    def adjust(self, delta: int) -> None:
        """Count bytes that exist already, or are gone."""
        self.used += delta
        self._budget.used += delta
        assert self.used >= 0

    @property
    def exhausted(self) -> bool:
        """Nothing more fits, in the share or in the whole."""
        return self.used >= self._limit or self._budget.used >= self._budget.limit

    @property
    def half_used(self) -> bool:
        """Half of the share, or of the whole, is in use."""
        return self.used * 2 >= self._limit or self._budget.used * 2 >= self._budget.limit

    def close(self) -> None:
        """Give everything back."""
        self.adjust(-self.used)
