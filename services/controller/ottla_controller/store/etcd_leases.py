"""Leases in etcd, each also kept by this process's own clock.

Owns the leases that this store was granted. A lease is lost here once its time is over since the
last request that kept it was sent, whether or not an answer came: etcd ends it no sooner. What was
lost is revoked at once, so that nobody waits for keys that nobody stands behind.

etcd's leader keeps a lease without asking the others. One that is cut off from them does so for as
long as it takes itself for the leader, while the next one counts the lease's time already. So an
answer is believed only once a majority has answered behind it in the same term.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from ottla.internal.etcd.v1 import etcd_pb2
from ottla.protocol.errors import OttlaError
from ottla_controller.store.etcd_connection import EtcdConnection
from ottla_controller.store.etcd_requests import (
    LEASE_GRANT,
    LEASE_KEEP_ALIVE,
    LEASE_REVOKE,
    RANGE,
    KeySpace,
)
from ottla_controller.store.interface import LeaseLostError
from ottla_controller.store.lease_table import LeaseTable
from ottla_runtime.clock import Clock

LEASE_TTL_MIN_MS: Final = 1_000
_SECOND_MS: Final = 1_000


class EtcdLeases:
    """The leases of one store; used from one event loop."""

    def __init__(self, connection: EtcdConnection, keys: KeySpace, *, clock: Clock) -> None:
        self._connection = connection
        self._probe = keys.probe()
        self._clock = clock
        self._table = LeaseTable()

    async def grant(self, ttl_ms: int) -> int:
        """See `MetadataStore.grant_lease`."""
        sent_ms = self._clock.monotonic_ms()
        request = etcd_pb2.LeaseGrantRequest(ttl=-(-ttl_ms // _SECOND_MS))
        granted = await self._connection.call(LEASE_GRANT, request)
        self._table.grant(granted.id, ttl_ms=min(ttl_ms, granted.ttl * _SECOND_MS), now_ms=sent_ms)
        return granted.id

    async def keep_alive(self, lease_id: int) -> None:
        """See `MetadataStore.keep_lease_alive`."""
        try:
            while not await self._kept(lease_id):
                pass  # by a leader that is over; the one that answered since may keep it
        except OttlaError:
            self.check(lease_id)  # whose time may be over by now
            raise

    async def _kept(self, lease_id: int) -> bool:
        """Asks once; tells whether whoever kept the lease led the cluster then."""
        sent_ms = self._clock.monotonic_ms()
        deadline_ms = self.check(lease_id)
        request = etcd_pb2.LeaseKeepAliveRequest(id=lease_id)
        kept = await self._connection.call(
            LEASE_KEEP_ALIVE, request, timeout_ms=deadline_ms - sent_ms
        )
        if kept.ttl <= 0:
            self._table.end(lease_id)
        left_ms = self.check(lease_id) - self._clock.monotonic_ms()
        answer = await self._connection.call(RANGE, self._probe, timeout_ms=left_ms)
        self.check(lease_id)
        if answer.header.raft_term != kept.header.raft_term:
            return False
        self._table.keep_alive(lease_id, now_ms=sent_ms)
        return True

    async def revoke(self, lease_id: int) -> None:
        """See `MetadataStore.revoke_lease`."""
        with suppress(LeaseLostError):  # it ended before
            await self._connection.call(LEASE_REVOKE, etcd_pb2.LeaseRevokeRequest(id=lease_id))
        self._table.end(lease_id)

    def check(self, lease_id: int) -> int:
        """When the lease is over if nothing happens; raises `LeaseLostError` if it is."""
        deadline_ms = self._table.check(lease_id).deadline_ms
        if self._clock.monotonic_ms() >= deadline_ms:
            raise LeaseLostError(f"lease {lease_id} was not kept in time")
        return deadline_ms

    def forget(self, lease_id: int) -> None:
        """Drops a lease that is unknown to etcd."""
        self._table.end(lease_id)

    async def end_lost(self) -> None:
        """Revokes the leases whose time is over."""
        for lease_id in self._table.expired(self._clock.monotonic_ms()):
            await self.revoke(lease_id)

    async def end_all(self) -> None:
        """Revokes every lease."""
        for lease_id in self._table.ids():
            await self.revoke(lease_id)

    def next_deadline_ms(self) -> int | None:
        """When the next lease is over if nothing happens."""
        return self._table.next_deadline_ms()

    def forget_all(self) -> None:
        """Gives up every lease without asking etcd, which may not know them."""
        self._table = LeaseTable()
