"""What a blocking `send` returns: the promise of an acknowledgement, to wait for or to ignore.

Owns waiting for it from any thread. What was sent is handed over first, in company of others, and
is filled with a delivery of the asyncio client then, which knows its fate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from ottla.client import deliveries
from ottla.client.core.error_copies import restated
from ottla.client.deliveries import Receipt
from ottla.protocol.errors import OttlaError
from ottla.protocol.records import RecordInput

R = TypeVar("R")


class Owner(Protocol):
    """The hand-over of the producer that a delivery belongs to."""

    def call(self, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """The result of work on the client's event loop."""
        ...

    async def caught_up(self) -> None:
        """Return when all that was handed over so far is filled."""
        ...


class Delivery:
    """One record on its way; ask for its `result`, or ignore it.

    An ignored failure reaches the producer's `on_error`, `flush` and `close`.
    """

    __slots__ = ("_owner", "filled", "is_observed", "partition", "record", "size", "topic")

    record_count = 1

    def __init__(
        self, owner: Owner, topic: str, record: RecordInput, *, size: int, partition: int | None
    ) -> None:
        self._owner = owner
        self.topic = topic
        self.record: RecordInput | None = record
        self.size = size
        self.partition = partition
        self.filled: deliveries.Delivery | OttlaError | None = None
        """The asyncio client's delivery, or why there is none; None before either."""
        self.is_observed = False
        """Somebody waits, or waited, for it."""

    def done(self) -> bool:
        """Whether `result` returns, or raises, at once."""
        filled = self.filled
        return filled is not None and (isinstance(filled, OttlaError) or filled.done())

    def result(self, timeout_ms: int | None = None) -> Receipt:
        """Wait for the acknowledgement.

        Args:
            timeout_ms: how long to wait; the delivery goes on after that. None: until its end.

        Raises:
            OttlaError: it could not be delivered; the reason says whether it may have been.
            TimeoutError: it is still on its way.
        """
        self.observe()
        if not self.done():
            self._owner.call(lambda: _within(timeout_ms, self.until_done()))
        return self.receipts()[0]

    def observe(self) -> None:
        self.is_observed = True
        if isinstance(self.filled, deliveries.Delivery):
            self.filled.observe()

    async def until_done(self) -> None:
        """Return when its fate is known; on the client's event loop."""
        if self.filled is None:
            await self._owner.caught_up()
        if isinstance(self.filled, deliveries.Delivery):
            await self.filled.until_done()

    def receipts(self) -> list[Receipt]:
        assert self.filled is not None, "asked before the fate is known"
        if isinstance(self.filled, OttlaError):
            raise restated(self.filled)
        return [self.filled.receipt()]


class Portion:
    """A part of one `send_many`, handed over at once; otherwise as `Delivery`."""

    __slots__ = (
        "_owner",
        "filled",
        "is_observed",
        "items",
        "partition",
        "record_count",
        "size",
        "timestamp_ms",
        "topic",
    )

    def __init__(
        self,
        owner: Owner,
        topic: str,
        items: Sequence[bytes | tuple[bytes | None, bytes | None]],
        *,
        size: int,
        partition: int | None,
        timestamp_ms: int,
    ) -> None:
        self._owner = owner
        self.topic = topic
        self.items = items
        self.record_count = len(items)
        self.size = size
        self.partition = partition
        self.timestamp_ms = timestamp_ms
        self.filled: deliveries.Deliveries | OttlaError | None = None
        self.is_observed = False

    def done(self) -> bool:
        filled = self.filled
        return filled is not None and (isinstance(filled, OttlaError) or filled.done())

    def observe(self) -> None:
        self.is_observed = True
        if isinstance(self.filled, deliveries.Deliveries):
            self.filled.observe()

    async def until_done(self) -> None:
        if self.filled is None:
            await self._owner.caught_up()
        if isinstance(self.filled, deliveries.Deliveries):
            await self.filled.until_done()

    def receipts(self) -> list[Receipt]:
        assert self.filled is not None, "asked before the fate is known"
        if isinstance(self.filled, OttlaError):
            raise restated(self.filled)
        return self.filled.receipts()


class Deliveries:
    """The records of one `send_many`; ask for their `result`, or ignore it."""

    __slots__ = ("_owner", "_parts")

    def __init__(self, owner: Owner, parts: Sequence[Delivery | Portion]) -> None:
        self._owner = owner
        self._parts = parts

    def __len__(self) -> int:
        """Number of records."""
        return sum(part.record_count for part in self._parts)

    def done(self) -> bool:
        """Whether `result` returns, or raises, at once."""
        return all(part.done() for part in self._parts)

    def result(self, timeout_ms: int | None = None) -> list[Receipt]:
        """Wait for all acknowledgements, in the order the records were given.

        Args:
            timeout_ms: how long to wait; the deliveries go on after that. None: until their end.

        Raises:
            OttlaError: some record could not be delivered: the first such.
            TimeoutError: some are still on their way.
        """
        for part in self._parts:
            part.observe()
        if not self.done():
            self._owner.call(lambda: _within(timeout_ms, self._until_done()))
        return [receipt for part in self._parts for receipt in part.receipts()]

    async def _until_done(self) -> None:
        for part in self._parts:
            await part.until_done()


async def _within(timeout_ms: int | None, work: Coroutine[Any, Any, R]) -> R:
    """What `work` returns. Raises TimeoutError if that takes longer."""
    async with asyncio.timeout(None if timeout_ms is None else timeout_ms / 1_000):
        return await work
