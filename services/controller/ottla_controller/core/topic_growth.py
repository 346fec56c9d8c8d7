"""Topics get more partitions, and readers see them grow at once.

Owns `grow_topics`. The new partitions are written first and the topic's number last: partitions
beyond the number are nobody's business (`publication`). If the controller dies on the way, the
topic is as it was and its successor removes the rest (`topic_deletion.sweep`). A repeated request
finds the number it asks for and succeeds.
"""

from __future__ import annotations

from collections.abc import Sequence

from ottla.api.admin.v1.admin_pb2 import CreatePartitionsResult, NewPartitions
from ottla.protocol.error_details import to_proto
from ottla.protocol.errors import (
    FieldError,
    InvalidRequest,
    InvalidTopic,
    OttlaError,
    VersionConflict,
)
from ottla.protocol.ids import TOPIC_NAME_CHARS_MAX
from ottla.storage.metadata.v1.metadata_record_pb2 import PartitionRecord, TopicRecord
from ottla_controller.core import limits
from ottla_controller.core.new_partitions import candidates_for, new_partition
from ottla_controller.core.placement import place_more
from ottla_controller.core.result import Put, Result, Step, is_one_step
from ottla_controller.core.state import ClusterState
from ottla_controller.core.topic_deletion import find_topic


def grow_topics(
    state: ClusterState,
    growths: Sequence[NewPartitions],
    *,
    cluster_partitions_max: int,
    validate_only: bool,
) -> Result[list[CreatePartitionsResult]]:
    """Adds partitions where it can; a result for each, in order."""
    results: list[CreatePartitionsResult] = []
    steps: list[Step] = []
    done: set[bytes] = set()
    room = cluster_partitions_max - state.partition_count
    for growth in growths:
        try:
            topic = find_topic(state, growth.topic)
            if topic.topic_id in done:
                raise InvalidRequest(f"topic {topic.name!r} is named twice", metadata=_of(topic))
            done.add(topic.topic_id)
            partitions = _new_partitions(state, topic, growth, room=room)
        except OttlaError as error:
            results.append(_failed(growth, error))
            continue
        count = topic.partition_count + len(partitions)
        room -= len(partitions)
        steps.extend(_steps(topic, partitions))
        results.append(CreatePartitionsResult(name=topic.name, partition_count=count))
    return Result(results, () if validate_only else tuple(steps))


def cohorts(growths: Sequence[NewPartitions]) -> list[list[NewPartitions]]:
    """Growths in portions, so that no portion keeps the write queue busy for long."""
    portions: list[list[NewPartitions]] = []
    room = 0
    for growth in growths:
        if not portions or growth.partition_count > room:
            portions.append([])
            room = limits.DESCRIBE_PAGE_MAX
        portions[-1].append(growth)
        room -= growth.partition_count
    return portions


def _new_partitions(
    state: ClusterState, topic: TopicRecord, growth: NewPartitions, *, room: int
) -> list[PartitionRecord]:
    asked, has = growth.partition_count, topic.partition_count
    if not 1 <= asked <= limits.TOPIC_PARTITIONS_MAX:
        rule = f"is from 1 to {limits.TOPIC_PARTITIONS_MAX}, not {asked}"
        raise _refused("partition_count", rule, topic)
    if topic.internal:
        raise InvalidTopic(
            f"topic {topic.name!r} is the cluster's own; what it keeps goes by its partitions",
            metadata=_of(topic),
        )
    if asked == has and _is_as_assigned(state, topic, growth):
        return []  # as asked for: the answer to a request before was lost
    if growth.expected_version not in {0, topic.version}:
        raise VersionConflict(
            f"topic {topic.name!r} is of version {topic.version}, not {growth.expected_version}",
            metadata=_of(topic),
        )
    if asked <= has:
        grows = f"is more than the {has} that topic {topic.name!r} has, not {asked}"
        raise _refused("partition_count", grows, topic)
    if asked - has > room:
        raise InvalidRequest(
            f"the cluster has room for {max(room, 0)} more partitions, not for {asked - has}",
            metadata=_of(topic),
        )
    plans = _assigned(topic, growth) or _placed(state, topic, asked - has)
    return [new_partition(state, topic, number, nodes) for number, nodes in enumerate(plans, has)]


def _is_as_assigned(state: ClusterState, topic: TopicRecord, growth: NewPartitions) -> bool:
    """Whether the last partitions are where the request wants its new ones."""
    partitions = state.partitions_of(topic.topic_id)
    first = topic.partition_count - len(growth.assignments)
    return first >= 0 and all(
        list(wanted.node_ids) == [each.node_id for each in partitions[number].replicas]
        for number, wanted in enumerate(growth.assignments, first)
    )


def _assigned(topic: TopicRecord, growth: NewPartitions) -> list[list[int]]:
    plans = [list(each.node_ids) for each in growth.assignments]
    missing = growth.partition_count - topic.partition_count
    if plans and len(plans) != missing:
        raise _refused("assignments", f"has an item for each of {missing} new partitions", topic)
    for number, nodes in enumerate(plans):
        field = f"assignments[{number}]"
        if len(nodes) != topic.replication_factor:
            rule = f"names {topic.replication_factor} brokers, as the topic has replicas"
            raise _refused(field, rule, topic)
        if len(set(nodes)) < len(nodes):
            raise _refused(field, "names each broker once", topic)
    return plans


def _placed(state: ClusterState, topic: TopicRecord, partition_count: int) -> list[list[int]]:
    partitions = state.partitions_of(topic.topic_id)
    return place_more(
        candidates_for(state, topic),
        preferred_leaders=[
            partitions[number].replicas[0].node_id for number in range(topic.partition_count)
        ],
        partition_count=partition_count,
        replication_factor=topic.replication_factor,
        seed=int.from_bytes(topic.topic_id[:8]),
    )


def _steps(topic: TopicRecord, partitions: Sequence[PartitionRecord]) -> list[Step]:
    """One step where it fits into a transaction, else the topic's number with the last one."""
    if not partitions:
        return []
    grown = TopicRecord()
    grown.CopyFrom(topic)
    grown.partition_count += len(partitions)
    grown.version += 1
    whole = (*map(Put, partitions), Put(grown))
    return [whole] if is_one_step(whole) else [(change,) for change in whole]


def _failed(growth: NewPartitions, error: OttlaError) -> CreatePartitionsResult:
    return CreatePartitionsResult(
        name=growth.topic.name[: TOPIC_NAME_CHARS_MAX + 1], error=to_proto(error)
    )


def _refused(field: str, rule: str, topic: TopicRecord) -> InvalidRequest:
    return InvalidRequest(
        f"{field} {rule}", field_errors=[FieldError(field, rule)], metadata=_of(topic)
    )


def _of(topic: TopicRecord) -> dict[str, object]:
    return {"topic": topic.name}
