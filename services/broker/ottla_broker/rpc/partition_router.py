"""Where a call about a partition is to be answered: here, or by the broker that leads it.

Owns finding topics and partitions by name and id with the right error for each way to miss, waiting
for a replica that the metadata says is here but isn't open yet, and naming the leader in errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from ottla.api.admin.v1 import admin_pb2
from ottla.protocol.errors import (
    InvalidRequest,
    LeaderNotAvailable,
    NotLeader,
    OttlaError,
    StaleLeaderEpoch,
    UnknownTopicOrPartition,
)
from ottla.protocol.ids import (
    TOPIC_ID_SIZE,
    NodeId,
    Partition,
    TopicId,
    check_topic_name,
)
from ottla_broker.metadata.client_view import ClientView
from ottla_broker.metadata.cluster_table import ClusterTable, TopicEntry
from ottla_broker.metadata.version_waiters import VersionWaiters
from ottla_broker.metadata.views import PartitionView
from ottla_broker.replica.partition import Partition as Replica
from ottla_broker.rpc.forwarded_calls import Forwarded

SETTLE_SECONDS_MAX = 5.0
"""How long a call waits for metadata that another broker or this one has heard of already."""

FindReplica = Callable[[TopicId, int], Replica]


@dataclass(frozen=True, slots=True)
class Local:
    """This broker leads the partition."""

    view: PartitionView
    replica: Replica


@dataclass(frozen=True, slots=True)
class Remote:
    """Another broker leads the partition."""

    view: PartitionView
    node_id: NodeId


class PartitionRouter:
    """Finds partitions for the calls of one listener."""

    def __init__(
        self,
        view: ClientView,
        *,
        node_id: NodeId,
        find_replica: FindReplica,
        applied: VersionWaiters,
    ) -> None:
        self._view = view
        self._table: ClusterTable = view.table
        self._node_id = node_id
        self._find_replica = find_replica
        self._applied = applied

    @property
    def table(self) -> ClusterTable:
        """The metadata that calls are answered from."""
        return self._table

    async def caught_up(self, forwarded: Forwarded) -> None:
        """Return once the metadata behind a forwarded call shows here, or a bound is over."""
        version = forwarded.min_version
        if version is None or version <= self._applied.version:
            return
        try:
            async with asyncio.timeout(SETTLE_SECONDS_MAX):
                await self._applied.wait_for(version)
        except TimeoutError:
            return  # what is here decides: it may well do

    def topic(self, name: str, topic_id: bytes = b"") -> TopicEntry:
        """The topic of a name that, if an id is given, has this id.

        Raises:
            InvalidTopic, InvalidRequest: no topic can have such a name or id.
            UnknownTopicOrPartition: there is none, or it is another of the same name.
        """
        check_topic_name(name)
        if topic_id and len(topic_id) != TOPIC_ID_SIZE:
            raise InvalidRequest(f"a topic's id has {TOPIC_ID_SIZE} bytes, not {len(topic_id)}")
        entry = self._table.topic(name)
        if entry is None:
            raise UnknownTopicOrPartition(f"there is no topic {name}", metadata={"topic": name})
        if topic_id and topic_id != entry.topic.topic_id:
            raise UnknownTopicOrPartition(
                f"the topic {name} there is now has another id: it was deleted and created again",
                metadata={"topic": name},
            )
        return entry

    def topic_of(self, ref: admin_pb2.TopicRef) -> TopicEntry:
        """The topic that an admin call means: by name, by id, or by both, which then have to fit.

        Raises:
            InvalidTopic, InvalidRequest: no topic can have such a name or id, or neither is given.
            UnknownTopicOrPartition: there is none.
        """
        if ref.name:
            return self.topic(ref.name, ref.topic_id)
        if len(ref.topic_id) != TOPIC_ID_SIZE:
            raise InvalidRequest(
                f"a topic is meant by its name or by its id of {TOPIC_ID_SIZE} bytes"
            )
        entry = self._table.topic_by_id(ref.topic_id)
        if entry is None:
            raise UnknownTopicOrPartition(f"there is no topic with id {ref.topic_id.hex()}")
        return entry

    def partition(self, entry: TopicEntry, partition: int) -> PartitionView:
        """A partition of a topic.

        Raises:
            UnknownTopicOrPartition: the topic has no such partition.
        """
        view = entry.partitions.get(Partition(partition))
        if view is None:
            name, count = entry.topic.name, entry.topic.partition_count
            raise UnknownTopicOrPartition(
                f"topic {name} has partitions 0 to {count - 1}, not {partition}",
                metadata={"topic": name, "partition": partition},
            )
        return view

    async def locate(
        self, entry: TopicEntry, partition: int, *, forwarded: Forwarded
    ) -> Local | Remote:
        """Who answers for a partition.

        Raises:
            UnknownTopicOrPartition: the topic has no such partition.
            LeaderNotAvailable: nobody leads it at the moment.
            NotLeader: another leads it, and the call was passed on already.
            StorageOffline, CorruptLog: it is led from here, but its log isn't to be had.
        """
        view = self.partition(entry, partition)
        if view.leader_id == self._node_id:
            return Local(view, await self._led_here(entry, view))
        names = {"topic": entry.topic.name, "partition": partition}
        if view.leader_id is None:
            raise LeaderNotAvailable(
                f"{entry.topic.name}-{partition} has no leader at the moment", metadata=names
            )
        if forwarded.by_broker:
            raise NotLeader(
                f"this broker does not lead {entry.topic.name}-{partition}",
                metadata=names | self._view.leader_metadata(view),
            )
        return Remote(view, view.leader_id)

    async def _led_here(self, entry: TopicEntry, view: PartitionView) -> Replica:
        replica = self._leading(view)
        if replica is None:
            try:
                async with asyncio.timeout(SETTLE_SECONDS_MAX):
                    await self._applied.wait_for(self._table.version)
            except TimeoutError:
                pass  # look once more all the same
            replica = self._leading(view)
        if replica is None:
            raise LeaderNotAvailable(
                f"the leader of {entry.topic.name}-{view.partition} is not ready yet",
                metadata={"topic": entry.topic.name, "partition": view.partition},
            )
        return replica

    def _leading(self, view: PartitionView) -> Replica | None:
        try:
            replica = self._find_replica(view.topic_id, view.partition)
        except UnknownTopicOrPartition:
            return None
        if replica.error is not None:
            raise type(replica.error)(replica.error.message, metadata=replica.error.metadata)
        return replica if replica.leader_epoch is not None else None

    def naming_leader(self, error: OttlaError, view: PartitionView) -> OttlaError:
        """The error with the partition's leader in its details, where its reason asks for that."""
        if not isinstance(error, NotLeader | StaleLeaderEpoch):
            return error
        entry = self._table.topic_by_id(view.topic_id)
        current = None if entry is None else entry.partitions.get(view.partition)
        if current is None:
            return error
        leader = self._view.leader_metadata(current)
        return type(error)(error.message, metadata={**leader, **error.metadata})
