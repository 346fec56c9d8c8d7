"""What an admin client is given and gives back: plain values, a result an item.

Owns their shape and the reading of answers. Every result names its item and carries `error`, which
is None where it succeeded; partial success is normal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ottla.api.admin.v1 import admin_pb2
from ottla.api.cluster.v1 import cluster_pb2
from ottla.api.error.v1 import error_pb2
from ottla.client.core.addresses import Address
from ottla.protocol.error_details import from_proto
from ottla.protocol.errors import OttlaError


@dataclass(frozen=True, slots=True)
class NewTopic:
    """A topic to be created; what is left out is the cluster's to decide."""

    name: str
    partition_count: int = 0
    replication_factor: int = 0
    configs: Mapping[str, str] = field(default_factory=dict)
    assignments: Sequence[Sequence[int]] = ()
    """Node ids a partition, the preferred leader first; instead of the two counts."""

    def message(self) -> admin_pb2.NewTopic:
        """As it travels."""
        return admin_pb2.NewTopic(
            name=self.name,
            partition_count=self.partition_count,
            replication_factor=self.replication_factor,
            configs=dict(self.configs),
            assignments=[admin_pb2.ReplicaAssignment(node_ids=each) for each in self.assignments],
        )


@dataclass(frozen=True, slots=True)
class NewPartitions:
    """More partitions for a topic."""

    name: str
    partition_count: int
    """How many it shall have in all."""
    assignments: Sequence[Sequence[int]] = ()
    """Node ids for each new partition, the preferred leader first; none: the cluster decides."""
    expected_version: int = 0
    """Only if the topic is of this version, which `describe_topics` tells; 0: any."""

    def message(self) -> admin_pb2.NewPartitions:
        """As it travels."""
        return admin_pb2.NewPartitions(
            topic=admin_pb2.TopicRef(name=self.name),
            partition_count=self.partition_count,
            assignments=[admin_pb2.ReplicaAssignment(node_ids=each) for each in self.assignments],
            expected_version=self.expected_version,
        )


@dataclass(frozen=True, slots=True)
class TopicResult:
    """What became of one topic; counts are 0 where an answer doesn't tell them."""

    name: str
    topic_id: bytes
    partition_count: int
    replication_factor: int
    error: OttlaError | None


@dataclass(frozen=True, slots=True)
class TopicListing:
    """A topic in a list."""

    name: str
    topic_id: bytes
    partition_count: int
    replication_factor: int
    is_internal: bool


@dataclass(frozen=True, slots=True)
class PartitionDescription:
    """A partition as operators see it; node ids."""

    partition: int
    leader: int | None
    leader_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    offline_replicas: tuple[int, ...]


@dataclass(slots=True)
class TopicDescription:
    """A topic as operators see it."""

    name: str
    topic_id: bytes
    partition_count: int
    replication_factor: int
    is_internal: bool
    configs: dict[str, str]
    durability: str
    """What acks=all promises: "flushed" or "replicated"."""
    version: int
    error: OttlaError | None
    partitions: list[PartitionDescription]


@dataclass(frozen=True, slots=True)
class BrokerDescription:
    """A broker as operators see it."""

    node_id: int
    addresses: dict[str, Address]
    """By listener."""
    rack: str
    state: str
    """ "fenced", "active" or "draining"."""
    leader_count: int
    replica_count: int
    server_version: str


@dataclass(frozen=True, slots=True)
class ControllerDescription:
    """A controller as operators see it."""

    node_id: int
    addresses: dict[str, Address]
    """By listener."""
    is_active: bool
    """The one that decides; the others stand by."""


@dataclass(frozen=True, slots=True)
class ClusterDescription:
    """The cluster."""

    cluster_id: str
    brokers: tuple[BrokerDescription, ...]
    controllers: tuple[ControllerDescription, ...]
    controller_node_id: int | None
    """The active one."""
    topic_count: int
    partition_count: int
    feature_level: int
    metadata_store: str


def item_error(item: object) -> OttlaError | None:
    """The error in an item of an answer, if it has one."""
    message = getattr(item, "error", None)
    if isinstance(message, error_pb2.Error) and message.reason:
        return from_proto(message)
    return None


class Words(Protocol):
    """An enumeration of the contracts."""

    def Name(self, number: Any) -> str: ...  # noqa: N802 - as generated code has it


def word(words: Words, number: int, prefix: str) -> str:
    """The word that people use for a value of an enumeration; of one yet unknown, its number."""
    try:
        return words.Name(number).removeprefix(prefix).lower()
    except ValueError:  # a newer release answers
        return str(number)


def listing(item: admin_pb2.TopicListing) -> TopicListing:
    """A topic in a list, as it came."""
    return TopicListing(
        item.name, item.topic_id, item.partition_count, item.replication_factor, item.internal
    )


def topic_description(item: admin_pb2.TopicDescription) -> TopicDescription:
    """One page's part of a topic, as it came."""
    return TopicDescription(
        name=item.name,
        topic_id=item.topic_id,
        partition_count=item.partition_count,
        replication_factor=item.replication_factor,
        is_internal=item.internal,
        configs=dict(item.configs),
        durability=word(admin_pb2.Durability, item.durability, "DURABILITY_"),
        version=item.version,
        error=item_error(item),
        partitions=[_partition(each) for each in item.partitions],
    )


def _partition(item: admin_pb2.PartitionDescription) -> PartitionDescription:
    return PartitionDescription(
        partition=item.partition,
        leader=item.leader if item.HasField("leader") else None,
        leader_epoch=item.leader_epoch,
        replicas=tuple(item.replicas),
        isr=tuple(item.isr),
        offline_replicas=tuple(item.offline_replicas),
    )


def cluster_description(answer: admin_pb2.DescribeClusterResponse) -> ClusterDescription:
    """The cluster, as it came."""
    active = [each.node_id for each in answer.controllers if each.active]
    return ClusterDescription(
        cluster_id=answer.cluster_id,
        brokers=tuple(_broker(each) for each in answer.brokers),
        controllers=tuple(
            ControllerDescription(each.node_id, _addresses(each.endpoints), each.active)
            for each in answer.controllers
        ),
        controller_node_id=active[0] if active else None,
        topic_count=answer.topic_count,
        partition_count=answer.partition_count,
        feature_level=answer.feature_level,
        metadata_store=answer.metadata_store,
    )


def _broker(item: admin_pb2.BrokerDescription) -> BrokerDescription:
    return BrokerDescription(
        node_id=item.node_id,
        addresses=_addresses(item.endpoints),
        rack=item.rack,
        state=word(admin_pb2.BrokerState, item.state, "BROKER_STATE_"),
        leader_count=item.leader_count,
        replica_count=item.replica_count,
        server_version=item.server_version,
    )


def _addresses(endpoints: Iterable[cluster_pb2.Endpoint]) -> dict[str, Address]:
    return {each.listener: Address(each.host, each.port) for each in endpoints}
