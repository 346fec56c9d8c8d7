"""The cluster as one read view: brokers, topics, partitions, settings, controllers.

Owns the tables and how a change of metadata enters them; says what each change touched. Pure: one
task (the follower's) changes a table, everybody on the loop reads it. Does not own the order of
messages, snapshots and epochs: `cluster_follower` does.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ottla.internal.controller.v1 import controller_pb2
from ottla.protocol.ids import NodeId, Partition, TopicId
from ottla_broker.metadata.views import (
    OLDEST_VERSION,
    BrokerView,
    ClusterVersion,
    ControllerView,
    PartitionView,
    TopicView,
)

_NO_SETTINGS: Mapping[str, str] = {}


@dataclass(slots=True)
class TopicEntry:
    """A topic with its partitions by number."""

    topic: TopicView
    partitions: dict[Partition, PartitionView] = field(default_factory=dict)


@dataclass(slots=True)
class TableChanges:
    """What changes of metadata touched; several merge into one."""

    brokers: set[NodeId] = field(default_factory=set)
    topics: dict[TopicId, str] = field(default_factory=dict)
    partitions: dict[TopicId, set[Partition]] = field(default_factory=dict)
    removed_topics: dict[TopicId, str] = field(default_factory=dict)
    settings: bool = False
    controllers: bool = False
    everything: bool = False
    """A whole snapshot was taken over; what differs is told all the same."""

    def __bool__(self) -> bool:
        """Whether anything at all was touched."""
        return bool(
            self.brokers
            or self.topics
            or self.partitions
            or self.removed_topics
            or self.settings
            or self.controllers
            or self.everything
        )

    def merge(self, later: TableChanges) -> None:
        """Take in what changes after these touched."""
        self.brokers |= later.brokers
        self.topics.update(later.topics)
        for topic_id, partitions in later.partitions.items():
            self.partitions.setdefault(topic_id, set()).update(partitions)
        for topic_id, name in later.removed_topics.items():
            self.topics.pop(topic_id, None)
            self.partitions.pop(topic_id, None)
            self.removed_topics[topic_id] = name
        self.settings |= later.settings
        self.controllers |= later.controllers
        self.everything |= later.everything


class ClusterTable:
    """All metadata at one version. Only its follower calls the methods that change it."""

    def __init__(self) -> None:
        self.version: ClusterVersion = OLDEST_VERSION
        self.cluster_id = ""
        self.feature_level = 0
        self.brokers: dict[NodeId, BrokerView] = {}
        self.controllers: dict[NodeId, ControllerView] = {}
        self._settings: dict[NodeId | None, Mapping[str, str]] = {}
        self._topics: dict[TopicId, TopicEntry] = {}
        self._ids_by_name: dict[str, TopicId] = {}
        self._early: dict[TopicId, dict[Partition, PartitionView]] = {}
        self._sorted_names: list[str] | None = None

    def topic(self, name: str) -> TopicEntry | None:
        """The topic of a name."""
        topic_id = self._ids_by_name.get(name)
        return None if topic_id is None else self._topics[topic_id]

    def topic_by_id(self, topic_id: bytes) -> TopicEntry | None:
        """The topic of an id."""
        return self._topics.get(TopicId(topic_id))

    def topics(self) -> Iterator[TopicEntry]:
        """Every topic, in no order."""
        return iter(self._topics.values())

    @property
    def topic_count(self) -> int:
        """Number of topics."""
        return len(self._topics)

    def names_from(self, name: str) -> list[str]:
        """Names of topics in order, from `name` on."""
        if self._sorted_names is None:
            self._sorted_names = sorted(self._ids_by_name)
        return self._sorted_names[bisect_left(self._sorted_names, name) :]

    def settings(self, node_id: NodeId | None) -> Mapping[str, str]:
        """Dynamic settings of one broker, or of the cluster."""
        return self._settings.get(node_id, _NO_SETTINGS)

    def live_brokers(self) -> list[BrokerView]:
        """Brokers that are not fenced, by node id."""
        return [
            self.brokers[node] for node in sorted(self.brokers) if not self.brokers[node].fenced
        ]

    def active_controller(self) -> ControllerView | None:
        """The controller that leads as of this version; None while none does."""
        leading = [each for each in self.controllers.values() if each.epoch]
        return max(leading, key=lambda each: each.epoch, default=None)

    def apply(self, changes: Iterable[controller_pb2.MetadataChange]) -> TableChanges:
        """Enter changes in order; returns what they touched.

        A kind of change that this version doesn't know is left alone.
        """
        touched = TableChanges()
        for change in changes:
            self._apply_one(change, touched)
        return touched

    def _apply_one(self, change: controller_pb2.MetadataChange, touched: TableChanges) -> None:
        match change.WhichOneof("change"):
            case "partition":
                self._put_partition(PartitionView.of(change.partition), touched)
            case "topic":
                self._put_topic(TopicView.of(change.topic), touched)
            case "topic_removed":
                self._remove_topic(TopicId(change.topic_removed.topic_id), touched)
            case "broker":
                broker = BrokerView.of(change.broker)
                self.brokers[broker.node_id] = broker
                touched.brokers.add(broker.node_id)
            case "broker_removed":
                node_id = NodeId(change.broker_removed.node_id)
                self.brokers.pop(node_id, None)
                touched.brokers.add(node_id)
            case "config":
                record = change.config
                owner = NodeId(record.node_id) if record.HasField("node_id") else None
                self._settings[owner] = dict(record.configs)
                touched.settings = True
            case "controller":
                controller = ControllerView.of(change.controller)
                self.controllers[controller.node_id] = controller
                touched.controllers = True
            case "controller_removed":
                self.controllers.pop(NodeId(change.controller_removed.node_id), None)
                touched.controllers = True
            case "cluster":
                self.cluster_id = change.cluster.cluster_id
                self.feature_level = change.cluster.feature_level

    def _put_topic(self, topic: TopicView, touched: TableChanges) -> None:
        entry = self._topics.get(topic.topic_id)
        if entry is None:
            partitions = self._early.pop(topic.topic_id, {})
            self._topics[topic.topic_id] = TopicEntry(topic, partitions)
            touched.partitions.setdefault(topic.topic_id, set()).update(partitions)
            self._sorted_names = None
        else:
            entry.topic = topic
        self._ids_by_name[topic.name] = topic.topic_id
        touched.topics[topic.topic_id] = topic.name

    def _put_partition(self, partition: PartitionView, touched: TableChanges) -> None:
        entry = self._topics.get(partition.topic_id)
        if entry is None:  # its topic follows in the same version
            self._early.setdefault(partition.topic_id, {})[partition.partition] = partition
            return
        entry.partitions[partition.partition] = partition
        touched.partitions.setdefault(partition.topic_id, set()).add(partition.partition)

    def _remove_topic(self, topic_id: TopicId, touched: TableChanges) -> None:
        self._early.pop(topic_id, None)
        entry = self._topics.pop(topic_id, None)
        if entry is None:
            return
        name = entry.topic.name
        if self._ids_by_name.get(name) == topic_id:  # else a successor took the name already
            del self._ids_by_name[name]
            self._sorted_names = None
        touched.topics.pop(topic_id, None)
        touched.partitions.pop(topic_id, None)
        touched.removed_topics[topic_id] = name

    def become(self, snapshot: ClusterTable) -> TableChanges:
        """Show what `snapshot` holds from here on; returns what differs from before."""
        touched = _difference(self, snapshot)
        self.version = snapshot.version
        self.cluster_id = snapshot.cluster_id
        self.feature_level = snapshot.feature_level
        self.brokers = snapshot.brokers
        self.controllers = snapshot.controllers
        self._settings = snapshot._settings
        self._topics = snapshot._topics
        self._ids_by_name = snapshot._ids_by_name
        self._early = snapshot._early
        self._sorted_names = None
        return touched

    def settings_differ(self, other: ClusterTable) -> bool:
        """Whether any dynamic setting of a broker or the cluster differs."""
        return self._settings != other._settings


def _difference(old: ClusterTable, new: ClusterTable) -> TableChanges:
    touched = TableChanges(
        brokers={
            node_id
            for node_id in old.brokers.keys() | new.brokers.keys()
            if old.brokers.get(node_id) != new.brokers.get(node_id)
        },
        settings=old.settings_differ(new),
        controllers=old.controllers != new.controllers,
    )
    for entry in old.topics():
        if new.topic_by_id(entry.topic.topic_id) is None:
            touched.removed_topics[entry.topic.topic_id] = entry.topic.name
    for entry in new.topics():
        topic_id = entry.topic.topic_id
        before = old.topic_by_id(topic_id)
        known = before.partitions if before is not None else {}
        changed = {number for number, view in entry.partitions.items() if known.get(number) != view}
        if changed:
            touched.partitions[topic_id] = changed
        if before is None or before.topic != entry.topic:
            touched.topics[topic_id] = entry.topic.name
    return touched
