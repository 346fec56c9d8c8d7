"""What watchers are told: the changes of a revision as far as they may see them, and snapshots.

Owns visibility. A topic is seen from the revision that makes it ready, with all its partitions,
until the one that makes it deleting; what is written before and after concerns nobody. Partitions
that it gets later are seen from the revision that raises its number. While an import is under way,
nothing but the cluster and its controllers is seen. Whole revisions only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ottla.internal.controller.v1.controller_pb2 import (
    BrokerRemoved,
    ControllerRemoved,
    MetadataChange,
    TopicRemoved,
)
from ottla.storage.metadata.v1.metadata_record_pb2 import (
    TOPIC_STATE_READY,
    BrokerRecord,
    ClusterRecord,
    ConfigRecord,
    ControllerRecord,
    ImportRecord,
    PartitionRecord,
    TopicRecord,
)
from ottla_controller.core.record_keys import Record
from ottla_controller.core.state import ClusterState


def replay_and_publish(
    state: ClusterState, revision: int, changes: Sequence[tuple[bytes, Record | None]]
) -> list[MetadataChange]:
    """Replays a revision and returns what became visible by it, topics before their partitions."""
    was_importing = state.import_record is not None
    brokers_before = set() if was_importing else set(state.brokers)
    controllers_before = set(state.controllers)
    seen_before = {
        record.topic_id: _seen_count(state, record.topic_id)
        for _, record in changes
        if isinstance(record, TopicRecord)
    }
    state.replay(revision, changes)
    if was_importing and state.import_record is None:
        return [as_change(record) for record in snapshot(state)]
    published: list[MetadataChange] = []
    for _, record in changes:
        published.extend(_of_record(state, record, seen_before))
    published += [
        MetadataChange(broker_removed=BrokerRemoved(node_id=node_id))
        for node_id in sorted(brokers_before - set(state.brokers))
    ]
    published += [
        MetadataChange(controller_removed=ControllerRemoved(node_id=node_id))
        for node_id in sorted(controllers_before - set(state.controllers))
    ]
    return published


def snapshot(state: ClusterState) -> list[Record]:
    """Every record that is visible, topics before their partitions."""
    return [record for record in state.records() if _is_seen(state, record)]


def as_change(record: Record) -> MetadataChange:
    """A record as watchers get it."""
    match record:
        case ClusterRecord():
            return MetadataChange(cluster=record)
        case BrokerRecord():
            return MetadataChange(broker=record)
        case TopicRecord():
            return MetadataChange(topic=record)
        case PartitionRecord():
            return MetadataChange(partition=record)
        case ConfigRecord():
            return MetadataChange(config=record)
        case ControllerRecord():
            return MetadataChange(controller=record)
        case ImportRecord():
            raise AssertionError("an import is nobody's business but the controller's")


def latest(changes: Iterable[MetadataChange]) -> list[MetadataChange]:
    """The last change of each thing, in order; what is gone takes along what it owned."""
    kept: dict[object, MetadataChange] = {}
    gone: set[bytes] = set()
    for change in changes:
        subject = _subject(change)
        kept.pop(subject, None)
        kept[subject] = change
        if change.HasField("topic_removed"):
            gone.add(change.topic_removed.topic_id)  # a topic's id never comes back
    return [
        change
        for change in kept.values()
        if not (change.HasField("partition") and change.partition.topic_id in gone)
    ]


def _seen_count(state: ClusterState, topic_id: bytes) -> int:
    """Number of partitions of a topic that are seen; 0: the topic is not."""
    topic = state.topics.get(topic_id)
    if topic is None or topic.state != TOPIC_STATE_READY or state.import_record is not None:
        return 0
    return topic.partition_count


def _is_seen(state: ClusterState, record: Record) -> bool:
    match record:
        case TopicRecord():
            return _seen_count(state, record.topic_id) > 0
        case PartitionRecord():
            return record.partition < _seen_count(state, record.topic_id)
        case ImportRecord():
            return False
        case ClusterRecord() | ControllerRecord():
            return True
        case BrokerRecord() | ConfigRecord():
            return state.import_record is None


def _of_record(
    state: ClusterState, record: Record | None, seen_before: dict[bytes, int]
) -> Iterator[MetadataChange]:
    match record:
        case None:
            return
        case TopicRecord():
            before, count = seen_before[record.topic_id], _seen_count(state, record.topic_id)
            if count:
                yield as_change(record)
            elif before:
                yield MetadataChange(topic_removed=TopicRemoved(topic_id=record.topic_id))
            if count > before:
                partitions = state.partitions_of(record.topic_id)
                yield from (as_change(partitions[number]) for number in range(before, count))
        case PartitionRecord():
            # One that appears by its topic's record comes with that.
            appears = record.partition >= seen_before.get(record.topic_id, record.partition + 1)
            if _is_seen(state, record) and not appears:
                yield as_change(record)
        case _:
            if _is_seen(state, record):
                yield as_change(record)


def _subject(change: MetadataChange) -> tuple[object, ...]:
    match change.WhichOneof("change"):
        case "cluster":
            return ("cluster",)
        case "broker":
            return ("broker", change.broker.node_id)
        case "broker_removed":
            return ("broker", change.broker_removed.node_id)
        case "topic":
            return ("topic", change.topic.topic_id)
        case "topic_removed":
            return ("topic", change.topic_removed.topic_id)
        case "partition":
            return ("partition", change.partition.topic_id, change.partition.partition)
        case "config":
            config = change.config
            return ("config", config.node_id if config.HasField("node_id") else None)
        case "controller":
            return ("controller", change.controller.node_id)
        case "controller_removed":
            return ("controller", change.controller_removed.node_id)
    raise AssertionError("a change is of something")
