"""Memory and turns of a broker's Reads of plain records, shared fairly by all of them.

    in line ─► turn: one slice is decoded at a time ─► message: charged until it has left
                                                   └─► rest of the batch: kept, may be dropped

Owns the count of both and the order. What a Read keeps for its next message is dropped, the one
longest unused first, before anybody waits: it is decoded again when its client goes on. Messages
that were handed to the transport can't be: when they take everything, and somebody has waited
long enough, the Read that has held its share longest is given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ottla_broker.rpc.read_responses import RESPONSE_SIZE_MAX
from ottla_broker.rpc.records_decoding import RecordsDecoding

RECORDS_MEMORY_MAX = 64 << 20
PATIENCE_SECONDS = 10.0
"""How long a client that takes nothing may hold what others wait for."""

MESSAGE_SIZE_MIN = 16 << 10
"""No message is made smaller for want of memory or window, but for want of records."""

_SHARE_OF_FREE = 8
"""A message takes at most this part of what is free, so that the last ones are small."""


class Stake:
    """What one Read has of the budget; changed by the budget alone."""

    __slots__ = ("decoding", "give_up", "kept_size", "sent_size", "since")

    def __init__(self, give_up: Callable[[], None]) -> None:
        self.give_up = give_up
        self.decoding: RecordsDecoding | None = None
        self.kept_size = 0
        self.sent_size = 0
        self.since = 0.0


class RecordsBudget:
    """One a broker, on its loop."""

    def __init__(
        self, *, size_max: int = RECORDS_MEMORY_MAX, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._size_max = size_max
        self._patience_seconds = patience_seconds
        self._turn = asyncio.Semaphore(1)
        self._sent_size = 0
        self._kept_size = 0
        # Both in the order of time: who has held a message longest, who was idle longest.
        self._sent: dict[Stake, None] = {}
        self._kept: dict[Stake, None] = {}
        self._freed: asyncio.Future[None] | None = None

    @property
    def held_size(self) -> int:
        """Bytes counted now."""
        return self._sent_size + self._kept_size

    @property
    def has_room(self) -> bool:
        """A small message needs no turn."""
        return self._size_max - self._sent_size >= 4 * MESSAGE_SIZE_MIN

    async def enter(self) -> None:
        """Wait in line for the turn to decode; `leave` it in any case."""
        await self._turn.acquire()

    def leave(self, work: asyncio.Future[Any] | None) -> None:
        """End the turn, once `work` has really ended that a cancelled Read has left behind."""
        if work is None or work.done():
            self._turn.release()
        else:
            work.add_done_callback(lambda _: self._turn.release())

    async def message_size(self, writable: int) -> int:
        """Most bytes of the message to be made in this turn; waits until there is room for one."""
        while (free := self._size_max - self._sent_size) < MESSAGE_SIZE_MIN:
            await self._wait_for_room()
        size = min(writable, free // _SHARE_OF_FREE, RESPONSE_SIZE_MAX)
        return max(size, MESSAGE_SIZE_MIN)

    async def _wait_for_room(self) -> None:
        """Return when a message has left; nobody's may stay for longer than the patience."""
        loop = asyncio.get_running_loop()
        oldest = next(iter(self._sent))
        self._freed = loop.create_future()
        try:
            async with asyncio.timeout_at(oldest.since + self._patience_seconds):
                await self._freed
        except TimeoutError:
            self.left(oldest)
            oldest.give_up()
        finally:
            self._freed = None

    def sent(self, stake: Stake, size: int) -> None:
        """A message of a Read was made and goes to the transport."""
        assert not stake.sent_size, "one message a Read"
        stake.sent_size = size
        stake.since = asyncio.get_running_loop().time()
        self._sent_size += size
        self._sent[stake] = None
        self._drop_kept()

    def left(self, stake: Stake) -> None:
        """What a Read has sent has left the broker, or was dropped."""
        if stake not in self._sent:
            return
        del self._sent[stake]
        self._sent_size -= stake.sent_size
        stake.sent_size = 0
        if self._freed is not None and not self._freed.done():
            self._freed.set_result(None)

    def keep(self, stake: Stake, decoding: RecordsDecoding) -> None:
        """Keep what is left of a slice for the next message, if there is room for it."""
        stake.decoding = decoding
        stake.kept_size = decoding.held_size
        self._kept_size += stake.kept_size
        self._kept[stake] = None
        self._drop_kept()

    def take(self, stake: Stake) -> RecordsDecoding | None:
        """What was kept; None if it was dropped meanwhile."""
        decoding, stake.decoding = stake.decoding, None
        if decoding is not None:
            del self._kept[stake]
            self._kept_size -= stake.kept_size
        return decoding

    def close(self, stake: Stake) -> None:
        """A Read is over."""
        self.take(stake)
        self.left(stake)

    def _drop_kept(self) -> None:
        while self._kept and self.held_size > self._size_max:
            self.take(next(iter(self._kept)))
