"""The embedded metadata store: `MetadataStore` on one SQLite file, for one controller process.

Owns the worker thread, the lock on the directory, and waking watches. Blocking work is
`sqlite_revisions`. A watch keeps nothing but the revision it has come to and reads on from the
file, so a slow watcher costs no memory and misses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, Self, TypeVar

from ottla.protocol.errors import MetadataStoreUnavailable, OutcomeUnknown
from ottla_controller.setbacks import Setbacks
from ottla_controller.store.data_directory import DataDirectory
from ottla_controller.store.interface import (
    PAGE_ITEMS_MAX,
    Compare,
    Operation,
    Page,
    RevisionEvents,
    TransactionResult,
    check_transaction,
)
from ottla_controller.store.sqlite_revisions import SqliteRevisions
from ottla_controller.store.sqlite_schema import open_database
from ottla_runtime.clock import Clock

LEASE_TTL_MIN_MS: Final = 1_000

_Value = TypeVar("_Value")


class SqliteMetadataStore:
    """Opened with `opened`, used from one event loop; `run` is its one task."""

    def __init__(self, *, clock: Clock, executor: ThreadPoolExecutor) -> None:
        self._clock = clock
        self._executor = executor
        self._directory: DataDirectory | None = None
        self._revisions: SqliteRevisions | None = None
        self._grown: set[asyncio.Event] = set()

    @classmethod
    @asynccontextmanager
    async def opened(cls, path: Path, *, clock: Clock) -> AsyncIterator[Self]:
        """The store in the directory `path`, closed at the end of the block.

        Raises:
            DirectoryInUseError: another process has it.
            UnsupportedVersion: a newer release wrote it.
            CorruptLog: its file is damaged.
            MetadataStoreUnavailable: it cannot be opened or written.
        """
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="metadata-store")
        store = cls(clock=clock, executor=executor)
        loop = asyncio.get_running_loop()
        try:
            await asyncio.shield(loop.run_in_executor(executor, store._open, path))
            yield store
        finally:
            await asyncio.shield(loop.run_in_executor(executor, store._close))
            executor.shutdown(wait=False)

    @property
    def kind(self) -> str:
        return "sqlite"

    @property
    def store_id(self) -> str:
        return ""  # a file has no name that a copy of it would not have

    def accept_restored(self) -> None:
        """Nothing to do: a file that this process alone may have is not replaced under it."""

    async def run(self) -> None:
        """Ends leases in time, so that watchers hear of it. Runs until cancelled."""
        setbacks = Setbacks()
        while True:
            # No lease that is granted meanwhile can end before we look again.
            deadline_ms = self._clock.monotonic_ms() + LEASE_TTL_MIN_MS
            try:
                next_ms = await self._call(lambda revisions: revisions.next_deadline_ms())
                await self._clock.sleep_until(min(deadline_ms, next_ms or deadline_ms))
                await self._call(lambda revisions: revisions.expire())
                setbacks.over()
            except (MetadataStoreUnavailable, OutcomeUnknown) as error:
                # Whoever needs the store hears of it; leases end with the next call that works.
                setbacks.met("metadata_store.failed", str(error))
                await self._clock.sleep_until(deadline_ms)

    async def read(
        self, prefix: bytes, *, after: bytes = b"", limit: int = 1_000, revision: int | None = None
    ) -> Page:
        assert 1 <= limit <= PAGE_ITEMS_MAX
        return await self._call(
            lambda revisions: revisions.read(prefix, after=after, limit=limit, revision=revision)
        )

    async def transact(
        self, compares: Sequence[Compare], operations: Sequence[Operation]
    ) -> TransactionResult:
        check_transaction(compares, operations)
        return await self._call(lambda revisions: revisions.transact(compares, operations))

    @asynccontextmanager
    async def watch(
        self, prefix: bytes, *, from_revision: int
    ) -> AsyncIterator[AsyncIterator[RevisionEvents]]:
        grown = asyncio.Event()
        self._grown.add(grown)
        try:
            yield self._events(prefix, from_revision=from_revision, grown=grown)
        finally:
            self._grown.discard(grown)

    async def _events(
        self, prefix: bytes, *, from_revision: int, grown: asyncio.Event
    ) -> AsyncIterator[RevisionEvents]:
        next_revision = from_revision
        while True:
            grown.clear()  # before the look, so that what comes during it is not missed
            before = next_revision
            read = partial(SqliteRevisions.events, prefix=prefix, from_revision=before)
            # Its own reading wakes no watch: it would find itself woken for ever.
            found, next_revision = await self._call(read, wakes_watches=False)
            next_revision = max(before, next_revision)
            for revision in found:
                yield revision
            if next_revision == before:
                await grown.wait()

    async def grant_lease(self, ttl_ms: int) -> int:
        assert ttl_ms >= LEASE_TTL_MIN_MS
        return await self._call(lambda revisions: revisions.grant_lease(ttl_ms))

    async def keep_lease_alive(self, lease_id: int) -> None:
        await self._call(lambda revisions: revisions.keep_lease_alive(lease_id))

    async def revoke_lease(self, lease_id: int) -> None:
        await self._call(lambda revisions: revisions.revoke_lease(lease_id))

    async def compact(self, revision: int) -> None:
        await self._call(lambda revisions: revisions.compact(revision))

    async def _call(
        self, work: Callable[[SqliteRevisions], _Value], *, wakes_watches: bool = True
    ) -> _Value:
        """Runs `work` in the worker thread, to its end even if the caller is cancelled."""
        revisions = self._revisions
        if revisions is None:
            raise MetadataStoreUnavailable("the metadata store is closed")
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._executor, work, revisions)
        future.add_done_callback(self._wake_watches if wakes_watches else _retrieve)
        return await asyncio.shield(future)

    def _wake_watches(self, done: asyncio.Future[_Value]) -> None:
        _retrieve(done)  # whoever asked may be gone; what it wrote counts all the same
        for grown in self._grown:
            grown.set()

    def _open(self, path: Path) -> None:
        self._directory = DataDirectory.claim(path)
        connection = open_database(self._directory.database_path)
        self._directory.sync_names()
        self._revisions = SqliteRevisions(connection, clock=self._clock)

    def _close(self) -> None:
        revisions, self._revisions = self._revisions, None
        if revisions is not None:
            revisions.close()
        if self._directory is not None:
            self._directory.release()


def _retrieve(done: asyncio.Future[_Value]) -> None:
    if not done.cancelled():
        done.exception()
