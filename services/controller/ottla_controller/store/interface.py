"""The port to the metadata store, and the values that go through it.

Owns the contract that every store keeps; `tests/unit/metadata_store` holds each of them to it. A
store is an ordered map from keys to values with a history: each transaction that changes something
makes one revision, revisions have no gaps that a reader could mistake for a loss, and all history
since the last compaction can be read and watched. The shape is etcd's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from ottla.protocol.errors import (
    InvalidRequest,
    MetadataStoreUnavailable,
    NotController,
    OttlaError,
)

TRANSACTION_OPERATIONS_MAX: Final = 128
TRANSACTION_SIZE_MAX: Final = 1_520_000
"""Bytes of keys and values. etcd takes 1.5 MiB by default, framing and prefixes included."""
PAGE_ITEMS_MAX: Final = 10_000
NO_LEASE: Final = 0


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key as it was at some revision."""

    key: bytes
    value: bytes
    create_revision: int
    """Revision that made the key; another one after it was deleted and made again."""
    mod_revision: int
    """Revision that last wrote it."""
    lease_id: int = NO_LEASE
    """Lease that it ends with."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some keys in order, as of one revision."""

    items: tuple[KeyValue, ...]
    revision: int
    """Pass it on to read the next page of the same moment."""
    more: bool
    """Whether keys follow after the last item."""


@dataclass(frozen=True, slots=True)
class CreateRevisionIs:
    """Holds while the key exists since that revision; 0: while it does not exist."""

    key: bytes
    create_revision: int


@dataclass(frozen=True, slots=True)
class ModRevisionIs:
    """Holds while the key was last written at that revision; 0: while it does not exist."""

    key: bytes
    mod_revision: int


@dataclass(frozen=True, slots=True)
class PutKey:
    """Gives the key a value, and a lease or none."""

    key: bytes
    value: bytes
    lease_id: int = NO_LEASE


@dataclass(frozen=True, slots=True)
class DeleteKey:
    """Removes the key; without effect where there is none."""

    key: bytes


Compare = CreateRevisionIs | ModRevisionIs
Operation = PutKey | DeleteKey


@dataclass(frozen=True, slots=True)
class TransactionResult:
    """What became of a transaction."""

    succeeded: bool
    """All compares held, and all operations were done."""
    revision: int
    """The store's latest revision afterwards; the transaction's own if it changed something."""


@dataclass(frozen=True, slots=True)
class KeyEvent:
    """What one revision did to one key."""

    key: bytes
    value: bytes | None
    """None: the key was deleted."""
    create_revision: int
    """0 for a deletion."""


@dataclass(frozen=True, slots=True)
class RevisionEvents:
    """One whole revision, as far as it concerns the watched prefix."""

    revision: int
    events: tuple[KeyEvent, ...]


class CompactedError(OttlaError):
    """The history asked for was compacted away; read the present state instead."""

    def __init__(self, compacted_revision: int) -> None:
        super().__init__(f"history up to revision {compacted_revision} was compacted")
        self.compacted_revision = compacted_revision


class FutureRevisionError(InvalidRequest):
    """The store has not come to that revision yet."""


class LeaseLostError(NotController):
    """The lease ended or never was; its keys are gone."""


class StoreRestoredError(MetadataStoreUnavailable):
    """The store lost revisions that this process has seen: it was restored from a backup.

    Every call and every watch raises it from then on, until `accept_restored`. A transaction that
    raises it may have been done, in the store as it is now.
    """


class MetadataStore(Protocol):
    """What a controller needs of a metadata store. Called from one event loop.

    Every method raises `MetadataStoreUnavailable` while the store cannot answer; nothing was
    changed then. One that other processes use as well may be restored under this one
    (`StoreRestoredError`), and may not let it in any more (`NotAuthenticated`, `NotAuthorized`). A
    watch waits while the store cannot answer, where it can go on by itself. `transact` raises
    `OutcomeUnknown` where nobody can say whether it was done: read again and compare, never repeat
    blindly.
    """

    @property
    def kind(self) -> str:
        """`sqlite` or `etcd`."""
        ...

    @property
    def store_id(self) -> str:
        """Names the store, in a way that changes when it is replaced; empty: it has no name.

        etcd's is its cluster's id, which a restored backup keeps if its members and its token are
        named as before: the same id says nothing about the revisions being the same.
        """
        ...

    def accept_restored(self) -> None:
        """Takes the store on as it is now, after `StoreRestoredError`.

        Whatever stands on what was read before has to be dropped first: the term, too, since its
        key may have come back with the backup. Leases that were granted before are lost.
        """
        ...

    async def run(self) -> None:
        """The store's own task: leases that are over, connections that fell silent. For ever."""
        ...

    async def read(
        self, prefix: bytes, *, after: bytes = b"", limit: int = 1_000, revision: int | None = None
    ) -> Page:
        """The keys with a prefix, in order of their bytes.

        Args:
            prefix: what the keys begin with; empty: every key.
            after: only keys behind this one; the last of the page before.
            limit: most items, 1 to `PAGE_ITEMS_MAX`.
            revision: as they were then; None: now.

        Raises:
            CompactedError: that moment is no longer kept.
            FutureRevisionError: that moment is yet to come.
        """
        ...

    async def transact(
        self, compares: Sequence[Compare], operations: Sequence[Operation]
    ) -> TransactionResult:
        """Does all operations if all compares hold, else none; one revision in any case.

        Raises:
            ValueError: more than `TRANSACTION_OPERATIONS_MAX` operations or compares, more than
                `TRANSACTION_SIZE_MAX` bytes of keys and values, or a key twice among the
                operations.
            LeaseLostError: an operation names a lease that ended.
            OutcomeUnknown: it may have been done.
        """
        ...

    def watch(
        self, prefix: bytes, *, from_revision: int
    ) -> AbstractAsyncContextManager[AsyncIterator[RevisionEvents]]:
        """Every revision from `from_revision` on that touched the prefix: in order, whole, once.

        The iterator waits for revisions to come. It raises `CompactedError` where history that it
        has not given out yet was compacted away and is not at hand any more.
        """
        ...

    async def grant_lease(self, ttl_ms: int) -> int:
        """A lease that ends when it is not kept alive for `ttl_ms`, and its keys with it.

        It belongs to this store, and ends when that closes. It is lost here when its time is over
        by this process's clock, whether or not the store answers; nobody else sees it end before.
        """
        ...

    async def keep_lease_alive(self, lease_id: int) -> None:
        """Begins the lease's time anew.

        Raises:
            LeaseLostError: it ended before.
        """
        ...

    async def revoke_lease(self, lease_id: int) -> None:
        """Ends the lease at once, and its keys with it; without effect if it ended before."""
        ...

    async def compact(self, revision: int) -> None:
        """Forgets what was overwritten or deleted up to `revision`; what is current then stays.

        Raises:
            CompactedError: it was compacted as far before.
            FutureRevisionError: the store has not come to that revision yet.
        """
        ...


def check_transaction(compares: Sequence[Compare], operations: Sequence[Operation]) -> None:
    """Holds a transaction to the limits that all stores share; raises `ValueError`."""
    if max(len(operations), len(compares)) > TRANSACTION_OPERATIONS_MAX:
        raise ValueError(
            f"a transaction takes {TRANSACTION_OPERATIONS_MAX} operations, not {len(operations)}"
        )
    if len({operation.key for operation in operations}) < len(operations):
        raise ValueError("a transaction writes a key once")
    size = sum(map(operation_size, operations)) + sum(len(each.key) for each in compares)
    if size > TRANSACTION_SIZE_MAX:
        raise ValueError(f"a transaction takes {TRANSACTION_SIZE_MAX} bytes, not {size}")
    if not all(operation.key for operation in operations):
        raise ValueError("a key has at least one byte")


def operation_size(operation: Operation) -> int:
    """Bytes of an operation's key and value."""
    return len(operation.key) + (len(operation.value) if isinstance(operation, PutKey) else 0)


def prefix_end(prefix: bytes) -> bytes | None:
    """The first key behind all keys with the prefix; None where there is no end."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else None
