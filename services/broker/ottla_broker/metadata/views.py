"""Immutable pictures of what the controller tells: versions, brokers, topics, partitions.

Owns the translation from stored records into values that the rest of the broker reads, so that
nobody else touches protobuf records of metadata. Owns no state: `cluster_table` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ottla.api.cluster.v1 import cluster_pb2
from ottla.protocol.ids import (
    BrokerEpoch,
    ControllerEpoch,
    DirectoryId,
    LeaderEpoch,
    NodeId,
    Partition,
    TopicId,
)
from ottla.storage.metadata.v1 import metadata_record_pb2 as records


class ClusterVersion(NamedTuple):
    """A point in the history of the metadata; compares by generation, then revision."""

    generation: int
    revision: int

    @classmethod
    def of(cls, message: cluster_pb2.MetadataVersion) -> ClusterVersion:
        """The version that a message carries; an absent one is the oldest of all."""
        return cls(message.generation, message.revision)

    def message(self) -> cluster_pb2.MetadataVersion:
        """The version as messages carry it."""
        return cluster_pb2.MetadataVersion(generation=self.generation, revision=self.revision)


OLDEST_VERSION = ClusterVersion(0, 0)


@dataclass(frozen=True, slots=True)
class EndpointView:
    """Where one listener of a service is reached."""

    listener: str
    host: str
    port: int
    security: cluster_pb2.Security.ValueType

    @classmethod
    def of(cls, message: cluster_pb2.Endpoint) -> EndpointView:
        """The endpoint that a message carries."""
        return cls(message.listener, message.host, message.port, message.security)

    def message(self) -> cluster_pb2.Endpoint:
        """The endpoint as messages carry it."""
        return cluster_pb2.Endpoint(
            listener=self.listener, host=self.host, port=self.port, security=self.security
        )


@dataclass(frozen=True, slots=True)
class BrokerView:
    """One broker; live unless fenced."""

    node_id: NodeId
    broker_epoch: BrokerEpoch
    endpoints: tuple[EndpointView, ...]
    rack: str
    fenced: bool
    draining: bool

    @classmethod
    def of(cls, record: records.BrokerRecord) -> BrokerView:
        """The broker that a record describes."""
        return cls(
            NodeId(record.node_id),
            BrokerEpoch(record.broker_epoch),
            tuple(EndpointView.of(endpoint) for endpoint in record.endpoints),
            record.rack,
            record.fenced,
            record.draining,
        )

    def endpoint(self, listener: str) -> EndpointView | None:
        """Where the broker answers on a listener, if it listens there."""
        return next((each for each in self.endpoints if each.listener == listener), None)


@dataclass(frozen=True, slots=True)
class TopicView:
    """One topic that is ready, without its partitions."""

    topic_id: TopicId
    name: str
    partition_count: int
    internal: bool
    configs: Mapping[str, str]

    @classmethod
    def of(cls, record: records.TopicRecord) -> TopicView:
        """The topic that a record describes."""
        return cls(
            TopicId(record.topic_id),
            record.name,
            record.partition_count,
            record.internal,
            dict(record.configs),
        )


@dataclass(frozen=True, slots=True)
class PartitionView:
    """One partition: who holds it, who leads it, under which epochs."""

    topic_id: TopicId
    partition: Partition
    replicas: tuple[NodeId, ...]
    directories: tuple[DirectoryId, ...]
    isr: tuple[NodeId, ...]
    leader_id: NodeId | None
    leader_broker_epoch: BrokerEpoch
    leader_epoch: LeaderEpoch
    partition_epoch: int

    @classmethod
    def of(cls, record: records.PartitionRecord) -> PartitionView:
        """The partition that a record describes."""
        return cls(
            TopicId(record.topic_id),
            Partition(record.partition),
            tuple(NodeId(replica.node_id) for replica in record.replicas),
            tuple(DirectoryId(replica.directory_id) for replica in record.replicas),
            tuple(NodeId(node_id) for node_id in record.isr),
            NodeId(record.leader_id) if record.HasField("leader_id") else None,
            BrokerEpoch(record.leader_broker_epoch),
            LeaderEpoch(record.leader_epoch),
            record.partition_epoch,
        )

    def directory_of(self, node_id: NodeId) -> DirectoryId | None:
        """The log directory that the record names for a replica; None if it names none."""
        for replica, directory in zip(self.replicas, self.directories, strict=True):
            if replica == node_id:
                return directory or None
        return None


@dataclass(frozen=True, slots=True)
class ControllerView:
    """One controller that stands for election."""

    node_id: NodeId
    endpoints: tuple[EndpointView, ...]
    epoch: ControllerEpoch
    """Of the term in which it is the active one; zero while it stands by."""

    @classmethod
    def of(cls, record: records.ControllerRecord) -> ControllerView:
        """The controller that a record describes."""
        endpoints = tuple(EndpointView.of(endpoint) for endpoint in record.endpoints)
        return cls(NodeId(record.node_id), endpoints, ControllerEpoch(record.controller_epoch))
