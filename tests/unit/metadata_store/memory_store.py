"""A metadata store in memory, for tests of what stands on one; held to the conformance suite.

It answers without leaving the event loop's thread, so tests on a manual clock see every step. It
can be told to fail: `unavailable` refuses everything, `lost_answers` does what a transaction asks
for and then says that the outcome is unknown, `lost_requests` says so without doing it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kit.clock import ManualClock
from ottla.protocol.errors import MetadataStoreUnavailable, OutcomeUnknown
from ottla_controller.store.interface import (
    NO_LEASE,
    CompactedError,
    Compare,
    CreateRevisionIs,
    DeleteKey,
    FutureRevisionError,
    KeyEvent,
    KeyValue,
    LeaseLostError,
    Operation,
    Page,
    PutKey,
    RevisionEvents,
    StoreRestoredError,
    TransactionResult,
    check_transaction,
)


@dataclass
class Contents:
    """What outlives a process."""

    history: list[dict[bytes, KeyValue]] = field(default_factory=lambda: [{}])
    compacted: int = 0
    last_lease_id: int = 0


_KEPT: dict[Path, Contents] = {}


class MemoryMetadataStore:
    """The store of one process; `contents` may be handed on to the next one."""

    kind = "memory"

    def __init__(self, *, clock: ManualClock, contents: Contents | None = None) -> None:
        self.store_id = ""
        self.contents = contents or Contents()
        self.unavailable = False
        self.restored = False
        self.lost_answers = 0
        self.lost_requests = 0
        self._clock = clock
        self._leases: dict[int, tuple[int, int]] = {}
        self._grown = asyncio.Event()
        self._end([item.lease_id for item in self.now.values() if item.lease_id])

    @classmethod
    @asynccontextmanager
    async def opened(cls, path: Path, clock: ManualClock) -> AsyncIterator[MemoryMetadataStore]:
        """The store kept under a path for as long as the tests run."""
        yield cls(clock=clock, contents=_KEPT.setdefault(path, Contents()))

    def accept_restored(self) -> None:
        """Takes the contents as they are now."""
        self.restored = False

    @property
    def revision(self) -> int:
        return len(self.contents.history) - 1

    @property
    def now(self) -> dict[bytes, KeyValue]:
        return self.contents.history[-1]

    async def run(self) -> None:
        """Nothing to do: leases that are over end with the next call."""
        await asyncio.Event().wait()

    async def read(
        self, prefix: bytes, *, after: bytes = b"", limit: int = 1_000, revision: int | None = None
    ) -> Page:
        await self._begin()
        at = self.revision if revision is None else revision
        if at < self.contents.compacted:
            raise CompactedError(self.contents.compacted)
        if at > self.revision:
            raise FutureRevisionError(f"{at} is yet to come")
        items = [
            item
            for key, item in sorted(self.contents.history[at].items())
            if key.startswith(prefix) and key > after
        ]
        return Page(tuple(items[:limit]), at, len(items) > limit)

    async def transact(
        self, compares: Sequence[Compare], operations: Sequence[Operation]
    ) -> TransactionResult:
        check_transaction(compares, operations)
        await self._begin()
        if self.lost_requests:
            self.lost_requests -= 1
            raise OutcomeUnknown("the request was lost")
        if not all(map(self._holds, compares)):
            return TransactionResult(False, self.revision)
        for operation in operations:
            if isinstance(operation, PutKey) and operation.lease_id not in {
                NO_LEASE,
                *self._leases,
            }:
                raise LeaseLostError("the lease has ended")
        self._write(operations)
        if self.lost_answers:
            self.lost_answers -= 1
            raise OutcomeUnknown("the answer was lost")
        return TransactionResult(True, self.revision)

    @asynccontextmanager
    async def watch(
        self, prefix: bytes, *, from_revision: int
    ) -> AsyncIterator[AsyncIterator[RevisionEvents]]:
        yield self._events(prefix, from_revision)

    async def _events(self, prefix: bytes, revision: int) -> AsyncIterator[RevisionEvents]:
        while True:
            await self._begin()
            if revision <= self.contents.compacted:
                raise CompactedError(self.contents.compacted)
            if revision > self.revision:
                grown = self._grown
                await grown.wait()
                continue
            events = self._changes(prefix, revision)
            if events:
                yield RevisionEvents(revision, events)
            revision += 1

    def _changes(self, prefix: bytes, revision: int) -> tuple[KeyEvent, ...]:
        before, after = self.contents.history[revision - 1 : revision + 1]
        events = []
        for key in sorted({*before, *after}):
            if key.startswith(prefix) and before.get(key) != after.get(key):
                item = after.get(key)
                events.append(
                    KeyEvent(key, item.value, item.create_revision)
                    if item
                    else KeyEvent(key, None, 0)
                )
        return tuple(events)

    async def grant_lease(self, ttl_ms: int) -> int:
        await self._begin()
        self.contents.last_lease_id += 1
        lease_id = self.contents.last_lease_id
        self._leases[lease_id] = (ttl_ms, self._clock.monotonic_ms() + ttl_ms)
        return lease_id

    async def keep_lease_alive(self, lease_id: int) -> None:
        await self._begin()
        if lease_id not in self._leases:
            raise LeaseLostError("the lease has ended")
        ttl_ms = self._leases[lease_id][0]
        self._leases[lease_id] = (ttl_ms, self._clock.monotonic_ms() + ttl_ms)

    async def revoke_lease(self, lease_id: int) -> None:
        await self._begin()
        self._end([lease_id])

    async def compact(self, revision: int) -> None:
        await self._begin()
        if revision <= self.contents.compacted:
            raise CompactedError(self.contents.compacted)
        if revision > self.revision:
            raise FutureRevisionError(f"{revision} is yet to come")
        self.contents.compacted = revision

    def expire(self) -> None:
        """Ends the leases whose time is over."""
        now_ms = self._clock.monotonic_ms()
        for lease_id in sorted(self._leases):
            if self._leases[lease_id][1] <= now_ms:
                self._end([lease_id])

    async def _begin(self) -> None:
        await asyncio.sleep(0)
        if self.restored:
            raise StoreRestoredError("the contents are of a backup")
        if self.unavailable:
            raise MetadataStoreUnavailable("the store does not answer")
        self.expire()

    def _end(self, lease_ids: Sequence[int]) -> None:
        self._write(
            [DeleteKey(key) for key, item in self.now.items() if item.lease_id in lease_ids]
        )
        for lease_id in lease_ids:
            self._leases.pop(lease_id, None)

    def _holds(self, compare: Compare) -> bool:
        item = self.now.get(compare.key)
        if isinstance(compare, CreateRevisionIs):
            return compare.create_revision == (item.create_revision if item else 0)
        return compare.mod_revision == (item.mod_revision if item else 0)

    def _write(self, operations: Sequence[Operation]) -> None:
        after = dict(self.now)
        mod = self.revision + 1
        for operation in operations:
            before = after.pop(operation.key, None)
            if isinstance(operation, PutKey):
                create = before.create_revision if before else mod
                after[operation.key] = KeyValue(
                    operation.key, operation.value, create, mod, operation.lease_id
                )
        if after != self.now:
            self.contents.history.append(after)
            self._grown.set()
            self._grown = asyncio.Event()
