"""Leader epochs lifted above what the logs of a broker hold.

Owns the handler of RaiseLeaderEpochs. Metadata from a backup may ask a broker to lead under an
epoch that its log knows from a term which the metadata has forgotten; two histories would then
share an epoch, so the broker refuses and says what its log holds. Who leads stays as it is.
"""

from __future__ import annotations

from typing import Final

from ottla.internal.controller.v1.controller_pb2 import LeaderEpochFloor, RaiseLeaderEpochsRequest
from ottla.protocol.errors import FieldError, InvalidRequest
from ottla.storage.metadata.v1.metadata_record_pb2 import TOPIC_STATE_READY, PartitionRecord
from ottla_controller.core import limits
from ottla_controller.core.heartbeats import registered
from ottla_controller.core.result import Put, Result, one_by_one
from ottla_controller.core.state import ClusterState

LEADER_EPOCH_MAX: Final = 2**31 - 1
"""Logs and clients hold a leader epoch in a signed number of 32 bits."""


def raise_leader_epochs(state: ClusterState, request: RaiseLeaderEpochsRequest) -> Result[int]:
    """Gives partitions an epoch above their floors; the response counts those that change.

    All or none. One that is above its floor already stays, so repeating changes nothing;
    partitions that are gone meanwhile are passed over.

    Raises:
        StaleBrokerEpoch: the broker spoke with an epoch of an earlier registration.
        InvalidRequest: too many items, a partition twice, an epoch that has no successor, or a
            partition that the broker has no replica of.
    """
    registered(state, node_id=request.node_id, broker_epoch=request.broker_epoch)
    if len(request.floors) > limits.ITEMS_MAX:
        raise _refused("floors", f"has at most {limits.ITEMS_MAX} items")
    if len({(each.topic_id, each.partition) for each in request.floors}) < len(request.floors):
        raise _refused("floors", "names each partition once")
    raised = [
        Put(record)
        for number, floor in enumerate(request.floors)
        if (record := _raised(state, request.node_id, floor, field=f"floors[{number}]"))
    ]
    return Result(len(raised), one_by_one(raised))


def _raised(
    state: ClusterState, node_id: int, floor: LeaderEpochFloor, *, field: str
) -> PartitionRecord | None:
    if floor.leader_epoch >= LEADER_EPOCH_MAX:
        raise _refused(f"{field}.leader_epoch", f"is below {LEADER_EPOCH_MAX}")
    topic = state.topics.get(floor.topic_id)
    partition = state.partition(floor.topic_id, floor.partition)
    if partition is None or topic is None or topic.state != TOPIC_STATE_READY:
        return None
    if node_id not in {replica.node_id for replica in partition.replicas}:
        raise _refused(field, "is a partition that the broker has a replica of")
    if partition.leader_epoch > floor.leader_epoch:
        return None
    record = PartitionRecord()
    record.CopyFrom(partition)
    record.leader_epoch = floor.leader_epoch + 1
    record.partition_epoch += 1
    return record


def _refused(field: str, rule: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {rule}", field_errors=[FieldError(field, rule)])
