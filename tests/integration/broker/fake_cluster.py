"""A cluster's records as a fake controller keeps them: in memory, changed as a test says.

Places every partition on the node that the test names, and tells every watcher of each change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from ottla.api.cluster.v1 import cluster_pb2
from ottla.internal.controller.v1 import controller_pb2
from ottla.storage.metadata.v1 import metadata_record_pb2 as records

Change = controller_pb2.MetadataChange
Delta = tuple[cluster_pb2.MetadataVersion, list[Change]]


class FakeCluster:
    """Brokers, topics and partitions; its attributes are a test's levers."""

    def __init__(self, *, cluster_id: str = "cluster-a") -> None:
        self.cluster_id = cluster_id
        self.epoch = 1
        self.generation = 1
        self.broker_epoch = 100
        self.brokers: dict[int, records.BrokerRecord] = {}
        self.topics: dict[str, records.TopicRecord] = {}
        self.partitions: dict[tuple[bytes, int], records.PartitionRecord] = {}
        self.watchers: list[asyncio.Queue[Delta | None]] = []
        self._revision = 1

    @property
    def version(self) -> cluster_pb2.MetadataVersion:
        return cluster_pb2.MetadataVersion(generation=self.generation, revision=self._revision)

    def create_topic(
        self,
        name: str,
        *,
        partition_count: int = 1,
        leader_id: int | None = 1,
        configs: Mapping[str, str] | None = None,
        replicas: Sequence[int] = (),
    ) -> bytes:
        """A topic with all partitions on one node; returns its id."""
        topic_id = bytes([len(self.topics) + 1]) + self._revision.to_bytes(15, "big")
        topic = records.TopicRecord(
            topic_id=topic_id,
            name=name,
            partition_count=partition_count,
            replication_factor=1,
            state=records.TOPIC_STATE_READY,
            configs=dict(configs or {}),
        )
        self.topics[name] = topic
        changes = [Change(topic=topic)]
        nodes = replicas or ([leader_id] if leader_id is not None else [1])
        for number in range(partition_count):
            record = records.PartitionRecord(
                topic_id=topic_id,
                partition=number,
                replicas=[records.ReplicaRecord(node_id=node) for node in nodes],
                isr=list(nodes),
                leader_id=leader_id,
                leader_broker_epoch=self._epoch_of(leader_id),
                leader_epoch=1,
                partition_epoch=1,
            )
            self.partitions[topic_id, number] = record
            changes.append(Change(partition=record))
        self.publish(changes)
        return topic_id

    def move_leader(self, name: str, partition: int, *, leader_id: int | None) -> None:
        """Another leader, or none, under the next epoch."""
        record = self.partitions[self.topics[name].topic_id, partition]
        record.leader_epoch += 1
        record.leader_broker_epoch = self._epoch_of(leader_id)
        if leader_id is None:
            record.ClearField("leader_id")
        else:
            record.leader_id = leader_id
        self.publish([Change(partition=record)])

    def delete_topic(self, name: str) -> None:
        topic = self.topics.pop(name)
        for key in [key for key in self.partitions if key[0] == topic.topic_id]:
            del self.partitions[key]
        removed = controller_pb2.TopicRemoved(topic_id=topic.topic_id)
        self.publish([Change(topic_removed=removed)])

    def add_broker(self, node_id: int, *, host: str, port: int) -> None:
        """Another broker, known by its record alone."""
        self.broker_epoch += 1
        self.brokers[node_id] = records.BrokerRecord(
            node_id=node_id,
            broker_epoch=self.broker_epoch,
            endpoints=[cluster_pb2.Endpoint(listener="public", host=host, port=port)],
        )
        self.publish([Change(broker=self.brokers[node_id])])

    def forget_broker(self, node_id: int) -> None:
        """The session is over: heartbeats fail until the broker registers again."""
        self.brokers[node_id].broker_epoch += 1_000_000
        self.brokers[node_id].fenced = True

    def end_watches(self) -> None:
        """Every stream ends, as when a standby restarts."""
        for queue in self.watchers:
            queue.put_nowait(None)

    def _epoch_of(self, node_id: int | None) -> int:
        broker = self.brokers.get(node_id or 0)
        return broker.broker_epoch if broker is not None else 0

    def publish(self, changes: list[Change]) -> None:
        self._revision += 1
        copies = []
        for change in changes:
            copy = Change()
            copy.CopyFrom(change)
            copies.append(copy)
        for queue in self.watchers:
            queue.put_nowait((self.version, copies))

    def snapshot(self) -> list[controller_pb2.WatchClusterMetadataResponse]:
        cluster = records.ClusterRecord(cluster_id=self.cluster_id, generation=self.generation)
        changes = [Change(cluster=cluster)]
        changes += [Change(broker=each) for each in self.brokers.values()]
        changes += [Change(topic=each) for each in self.topics.values()]
        changes += [Change(partition=each) for each in self.partitions.values()]
        middle = len(changes) // 2
        first, second = (
            controller_pb2.WatchClusterMetadataResponse(
                version=self.version, controller_epoch=self.epoch, changes=part
            )
            for part in (changes[:middle], changes[middle:])
        )
        first.snapshot_begin = True
        second.snapshot_complete = True
        return [first, second]
