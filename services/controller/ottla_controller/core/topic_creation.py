"""Topics come to be: whether the cluster can have them, where they go, and the records they are.

Owns `create_topics`. A topic that fits into one transaction is written whole, as ready. A larger
one is written as creating, then its partitions, then as ready, in several transactions that no
other write comes between; nobody sees it before the last. If the controller dies on the way, the
topic was never acknowledged: its successor removes the rest (`topic_deletion.sweep`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ottla.api.admin.v1.admin_pb2 import CreateTopicResult
from ottla.protocol.error_details import to_proto
from ottla.protocol.errors import (
    InvalidRequest,
    InvalidTopic,
    OttlaError,
    TopicExists,
    UnsupportedVersion,
)
from ottla.protocol.ids import TOPIC_NAME_CHARS_MAX
from ottla.storage.metadata.v1.metadata_record_pb2 import (
    TOPIC_STATE_CREATING,
    TOPIC_STATE_READY,
    PartitionRecord,
    TopicRecord,
)
from ottla_controller.core import limits
from ottla_controller.core.new_partitions import candidates_for, new_partition
from ottla_controller.core.placement import place
from ottla_controller.core.result import Put, Result, Step, is_one_step
from ottla_controller.core.state import ClusterState, shape_of
from ottla_controller.core.topic_drafts import INTERNAL_TOPICS, TopicDraft

_REPLICATION_FACTOR_USUAL = 3


@dataclass(frozen=True, slots=True)
class CreationRules:
    """What the cluster says where a draft says nothing, and what it can hold."""

    partition_count: int
    replication_factor: int
    """0: 3, or as many as there are brokers, or as can be."""
    cluster_partitions_max: int
    replicas_max: int = limits.REPLICAS_SERVED_MAX
    """A replica that nobody fills must never be counted as in sync."""


@dataclass(frozen=True, slots=True)
class Creation:
    """A draft, with what chance contributes to it."""

    draft: TopicDraft
    topic_id: bytes
    seed: int


def create_topics(
    state: ClusterState, creations: Sequence[Creation], *, rules: CreationRules, validate_only: bool
) -> Result[list[CreateTopicResult]]:
    """Creates what can be created; a result for each, in order. Names must differ."""
    results: list[CreateTopicResult] = []
    steps: list[Step] = []
    names: dict[str, str] = {}
    partition_count = state.partition_count
    for creation in creations:
        draft = creation.draft
        try:
            existing = state.topic_named(draft.name)
            if existing is not None:
                results.append(_repeated(state, existing, draft))
                continue
            _check_name(state, draft.name, names)
            topic = _topic_record(state, creation, rules)
            if partition_count + topic.partition_count > rules.cluster_partitions_max:
                raise InvalidRequest(
                    f"the cluster holds {rules.cluster_partitions_max} partitions at most and has "
                    f"{partition_count}; {topic.partition_count} more are too many"
                )
            partitions = _partition_records(state, creation, topic)
        except OttlaError as error:
            results.append(failed(draft.name, error))
            continue
        names[shape_of(draft.name)] = draft.name
        partition_count += topic.partition_count
        steps.extend(_steps(topic, partitions))
        results.append(_result(topic, with_id=not validate_only))
    return Result(results, () if validate_only else tuple(steps))


def _check_name(state: ClusterState, name: str, names: dict[str, str]) -> None:
    like = state.name_like(name) or names.get(shape_of(name))
    if like is not None:
        raise InvalidTopic(
            f"topic {name!r} would differ from {like!r} in '.' and '_' only; their metrics would "
            "have one name",
            metadata={"topic": name},
        )


def _repeated(state: ClusterState, topic: TopicRecord, draft: TopicDraft) -> CreateTopicResult:
    """The answer to a create of what exists: success where it is as asked for."""
    differences = []
    if draft.partition_count not in {0, topic.partition_count}:
        differences.append(_counted(topic.partition_count, "partition"))
    if draft.replication_factor not in {0, topic.replication_factor}:
        differences.append(_counted(topic.replication_factor, "replica"))
    if draft.configs != dict(topic.configs):
        differences.append("other settings")
    if draft.assignments and draft.assignments != _assignments(state, topic):
        differences.append("its replicas elsewhere")
    if differences:
        raise TopicExists(
            f"topic {topic.name!r} exists and has {' and '.join(differences)}",
            metadata={"topic": topic.name},
        )
    return _result(topic, with_id=True)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _assignments(state: ClusterState, topic: TopicRecord) -> tuple[tuple[int, ...], ...]:
    partitions = state.partitions_of(topic.topic_id)
    return tuple(
        tuple(replica.node_id for replica in partitions[number].replicas)
        for number in sorted(partitions)
    )


def _topic_record(state: ClusterState, creation: Creation, rules: CreationRules) -> TopicRecord:
    draft = creation.draft
    if draft.assignments:
        partition_count, replication_factor = len(draft.assignments), len(draft.assignments[0])
    else:
        partition_count = draft.partition_count or rules.partition_count
        replication_factor = draft.replication_factor or _default_factor(state, rules)
    if replication_factor > rules.replicas_max:
        raise UnsupportedVersion(
            f"brokers of this version keep {rules.replicas_max} replica of a partition, not "
            f"{replication_factor}; replication comes with a later version",
            metadata={"topic": draft.name},
        )
    return TopicRecord(
        topic_id=creation.topic_id,
        name=draft.name,
        partition_count=partition_count,
        replication_factor=replication_factor,
        state=TOPIC_STATE_READY,
        configs=draft.configs,
        internal=draft.name in INTERNAL_TOPICS,
        version=1,
    )


def _default_factor(state: ClusterState, rules: CreationRules) -> int:
    usual = max(1, min(_REPLICATION_FACTOR_USUAL, len(state.brokers), rules.replicas_max))
    return rules.replication_factor or usual


def _partition_records(
    state: ClusterState, creation: Creation, topic: TopicRecord
) -> list[PartitionRecord]:
    plan: Sequence[Sequence[int]] = creation.draft.assignments
    if not plan:
        plan = place(
            candidates_for(state, topic),
            partition_count=topic.partition_count,
            replication_factor=topic.replication_factor,
            seed=creation.seed,
        )
    return [new_partition(state, topic, number, nodes) for number, nodes in enumerate(plan)]


def _steps(topic: TopicRecord, partitions: Sequence[PartitionRecord]) -> list[Step]:
    """One step where it fits into a transaction, else the topic visible with its last one."""
    whole = (*map(Put, partitions), Put(topic))
    if is_one_step(whole):
        return [whole]
    creating = TopicRecord()
    creating.CopyFrom(topic)
    creating.state = TOPIC_STATE_CREATING
    return [(Put(creating),), *((Put(partition),) for partition in partitions), (Put(topic),)]


def _result(topic: TopicRecord, *, with_id: bool) -> CreateTopicResult:
    return CreateTopicResult(
        name=topic.name,
        topic_id=topic.topic_id if with_id else b"",
        partition_count=topic.partition_count,
        replication_factor=topic.replication_factor,
    )


def failed(name: str, error: OttlaError) -> CreateTopicResult:
    """The result of a topic that could not be created; its name may be of any length."""
    return CreateTopicResult(name=name[: TOPIC_NAME_CHARS_MAX + 1], error=to_proto(error))


def cohorts(creations: Sequence[Creation], rules: CreationRules) -> list[list[Creation]]:
    """Creations in portions, so that no portion keeps the write queue busy for long."""
    portions: list[list[Creation]] = []
    room = 0
    for creation in creations:
        draft = creation.draft
        size = len(draft.assignments) or draft.partition_count or rules.partition_count
        if not portions or size > room:
            portions.append([])
            room = limits.DESCRIBE_PAGE_MAX
        portions[-1].append(creation)
        room -= size
    return portions
