"""Which permission each RPC of the platform needs: RPC → resource × operation.

Owns the table. A test finds any RPC of `ottla.api` and `ottla.internal` that is missing; at run
time a missing one is refused. Checks of single items of a request use the same words.
"""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import Final, NamedTuple


class ResourceKind(enum.StrEnum):
    """What a permission is about."""

    CLUSTER = "cluster"
    TOPIC = "topic"


class Operation(enum.StrEnum):
    """What a permission allows."""

    DESCRIBE = "describe"
    READ = "read"
    WRITE = "write"
    CREATE = "create"
    DELETE = "delete"
    ALTER = "alter"
    DESCRIBE_CONFIGS = "describe-configs"
    ALTER_CONFIGS = "alter-configs"
    CLUSTER_ACTION = "cluster-action"
    """What services of the cluster do among themselves."""


class Permission(NamedTuple):
    """One operation on one kind of resource."""

    resource: ResourceKind
    operation: Operation


def _table(package: str, rows: dict[str, tuple[ResourceKind, Operation]]) -> dict[str, Permission]:
    return {f"/{package}.{rpc}": Permission(*row) for rpc, row in rows.items()}


_CLUSTER, _TOPIC = ResourceKind.CLUSTER, ResourceKind.TOPIC

PERMISSIONS: Final = MappingProxyType(
    _table(
        "ottla.api.metadata.v1",
        {
            "MetadataService/GetMetadata": (_TOPIC, Operation.DESCRIBE),
            "MetadataService/WatchMetadata": (_TOPIC, Operation.DESCRIBE),
        },
    )
    | _table(
        "ottla.api.produce.v1",
        {
            "ProduceService/Publish": (_TOPIC, Operation.WRITE),
            "ProduceService/Produce": (_TOPIC, Operation.WRITE),
        },
    )
    | _table(
        "ottla.api.fetch.v1",
        {
            "FetchService/Read": (_TOPIC, Operation.READ),
            "FetchService/Fetch": (_TOPIC, Operation.READ),
            "FetchService/ListOffsets": (_TOPIC, Operation.DESCRIBE),
        },
    )
    | _table(
        "ottla.api.admin.v1",
        {
            "AdminService/CreateTopics": (_TOPIC, Operation.CREATE),
            "AdminService/DeleteTopics": (_TOPIC, Operation.DELETE),
            "AdminService/CreatePartitions": (_TOPIC, Operation.ALTER),
            "AdminService/ListTopics": (_TOPIC, Operation.DESCRIBE),
            "AdminService/DescribeTopics": (_TOPIC, Operation.DESCRIBE),
            "AdminService/DescribeCluster": (_CLUSTER, Operation.DESCRIBE),
            # On a topic, or for brokers on the cluster: the servicer asks for each resource.
            "AdminService/DescribeConfigs": (_CLUSTER, Operation.DESCRIBE_CONFIGS),
            "AdminService/AlterConfigs": (_CLUSTER, Operation.ALTER_CONFIGS),
            "AdminService/DeleteRecords": (_TOPIC, Operation.DELETE),
            "AdminService/DescribeLogDirectories": (_CLUSTER, Operation.DESCRIBE),
            "AdminService/ExportMetadata": (_CLUSTER, Operation.DESCRIBE_CONFIGS),
            "AdminService/ImportMetadata": (_CLUSTER, Operation.ALTER),
        },
    )
    | _table(
        "ottla.internal.controller.v1",
        {
            "ControllerService/RegisterBroker": (_CLUSTER, Operation.CLUSTER_ACTION),
            "ControllerService/Heartbeat": (_CLUSTER, Operation.CLUSTER_ACTION),
            "ControllerService/AlterPartitions": (_CLUSTER, Operation.CLUSTER_ACTION),
            "ControllerService/AssignDirectories": (_CLUSTER, Operation.CLUSTER_ACTION),
            "ControllerService/RaiseLeaderEpochs": (_CLUSTER, Operation.CLUSTER_ACTION),
            "ControllerService/WatchClusterMetadata": (_CLUSTER, Operation.CLUSTER_ACTION),
        },
    )
    | _table(
        "ottla.internal.broker.v1",
        {
            "BrokerService/DeleteReplicaRecords": (_CLUSTER, Operation.CLUSTER_ACTION),
            "BrokerService/DescribeReplicaDirectories": (_CLUSTER, Operation.CLUSTER_ACTION),
            "BrokerService/DescribeStaticConfigs": (_CLUSTER, Operation.CLUSTER_ACTION),
        },
    )
)

# Health and reflection belong to gRPC and say nothing about anybody's data.
OPEN_SERVICES: Final = (
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
)
