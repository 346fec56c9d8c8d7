"""Partitions as they begin: who can hold them, and their first records.

Owns what topics that are created and topics that grow have in common. Where replicas go is
`placement`'s or the request's.
"""

from __future__ import annotations

from collections.abc import Sequence

from ottla.protocol.errors import InvalidRequest, NotEnoughReplicas
from ottla.storage.metadata.v1.metadata_record_pb2 import (
    PartitionRecord,
    ReplicaRecord,
    TopicRecord,
)
from ottla_controller.core.partition_change import first_record, is_online
from ottla_controller.core.placement import Candidate
from ottla_controller.core.state import ClusterState

_SHOWN_MAX = 16


def candidates_for(state: ClusterState, topic: TopicRecord) -> list[Candidate]:
    """The brokers that replicas of a topic can go to.

    Raises:
        NotEnoughReplicas: none of them could lead now.
        InvalidRequest: the topic's partitions have more replicas than there are brokers.
    """
    candidates = [
        Candidate(broker.node_id, broker.rack, not broker.fenced and not broker.draining)
        for broker in state.brokers.values()
    ]
    if not any(candidate.active for candidate in candidates):
        raise NotEnoughReplicas(
            f"none of {len(candidates)} registered brokers is active yet",
            metadata={"topic": topic.name},
            retry_after_ms=500,
        )
    if topic.replication_factor > len(candidates):
        raise InvalidRequest(
            f"{topic.replication_factor} replicas need as many brokers, there are "
            f"{len(candidates)}",
            metadata={"topic": topic.name},
        )
    return candidates


def new_partition(
    state: ClusterState, topic: TopicRecord, number: int, nodes: Sequence[int]
) -> PartitionRecord:
    """The first record of a partition whose replicas go to these nodes.

    Raises:
        InvalidRequest: a node id is no broker's.
        NotEnoughReplicas: none of the brokers is active.
    """
    unknown = [node for node in nodes if node not in state.brokers]
    if unknown:
        raise InvalidRequest(
            f"partition {number} is assigned to {unknown[:_SHOWN_MAX]}, which no broker has as "
            "node id",
            metadata={"topic": topic.name, "partition": number},
        )
    # In no directory yet: a broker makes an empty log only while none is said to hold the data.
    replicas = [ReplicaRecord(node_id=node) for node in nodes]
    isr = [each.node_id for each in replicas if is_online(state.brokers, each)]
    if not isr:
        raise NotEnoughReplicas(
            f"none of the brokers {list(nodes)[:_SHOWN_MAX]} of partition {number} is active",
            metadata={"topic": topic.name, "partition": number},
            retry_after_ms=500,
        )
    partition = PartitionRecord(
        topic_id=topic.topic_id, partition=number, replicas=replicas, isr=isr
    )
    return first_record(state, topic, partition)
