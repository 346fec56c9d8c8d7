"""What watchers are told: the changes of a revision as far as they may see them, and snapshots.

Owns visibility. A topic is seen from the revision that makes it ready, with all its partitions,
until the one that makes it deleting; what is written before and after concerns nobody. Whole
revisions only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ottla.internal.controller.v1.controller_pb2 import (
    BrokerRemoved,
    MetadataChange,
    TopicRemoved,
)
from ottla.storage.metadata.v1.metadata_record_pb2 import (
    TOPIC_STATE_READY,
    BrokerRecord,
    ClusterRecord,
    ConfigRecord,
    ControllerRecord,
    PartitionRecord,
    TopicRecord,
)
from ottla_controller.core.record_keys import Record
from ottla_controller.core.state import ClusterState


def replay_and_publish(
    state: ClusterState, revision: int, changes: Sequence[tuple[bytes, Record | None]]
) -> list[MetadataChange]:
    """Replays a revision and returns what became visible by it, topics before their partitions."""
    brokers_before = set(state.brokers)
    seen_before = {
        record.topic_id: _is_seen(state, record.topic_id)
        for _, record in changes
        if isinstance(record, TopicRecord)
    }
    state.replay(revision, changes)
    appeared = {
        topic_id for topic_id, seen in seen_before.items() if not seen and _is_seen(state, topic_id)
    }
    published: list[MetadataChange] = []
    for _, record in changes:
        published.extend(_of_record(state, record, seen_before, appeared))
    published += [
        MetadataChange(broker_removed=BrokerRemoved(node_id=node_id))
        for node_id in sorted(brokers_before - set(state.brokers))
    ]
    return published


def snapshot(state: ClusterState) -> list[Record]:
    """Every record that is visible, topics before their partitions."""
    return [record for record in state.records() if _in_snapshot(state, record)]


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


def _is_seen(state: ClusterState, topic_id: bytes) -> bool:
    topic = state.topics.get(topic_id)
    return topic is not None and topic.state == TOPIC_STATE_READY


def _in_snapshot(state: ClusterState, record: Record) -> bool:
    if isinstance(record, TopicRecord | PartitionRecord):
        return _is_seen(state, record.topic_id)
    return True


def _of_record(
    state: ClusterState,
    record: Record | None,
    seen_before: dict[bytes, bool],
    appeared: set[bytes],
) -> Iterator[MetadataChange]:
    match record:
        case None:
            return
        case TopicRecord():
            if _is_seen(state, record.topic_id):
                yield as_change(record)
            elif seen_before[record.topic_id]:
                yield MetadataChange(topic_removed=TopicRemoved(topic_id=record.topic_id))
            if record.topic_id in appeared:
                yield from map(as_change, state.partitions_of(record.topic_id).values())
        case PartitionRecord():
            if _is_seen(state, record.topic_id) and record.topic_id not in appeared:
                yield as_change(record)
        case _:
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
    raise AssertionError("a change is of something")
