"""A broker says in which log directories its replicas are.

Owns the rule that keeps an empty disk from leading: a replica that counts as in sync or eligible
stays in the directory it has; one that counts nowhere may begin in another, and is forgotten as a
last known leader by that.
"""

from __future__ import annotations

from ottla.internal.controller.v1.controller_pb2 import (
    AssignDirectoriesRequest,
    DirectoryAssignment,
)
from ottla.protocol.errors import FieldError, IneligibleReplica, InvalidRequest
from ottla.storage.metadata.v1.metadata_record_pb2 import BrokerRecord, PartitionRecord
from ottla_controller.core import limits
from ottla_controller.core.heartbeats import registered
from ottla_controller.core.result import Put, Result, one_by_one
from ottla_controller.core.state import ClusterState


def assign_directories(state: ClusterState, request: AssignDirectoriesRequest) -> Result[None]:
    """Notes the directories; all or none. Partitions that are gone meanwhile are passed over.

    Raises:
        StaleBrokerEpoch: the broker spoke with an epoch of an earlier registration.
        InvalidRequest: too many items, a directory that the broker did not register, or a
            partition that it has no replica of.
        IneligibleReplica: the replica counts in the directory it has.
    """
    broker = registered(state, node_id=request.node_id, broker_epoch=request.broker_epoch)
    if len(request.assignments) > limits.ITEMS_MAX:
        raise _refused("assignments", f"has at most {limits.ITEMS_MAX} items")
    changes: dict[tuple[bytes, int], Put] = {}
    for number, assignment in enumerate(request.assignments):
        place = (assignment.topic_id, assignment.partition)
        if place in changes:
            raise _refused(f"assignments[{number}]", "names a partition a second time")
        record = _assigned(state, broker, assignment, field=f"assignments[{number}]")
        if record is not None:
            changes[place] = Put(record)
    return Result(None, one_by_one(changes.values()))


def _assigned(
    state: ClusterState, broker: BrokerRecord, assignment: DirectoryAssignment, *, field: str
) -> PartitionRecord | None:
    if assignment.directory_id not in {each.directory_id for each in broker.directories}:
        raise _refused(f"{field}.directory_id", "is a directory that the broker registered")
    partition = state.partition(assignment.topic_id, assignment.partition)
    if partition is None:
        return None
    record = PartitionRecord()
    record.CopyFrom(partition)
    replica = next((each for each in record.replicas if each.node_id == broker.node_id), None)
    if replica is None:
        raise _refused(field, "is a partition that the broker has a replica of")
    if replica.directory_id == assignment.directory_id:
        return None
    if replica.directory_id:
        if broker.node_id in {*record.isr, *record.eligible_leader_replicas}:
            raise IneligibleReplica(
                f"the replica on broker {broker.node_id} is in another directory",
                metadata={"partition": assignment.partition},
            )
        kept = [node for node in record.last_known_leader_replicas if node != broker.node_id]
        record.last_known_leader_replicas[:] = kept
    replica.directory_id = assignment.directory_id
    record.partition_epoch += 1
    return record


def _refused(field: str, rule: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {rule}", field_errors=[FieldError(field, rule)])
