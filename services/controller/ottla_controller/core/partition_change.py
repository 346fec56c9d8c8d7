"""What becomes of one partition when brokers, directories or in-sync sets change.

Owns the rules of leadership: who stays in sync, who is an eligible leader replica (KIP-966), who
leads. A change is asked for by `next_record`, which looks at the brokers as they are; it is
level-triggered, so asking twice changes nothing the second time.

    in sync ──fenced or directory gone──► eligible, while fewer than the minimum are in sync
       ▲                                     │ elected: in sync again, alone
       └──────── its leader says so ◄────────┘

Election order: in-sync replicas, eligible ones, then the last known ones if nothing can be lost by
it (there is no other replica) or the topic allows it; each in the order of the replicas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ottla.storage.metadata.v1.metadata_record_pb2 import (
    BrokerRecord,
    PartitionRecord,
    ReplicaRecord,
    TopicRecord,
)
from ottla_controller.core.effective_settings import EffectiveSettings
from ottla_controller.core.state import ClusterState
from ottla_runtime.topic_configs import UNCLEAN_LEADER_ELECTION


@dataclass(slots=True)
class _Membership:
    """The sets of a partition while they are worked out."""

    isr: list[int]
    eligible: list[int]
    last_known: list[int]
    leader: int | None
    unclean: bool


def next_record(
    state: ClusterState,
    partition: PartitionRecord,
    *,
    brokers: Mapping[int, BrokerRecord] | None = None,
    losing: Iterable[int] = (),
    isr: Iterable[int] | None = None,
    settings: EffectiveSettings | None = None,
) -> PartitionRecord | None:
    """The partition's next record, or None if it stays as it is.

    Args:
        state: the cluster.
        partition: the record as it is now, or a new one without leader.
        brokers: all brokers by node id, as they shall be; None: as they are in `state`.
        losing: replicas that may lack records that were acknowledged; they leave both sets and are
            remembered as last known.
        isr: the in-sync set that the leader asks for; None: as it is.
        settings: what settings hold, as they shall be; None: as they are in `state`.
    """
    assert partition.topic_id in state.topics, "a partition has a topic"
    brokers = state.brokers if brokers is None else brokers
    change = _PartitionChange(
        partition, brokers, settings or EffectiveSettings(state, brokers=brokers)
    )
    return change.result(frozenset(losing), partition.isr if isr is None else isr)


def first_record(
    state: ClusterState, topic: TopicRecord, partition: PartitionRecord
) -> PartitionRecord:
    """The record of a partition that is being made, with its first leader if one can lead."""
    settings = EffectiveSettings(state, topics={topic.topic_id: topic})
    change = _PartitionChange(partition, state.brokers, settings)
    return change.result(frozenset(), partition.isr) or partition


def is_online(brokers: Mapping[int, BrokerRecord], replica: ReplicaRecord) -> bool:
    """Whether a replica's broker lives and so does the directory it is in."""
    broker = brokers.get(replica.node_id)
    return broker is not None and not broker.fenced and holds_directory(broker, replica)


def holds_directory(broker: BrokerRecord, replica: ReplicaRecord) -> bool:
    """Whether the replica's directory is online on its broker; true while it is in none yet."""
    if not replica.directory_id:
        return True
    return any(
        directory.directory_id == replica.directory_id and directory.online
        for directory in broker.directories
    )


class _PartitionChange:
    """One partition's change, worked out once."""

    def __init__(
        self,
        partition: PartitionRecord,
        brokers: Mapping[int, BrokerRecord],
        settings: EffectiveSettings,
    ) -> None:
        self._settings = settings
        self._partition = partition
        self._brokers = brokers
        self._order = [replica.node_id for replica in partition.replicas]
        self._online = {each.node_id for each in partition.replicas if is_online(brokers, each)}
        self._minimum = settings.minimum_in_sync(partition)

    def result(self, losing: frozenset[int], isr: Iterable[int]) -> PartitionRecord | None:
        members = self._without_lost(losing, list(isr))
        self._choose_leader(members)
        if len(members.isr) >= self._minimum:
            members.eligible = []
        if members.isr or members.eligible:
            members.last_known = []
        return self._record(members)

    def _without_lost(self, losing: frozenset[int], isr: list[int]) -> _Membership:
        before = self._partition
        # Eligible: were in sync when the set fell below the minimum, so they hold all records.
        held = {*isr, *before.eligible_leader_replicas}
        if before.isr and len(isr) < self._minimum:
            held |= set(before.isr)
        in_sync = [node for node in isr if node in self._online and node not in losing]
        eligible = held - set(in_sync) - losing
        lost = (held & losing) | set(before.last_known_leader_replicas)
        return _Membership(
            isr=self._ordered(in_sync),
            eligible=self._ordered(eligible),
            last_known=self._ordered(lost),
            leader=before.leader_id if before.HasField("leader_id") else None,
            unclean=before.unclean,
        )

    def _choose_leader(self, members: _Membership) -> None:
        if members.leader is not None and self._stays(members, members.leader):
            return
        leader = self._first(members.isr, draining=False)
        if leader is None and not members.isr:
            leader = self._first(members.eligible, draining=False)
        if leader is not None:
            if leader not in members.isr:
                members.isr = [leader]
                members.eligible.remove(leader)
            members.leader, members.unclean = leader, False
            return
        members.leader, members.unclean = self._first(members.isr, draining=True), False
        if members.leader is None and not members.isr and not members.eligible:
            self._choose_last_known(members)

    def _stays(self, members: _Membership, leader: int) -> bool:
        broker = self._brokers.get(leader)
        if broker is None or leader not in members.isr:
            return False
        if broker.broker_epoch != self._partition.leader_broker_epoch:
            return False
        return not broker.draining or self._first(members.isr, draining=False) is None

    def _choose_last_known(self, members: _Membership) -> None:
        # A sole replica has whatever there is; electing it loses nothing that another one holds.
        is_sole = len(self._order) == 1
        candidates = [node for node in members.last_known if is_sole or self._may_lose(node)]
        leader = self._first(candidates, draining=False)
        if leader is not None:
            members.isr, members.leader, members.unclean = [leader], leader, True

    def _may_lose(self, node: int) -> bool:
        """Whether the replica there may lead although it may lack acknowledged records."""
        topic_id = self._partition.topic_id
        return self._settings.is_on(UNCLEAN_LEADER_ELECTION, topic_id=topic_id, node_id=node)

    def _first(self, nodes: list[int], *, draining: bool) -> int | None:
        for node in nodes:
            if node in self._online and (draining or not self._brokers[node].draining):
                return node
        return None

    def _ordered(self, nodes: Iterable[int]) -> list[int]:
        chosen = set(nodes)
        return [node for node in self._order if node in chosen]

    def _record(self, members: _Membership) -> PartitionRecord | None:
        before = self._partition
        record = PartitionRecord()
        record.CopyFrom(before)
        record.isr[:] = members.isr
        record.eligible_leader_replicas[:] = members.eligible
        record.last_known_leader_replicas[:] = members.last_known
        epoch = 0 if members.leader is None else self._brokers[members.leader].broker_epoch
        if members.leader is None:
            record.ClearField("leader_id")
        else:
            record.leader_id = members.leader
        record.leader_broker_epoch = epoch
        record.unclean = members.unclean
        if record == before:
            return None
        had = before.leader_id if before.HasField("leader_id") else None
        # A leader epoch belongs to one incarnation of one broker.
        if (had, before.leader_broker_epoch) != (members.leader, epoch):
            record.leader_epoch += 1
        record.partition_epoch += 1
        return record
