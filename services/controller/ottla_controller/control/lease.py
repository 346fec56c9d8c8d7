"""The lease that a controller's standing hangs on: its record, its candidacy, its leadership.

Owns the local deadline: the lease's length after the *sending* of the last request to keep it that
was answered, so that the store cannot have ended it before. Whoever acts on the lease asks
`is_held` first: a process that was stopped and goes on finds its time over before any task of it
has run. Whether the store answers makes no difference to the deadline.
"""

from __future__ import annotations

from typing import Final

from ottla.protocol.errors import MetadataStoreUnavailable, NotController
from ottla_controller.setbacks import STORE_FAILURES, Setbacks
from ottla_controller.store.interface import MetadataStore, StoreRestoredError
from ottla_runtime.clock import Clock

_KEEPS_PER_TTL: Final = 4


class HeldLease:
    """A lease that was granted; `keep` and `until_lost` are its two tasks."""

    def __init__(
        self, store: MetadataStore, lease_id: int, *, granted_ms: int, ttl_ms: int,
        clock: Clock, setbacks: Setbacks,
    ) -> None:  # fmt: skip
        self.lease_id = lease_id
        self._store = store
        self._ttl_ms = ttl_ms
        self._deadline_ms = granted_ms + ttl_ms
        self._clock = clock
        self._setbacks = setbacks
        self._failure = ""

    @classmethod
    async def granted(
        cls, store: MetadataStore, *, ttl_ms: int, clock: Clock, setbacks: Setbacks
    ) -> HeldLease:
        """A new lease. Raises MetadataStoreUnavailable, OutcomeUnknown."""
        asked_ms = clock.monotonic_ms()
        lease_id = await store.grant_lease(ttl_ms)
        return cls(
            store, lease_id, granted_ms=asked_ms, ttl_ms=ttl_ms, clock=clock, setbacks=setbacks
        )

    def is_held(self) -> bool:
        """Whether the lease surely lasts."""
        return self._clock.monotonic_ms() < self._deadline_ms

    async def keep(self) -> None:
        """Keep the lease alive until cancelled.

        Raises:
            LeaseLostError: the store ended it.
            StoreRestoredError: the store holds a backup; nothing is to be kept in it.
        """
        while True:
            sent_ms = self._clock.monotonic_ms()
            try:
                await self._store.keep_lease_alive(self.lease_id)
            except StoreRestoredError:
                raise
            except STORE_FAILURES as error:
                self._failure = str(error)
                self._setbacks.met("controller.lease_not_kept", str(error))
            else:
                self._failure = ""
                if self.is_held():  # what was lost in between stays lost
                    self._deadline_ms = max(self._deadline_ms, sent_ms + self._ttl_ms)
                self._setbacks.over("controller.lease_not_kept")
            await self._clock.sleep_until(sent_ms + self._ttl_ms // _KEEPS_PER_TTL)

    async def until_lost(self) -> None:
        """Wait for the deadline to pass; always ends by raising.

        Raises:
            MetadataStoreUnavailable: the store did not answer in time.
            NotController: the lease was not asked for in time, as by a process that was stopped.
        """
        while self.is_held():
            await self._clock.sleep_until(self._deadline_ms)
        message = "the lease of this controller was lost"
        if self._failure:
            raise MetadataStoreUnavailable(f"{message}: {self._failure}")
        raise NotController(message)

    async def give_up(self) -> None:
        """Let others lead at once; where the store does not answer, the lease's time does it."""
        self._deadline_ms = self._clock.monotonic_ms()
        try:
            await self._store.revoke_lease(self.lease_id)
        except STORE_FAILURES as error:
            self._setbacks.met("controller.lease_not_revoked", str(error))
