"""The embedded store's revisions in SQLite: reads, transactions, leases, compaction.

Owns the connection and the lease table. Everything here blocks and runs in the worker thread of
`sqlite_store`, one call at a time; nothing here knows of asyncio. Each call first ends the leases
whose time is over, so no answer ever shows a key that should be gone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from typing import Final

from ottla.protocol.errors import MetadataStoreUnavailable, OutcomeUnknown
from ottla_controller.store import sqlite_schema as schema
from ottla_controller.store.interface import (
    NO_LEASE,
    CompactedError,
    Compare,
    CreateRevisionIs,
    DeleteKey,
    FutureRevisionError,
    KeyEvent,
    KeyValue,
    Operation,
    Page,
    PutKey,
    RevisionEvents,
    TransactionResult,
    prefix_end,
)
from ottla_controller.store.lease_table import LeaseTable
from ottla_runtime.clock import Clock

_WATCH_REVISIONS_MAX: Final = 64


class SqliteRevisions:
    """The store as blocking calls. Made, used and closed in one thread."""

    def __init__(self, connection: sqlite3.Connection, *, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._leases = LeaseTable()
        self.revision = 0
        self._compacted_revision = 0
        self._outcome_unknown = True
        with self._answering():
            pass  # takes over what the file holds

    def read(self, prefix: bytes, *, after: bytes, limit: int, revision: int | None) -> Page:
        """See `MetadataStore.read`."""
        with self._answering():
            at = self.revision if revision is None else revision
            self._check_kept(at)
            begin = after + b"\0" if after >= prefix else prefix
            rows = self._connection.execute(
                schema.SELECT_PAGE,
                {"begin": begin, "end": prefix_end(prefix), "revision": at, "limit": limit + 1},
            ).fetchall()
        items = tuple(KeyValue(*row) for row in rows[:limit])
        return Page(items, at, len(rows) > limit)

    def transact(
        self, compares: Sequence[Compare], operations: Sequence[Operation]
    ) -> TransactionResult:
        """See `MetadataStore.transact`."""
        with self._answering():
            if not all(map(self._holds, compares)):
                return TransactionResult(False, self.revision)
            for operation in operations:
                if isinstance(operation, PutKey) and operation.lease_id != NO_LEASE:
                    self._leases.check(operation.lease_id)
            self._write(operations)
        return TransactionResult(True, self.revision)

    def events(self, prefix: bytes, *, from_revision: int) -> tuple[list[RevisionEvents], int]:
        """Revisions of the prefix, and the revision to go on from."""
        with self._answering():
            if from_revision <= self._compacted_revision:
                raise CompactedError(self._compacted_revision)
            last = min(self.revision, from_revision + _WATCH_REVISIONS_MAX - 1)
            rows = self._connection.execute(
                schema.SELECT_EVENTS,
                {"first": from_revision, "last": last, "begin": prefix, "end": prefix_end(prefix)},
            ).fetchall()
        revisions = [
            RevisionEvents(revision, tuple(KeyEvent(*row[1:]) for row in group))
            for revision, group in groupby(rows, key=itemgetter(0))
        ]
        return revisions, last + 1

    def grant_lease(self, ttl_ms: int) -> int:
        """See `MetadataStore.grant_lease`."""
        with self._answering():
            lease_id = schema.read_number(self._connection, "last_lease_id") + 1
            with self._committing():
                schema.write_number(self._connection, "last_lease_id", lease_id)
        self._leases.grant(lease_id, ttl_ms=ttl_ms, now_ms=self._clock.monotonic_ms())
        return lease_id

    def keep_lease_alive(self, lease_id: int) -> None:
        """See `MetadataStore.keep_lease_alive`."""
        with self._answering():
            self._leases.keep_alive(lease_id, now_ms=self._clock.monotonic_ms())

    def revoke_lease(self, lease_id: int) -> None:
        """See `MetadataStore.revoke_lease`."""
        with self._answering():
            self._end_lease(lease_id)

    def expire(self) -> None:
        """Ends the leases whose time is over."""
        with self._answering():
            pass  # every call begins with it

    def next_deadline_ms(self) -> int | None:
        """When the next lease ends if nothing happens."""
        return self._leases.next_deadline_ms()

    def compact(self, revision: int) -> None:
        """See `MetadataStore.compact`."""
        with self._answering():
            if revision <= self._compacted_revision:
                raise CompactedError(self._compacted_revision)
            if revision > self.revision:
                raise FutureRevisionError(f"revision {revision} is yet to come")
            with self._committing():
                self._connection.execute(schema.DELETE_OVERWRITTEN, {"revision": revision})
                self._connection.execute(schema.DELETE_TOMBSTONES, {"revision": revision})
                schema.write_number(self._connection, "compacted_revision", revision)
            self._compacted_revision = revision

    def close(self) -> None:
        """Closes the file; nothing else may be called afterwards."""
        self._connection.close()

    def _check_kept(self, revision: int) -> None:
        if revision < self._compacted_revision:
            raise CompactedError(self._compacted_revision)
        if revision > self.revision:
            raise FutureRevisionError(f"revision {revision} is yet to come, {self.revision} is now")

    def _holds(self, compare: Compare) -> bool:
        current = self._current(compare.key)
        if isinstance(compare, CreateRevisionIs):
            return compare.create_revision == (current.create_revision if current else 0)
        return compare.mod_revision == (current.mod_revision if current else 0)

    def _current(self, key: bytes) -> KeyValue | None:
        row = self._connection.execute(schema.SELECT_CURRENT, (key,)).fetchone()
        return None if row is None or row[0] is None else KeyValue(key, *row)

    def _delete_keys(self, keys: Sequence[bytes]) -> None:
        if keys:
            self._write([DeleteKey(key) for key in keys])

    def _write(self, operations: Sequence[Operation]) -> None:
        """Commits the operations that change something as the next revision."""
        mod = self.revision + 1
        rows = [row for operation in operations if (row := self._row(operation, mod)) is not None]
        if not rows:
            return
        with self._committing():
            self._connection.executemany(schema.INSERT_REVISION, rows)
            schema.write_number(self._connection, "revision", mod)
        self.revision = mod
        for operation in operations:
            lease_id = operation.lease_id if isinstance(operation, PutKey) else NO_LEASE
            self._leases.attach(operation.key, lease_id)

    def _row(self, operation: Operation, mod: int) -> dict[str, object] | None:
        current = self._current(operation.key)
        if isinstance(operation, PutKey):
            create = current.create_revision if current else mod
            value: bytes | None = operation.value
            lease = operation.lease_id
        elif current is None:
            return None
        else:
            create, value, lease = 0, None, NO_LEASE
        return {"key": operation.key, "mod": mod, "create": create, "lease": lease, "value": value}

    @contextmanager
    def _committing(self) -> Iterator[None]:
        """One SQLite transaction; a failing commit leaves its outcome unknown."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:  # a full disk has rolled it back already
                self._connection.execute("ROLLBACK")
            raise
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:  # SQLite kept it open: nothing was committed
                self._connection.execute("ROLLBACK")
                raise
            self._outcome_unknown = True
            raise OutcomeUnknown(f"the metadata store failed in a commit: {error}") from error

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Brings the store to this moment, and tells SQLite's failures as the errors callers know.

        The first call, and one after a commit of unknown outcome, takes over what the file holds.
        """
        try:
            if self._outcome_unknown:
                self._take_over()
            for lease_id in self._leases.expired(self._clock.monotonic_ms()):
                self._end_lease(lease_id)
            yield
        except sqlite3.ProgrammingError:
            raise  # ours, not the disk's
        except sqlite3.Error as error:
            raise MetadataStoreUnavailable(f"the metadata store failed: {error}") from error

    def _take_over(self) -> None:
        self.revision = schema.read_number(self._connection, "revision")
        self._compacted_revision = schema.read_number(self._connection, "compacted_revision")
        orphans = []
        for key, lease_id in self._connection.execute(schema.SELECT_LEASED).fetchall():
            if lease_id in self._leases:
                self._leases.attach(key, lease_id)
            else:  # of a process that is gone
                orphans.append(key)
        self._delete_keys(orphans)
        self._outcome_unknown = False

    def _end_lease(self, lease_id: int) -> None:
        self._delete_keys(self._leases.keys_of(lease_id))
        self._leases.end(lease_id)
