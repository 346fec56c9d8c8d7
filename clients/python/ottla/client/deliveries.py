"""What `send` returns: the promise of an acknowledgement, cheap unless somebody waits for it.

Owns waiting for a batch's fate and its translation to one record's receipt. A future is made only
where one is awaited: a producer at full rate makes none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

from ottla.client.core.error_copies import restated
from ottla.client.core.outgoing_batch import OutgoingBatch
from ottla.protocol.errors import OttlaError


class Receipt(NamedTuple):
    """Where a record went.

    `offset` is None with acks="none", where nobody knows.
    """

    topic: str
    partition: int
    offset: int | None
    timestamp_ms: int


async def until_done(batch: OutgoingBatch) -> None:
    """Return when the fate of all the batch's records is known; cancelling leaves no trace."""
    if batch.is_done:
        return
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not done.done():
            done.set_result(None)

    batch.on_done(wake)
    await done


class Delivery:
    """One record on its way; await it for the receipt, or ignore it.

    An ignored failure reaches the producer's `on_error`, `flush` and `close`.
    """

    __slots__ = ("_batch", "_index", "_timestamp_ms")

    def __init__(self, batch: OutgoingBatch, index: int, timestamp_ms: int) -> None:
        self._batch = batch
        self._index = index
        self._timestamp_ms = timestamp_ms

    def done(self) -> bool:
        """Whether awaiting returns, or raises, at once."""
        return self._batch.is_done

    def observe(self) -> None:
        """Somebody waits for it: a failure is not `on_error`'s any more."""
        self._batch.is_observed = True

    async def until_done(self) -> None:
        """Return when it is `done`."""
        await until_done(self._batch)

    def receipt(self) -> Receipt:
        """The receipt of a record that is `done`. Raises its OttlaError."""
        return receipt_of(self._batch, self._index, self._timestamp_ms)

    def span(self) -> Span:
        """The record's place, as part of many."""
        return Span(self._batch, self._index, 1, self._timestamp_ms)

    def __await__(self) -> Generator[Any, None, Receipt]:
        """Wait for the acknowledgement.

        Raises:
            OttlaError: the record could not be delivered; its reason says whether it may have been.
        """
        batch = self._batch
        batch.is_observed = True
        if not batch.is_done:
            yield from until_done(batch).__await__()
        return receipt_of(batch, self._index, self._timestamp_ms)


def receipt_of(batch: OutgoingBatch, index: int, timestamp_ms: int) -> Receipt:
    """The receipt of one record of a batch whose fate is known; raises its OttlaError."""
    outcome, place = batch.fate_of(index)
    assert outcome is not None, "asked before the fate is known"
    if isinstance(outcome, OttlaError):
        raise restated(outcome)
    return Receipt(
        batch.topic,
        batch.partition,
        None if outcome.base_offset is None else outcome.base_offset + place,
        outcome.append_time_ms or timestamp_ms,
    )


class Span(NamedTuple):
    """Records that one `send_many` put into one batch, one after the other."""

    batch: OutgoingBatch
    first_index: int
    record_count: int
    timestamp_ms: int


class Deliveries:
    """The records of one `send_many`; await it for all receipts, or ignore it."""

    __slots__ = ("_spans",)

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans

    def __len__(self) -> int:
        """Number of records."""
        return sum(span.record_count for span in self._spans)

    def done(self) -> bool:
        """Whether awaiting returns, or raises, at once."""
        return all(span.batch.is_done for span in self._spans)

    def observe(self) -> None:
        """Somebody waits for them: a failure is not `on_error`'s any more."""
        for span in self._spans:
            span.batch.is_observed = True

    async def until_done(self) -> None:
        """Return when all are `done`."""
        for span in self._spans:
            await until_done(span.batch)

    def receipts(self) -> list[Receipt]:
        """The receipts of records that are `done`. Raises the first OttlaError among them."""
        return [
            receipt_of(batch, index, timestamp_ms)
            for batch, first_index, record_count, timestamp_ms in self._spans
            for index in range(first_index, first_index + record_count)
        ]

    def __await__(self) -> Generator[Any, None, list[Receipt]]:
        """Wait for all acknowledgements, in the order the records were given.

        Raises:
            OttlaError: some record could not be delivered: the first such.
        """
        self.observe()
        yield from self.until_done().__await__()
        return self.receipts()
