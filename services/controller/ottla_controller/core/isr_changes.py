"""A leader changes the in-sync sets of its partitions.

Owns the checks of AlterPartitions: the change is of the state that the leader knew, and every
member lives under the broker epoch that the leader saw on its stream (KIP-903). What follows for
eligible replicas is `partition_change`'s.
"""

from __future__ import annotations

from collections.abc import Sequence

from ottla.internal.controller.v1.controller_pb2 import (
    AlterPartitionsRequest,
    PartitionChange,
    PartitionChangeResult,
)
from ottla.protocol.error_details import to_proto
from ottla.protocol.errors import (
    FieldError,
    IneligibleReplica,
    InvalidRequest,
    NotLeader,
    OttlaError,
    StaleLeaderEpoch,
    UnknownTopicOrPartition,
    VersionConflict,
)
from ottla.storage.metadata.v1.metadata_record_pb2 import TOPIC_STATE_READY, PartitionRecord
from ottla_controller.core import limits
from ottla_controller.core.heartbeats import registered
from ottla_controller.core.partition_change import is_online, next_record
from ottla_controller.core.result import Put, Result, one_by_one
from ottla_controller.core.state import ClusterState


def alter_partitions(
    state: ClusterState, request: AlterPartitionsRequest
) -> Result[list[PartitionChangeResult]]:
    """Takes the changes that hold; a result for each, in order.

    Raises:
        StaleBrokerEpoch: the leader spoke with an epoch of an earlier registration.
        InvalidRequest: too many changes, or a partition twice.
    """
    registered(state, node_id=request.node_id, broker_epoch=request.broker_epoch)
    _check_items(request.changes)
    results, changes = [], []
    for change in request.changes:
        result = PartitionChangeResult(topic_id=change.topic_id, partition=change.partition)
        partition = state.partition(change.topic_id, change.partition)
        try:
            record = _altered(state, request.node_id, change, partition)
        except OttlaError as error:
            result.error.CopyFrom(to_proto(error))
            record = None
        if record is not None:
            changes.append(Put(record))
        present = record or partition
        if present is not None:
            result.record.CopyFrom(present)
        results.append(result)
    return Result(results, one_by_one(changes))


def _check_items(changes: Sequence[PartitionChange]) -> None:
    if len(changes) > limits.ITEMS_MAX:
        rule = f"has at most {limits.ITEMS_MAX} items"
        raise InvalidRequest(f"changes {rule}", field_errors=[FieldError("changes", rule)])
    if len({(change.topic_id, change.partition) for change in changes}) < len(changes):
        rule = "names each partition once"
        raise InvalidRequest(f"changes {rule}", field_errors=[FieldError("changes", rule)])


def _altered(
    state: ClusterState, node_id: int, change: PartitionChange, partition: PartitionRecord | None
) -> PartitionRecord | None:
    topic = state.topics.get(change.topic_id)
    if partition is None or topic is None or topic.state != TOPIC_STATE_READY:
        raise UnknownTopicOrPartition(
            f"there is no partition {change.partition} of topic {change.topic_id.hex()}",
            metadata={"partition": change.partition},
        )
    where = {"topic": topic.name, "partition": change.partition}
    _check_leader(partition, node_id, change, where)
    if change.partition_epoch != partition.partition_epoch:
        raise VersionConflict(
            f"the partition is at epoch {partition.partition_epoch}, "
            f"the change is of epoch {change.partition_epoch}",
            metadata=where,
        )
    _check_members(state, partition, change, where)
    return next_record(state, partition, isr=[member.node_id for member in change.isr])


def _check_leader(
    partition: PartitionRecord, node_id: int, change: PartitionChange, where: dict[str, object]
) -> None:
    leader = partition.leader_id if partition.HasField("leader_id") else None
    details = {**where, "leader_epoch": partition.leader_epoch}
    if leader is not None:
        details["leader_id"] = leader
    if leader != node_id:
        shown = "nobody" if leader is None else f"broker {leader}"
        raise NotLeader(f"{shown} leads the partition, not broker {node_id}", metadata=details)
    if change.leader_epoch != partition.leader_epoch:
        raise StaleLeaderEpoch(
            f"the partition is at leader epoch {partition.leader_epoch}, "
            f"the change is of leader epoch {change.leader_epoch}",
            metadata=details,
        )


def _check_members(
    state: ClusterState,
    partition: PartitionRecord,
    change: PartitionChange,
    where: dict[str, object],
) -> None:
    replicas = {replica.node_id: replica for replica in partition.replicas}
    members = [member.node_id for member in change.isr]
    if len(set(members)) < len(members) or not set(members) <= set(replicas):
        raise InvalidRequest(f"in-sync set {members} is not a set of replicas", metadata=where)
    if partition.leader_id not in members:
        raise InvalidRequest(f"in-sync set {members} is without its leader", metadata=where)
    for member in change.isr:
        broker = state.brokers.get(member.node_id)
        joins = member.node_id not in partition.isr
        if broker is None or not is_online(state.brokers, replicas[member.node_id]):
            raise IneligibleReplica(f"broker {member.node_id} is offline", metadata=where)
        if joins and broker.draining:
            raise IneligibleReplica(f"broker {member.node_id} is draining", metadata=where)
        if member.broker_epoch != broker.broker_epoch:
            raise IneligibleReplica(
                f"broker {member.node_id} is at epoch {broker.broker_epoch}, "
                f"the change saw epoch {member.broker_epoch}",
                metadata=where,
            )
