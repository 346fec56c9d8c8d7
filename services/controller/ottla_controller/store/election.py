"""Election of the one controller that writes, on any `MetadataStore`.

Owns standing for election and resigning. Every candidate puts a key of its own on a lease; the one
with the lowest create revision leads, the others each wait for the keys before theirs to go. The
create revision of the leader's key is its fencing token: it grows with every change of leader, and
each write compares it in its own transaction.
"""

from __future__ import annotations

from dataclasses import dataclass

from ottla_controller.store.interface import (
    PAGE_ITEMS_MAX,
    CompactedError,
    CreateRevisionIs,
    KeyValue,
    LeaseLostError,
    MetadataStore,
    PutKey,
)

ELECTION_PREFIX = b"election/"


@dataclass(frozen=True, slots=True)
class Leadership:
    """A term won: valid while its key exists since that revision."""

    key: bytes
    epoch: int
    """The key's create revision: the controller epoch."""

    def compare(self) -> CreateRevisionIs:
        """What every write of the term compares."""
        return CreateRevisionIs(self.key, self.epoch)


async def campaign(store: MetadataStore, *, lease_id: int, candidate: bytes) -> Leadership:
    """Waits until the candidate leads.

    Args:
        store: where the election is held.
        lease_id: kept alive by the caller, also while this waits; leadership ends with it.
        candidate: says who it is, for people.

    Raises:
        LeaseLostError: the lease ended first.
    """
    key = ELECTION_PREFIX + b"%016x" % lease_id
    await store.transact([CreateRevisionIs(key, 0)], [PutKey(key, candidate, lease_id)])
    while True:
        page = await store.read(ELECTION_PREFIX, limit=PAGE_ITEMS_MAX)
        own = next((item for item in page.items if item.key == key), None)
        if own is None:
            raise LeaseLostError(f"lease {lease_id} ended before the election was won")
        before = [item for item in page.items if item.create_revision < own.create_revision]
        if not before:
            return Leadership(key, own.create_revision)
        await _until_gone(store, max(before, key=_seniority), from_revision=page.revision + 1)


def _seniority(item: KeyValue) -> int:
    return item.create_revision


async def _until_gone(store: MetadataStore, rival: KeyValue, *, from_revision: int) -> None:
    """Returns once the rival's key was deleted, or the history was lost and has to be read anew."""
    try:
        async with store.watch(rival.key, from_revision=from_revision) as revisions:
            async for revision in revisions:
                if any(event.key == rival.key and event.value is None for event in revision.events):
                    return
    except CompactedError:
        return
