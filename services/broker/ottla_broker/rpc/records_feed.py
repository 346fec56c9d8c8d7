"""Plain records for one Read: decoded only when its client takes them, in its turn.

    client takes ─► in line for a turn ─► client still takes ─► one message decoded beside the loop
        ▲                                                                     │ sent
        └───────────────────── all of it has left ◄───────────────────────────┘

Owns the order of these waits. What may be held meanwhile, and for how long, is `records_budget`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from typing import Protocol

from ottla_broker.replica.partition import Partition as Replica
from ottla_broker.rpc.read_plan import ReadCursor
from ottla_broker.rpc.read_responses import RESPONSE_SIZE_MAX, Positions
from ottla_broker.rpc.records_budget import RecordsBudget, Stake
from ottla_broker.rpc.records_decoding import RecordsDecoding, RecordsMessage, is_uncompressed
from ottla_broker.storage.log_slice import LogSlice
from ottla_broker.storage.ports import Offload
from ottla_broker.transport.call import Call
from ottla_broker.transport.stream import EncodedMessage

LOOP_SLICE_SIZE_MAX = 8 << 10
"""An uncompressed slice up to this is decoded on the loop: a thread would take longer to begin."""

_Source = Callable[[], Awaitable[RecordsDecoding | None]]


class Pace(Protocol):
    """How fast a call's client takes messages."""

    def writable_nowait(self) -> int:
        """Bytes it takes at once; 0 while it takes none, or others are before them."""
        ...

    async def writable(self) -> int:
        """Wait until all that was sent has left and it takes more; how many bytes."""
        ...

    def give_up(self) -> None:
        """End the call and drop what is queued."""
        ...


class _StockPace:
    """Of a server that doesn't tell: its own backpressure has to do."""

    def writable_nowait(self) -> int:
        return RESPONSE_SIZE_MAX

    async def writable(self) -> int:
        return RESPONSE_SIZE_MAX

    def give_up(self) -> None:
        """Such a server offers no way."""


def pace_of(context: object) -> Pace:
    """The pace of a call."""
    return context if isinstance(context, Call) else _StockPace()


class RecordsFeed:
    """Makes the messages of one Read; close it with the Read."""

    def __init__(
        self,
        replica: Replica,
        *,
        budget: RecordsBudget,
        pace: Pace,
        offload: Offload,
        where: Callable[[], Positions],
    ) -> None:
        self._replica = replica
        self._budget = budget
        self._pace = pace
        self._offload = offload
        self._where = where
        self._stake = Stake(pace.give_up)

    def close(self) -> None:
        """Give back what is held."""
        self._budget.close(self._stake)

    async def ready(self) -> None:
        """Return when the client takes a message; nothing is held for it until then."""
        await self._pace.writable()
        self._budget.left(self._stake)

    async def messages(self, part: LogSlice, cursor: ReadCursor) -> AsyncIterator[EncodedMessage]:
        """A slice's messages from the cursor on, which each advances; the slice is released.

        They may end before the slice does, where its rest had to be dropped. To be called when
        `ready`, as for each message.

        Raises:
            CorruptLog, StorageOffline, RecordTooLarge: the slice can't be read as plain records.
        """
        with ExitStack() as held:
            held.callback(part.release)
            step = await self._small(part, cursor)
            if step is None:
                step = await self._opened(part, cursor, held)
        while step is not None:
            self._budget.sent(self._stake, len(step.message))
            cursor.advance(
                next_offset=step.next_offset, record_count=step.record_count, size=step.size
            )
            yield EncodedMessage((step.message,))
            if step.is_last or cursor.bytes_left == 0:
                self._budget.take(self._stake)
                return
            step = await self._in_turn(self._kept)

    async def _small(self, part: LogSlice, cursor: ReadCursor) -> RecordsMessage | None:
        """A small slice at once, as one message; None for what is to wait for its turn."""
        if part.size > LOOP_SLICE_SIZE_MAX or not self._budget.has_room:
            return None
        data = await self._replica.load(part)
        if not is_uncompressed(data):
            return None  # read again in its turn: until then it would be held for nothing
        return RecordsDecoding(data, cursor).step(self._where(), size_max=RESPONSE_SIZE_MAX)

    async def _opened(
        self, part: LogSlice, cursor: ReadCursor, held: ExitStack
    ) -> RecordsMessage | None:
        async def load() -> RecordsDecoding:
            data = await self._replica.load(part)
            held.close()
            return RecordsDecoding(data, cursor)

        return await self._in_turn(load)

    async def _kept(self) -> RecordsDecoding | None:
        return self._budget.take(self._stake)

    async def _in_turn(self, source: _Source) -> RecordsMessage | None:
        """The next message of a decoding; None if it was dropped, or holds nothing."""
        while True:
            await self.ready()
            await self._budget.enter()
            work: asyncio.Future[RecordsMessage | None] | None = None
            try:
                writable = self._pace.writable_nowait()
                if not writable:
                    continue
                size_max = await self._budget.message_size(writable)
                decoding = await source()
                if decoding is None:
                    return None
                work = self._begin(decoding, size_max=size_max)
                step = await asyncio.shield(work)
                if step is not None and not step.is_last:
                    self._budget.keep(self._stake, decoding)
                return step
            finally:
                self._budget.leave(work)

    def _begin(
        self, decoding: RecordsDecoding, *, size_max: int
    ) -> asyncio.Future[RecordsMessage | None]:
        positions = self._where()
        return self._offload.run(lambda: decoding.step(positions, size_max=size_max))
