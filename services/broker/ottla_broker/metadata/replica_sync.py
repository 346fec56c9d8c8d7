"""Keeping this broker's replicas as the metadata says: opened, led, resigned, deleted.

    table changed ──► plan ──► resign, delete, open ──► directories told ──► lead ──► applied
                                                            epochs too low told ◄──┘

Owns the order of these steps and the version that is applied. A new replica leads only once the
controller has stored which log directory it is in: otherwise a disk replaced before that could
come back empty and lead. Metadata from a backup may ask for leader epochs that logs have seen
before: the controller raises them. Does not own what has to be done (`replica_plan`), nor what
becomes of replicas that nobody wants (`replica_removal`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Protocol, TypeVar

import structlog

from ottla.protocol.errors import OttlaError, StaleLeaderEpoch, UnknownTopicOrPartition
from ottla.protocol.ids import BrokerEpoch, DirectoryId, LeaderEpoch, NodeId, Partition, TopicId
from ottla_broker.core.cluster_position import FIRST_GENERATION, ClusterPosition
from ottla_broker.core.log_config import LogConfig
from ottla_broker.metadata.cluster_table import ClusterTable, TableChanges
from ottla_broker.metadata.controller_link import ControllerLink
from ottla_broker.metadata.replica_plan import (
    HostedReplica,
    ReplicaKey,
    ReplicaPlan,
    ReplicaPlanner,
    WantedReplica,
)
from ottla_broker.metadata.replica_removal import RemovableReplicas, ReplicaRemoval
from ottla_broker.metadata.replica_reports import ITEMS_MAX, ReplicaReports
from ottla_broker.metadata.replica_troubles import ReplicaTroubles
from ottla_broker.metadata.version_waiters import VersionWaiters
from ottla_broker.replica.partition import Partition as Replica
from ottla_runtime import fields
from ottla_runtime.clock import Clock
from ottla_runtime.timed_wait import done_by

STEPS_AT_ONCE = 1_000
"""Bounds tasks, not threads: what is to be durable is made so for all that wait at a time."""
RETRY_MS = 500
REOPEN_MS = 5_000

OPEN_FAILED = "replica.open_failed"
RECONFIGURE_FAILED = "replica.reconfigure_failed"
LEAD_FAILED = "replica.lead_failed"

_Item = TypeVar("_Item")
_logger = structlog.get_logger(__name__)


class Replicas(RemovableReplicas, Protocol):
    """What is needed of the table of replicas."""

    @property
    def cluster_id(self) -> str | None:
        """Cluster the replicas belong to; None while there can't be any."""
        ...

    def get(self, topic_id: TopicId, partition: int) -> Replica:
        """An open replica. Raises UnknownTopicOrPartition."""
        ...

    def partitions(self) -> Sequence[Replica]:
        """Every open replica."""
        ...

    async def open_partition(
        self,
        topic_id: TopicId,
        topic: str,
        partition: int,
        *,
        config: LogConfig,
        directory_id: DirectoryId | None,
    ) -> Replica:
        """Open a replica, or create it where the metadata names no directory yet."""
        ...

    async def note_position(self, position: ClusterPosition) -> None:
        """Remember how far the broker has come, beyond this life."""
        ...


class ReplicaSync:
    """The one who changes which replicas there are; `run` is its one task."""

    def __init__(
        self,
        replicas: Replicas,
        *,
        table: ClusterTable,
        planner: ReplicaPlanner,
        node_id: NodeId,
        link: ControllerLink,
        applied: VersionWaiters,
        clock: Clock,
    ) -> None:
        self._replicas = replicas
        self._table = table
        self._planner = planner
        self._reports = ReplicaReports(link, node_id=node_id)
        self._applied = applied
        self._clock = clock
        self._broker_epoch: BrokerEpoch | None = None
        self._everything = False
        self._topics: set[TopicId] = set()
        self._wake = asyncio.Event()
        self._told: set[ReplicaKey] = set()
        self._failed: set[TopicId] = set()
        self._floors: dict[ReplicaKey, int] = {}
        self._troubles = ReplicaTroubles()
        self._has_snapshot = False
        self._removal = ReplicaRemoval(replicas, table=table, troubles=self._troubles)
        self._noted_generation = FIRST_GENERATION
        self.first_applied = asyncio.Event()
        """Set once the replicas are as the metadata says for the first time."""

    def changed(self, changes: TableChanges) -> None:
        """The table has changed; a snapshot has every replica looked at."""
        self._has_snapshot |= changes.everything
        self._topics |= changes.topics.keys() | changes.partitions.keys()
        self._topics |= changes.removed_topics.keys()
        if not changes.everything:
            self._removal.topics_removed(changes.removed_topics)
        self._everything |= changes.settings or changes.everything
        self._wake.set()

    def registered(self, broker_epoch: BrokerEpoch) -> None:
        """The broker has a new epoch: what it led before, it leads no more."""
        self._broker_epoch = broker_epoch
        self._everything = True
        self._told.clear()  # metadata of a backup may have forgotten it again
        for replica in self._replicas.partitions():
            if replica.leader_epoch is not None:
                replica.resign()
        self._wake.set()

    async def run(self) -> None:
        """Bring the replicas in line with the table, again and again."""
        while True:
            await self._wait()
            if not await self.apply():
                await self._clock.sleep_until(self._clock.monotonic_ms() + RETRY_MS)
                self._wake.set()

    async def _wait(self) -> None:
        """Until something changed, or what failed is to be tried again."""
        if not self._failed:
            await self._wake.wait()
        else:
            deadline_ms = self._clock.monotonic_ms() + REOPEN_MS
            await done_by(self._wake.wait(), deadline_ms=deadline_ms, clock=self._clock)
            self._topics |= self._failed
            self._failed = set()
        self._wake.clear()

    def _knows_better(self) -> bool:
        """Whether the table may decide over replicas: it is whole, and of this broker's cluster.

        An empty table, or another cluster's, would have every replica deleted.
        """
        cluster_id = self._replicas.cluster_id
        is_ours = cluster_id is not None and cluster_id == self._table.cluster_id
        return self._has_snapshot and self._broker_epoch is not None and is_ours

    async def apply(self) -> bool:
        """One round; False if something has to be tried again."""
        if not self._knows_better():
            return True
        version = self._table.version
        topics: set[TopicId] | None = None if self._everything else self._topics
        self._everything, self._topics = False, set()
        hosted, broker_epoch = self._hosted(), self._broker_epoch
        plan = self._planner.plan(hosted, topic_ids=topics, broker_epoch=broker_epoch)
        self._removal.forget_topics(hosted)
        await self._take_away(plan)
        await self._note_position(plan)
        await _each(plan.open, self._open)
        await _each(plan.reconfigure, self._reconfigure)
        if not await self._tell_directories(plan):
            self._again(topics)
            return False
        self._floors = {}
        await _each(plan.lead, partial(self._lead, broker_epoch=broker_epoch))
        self._applied.reached(version)
        self.first_applied.set()
        if not await self._raise_epochs():
            self._again(topics)
            return False
        return True

    async def _take_away(self, plan: ReplicaPlan) -> None:
        """Resign and remove; what could not be removed is tried again later."""
        unwanted = self._removal.sorted(plan.delete)
        going = {*unwanted.deleted, *unwanted.aside}
        self._told -= going
        self._resign({*plan.resign, *unwanted.left} - going)
        await _each(unwanted.deleted, self._removal.delete)
        await _each(unwanted.aside, self._removal.set_aside)
        self._removal.leave(unwanted.left)
        self._failed |= {key[0] for key in going if self._find(key) is not None}

    def _again(self, topics: set[TopicId] | None) -> None:
        if topics is None:
            self._everything = True
        else:
            self._topics |= topics

    def _hosted(self) -> dict[ReplicaKey, HostedReplica]:
        return {
            _key(replica): HostedReplica(replica.config, _leader_epoch(replica))
            for replica in self._replicas.partitions()
        }

    def _resign(self, keys: Iterable[ReplicaKey]) -> None:
        for key in keys:
            replica = self._find(key)
            if replica is not None and replica.leader_epoch is not None:
                replica.resign()

    async def _open(self, wanted: WantedReplica) -> None:
        topic_id, partition = wanted.key
        try:
            await self._removal.make_way(wanted)
            await self._replicas.open_partition(
                topic_id,
                wanted.topic,
                partition,
                config=wanted.config,
                directory_id=wanted.directory_id,
            )
        except OttlaError as error:
            self._failed.add(topic_id)
            self._troubles.failed(OPEN_FAILED, wanted.key, error)
        else:
            self._troubles.over(OPEN_FAILED, wanted.key)

    async def _reconfigure(self, wanted: WantedReplica) -> None:
        replica = self._find(wanted.key)
        if replica is None:
            return
        try:
            await replica.reconfigure(wanted.config)
        except OttlaError as error:
            self._failed.add(wanted.key[0])
            self._troubles.failed(RECONFIGURE_FAILED, wanted.key, error)
        else:
            self._troubles.over(RECONFIGURE_FAILED, wanted.key)

    async def _lead(self, wanted: WantedReplica, *, broker_epoch: BrokerEpoch | None) -> None:
        """Lead, unless the registration that this was planned under ends before it is done."""
        replica = self._find(wanted.key)
        if replica is None or wanted.lead_under is None:
            return  # it couldn't be opened, which is logged
        if broker_epoch != self._broker_epoch:
            return
        try:
            await replica.become_leader(wanted.lead_under)
        except OttlaError as error:
            if isinstance(error, StaleLeaderEpoch):
                self._floors[wanted.key] = int(error.metadata["leader_epoch"])
            else:
                self._failed.add(wanted.key[0])
            self._troubles.failed(LEAD_FAILED, wanted.key, error)
        else:
            self._troubles.over(LEAD_FAILED, wanted.key)
            if broker_epoch != self._broker_epoch:
                replica.resign()

    async def _raise_epochs(self) -> bool:
        """Ask for epochs above what the logs hold; the metadata comes back with them."""
        if not self._floors or self._broker_epoch is None:
            return True
        return await self._reports.raise_leader_epochs(
            self._floors, broker_epoch=self._broker_epoch
        )

    async def _note_position(self, plan: ReplicaPlan) -> None:
        """Before replicas are made, which metadata from before would take for deleted ones.

        And once metadata was restored: from then on nothing is removed for being unknown.
        """
        is_settled = self._noted_generation >= self._table.version.generation
        if is_settled and all(wanted.directory_id is not None for wanted in plan.open):
            return
        position = ClusterPosition(self._broker_epoch or 0, self._table.version)
        try:
            await self._replicas.note_position(position)
        except OttlaError as error:
            _logger.warning("position.note_failed", **{fields.ERROR: error.message})
        else:
            self._noted_generation = self._table.version.generation

    async def _tell_directories(self, plan: ReplicaPlan) -> bool:
        """Have the controller store where the replicas about to lead are; True once it has."""
        news = [
            replica
            for wanted in plan.lead + plan.open
            if wanted.directory_id is None and wanted.key not in self._told
            if (replica := self._find(wanted.key)) is not None
        ]
        unique = list({_key(replica): replica for replica in news}.values())
        for first in range(0, len(unique), ITEMS_MAX):
            portion = unique[first : first + ITEMS_MAX]
            if not await self._reports.assign_directories(
                portion, broker_epoch=self._broker_epoch or BrokerEpoch(0)
            ):
                return False
            self._told |= {_key(replica) for replica in portion}
        return True

    def _find(self, key: ReplicaKey) -> Replica | None:
        try:
            return self._replicas.get(*key)
        except UnknownTopicOrPartition:
            return None


def _key(replica: Replica) -> ReplicaKey:
    return replica.topic_id, Partition(replica.partition)


def _leader_epoch(replica: Replica) -> LeaderEpoch | None:
    epoch = replica.leader_epoch
    return None if epoch is None else LeaderEpoch(epoch)


async def _each(items: Sequence[_Item], step: Callable[[_Item], Awaitable[None]]) -> None:
    """Take the step for every item, some at once."""
    rest = iter(items)

    async def work() -> None:
        for item in rest:
            await step(item)

    async with asyncio.TaskGroup() as group:
        for number in range(min(STEPS_AT_ONCE, len(items))):
            group.create_task(work(), name=f"replica-step-{number}")
