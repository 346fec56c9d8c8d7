"""Messages of a controller, made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ottla.api.cluster.v1 import cluster_pb2
from ottla.internal.controller.v1 import controller_pb2
from ottla.storage.metadata.v1 import metadata_record_pb2 as records

Change = controller_pb2.MetadataChange
Watch = controller_pb2.WatchClusterMetadataResponse


def topic_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def topic(
    number: int, name: str, *, partition_count: int = 1, configs: Mapping[str, str] | None = None
) -> Change:
    record = records.TopicRecord(
        topic_id=topic_id(number),
        name=name,
        partition_count=partition_count,
        configs=dict(configs or {}),
    )
    return Change(topic=record)


def partition(
    number: int,
    partition: int = 0,
    *,
    leader: int | None = 1,
    leader_epoch: int = 1,
    broker_epoch: int = 100,
    replicas: Sequence[int] = (1,),
    isr: Sequence[int] | None = None,
    directory: bytes = b"",
) -> Change:
    record = records.PartitionRecord(
        topic_id=topic_id(number),
        partition=partition,
        replicas=[records.ReplicaRecord(node_id=node, directory_id=directory) for node in replicas],
        isr=replicas if isr is None else isr,
        leader_id=leader,
        leader_epoch=leader_epoch,
        leader_broker_epoch=broker_epoch,
    )
    return Change(partition=record)


def broker(
    node_id: int, *, port: int = 9092, fenced: bool = False, listener: str = "public"
) -> Change:
    endpoint = cluster_pb2.Endpoint(listener=listener, host=f"broker-{node_id}", port=port)
    record = records.BrokerRecord(node_id=node_id, endpoints=[endpoint], fenced=fenced)
    return Change(broker=record)


def controller(node_id: int, *, epoch: int = 0) -> Change:
    endpoint = cluster_pb2.Endpoint(listener="controller", host=f"controller-{node_id}", port=9093)
    record = records.ControllerRecord(node_id=node_id, endpoints=[endpoint], controller_epoch=epoch)
    return Change(controller=record)


def controller_removed(node_id: int) -> Change:
    return Change(controller_removed=controller_pb2.ControllerRemoved(node_id=node_id))


def cluster(cluster_id: str = "cluster-a") -> Change:
    return Change(cluster=records.ClusterRecord(cluster_id=cluster_id, feature_level=1))


def removed(number: int) -> Change:
    return Change(topic_removed=controller_pb2.TopicRemoved(topic_id=topic_id(number)))


def settings(configs: Mapping[str, str], *, node_id: int | None = None) -> Change:
    return Change(config=records.ConfigRecord(node_id=node_id, configs=dict(configs)))


def message(
    *changes: Change,
    revision: int,
    generation: int = 1,
    epoch: int = 1,
    begin: bool = False,
    complete: bool = False,
) -> Watch:
    return Watch(
        version=cluster_pb2.MetadataVersion(generation=generation, revision=revision),
        controller_epoch=epoch,
        snapshot_begin=begin,
        snapshot_complete=complete,
        changes=changes,
    )


def snapshot(*changes: Change, revision: int = 1, epoch: int = 1) -> Watch:
    return message(*changes, revision=revision, epoch=epoch, begin=True, complete=True)
