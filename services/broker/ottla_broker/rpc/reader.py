"""One Read of a partition that is led here: from its start to its end, message by message.

    read ─► slice ─┬─ BATCHES: small fields + file range, untouched
       ▲           └─ RECORDS: `records_feed`, a message at a time as the client takes them
       └── nothing there: wait for the high watermark, a sign of life every 15 s

Owns the loop of one call. The transport's backpressure is the generator's: nothing is read ahead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from ottla.protocol.errors import Draining
from ottla_broker.replica.partition import Partition as Replica
from ottla_broker.rpc.offset_queries import find_start
from ottla_broker.rpc.read_plan import ReadCursor, ReadTerms
from ottla_broker.rpc.read_responses import (
    RESPONSE_SIZE_MAX,
    Cut,
    Positions,
    cut_batches,
    positions_message,
)
from ottla_broker.rpc.records_budget import RecordsBudget
from ottla_broker.rpc.records_feed import Pace, RecordsFeed
from ottla_broker.storage.log_slice import LogSlice
from ottla_broker.storage.ports import Offload
from ottla_broker.transport.stream import EncodedMessage, FileRange, Part

RECORDS_SLICE_SIZE_MAX = 256 << 10


class ReadWaits:
    """The waits of all Reads at the end of their logs, so that a drain can end them."""

    def __init__(self, *, idle_ms: int) -> None:
        self._idle_seconds = idle_ms / 1_000
        self._scopes: set[asyncio.Timeout] = set()
        self._is_draining = False

    async def wait_for(self, replica: Replica, offset: int) -> bool:
        """Return when a record at `offset` can be read (True), or a sign of life is due (False).

        Raises:
            Draining: the broker is to stop.
            NotLeader, StorageOffline, CorruptLog, UnknownTopicOrPartition: it never will be, here.
        """
        self.check()
        try:
            async with asyncio.timeout(self._idle_seconds) as scope:
                with self._registered(scope):
                    await replica.wait_for(offset)
        except TimeoutError:
            self.check()
            return False
        return True

    def check(self) -> None:
        """Returns unless the broker is to stop. Raises Draining."""
        if self._is_draining:
            raise Draining("this broker is shutting down; read on from another")

    @contextmanager
    def _registered(self, scope: asyncio.Timeout) -> Iterator[None]:
        self._scopes.add(scope)
        try:
            yield
        finally:
            self._scopes.discard(scope)

    def drain(self) -> None:
        """End every Read that waits, and those that come to wait."""
        self._is_draining = True
        now = asyncio.get_running_loop().time()
        for scope in self._scopes:
            scope.reschedule(now)


class Reader:
    """Reads one partition for one call."""

    def __init__(
        self,
        replica: Replica,
        terms: ReadTerms,
        *,
        waits: ReadWaits,
        records: RecordsBudget,
        pace: Pace,
        offload: Offload,
    ) -> None:
        self._replica = replica
        self._terms = terms
        self._waits = waits
        self._feed = RecordsFeed(
            replica, budget=records, pace=pace, offload=offload, where=self._where
        )

    def close(self) -> None:
        """The call is over."""
        self._feed.close()

    async def messages(self) -> AsyncIterator[EncodedMessage]:
        """Everything the call is to send, encoded.

        Raises:
            OffsetOutOfRange: the start lies outside of what the log holds.
            Draining: the broker is to stop.
            NotLeader, StorageOffline, CorruptLog, UnknownTopicOrPartition: the partition went away.
        """
        replica, terms = self._replica, self._terms
        start = await find_start(replica, terms.start)
        cursor = ReadCursor.at(terms, start=start, high_watermark=replica.high_watermark)
        spoke = False
        while not cursor.is_done:
            if not terms.as_batches:
                await self._feed.ready()
            part = await self._slice(cursor)
            if part is None:
                if not spoke:
                    yield self._positions(cursor)
                    spoke = True
                if not await self._waits.wait_for(replica, cursor.next_offset):
                    yield self._positions(cursor)
                continue
            sending = self._batches if terms.as_batches else self._feed.messages
            async for message in sending(part, cursor):
                yield message
            spoke = True
            self._waits.check()
        if not spoke:
            await self._check_start(start)
            yield self._positions(cursor)

    async def _slice(self, cursor: ReadCursor) -> LogSlice | None:
        most = RESPONSE_SIZE_MAX if self._terms.as_batches else RECORDS_SLICE_SIZE_MAX
        return await self._replica.read(cursor.next_offset, max_bytes=cursor.size_limit(most))

    async def _check_start(self, start: int) -> None:
        """A Read that ends where it begins still says so if there is no such place."""
        part = await self._replica.read(start, max_bytes=1)
        if part is not None:
            part.release()

    def _where(self) -> Positions:
        replica = self._replica
        return Positions(
            replica.high_watermark, replica.log_start_offset, replica.leader_epoch or 0
        )

    def _positions(self, cursor: ReadCursor) -> EncodedMessage:
        message = positions_message(self._where(), next_offset=cursor.next_offset)
        return EncodedMessage((message.SerializeToString(),))

    async def _batches(self, part: LogSlice, cursor: ReadCursor) -> AsyncIterator[EncodedMessage]:
        is_handed_over = False
        try:
            cut = await self._cut(part, cursor)
            head = positions_message(self._where(), next_offset=cut.next_offset)
            parts: list[Part] = [head.SerializeToString()]
            if cut.size:
                parts.append(FileRange(part.file, part.position, cut.size))
                is_handed_over = True
            cursor.advance(
                next_offset=cut.next_offset, record_count=cut.record_count, size=cut.size
            )
            yield EncodedMessage(parts)
        finally:
            if not is_handed_over:
                part.release()

    async def _cut(self, part: LogSlice, cursor: ReadCursor) -> Cut:
        """The slice as it is, unless the Read may end inside it."""
        ends_inside = cursor.stop_offset is not None and part.next_offset > cursor.stop_offset
        if cursor.records_left is None and not ends_inside:
            return Cut(part.size, part.next_offset, 0)
        return cut_batches(await self._replica.load(part), cursor)
