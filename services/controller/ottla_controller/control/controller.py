"""A controller's life: it follows the store, stands for election, and acts while it leads.

Owns the way from candidate to term and back. What everything hangs on is a lease, which is lost at
a local monotonic deadline, whether or not the store answers. Reads are served all the time, by who
stands by as well.

    load ─► lease ─► announced ─► campaign ──won──► caught up ─► generation ─► term ──epoch or ──┐
              ▲                                                                     lease lost   │
              └──────────────────────────────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from ottla.internal.controller.v1.controller_pb2 import MetadataChange
from ottla.protocol.errors import (
    ClusterMismatch,
    DuplicateNodeId,
    MetadataStoreUnavailable,
    NotController,
    OttlaError,
    UnsupportedVersion,
)
from ottla.storage.metadata.v1.metadata_record_pb2 import ClusterRecord, ControllerRecord
from ottla_controller.control.history import forget_history
from ottla_controller.control.image import ClusterImage
from ottla_controller.control.lease import HeldLease
from ottla_controller.control.losses import Losses
from ottla_controller.control.standing import ControllerIdentity, Standing
from ottla_controller.control.term import Term, log_restored
from ottla_controller.control.write_queue import term_over, went_back
from ottla_controller.core.controllers import active_controller
from ottla_controller.core.generations import Position, StoreFacts, settle_generation
from ottla_controller.core.result import Put, Result
from ottla_controller.core.state import ClusterState
from ottla_controller.setbacks import STORE_FAILURES, Setbacks
from ottla_controller.store.election import Leadership, campaign
from ottla_controller.store.interface import MetadataStore, StoreRestoredError
from ottla_runtime import fields
from ottla_runtime.clock import Clock
from ottla_runtime.failures import StartError
from ottla_runtime.timed_wait import done_by

RECORD_FORMAT_VERSION: Final = 1
FEATURE_LEVEL: Final = 1
_RETRY_MS: Final = 200
_RETRY_LONGEST_MS: Final = 2_000
_FINISH_MS: Final = 1_000
"""How long an orderly end waits for the write at hand."""

_LOST = (NotController, *STORE_FAILURES)
_REFUSED = (ClusterMismatch, UnsupportedVersion, DuplicateNodeId)
_logger = structlog.get_logger(__name__)


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
        self._losses = Losses(store, image)
        self._failure_count = 0
        self._store_failure = ""
        self._lease: HeldLease | None = None
        self._term: Term | None = None
        self._changed = asyncio.Event()
        self._resigning = asyncio.Event()
        self.became_active = asyncio.Event()
        """Set with the first term."""
        self.is_of_use = asyncio.Event()
        """Set once it leads, or stands by and knows who leads: it can serve or say where to go."""
        image.listen(self._published)

    @property
    def active_epoch(self) -> int:
        """Epoch of the term that runs here; 0: this controller is not the active one."""
        term = self._term if self._lease is not None and self._lease.is_held() else None
        return term.epoch if term else 0

    def active(self) -> ControllerRecord | None:
        """The active controller, this or another, as far as is known here; None: none is."""
        epoch = self.active_epoch
        if epoch:
            return self.identity.record(controller_epoch=epoch)
        record = active_controller(self.image.state)
        # A term of this controller that is over may still stand in the records.
        return None if record is None or record.node_id == self.identity.node_id else record

    def term(self) -> Term:
        """The term that runs.

        Raises:
            NotController: none does; it tells where the active controller is, if one is known.
            MetadataStoreUnavailable: nobody leads, as far as is known, for want of a store.
        """
        if self.active_epoch and self._term is not None:
            return self._term
        active = self.active()
        if active is None and self._store_failure:
            raise MetadataStoreUnavailable(
                f"no controller leads: {self._store_failure}", retry_after_ms=_RETRY_MS
            )
        raise term_over(active)

    def resign(self) -> None:
        """Ends in good order: the write at hand is finished, then others may lead, `run` ends."""
        self._resigning.set()

    async def run(self) -> None:
        """Stands for election over and over until it resigns or is cancelled.

        Raises:
            StartError: the store belongs to another cluster than was said, a newer release wrote
                its records, or another controller has this node id.
        """
        async with asyncio.TaskGroup() as group:
            refused = await self._stand(group)
        if refused is not None:
            raise StartError(refused.message) from refused

    async def _stand(self, group: asyncio.TaskGroup) -> OttlaError | None:
        """One candidacy after the other; returns what makes them futile, None once it resigned."""
        while not self._resigning.is_set():
            term = group.create_task(self._one_term(), name="controller-term")
            # In a task of its own: a group that fails while it is cancelled from outside tells
            # of the failure alone, and this loop would never hear that it should end.
            await asyncio.wait([term])
            refused = term.result()
            if refused is not None:
                return refused
            wait_ms = min(_RETRY_LONGEST_MS, _RETRY_MS << min(self._failure_count, 30))
            self._failure_count += 1
            deadline_ms = self._clock.monotonic_ms() + wait_ms
            await done_by(self._resigning.wait(), deadline_ms=deadline_ms, clock=self._clock)
        return None

    async def _one_term(self) -> OttlaError | None:
        refused: OttlaError | None = None
        try:
            await self._candidacy()
        except* _ResignedError:
            _logger.info("controller.resigned")
        except* _LOST as lost:
            reasons = "; ".join(str(error) for error in lost.exceptions)
            from_store = lost.subgroup(STORE_FAILURES)
            self._store_failure = reasons if from_store else ""
            if lost.subgroup(StoreRestoredError) and self.image.is_believed:
                self.image.note_restored()
            self._setbacks.met("controller.term_ended", reasons)
            self._on_setback(reasons)
        except* _REFUSED as refusals:
            (first, *_) = refusals.exceptions
            assert isinstance(first, OttlaError), "raised as they are"
            refused = first
        return refused

    async def _candidacy(self) -> None:
        """From one lease to its loss; always ends by raising."""
        if not self.image.is_believed:
            await self.image.believe_again()
        check_cluster(self.image.state, self.identity)
        lease = await HeldLease.granted(
            self.store,
            ttl_ms=self._times.lease_ttl_ms,
            clock=self._clock,
            setbacks=self._setbacks,
        )
        self._lease = lease
        self._store_failure = ""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(lease.keep(), name="controller-lease")
                group.create_task(lease.until_lost(), name="controller-lease-deadline")
                group.create_task(self._check_changes(), name="controller-checks")
                group.create_task(self._until_resigned(), name="controller-resignation")
                standing = Standing(
                    self.store,
                    self.image,
                    self.identity,
                    clock=self._clock,
                    lease_ttl_ms=self._times.lease_ttl_ms,
                )
                group.create_task(standing.share_losses(), name="controller-losses")
                await standing.announce(lease.lease_id, on_setback=self._on_setback)
                self._note_use()
                leadership = await campaign(
                    self.store,
                    lease_id=lease.lease_id,
                    candidate=b"controller/%d" % self.identity.node_id,
                )
                await self._lead(group, standing, leadership)
        finally:
            self._term = None
            await lease.give_up()

    async def _until_resigned(self) -> None:
        await self._resigning.wait()
        if self._term is not None:
            deadline_ms = self._clock.monotonic_ms() + _FINISH_MS
            await done_by(self._term.writer.finish(), deadline_ms=deadline_ms, clock=self._clock)
        raise _ResignedError("this controller ends")

    async def _check_changes(self) -> None:
        """Ends the candidacy when the records turn out to be of another cluster or a backup."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            check_cluster(self.image.state, self.identity)
            if not self.image.is_believed:
                raise went_back()

    async def _lead(
        self, group: asyncio.TaskGroup, standing: Standing, leadership: Leadership
    ) -> None:
        seen = self.image.seen  # before the store says how far it has come
        facts = StoreFacts(self.store.store_id, await standing.catch_up(leadership))
        check_cluster(self.image.state, self.identity)
        term = Term(
            self.store,
            self.image,
            leadership,
            clock=self._clock,
            session_timeout_ms=self._times.session_timeout_ms,
        )
        group.create_task(term.writer.run(), name="controller-writer")
        await term.write(lambda state: form_cluster(state, self.identity, self.store.store_id))
        await self._settle(term, facts, seen)
        await standing.announce_term(leadership)
        term.take_over()
        self._term = term
        group.create_task(term.run_sessions(), name="controller-sessions")
        group.create_task(term.run_repairs(), name="controller-repairs")
        group.create_task(term.run_restore_checks(), name="controller-restore-checks")
        forgetting = forget_history(
            self.store, self.image, clock=self._clock, history_ms=self._times.history_ms
        )
        group.create_task(forgetting, name="controller-compaction")
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
        self._note_use()

    async def _settle(self, term: Term, store: StoreFacts, seen: Position) -> None:
        """Before the term serves anything: the generation rises if the records were restored."""

        def handler(state: ClusterState) -> Result[bool]:
            lost = self.image.lost_generation
            return settle_generation(state, store=store, seen=seen, lost_generation=lost)

        if (await term.write(handler)).response:
            log_restored(self.image.state)

    async def look_into(self, seen: Position) -> None:
        """A broker has seen this of the metadata; the store may turn out to have lost it."""
        await self._losses.look_into(seen)
        self._act_on_losses()

    def _act_on_losses(self) -> None:
        if self._losses.are_known() and self._term is not None:
            self._term.note_lost()

    def _published(self, changes: Sequence[MetadataChange] | None) -> None:
        if self._term is not None and changes:
            self._term.note_published()
        if changes is None or any(change.HasField("controller") for change in changes):
            self._act_on_losses()
        if changes is None or any(change.HasField("cluster") for change in changes):
            self._changed.set()
        self._note_use()

    def _note_use(self) -> None:
        if self._lease is not None and self.active() is not None:
            self.is_of_use.set()


class _ResignedError(Exception):
    """The candidacy ends because it was asked to."""


def form_cluster(state: ClusterState, identity: ControllerIdentity, store_id: str) -> Result[None]:
    """Writes the cluster's record where there is none."""
    if state.cluster.cluster_id:
        return Result(None)
    record = ClusterRecord(
        cluster_id=identity.cluster_id,
        format_version=RECORD_FORMAT_VERSION,
        feature_level=FEATURE_LEVEL,
        generation=1,
        store_id=store_id,
    )
    return Result(None, ((Put(record),),))


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
            "choose another data directory, or another prefix in etcd, or leave cluster.id out"
        )
    if cluster.format_version > RECORD_FORMAT_VERSION or cluster.feature_level > FEATURE_LEVEL:
        raise UnsupportedVersion(
            f"the metadata has format version {cluster.format_version} and feature level "
            f"{cluster.feature_level}, this release knows up to {RECORD_FORMAT_VERSION} and "
            f"{FEATURE_LEVEL}; start a newer release"
        )
