"""What operators alter in a cluster in memory: how many partitions topics have, and settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ottla.api.admin.v1.admin_pb2 import (
    CONFIG_OPERATION_APPEND,
    CONFIG_OPERATION_SET,
    CONFIG_OPERATION_SUBTRACT,
    CONFIG_OPERATION_UNSET,
    CONFIG_RESOURCE_KIND_BROKER,
    CONFIG_RESOURCE_KIND_CLUSTER,
    CONFIG_RESOURCE_KIND_TOPIC,
    AlterConfigsResult,
    ConfigAlteration,
    ConfigAlterations,
    ConfigResource,
    CreatePartitionsResult,
    NewPartitions,
    TopicRef,
)
from ottla_controller.core.config_altering import alter_configs
from ottla_controller.core.topic_growth import grow_topics

from .cluster_context import ClusterContext


def grow(
    cluster: ClusterContext,
    count: int,
    *,
    name: str = "flights",
    assignments: Sequence[Sequence[int]] = (),
    expected_version: int = 0,
    validate_only: bool = False,
    stop_after: int | None = None,
    cluster_partitions_max: int = 100_000,
) -> CreatePartitionsResult:
    """Asks for more partitions of one topic."""
    growth = NewPartitions(
        topic=TopicRef(name=name), partition_count=count, expected_version=expected_version
    )
    for nodes in assignments:
        growth.assignments.add(node_ids=nodes)
    result = grow_topics(
        cluster.state,
        [growth],
        cluster_partitions_max=cluster_partitions_max,
        validate_only=validate_only,
    )
    return cluster.write(result, stop_after=stop_after)[0]


def alter(
    cluster: ClusterContext,
    resource: ConfigResource,
    *alterations: ConfigAlteration,
    expected_version: int = 0,
    validate_only: bool = False,
    stop_after: int | None = None,
) -> AlterConfigsResult:
    """Asks for changes of one resource's settings."""
    asked = ConfigAlterations(
        resource=resource, alterations=alterations, expected_version=expected_version
    )
    result = alter_configs(cluster.state, [asked], validate_only=validate_only)
    return cluster.write(result, stop_after=stop_after)[0]


def set_configs(
    cluster: ClusterContext, resource: ConfigResource, configs: Mapping[str, str]
) -> None:
    """Sets settings, which must be possible."""
    result = alter(cluster, resource, *(put(*item) for item in configs.items()))
    assert not result.HasField("error"), result.error.message


def of_topic(name: str = "flights") -> ConfigResource:
    """A topic's settings."""
    return ConfigResource(kind=CONFIG_RESOURCE_KIND_TOPIC, name=name)


def of_broker(node_id: int) -> ConfigResource:
    """A broker's settings."""
    return ConfigResource(kind=CONFIG_RESOURCE_KIND_BROKER, name=str(node_id))


OF_CLUSTER = ConfigResource(kind=CONFIG_RESOURCE_KIND_CLUSTER)


def put(name: str, value: str) -> ConfigAlteration:
    """The setting shall have the value."""
    return ConfigAlteration(name=name, operation=CONFIG_OPERATION_SET, value=value)


def unset(name: str) -> ConfigAlteration:
    """The setting shall be what it is elsewhere."""
    return ConfigAlteration(name=name, operation=CONFIG_OPERATION_UNSET)


def append(name: str, value: str) -> ConfigAlteration:
    """The list shall have the value too."""
    return ConfigAlteration(name=name, operation=CONFIG_OPERATION_APPEND, value=value)


def subtract(name: str, value: str) -> ConfigAlteration:
    """The list shall be without the value."""
    return ConfigAlteration(name=name, operation=CONFIG_OPERATION_SUBTRACT, value=value)
