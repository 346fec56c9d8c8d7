"""Brokers and topics as a client knows them: snapshot, changes, and hints in errors.

Owns which of two statements about a partition is the newer one (the higher leader epoch), and what
a topic deleted and created again does to what was known. Pure. Does not own how it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ottla.api.metadata.v1 import metadata_pb2
from ottla.client.core.addresses import Address
from ottla.protocol.error_details import from_proto
from ottla.protocol.errors import OttlaError

PORT_MAX = 65_535


@dataclass(slots=True)
class LeaderView:
    """Who leads a partition; None while nobody does."""

    node_id: int | None
    epoch: int


@dataclass(slots=True)
class TopicView:
    """A topic that exists, as far as this client knows."""

    name: str
    topic_id: bytes
    partition_count: int
    leaders: dict[int, LeaderView] = field(default_factory=dict)


class MetadataView:
    """Belongs to one client."""

    def __init__(self) -> None:
        self._brokers: dict[int, Address] = {}
        self._topics: dict[str, TopicView] = {}
        self._errors: dict[str, OttlaError] = {}

    def topic(self, name: str) -> TopicView | None:
        """The topic, if it is known to exist."""
        return self._topics.get(name)

    def error(self, name: str) -> OttlaError | None:
        """Why the topic could not be described when last asked for."""
        return self._errors.get(name)

    def broker(self, node_id: int) -> Address | None:
        """Where a broker answers."""
        return self._brokers.get(node_id)

    def leader(self, topic: str, partition: int) -> LeaderView | None:
        """Who leads the partition, as far as known."""
        known = self._topics.get(topic)
        return None if known is None else known.leaders.get(partition)

    def take_brokers(
        self, brokers: Iterable[metadata_pb2.BrokerInfo], *, removed: Iterable[int] = ()
    ) -> None:
        """Brokers that are new or changed, and node ids of those that are gone."""
        for node_id in removed:
            self._brokers.pop(node_id, None)
        for broker in brokers:
            if broker.HasField("endpoint"):
                endpoint = broker.endpoint
                self._brokers[broker.node_id] = Address(endpoint.host, endpoint.port)

    def take_topics(
        self, topics: Iterable[metadata_pb2.TopicInfo], *, removed: Iterable[bytes] = ()
    ) -> None:
        """Topics that are new, their changed partitions, and ids of those that are gone."""
        gone = set(removed)
        for name in [name for name, topic in self._topics.items() if topic.topic_id in gone]:
            del self._topics[name]
        for info in topics:
            if info.HasField("error"):
                self._topics.pop(info.name, None)
                self._errors[info.name] = from_proto(info.error)
            else:
                self._errors.pop(info.name, None)
                self._take_topic(info)

    def _take_topic(self, info: metadata_pb2.TopicInfo) -> None:
        topic = self._topics.get(info.name)
        if topic is None or topic.topic_id != info.topic_id:
            topic = TopicView(info.name, info.topic_id, info.partition_count)
            self._topics[info.name] = topic
        topic.partition_count = info.partition_count
        for partition in info.partitions:
            leader_id = partition.leader_id if partition.HasField("leader_id") else None
            _take_leader(topic, partition.partition, leader_id, partition.leader_epoch)

    def take_hint(self, error: OttlaError) -> bool:
        """What a NOT_LEADER and its like say of the leader; True if it is news."""
        topic, partition = self._topics.get(error.topic or ""), error.partition
        found = _leader_in(error)
        if topic is None or partition is None or found is None:
            return False
        node_id, epoch, address = found
        known = topic.leaders.get(partition)
        if known is not None and known.epoch >= epoch:
            return False
        if address is not None:
            self._brokers[node_id] = address
        if node_id not in self._brokers:
            return False
        _take_leader(topic, partition, node_id, epoch)
        return True

    def forget_topics(self, names: Iterable[str]) -> None:
        """A snapshot begins: what it doesn't name again is gone."""
        for name in names:
            self._topics.pop(name, None)
            self._errors.pop(name, None)


def _take_leader(topic: TopicView, partition: int, node_id: int | None, epoch: int) -> None:
    known = topic.leaders.get(partition)
    if known is None:
        topic.leaders[partition] = LeaderView(node_id, epoch)
    elif epoch >= known.epoch:
        known.node_id, known.epoch = node_id, epoch


def _leader_in(error: OttlaError) -> tuple[int, int, Address | None] | None:
    """Node id, epoch and address from an error's details, where they are sound."""
    details = error.metadata
    node_id, epoch = _number(details.get("leader_id")), _number(details.get("leader_epoch"))
    if node_id is None or epoch is None:
        return None
    host, port = details.get("leader_host", ""), _number(details.get("leader_port"))
    if not host or port is None or not 1 <= port <= PORT_MAX:
        return node_id, epoch, None
    return node_id, epoch, Address(host, port)


def _number(text: str | None) -> int | None:
    is_number = text is not None and text.isascii() and text.isdecimal() and len(text) <= 19
    return int(text) if is_number and text is not None else None
