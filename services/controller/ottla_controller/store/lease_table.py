"""Leases of one store: when each is over, and which keys end with it where the store must know.

Owns deadlines and keys in memory: a lease never outlives the process that was granted it. Pure;
used by one thread alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ottla_controller.store.interface import NO_LEASE, LeaseLostError


@dataclass(slots=True)
class _Lease:
    ttl_ms: int
    deadline_ms: int
    keys: set[bytes] = field(default_factory=set)


class LeaseTable:
    """Leases by id, on the monotonic clock."""

    def __init__(self) -> None:
        self._leases: dict[int, _Lease] = {}
        self._lease_of: dict[bytes, int] = {}

    def __contains__(self, lease_id: int) -> bool:
        return lease_id in self._leases

    def grant(self, lease_id: int, *, ttl_ms: int, now_ms: int) -> None:
        """Begins a lease."""
        assert lease_id not in self._leases
        assert lease_id != NO_LEASE
        self._leases[lease_id] = _Lease(ttl_ms, now_ms + ttl_ms)

    def keep_alive(self, lease_id: int, *, now_ms: int) -> None:
        """Begins a lease's time anew; raises `LeaseLostError` if it is gone."""
        lease = self.check(lease_id)
        lease.deadline_ms = now_ms + lease.ttl_ms

    def check(self, lease_id: int) -> _Lease:
        """The lease; raises `LeaseLostError` if it is gone."""
        lease = self._leases.get(lease_id)
        if lease is None:
            raise LeaseLostError(f"lease {lease_id} has ended")
        return lease

    def attach(self, key: bytes, lease_id: int) -> None:
        """Notes which lease a key hangs on now; `NO_LEASE`: on none."""
        before = self._lease_of.pop(key, NO_LEASE)
        if before in self._leases:
            self._leases[before].keys.discard(key)
        if lease_id != NO_LEASE:
            self.check(lease_id).keys.add(key)
            self._lease_of[key] = lease_id

    def keys_of(self, lease_id: int) -> list[bytes]:
        """The keys that end with the lease, in order."""
        lease = self._leases.get(lease_id)
        return sorted(lease.keys) if lease else []

    def end(self, lease_id: int) -> None:
        """Forgets a lease whose keys are gone."""
        lease = self._leases.pop(lease_id, None)
        for key in lease.keys if lease else ():
            del self._lease_of[key]

    def ids(self) -> list[int]:
        """All leases, in the order of their ids."""
        return sorted(self._leases)

    def expired(self, now_ms: int) -> list[int]:
        """The leases whose time is over, in the order of their ids."""
        return sorted(
            lease_id for lease_id, lease in self._leases.items() if lease.deadline_ms <= now_ms
        )

    def next_deadline_ms(self) -> int | None:
        """When the next lease ends if nothing happens."""
        return min((lease.deadline_ms for lease in self._leases.values()), default=None)
