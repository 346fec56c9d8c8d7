"""What to do to the replicas on this broker so that they are as the metadata says.

Owns the comparison of the cluster table with what is hosted. Pure and level-triggered: the same
plan comes out until it is carried out. `replica_sync` carries it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ottla.protocol.ids import BrokerEpoch, DirectoryId, LeaderEpoch, NodeId, Partition, TopicId
from ottla_broker.core.log_config import LogConfig
from ottla_broker.metadata.cluster_table import ClusterTable, TopicEntry
from ottla_broker.metadata.topic_settings import TopicSettings
from ottla_broker.metadata.views import PartitionView

ReplicaKey = tuple[TopicId, Partition]


@dataclass(frozen=True, slots=True)
class HostedReplica:
    """What is known of a replica that is open; `leader_epoch` is None while it doesn't lead."""

    config: LogConfig
    leader_epoch: LeaderEpoch | None


@dataclass(frozen=True, slots=True)
class WantedReplica:
    """A replica as the metadata wants it."""

    key: ReplicaKey
    topic: str
    config: LogConfig
    directory_id: DirectoryId | None
    lead_under: LeaderEpoch | None


@dataclass(slots=True)
class ReplicaPlan:
    """Steps in the order they are to be taken."""

    resign: list[ReplicaKey] = field(default_factory=list)
    delete: list[ReplicaKey] = field(default_factory=list)
    open: list[WantedReplica] = field(default_factory=list)
    reconfigure: list[WantedReplica] = field(default_factory=list)
    lead: list[WantedReplica] = field(default_factory=list)


class ReplicaPlanner:
    """Plans for one broker."""

    def __init__(self, table: ClusterTable, *, node_id: NodeId, settings: TopicSettings) -> None:
        self._table = table
        self._node_id = node_id
        self._settings = settings

    def plan(
        self,
        hosted: Mapping[ReplicaKey, HostedReplica],
        *,
        topic_ids: Iterable[TopicId] | None,
        broker_epoch: BrokerEpoch | None,
    ) -> ReplicaPlan:
        """Steps for the topics given, or for all.

        Args:
            hosted: replicas that are open.
            topic_ids: topics that changed; None: everything has to be looked at.
            broker_epoch: this broker's registration; it leads under no other.
        """
        plan = ReplicaPlan()
        wanted_keys: set[ReplicaKey] = set()
        topics = None if topic_ids is None else set(topic_ids)
        for entry in self._entries(topics):
            for wanted in self._wanted(entry, broker_epoch):
                wanted_keys.add(wanted.key)
                _compare(plan, wanted, hosted.get(wanted.key))
        for key in hosted:
            if key not in wanted_keys and (topics is None or key[0] in topics):
                plan.delete.append(key)
                if self._table.topic_by_id(key[0]) is not None:  # it lives on elsewhere
                    plan.resign.append(key)
        return plan

    def _entries(self, topics: set[TopicId] | None) -> Iterable[TopicEntry]:
        if topics is None:
            return list(self._table.topics())
        found = (self._table.topic_by_id(topic_id) for topic_id in topics)
        return [entry for entry in found if entry is not None]

    def _wanted(
        self, entry: TopicEntry, broker_epoch: BrokerEpoch | None
    ) -> Iterable[WantedReplica]:
        mine = [view for view in entry.partitions.values() if self._node_id in view.replicas]
        if not mine:
            return
        config = self._settings.log_config(entry.topic)
        for view in mine:
            yield WantedReplica(
                key=(view.topic_id, view.partition),
                topic=entry.topic.name,
                config=config,
                directory_id=view.directory_of(self._node_id),
                lead_under=self._lead_under(view, broker_epoch),
            )

    def _lead_under(
        self, view: PartitionView, broker_epoch: BrokerEpoch | None
    ) -> LeaderEpoch | None:
        """The epoch to lead under; a leader is one incarnation of a broker, never an earlier."""
        is_mine = view.leader_id == self._node_id and view.leader_broker_epoch == broker_epoch
        return view.leader_epoch if is_mine and broker_epoch is not None else None


def _compare(plan: ReplicaPlan, wanted: WantedReplica, hosted: HostedReplica | None) -> None:
    if hosted is None:
        plan.open.append(wanted)
    else:
        if hosted.leader_epoch not in {None, wanted.lead_under}:
            plan.resign.append(wanted.key)
        if hosted.config != wanted.config:
            plan.reconfigure.append(wanted)
    if wanted.lead_under is not None and (
        hosted is None or hosted.leader_epoch != wanted.lead_under
    ):
        plan.lead.append(wanted)
