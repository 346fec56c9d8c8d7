"""What has settings: a topic, a broker, the cluster; found as requests name them.

Owns `ConfigOwner`: which settings it can have, those it has, and the record that holds them. Reads
only; what is altered is `config_altering`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ottla.api.admin.v1.admin_pb2 import (
    CONFIG_RESOURCE_KIND_BROKER,
    CONFIG_RESOURCE_KIND_CLUSTER,
    CONFIG_RESOURCE_KIND_TOPIC,
    CONFIG_RESOURCE_KIND_UNSPECIFIED,
    ConfigResource,
    TopicRef,
)
from ottla.protocol.errors import FieldError, InvalidRequest, OttlaError, UnsupportedVersion
from ottla.storage.metadata.v1.metadata_record_pb2 import ConfigRecord, TopicRecord
from ottla_controller.core import limits
from ottla_controller.core.state import ClusterState
from ottla_controller.core.topic_deletion import find_topic
from ottla_runtime.broker_configs import DYNAMIC_CONFIGS
from ottla_runtime.config_definition import ConfigDefinition
from ottla_runtime.topic_configs import TOPIC_CONFIGS

_NAME_SHOWN_CHARS = 250


@dataclass(frozen=True, slots=True)
class ConfigOwner:
    """A resource that is there."""

    record: TopicRecord | ConfigRecord
    """What holds its settings; not written yet for a broker or cluster that never had any."""
    definitions: Mapping[str, ConfigDefinition]
    """The settings it can have."""
    plural: str
    """What such resources are called in messages."""

    @property
    def configs(self) -> Mapping[str, str]:
        """Settings made on the resource itself."""
        return self.record.configs

    @property
    def version(self) -> int:
        """Grows with every change; 0: it never had any settings."""
        return self.record.version

    @property
    def topic(self) -> TopicRecord | None:
        """The topic, if it is one."""
        return self.record if isinstance(self.record, TopicRecord) else None

    @property
    def node_id(self) -> int | None:
        """The broker, if it is one."""
        record = self.record
        is_broker = isinstance(record, ConfigRecord) and record.HasField("node_id")
        return record.node_id if is_broker and isinstance(record, ConfigRecord) else None


def find_owner(state: ClusterState, resource: ConfigResource) -> ConfigOwner:
    """The resource that is meant.

    Raises:
        UnknownTopicOrPartition: there is no such topic.
        InvalidRequest: its kind is not said, or no broker has that node id.
        UnsupportedVersion: its kind is of a later release.
    """
    match resource.kind:
        case kind if kind == CONFIG_RESOURCE_KIND_TOPIC:
            topic = find_topic(state, TopicRef(name=resource.name))
            return ConfigOwner(topic, TOPIC_CONFIGS, "topics")
        case kind if kind == CONFIG_RESOURCE_KIND_BROKER:
            return _owner(state, _node_of(state, resource.name), "brokers")
        case kind if kind == CONFIG_RESOURCE_KIND_CLUSTER:
            if resource.name:
                raise refused("resource.name", "is empty for the cluster")
            return _owner(state, None, "clusters")
        case kind if kind == CONFIG_RESOURCE_KIND_UNSPECIFIED:
            raise refused("resource.kind", "says what the settings belong to")
    raise UnsupportedVersion(f"this release knows no settings of resources of kind {resource.kind}")


def shown(resource: ConfigResource) -> ConfigResource:
    """The resource as answers name it; its name may be of any length."""
    return ConfigResource(kind=resource.kind, name=resource.name[:_NAME_SHOWN_CHARS])


def refused(field: str, rule: str) -> OttlaError:
    """The error for a field that breaks its rule."""
    return InvalidRequest(f"{field} {rule}", field_errors=[FieldError(field, rule)])


def _owner(state: ClusterState, node_id: int | None, plural: str) -> ConfigOwner:
    record = state.configs.get(node_id) or ConfigRecord(node_id=node_id)
    return ConfigOwner(record, DYNAMIC_CONFIGS, plural)


def _node_of(state: ClusterState, name: str) -> int:
    is_number = name.isascii() and name.isdecimal() and len(name) <= limits.NODE_ID_DIGITS_MAX
    if not is_number or str(int(name)) != name or int(name) not in state.brokers:
        raise refused(
            "resource.name", f"is the node id of a broker, and no broker has {name[:32]!r}"
        )
    return int(name)
