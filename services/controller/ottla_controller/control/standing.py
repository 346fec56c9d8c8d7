"""A controller among others: its record on its lease, and catching up when it has won.

Owns the writes by which controllers know of each other, and the one that makes a winner sure to see
everything: a write of its own, behind all writes of terms before. Its predecessors can write
nothing after it, because their keys are gone; so a state that shows it is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ottla.api.cluster.v1.cluster_pb2 import Endpoint
from ottla.protocol.errors import DuplicateNodeId
from ottla.storage.metadata.v1.metadata_record_pb2 import ControllerRecord
from ottla_controller.control.image import ClusterImage
from ottla_controller.control.write_queue import term_over, went_back
from ottla_controller.core.record_keys import key_of
from ottla_controller.store.election import Leadership
from ottla_controller.store.interface import NO_LEASE, CreateRevisionIs, MetadataStore, PutKey
from ottla_runtime.clock import Clock
from ottla_runtime.timed_wait import done_by

NAMESAKE_TTLS: Final = 3
"""Leases that the record of this controller's own last life may take to end: etcd is slow to look,
and begins all leases anew when its leader changes."""
_LOOK_MS: Final = 200
_CATCH_UP_MS: Final = 500
"""A watch that is later than this is not waited for: everything is read anew."""


@dataclass(frozen=True, slots=True)
class ControllerIdentity:
    """What a controller brings to the cluster."""

    node_id: int
    endpoints: tuple[Endpoint, ...]
    cluster_id: str
    """Of the cluster it belongs to, or is to form where there is none."""
    cluster_id_given: bool
    """Whether somebody said so; else any cluster will do."""

    def record(self, *, controller_epoch: int = 0, lost_generation: int = 0) -> ControllerRecord:
        """What others learn of it; with the epoch of its term while it leads."""
        return ControllerRecord(
            node_id=self.node_id,
            endpoints=self.endpoints,
            controller_epoch=controller_epoch,
            lost_generation=lost_generation,
        )


class Standing:
    """One candidacy's records. Used by the candidacy's task."""

    def __init__(
        self,
        store: MetadataStore,
        image: ClusterImage,
        identity: ControllerIdentity,
        *,
        clock: Clock,
        lease_ttl_ms: int,
    ) -> None:
        self._store = store
        self._image = image
        self._identity = identity
        self._namesake_wait_ms = NAMESAKE_TTLS * lease_ttl_ms
        self._clock = clock
        self._lease_id = NO_LEASE
        self._is_announced = False
        self._epoch = 0

    async def announce(self, lease_id: int, *, on_setback: Callable[[str], None]) -> None:
        """Says where this controller is reached, until its lease ends.

        Raises:
            DuplicateNodeId: another controller with this node id is alive.
            MetadataStoreUnavailable, OutcomeUnknown, LeaseLostError: it could not be said.
        """
        self._lease_id = lease_id
        write = self._write(self._record())
        unused = CreateRevisionIs(write.key, 0)
        deadline_ms = self._clock.monotonic_ms() + self._namesake_wait_ms
        while not (await self._store.transact([unused], [write])).succeeded:
            message = f"another controller with node id {self._identity.node_id} is alive"
            if self._clock.monotonic_ms() >= deadline_ms:
                raise DuplicateNodeId(f"{message}; give each controller a node.id of its own")
            on_setback(f"{message}, or this one's last life has not timed out yet")
            await self._clock.sleep_until(self._clock.monotonic_ms() + _LOOK_MS)
            write = self._write(self._record())
        self._is_announced = True

    async def share_losses(self) -> None:
        """Tells whoever leads that the store has lost something. Until cancelled."""
        while True:
            await self._image.loss_noted.wait()
            self._image.loss_noted.clear()
            if self._is_announced:
                await self._store.transact([], [self._write(self._record())])

    async def catch_up(self, leadership: Leadership) -> int:
        """Returns once the image shows everything that was written before this term.

        The response is a revision that the store has come to. Raises NotController, and what the
        store does.
        """
        known = self._image.state.revision
        revision = await self._put(leadership, self._record())
        if revision <= known:
            self._image.note_restored()
            raise went_back()
        if not await self._shows(revision):
            await self._image.read_anew()
        return revision

    async def announce_term(self, leadership: Leadership) -> None:
        """Says that this controller is the active one. Raises as `catch_up`."""
        self._epoch = leadership.epoch
        await self._image.wait_applied(await self._put(leadership, self._record()))

    def _record(self) -> ControllerRecord:
        return self._identity.record(
            controller_epoch=self._epoch, lost_generation=self._image.lost_generation
        )

    async def _put(self, leadership: Leadership, record: ControllerRecord) -> int:
        done = await self._store.transact([leadership.compare()], [self._write(record)])
        if not done.succeeded:
            raise term_over()
        return done.revision

    async def _shows(self, revision: int) -> bool:
        deadline_ms = self._clock.monotonic_ms() + _CATCH_UP_MS
        applied = self._image.wait_applied(revision)
        return await done_by(applied, deadline_ms=deadline_ms, clock=self._clock)

    def _write(self, record: ControllerRecord) -> PutKey:
        return PutKey(key_of(record), record.SerializeToString(deterministic=True), self._lease_id)
