"""Brokers as they come, fall silent, drain and lose disks, and what that does to partitions.

Owns the handlers that change a broker's record. Each writes the broker first and then every
partition whose record follows from it, so a controller that dies in between leaves work that
`reconcile` finds. Registration has a module of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ottla.storage.metadata.v1.metadata_record_pb2 import (
    TOPIC_STATE_READY,
    BrokerRecord,
    PartitionRecord,
)
from ottla_controller.core.partition_change import next_record
from ottla_controller.core.result import Put, Result, one_by_one
from ottla_controller.core.state import ClusterState


def fence(state: ClusterState, *, node_id: int, broker_epoch: int) -> Result[bool]:
    """The broker fell silent or stopped: it leads nothing and counts as in sync nowhere.

    The response says whether anything changed; a newer registration is left alone.
    """
    broker = state.brokers.get(node_id)
    if broker is None or broker.broker_epoch != broker_epoch or broker.fenced:
        return Result(False)
    return _changed(state, _copy(broker, fenced=True, draining=False))


def unfence(state: ClusterState, *, node_id: int, broker_epoch: int) -> Result[bool]:
    """The broker is ready: it may lead, and leads at once what waits for it."""
    broker = state.brokers.get(node_id)
    if broker is None or broker.broker_epoch != broker_epoch or not broker.fenced:
        return Result(False)
    return _changed(state, _copy(broker, fenced=False, draining=False))


def drain(state: ClusterState, *, node_id: int, broker_epoch: int) -> Result[bool]:
    """The broker wants to stop: what others can lead moves to them, if nobody else is at it."""
    broker = state.brokers.get(node_id)
    if broker is None or broker.broker_epoch != broker_epoch:
        return Result(False)
    if broker.fenced or broker.draining or maintained_broker(state) is not None:
        return Result(False)
    return _changed(state, _copy(broker, fenced=False, draining=True))


def maintained_broker(state: ClusterState) -> int | None:
    """Who holds the cluster's one maintenance slot; it ends with the holder's session."""
    for node_id in sorted(state.brokers):
        if state.brokers[node_id].draining and not state.brokers[node_id].fenced:
            return node_id
    return None


def fail_directories(
    state: ClusterState, *, node_id: int, broker_epoch: int, directory_ids: Iterable[bytes]
) -> Result[bool]:
    """Log directories of the broker failed: replicas in them neither lead nor count as in sync."""
    broker = state.brokers.get(node_id)
    if broker is None or broker.broker_epoch != broker_epoch:
        return Result(False)
    failed = frozenset(directory_ids)
    if not has_online(broker, failed):
        return Result(False)
    record = _copy(broker, fenced=broker.fenced, draining=broker.draining)
    for directory in record.directories:
        if directory.directory_id in failed:
            directory.online = False
    return _changed(state, record)


def has_online(broker: BrokerRecord, directory_ids: Iterable[bytes]) -> bool:
    """Whether any of these directories is online as far as is known."""
    online = {each.directory_id for each in broker.directories if each.online}
    return not online.isdisjoint(directory_ids)


def reconcile(state: ClusterState) -> Result[int]:
    """What a controller that died left undone; the response counts the partitions it changes."""
    changed = [
        Put(record)
        for topic in state.topics.values()
        if topic.state == TOPIC_STATE_READY
        for partition in state.partitions_of(topic.topic_id).values()
        if (record := next_record(state, partition)) is not None
    ]
    return Result(len(changed), one_by_one(changed))


def visible_replicas_on(state: ClusterState, node_id: int) -> Iterator[PartitionRecord]:
    """Partitions with a replica on the broker, of topics that are ready, as they are when asked."""
    for topic_id, number in state.replicas_on(node_id):
        topic = state.topics.get(topic_id)
        partition = state.partition(topic_id, number)
        if topic is not None and topic.state == TOPIC_STATE_READY and partition is not None:
            yield partition


def with_broker(state: ClusterState, broker: BrokerRecord) -> dict[int, BrokerRecord]:
    """All brokers, with this one as it shall be."""
    return {**state.brokers, broker.node_id: broker}


def _changed(state: ClusterState, broker: BrokerRecord) -> Result[bool]:
    return Result(True, one_by_one(_changes(state, broker)))


def _changes(state: ClusterState, broker: BrokerRecord) -> Iterator[Put]:
    brokers = with_broker(state, broker)
    yield Put(broker)
    for partition in visible_replicas_on(state, broker.node_id):
        record = next_record(state, partition, brokers=brokers)
        if record is not None:
            yield Put(record)


def _copy(broker: BrokerRecord, *, fenced: bool, draining: bool) -> BrokerRecord:
    record = BrokerRecord()
    record.CopyFrom(broker)
    record.fenced, record.draining = fenced, draining
    return record
