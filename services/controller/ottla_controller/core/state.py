"""The cluster as the records say it is; what every decision is made on.

Owns the records by kind, and the indexes that make questions cheap. `replay` takes whole revisions
of the store and is the only thing that changes anything: recovery, failover and tests are this one
path. Records in here are never modified; a change is another record. Sessions are not in here
(`sessions`): they are soft, and a new controller begins them afresh.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from typing import Final

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

PartitionId = tuple[bytes, int]
"""Topic id and number."""
_NO_PARTITIONS: Final[dict[int, PartitionRecord]] = {}


class ClusterState:
    """All records at one revision. Read by handlers, changed by `replay` alone."""

    def __init__(self) -> None:
        self.revision = 0
        self.cluster = ClusterRecord()
        self.brokers: dict[int, BrokerRecord] = {}
        self.topics: dict[bytes, TopicRecord] = {}
        self.partitions: dict[bytes, dict[int, PartitionRecord]] = {}
        self.configs: dict[int | None, ConfigRecord] = {}
        """Settings made on brokers by node id, and for None on the cluster."""
        self.controllers: dict[int, ControllerRecord] = {}
        self.partition_count = 0
        self.unready_topic_ids: dict[bytes, None] = {}
        """Topics on their way in or out, in the order they came to be so."""
        self.surplus: dict[bytes, set[int]] = {}
        """By topic, the partitions beyond its number: it is growing, or nobody finishes it."""
        self.import_record: ImportRecord | None = None
        """An import that isn't finished; until it is, what is there is not to be seen."""
        self._ready_by_name: dict[str, TopicRecord] = {}
        self._ready_by_shape: dict[str, str] = {}
        self._ready_names: list[str] = []
        self._replicas_of: dict[int, set[PartitionId]] = {}
        self._leaders_of: dict[int, int] = {}

    def replay(self, revision: int, changes: Iterable[tuple[bytes, Record | None]]) -> None:
        """Takes one whole revision: records by their keys, None for those that are gone."""
        assert revision > self.revision, "revisions come in order and once"
        for key, record in changes:
            if record is None:
                self._remove(key)
            else:
                self._put(record)
        self.revision = revision

    def topic_named(self, name: str) -> TopicRecord | None:
        """The topic of that name that users see."""
        return self._ready_by_name.get(name)

    def name_like(self, name: str) -> str | None:
        """The topic that users see whose name differs from `name` in `.` and `_` at most."""
        return self._ready_by_shape.get(shape_of(name))

    @property
    def has_leftovers(self) -> bool:
        """Whether something is there that is to be finished or removed."""
        return bool(self.unready_topic_ids or self.surplus) or self.import_record is not None

    @property
    def ready_names(self) -> list[str]:
        """Names of the topics that users see, sorted. Not to be modified."""
        return self._ready_names

    def partitions_of(self, topic_id: bytes) -> dict[int, PartitionRecord]:
        """Partitions of a topic by number. Not to be modified."""
        return self.partitions.get(topic_id, _NO_PARTITIONS)

    def partition(self, topic_id: bytes, number: int) -> PartitionRecord | None:
        return self.partitions_of(topic_id).get(number)

    def replicas_on(self, node_id: int) -> list[PartitionId]:
        """Partitions that have a replica on a broker, in order."""
        return sorted(self._replicas_of.get(node_id, ()))

    def replica_count(self, node_id: int) -> int:
        return len(self._replicas_of.get(node_id, ()))

    def leader_count(self, node_id: int) -> int:
        return self._leaders_of.get(node_id, 0)

    def records(self) -> Iterator[Record]:
        """Every record, parents before children."""
        if self.cluster.cluster_id:
            yield self.cluster
        if self.import_record is not None:
            yield self.import_record
        yield from self.controllers.values()
        yield from self.configs.values()
        yield from self.brokers.values()
        for topic in self.topics.values():
            yield topic
            yield from self.partitions_of(topic.topic_id).values()

    def _put(self, record: Record) -> None:
        match record:
            case ClusterRecord():
                self.cluster = record
            case BrokerRecord():
                self.brokers[record.node_id] = record
            case TopicRecord():
                self._put_topic(record)
            case PartitionRecord():
                self._put_partition(record)
            case ConfigRecord():
                self.configs[record.node_id if record.HasField("node_id") else None] = record
            case ControllerRecord():
                self.controllers[record.node_id] = record
            case ImportRecord():
                self.import_record = record

    def _put_topic(self, topic: TopicRecord) -> None:
        self._forget_name(topic.topic_id)
        self.topics[topic.topic_id] = topic
        self.unready_topic_ids.pop(topic.topic_id, None)
        if topic.state != TOPIC_STATE_READY:
            self.unready_topic_ids[topic.topic_id] = None
        else:
            assert topic.name not in self._ready_by_name, "a name belongs to one topic"
            self._ready_by_name[topic.name] = topic
            self._ready_by_shape[shape_of(topic.name)] = topic.name
            insort(self._ready_names, topic.name)
        self._find_surplus(topic)

    def _find_surplus(self, topic: TopicRecord) -> None:
        partitions = self.partitions_of(topic.topic_id)
        self.surplus.pop(topic.topic_id, None)
        if len(partitions) > topic.partition_count:
            beyond = {number for number in partitions if number >= topic.partition_count}
            self.surplus[topic.topic_id] = beyond

    def _forget_name(self, topic_id: bytes) -> None:
        before = self.topics.get(topic_id)
        if before is not None and before.state == TOPIC_STATE_READY:
            del self._ready_by_name[before.name]
            del self._ready_by_shape[shape_of(before.name)]
            self._ready_names.remove(before.name)

    def _put_partition(self, partition: PartitionRecord) -> None:
        self._forget_partition(partition.topic_id, partition.partition)
        self.partitions.setdefault(partition.topic_id, {})[partition.partition] = partition
        self.partition_count += 1
        topic = self.topics.get(partition.topic_id)
        if topic is not None and partition.partition >= topic.partition_count:
            self.surplus.setdefault(partition.topic_id, set()).add(partition.partition)
        for replica in partition.replicas:
            held = self._replicas_of.setdefault(replica.node_id, set())
            held.add((partition.topic_id, partition.partition))
        if partition.HasField("leader_id"):
            led = self._leaders_of.get(partition.leader_id, 0)
            self._leaders_of[partition.leader_id] = led + 1

    def _forget_partition(self, topic_id: bytes, number: int) -> None:
        before = self.partition(topic_id, number)
        if before is None:
            return
        del self.partitions[topic_id][number]
        self.partition_count -= 1
        if not self.partitions[topic_id]:
            del self.partitions[topic_id]
        beyond = self.surplus.get(topic_id)
        if beyond is not None:
            beyond.discard(number)
            if not beyond:
                del self.surplus[topic_id]
        for replica in before.replicas:
            self._replicas_of[replica.node_id].discard((topic_id, number))
        if before.HasField("leader_id"):
            self._leaders_of[before.leader_id] -= 1

    def _remove(self, key: bytes) -> None:
        kind, *rest = key.decode().split("/")[1:]
        match kind:
            case "broker":
                self.brokers.pop(int(rest[0]), None)
            case "topic":
                topic_id = bytes.fromhex(rest[0])
                self._forget_name(topic_id)
                self.topics.pop(topic_id, None)
                self.surplus.pop(topic_id, None)
                self.unready_topic_ids.pop(topic_id, None)
            case "partition":
                self._forget_partition(bytes.fromhex(rest[0]), int(rest[1]))
            case "config":
                self.configs.pop(int(rest[1]) if len(rest) > 1 else None, None)
            case "controller":
                self.controllers.pop(int(rest[0]), None)
            case "import":
                self.import_record = None
            case _:  # of a newer release
                pass


def shape_of(name: str) -> str:
    """A name with `_` for `.`; two topics of one shape would share the names of their metrics."""
    return name.replace(".", "_")
