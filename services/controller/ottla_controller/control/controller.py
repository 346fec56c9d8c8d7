"""A controller's life: it follows the store, stands for election, and acts while it leads.

Owns the way from candidate to term and back, the lease that leadership hangs on, and the records
of the cluster and of this controller. A lease is lost at a local monotonic deadline, whether or not
the store answers. Reads are served all the time.

    load ──► lease, campaign ──won──► check the cluster's record ──► term ──epoch or lease lost──┐
               ▲                                                                                  │
               └──────────────────────────────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from ottla.api.cluster.v1.cluster_pb2 import Endpoint
from ottla.internal.controller.v1.controller_pb2 import MetadataChange
from ottla.protocol.errors import (
    ClusterMismatch,
    MetadataStoreUnavailable,
    NotController,
    OutcomeUnknown,
    UnsupportedVersion,
)
from ottla.storage.metadata.v1.metadata_record_pb2 import ClusterRecord, ControllerRecord
from ottla_controller.control.image import ClusterImage
from ottla_controller.control.term import Term
from ottla_controller.control.write_queue import term_over
from ottla_controller.core.record_keys import key_of
from ottla_controller.core.result import Put, Result
from ottla_controller.core.state import ClusterState
from ottla_controller.setbacks import Setbacks
from ottla_controller.store.election import Leadership, campaign
from ottla_controller.store.interface import CompactedError, MetadataStore, PutKey
from ottla_runtime import fields
from ottla_runtime.clock import Clock

RECORD_FORMAT_VERSION: Final = 1
FEATURE_LEVEL: Final = 1
_RETRY_MS: Final = 200
_RETRY_LONGEST_MS: Final = 2_000

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ControllerIdentity:
    """What a controller brings to the cluster."""

    node_id: int
    endpoints: tuple[Endpoint, ...]
    cluster_id: str
    """Of the cluster it belongs to, or is to form where there is none."""
    cluster_id_given: bool
    """Whether somebody said so; else any cluster will do."""


@dataclass(frozen=True, slots=True)
class ControlTimes:
    """How long things last."""

    session_timeout_ms: int
    lease_ttl_ms: int
    history_ms: int


class Controller:
    """One controller process. `run` is its one task and starts all others."""

    def __init__(
        self,
        store: MetadataStore,
        image: ClusterImage,
        identity: ControllerIdentity,
        *,
        clock: Clock,
        times: ControlTimes,
        on_setback: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.image = image
        self.store = store
        self.identity = identity
        self._clock = clock
        self._times = times
        self._on_setback = on_setback
        self._setbacks = Setbacks()
        self._failure_count = 0
        self._term: Term | None = None
        self.became_active = asyncio.Event()
        """Set with the first term."""
        image.listen(self._published)

    @property
    def active_epoch(self) -> int:
        """Epoch of the term that runs here; 0: this controller is not the active one."""
        return self._term.epoch if self._term else 0

    def term(self) -> Term:
        """The term that runs; raises `NotController` when there is none."""
        if self._term is None:
            raise term_over()
        return self._term

    async def run(self) -> None:
        """Stands for election over and over until cancelled.

        Raises:
            ClusterMismatch: the store belongs to another cluster than was said.
            UnsupportedVersion: a newer release wrote its records.
        """
        check_cluster(self.image.state, self.identity)
        async with asyncio.TaskGroup() as group:
            while True:
                term = group.create_task(self._one_term(), name="controller-term")
                # In a task of its own: a group that fails while it is cancelled from outside tells
                # of the failure alone, and this loop would never hear that it should end.
                await asyncio.wait([term])
                wait_ms = min(_RETRY_LONGEST_MS, _RETRY_MS << min(self._failure_count, 30))
                self._failure_count += 1
                await self._clock.sleep_until(self._clock.monotonic_ms() + wait_ms)

    async def _one_term(self) -> None:
        try:
            await self._candidacy()
        except* (NotController, MetadataStoreUnavailable, OutcomeUnknown) as lost:
            reasons = "; ".join(str(error) for error in lost.exceptions)
            self._setbacks.met("controller.term_ended", reasons)
            self._on_setback(reasons)

    async def _candidacy(self) -> None:
        """From one lease to its loss; always ends by raising."""
        granted_ms = self._clock.monotonic_ms()
        lease_id = await self.store.grant_lease(self._times.lease_ttl_ms)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_lease(lease_id, granted_ms), name="controller-lease")
                leadership = await campaign(
                    self.store,
                    lease_id=lease_id,
                    candidate=b"controller/%d" % self.identity.node_id,
                )
                await self._lead(group, leadership, lease_id)
        finally:
            self._term = None
            await self._resign(lease_id)

    async def _keep_lease(self, lease_id: int, granted_ms: int) -> None:
        """Keeps the lease alive, and gives it up in time when the store does not answer."""
        ttl_ms = self._times.lease_ttl_ms
        kept_ms = granted_ms
        while True:
            sent_ms = self._clock.monotonic_ms()
            if sent_ms >= kept_ms + ttl_ms:
                raise NotController("the lease of this controller's term was lost")
            try:
                await self.store.keep_lease_alive(lease_id)
                kept_ms = sent_ms
                self._setbacks.over("controller.lease_not_kept")
            except (MetadataStoreUnavailable, OutcomeUnknown) as error:
                self._setbacks.met("controller.lease_not_kept", str(error))
            await self._clock.sleep_until(sent_ms + ttl_ms // 4)

    async def _resign(self, lease_id: int) -> None:
        """Lets others lead at once; where the store does not answer, the lease's time does it."""
        try:
            await self.store.revoke_lease(lease_id)
        except (MetadataStoreUnavailable, OutcomeUnknown) as error:
            self._setbacks.met("controller.lease_not_revoked", str(error))

    async def _lead(self, group: asyncio.TaskGroup, leadership: Leadership, lease_id: int) -> None:
        await self.image.read_anew()
        check_cluster(self.image.state, self.identity)
        term = Term(
            self.store,
            self.image,
            leadership,
            clock=self._clock,
            session_timeout_ms=self._times.session_timeout_ms,
        )
        group.create_task(term.writer.run(), name="controller-writer")
        await term.write(self._form_cluster)
        await self._announce(leadership, lease_id)
        term.take_over()
        self._term = term
        group.create_task(term.run_sessions(), name="controller-sessions")
        group.create_task(term.run_repairs(), name="controller-repairs")
        group.create_task(self._compact(), name="controller-compaction")
        _logger.info(
            "controller.became_active",
            **{
                fields.CONTROLLER_EPOCH: leadership.epoch,
                fields.CLUSTER_ID: self.image.state.cluster.cluster_id,
            },
        )
        self._setbacks.over()
        self._failure_count = 0
        self.became_active.set()

    def _form_cluster(self, state: ClusterState) -> Result[None]:
        if state.cluster.cluster_id:
            return Result(None)
        record = ClusterRecord(
            cluster_id=self.identity.cluster_id,
            format_version=RECORD_FORMAT_VERSION,
            feature_level=FEATURE_LEVEL,
            generation=1,
        )
        return Result(None, ((Put(record),),))

    async def _announce(self, leadership: Leadership, lease_id: int) -> None:
        """Says where this controller is reached; ends with its lease."""
        record = ControllerRecord(node_id=self.identity.node_id, endpoints=self.identity.endpoints)
        operation = PutKey(key_of(record), record.SerializeToString(deterministic=True), lease_id)
        done = await self.store.transact([leadership.compare()], [operation])
        if not done.succeeded:
            raise term_over()
        await self.image.wait_applied(done.revision)

    async def _compact(self) -> None:
        """Forgets revisions once they are older than the history that is kept."""
        while True:
            revision = self.image.state.revision
            await self._clock.sleep_until(self._clock.monotonic_ms() + self._times.history_ms)
            try:
                await self.store.compact(revision)
            except CompactedError:
                continue
            except (MetadataStoreUnavailable, OutcomeUnknown) as error:
                _logger.warning("metadata_store.compaction_failed", **{fields.ERROR: str(error)})

    def _published(self, changes: Sequence[MetadataChange] | None) -> None:
        if self._term is not None and changes:
            self._term.note_published()


def check_cluster(state: ClusterState, identity: ControllerIdentity) -> None:
    """Holds the store to the cluster and the format that this controller is for.

    Raises:
        ClusterMismatch: the store belongs to another cluster than was said.
        UnsupportedVersion: a newer release wrote its records.
    """
    cluster = state.cluster
    if not cluster.cluster_id:
        return
    if identity.cluster_id_given and cluster.cluster_id != identity.cluster_id:
        raise ClusterMismatch(
            f"the metadata is of cluster {cluster.cluster_id!r}, not {identity.cluster_id!r}; "
            "choose another data directory or leave cluster.id out"
        )
    if cluster.format_version > RECORD_FORMAT_VERSION or cluster.feature_level > FEATURE_LEVEL:
        raise UnsupportedVersion(
            f"the metadata has format version {cluster.format_version} and feature level "
            f"{cluster.feature_level}, this release knows up to {RECORD_FORMAT_VERSION} and "
            f"{FEATURE_LEVEL}; start a newer release"
        )
