"""What each record of an import must be like.

Owns a check for each kind. A check says what is wrong with a record, or nothing: who asks knows
which record it is. Whether records come in order and once is `import_stream`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ottla.protocol.errors import OttlaError
from ottla.protocol.ids import check_topic_name
from ottla.storage.metadata.v1.metadata_record_pb2 import (
    TOPIC_STATE_READY,
    BrokerRecord,
    ClusterRecord,
    ConfigRecord,
    PartitionRecord,
    TopicRecord,
)
from ottla_controller.core import limits
from ottla_runtime.broker_configs import check_dynamic_configs
from ottla_runtime.topic_configs import check_topic_configs

_EPOCH_MAX = 2**62
"""Epochs of brokers and partitions, versions, generations: all of them have to grow on."""
_LEADER_EPOCH_MAX = 2**30


class Rules(Protocol):
    """What this cluster can take in."""

    @property
    def format_version(self) -> int: ...
    @property
    def feature_level(self) -> int: ...
    @property
    def cluster_id(self) -> str: ...


def check_cluster(record: ClusterRecord, rules: Rules) -> str:
    """What is wrong with the cluster's record."""
    if not 1 <= len(record.cluster_id) <= limits.CLUSTER_ID_CHARS_MAX:
        return f"a cluster's id has 1 to {limits.CLUSTER_ID_CHARS_MAX} characters"
    if rules.cluster_id and record.cluster_id != rules.cluster_id:
        return (
            f"it is of cluster {record.cluster_id!r}, this controller was started for "
            f"{rules.cluster_id!r}; leave cluster.id out to take it over"
        )
    if record.format_version > rules.format_version or record.feature_level > rules.feature_level:
        return (
            f"it has format version {record.format_version} and feature level "
            f"{record.feature_level}, this release knows up to {rules.format_version} and "
            f"{rules.feature_level}; start a newer release"
        )
    return _too_high(record.generation)


def check_broker(record: BrokerRecord) -> str:
    """What is wrong with a broker's record."""
    if record.node_id < 1:
        return "a broker's node id is 1 or more"
    if len(record.directories) > limits.DIRECTORIES_MAX:
        return f"a broker has at most {limits.DIRECTORIES_MAX} log directories"
    ids = [each.directory_id for each in record.directories]
    if any(len(each) != limits.ID_SIZE for each in ids) or len(set(ids)) < len(ids):
        return f"a log directory's id has {limits.ID_SIZE} bytes and is its own"
    if len(record.endpoints) > limits.ENDPOINTS_MAX or len(record.rack) > limits.RACK_CHARS_MAX:
        return "a broker's endpoints or its rack are out of bounds"
    return _wrong_settings(record.static_topic_configs, None) or _too_high(record.broker_epoch)


def check_config(record: ConfigRecord, brokers: Mapping[int, BrokerRecord]) -> str:
    """What is wrong with settings of a broker or of the cluster."""
    if record.HasField("node_id") and record.node_id not in brokers:
        return f"no broker has node id {record.node_id}"
    owner = "brokers" if record.HasField("node_id") else "clusters"
    return _wrong_settings(record.configs, owner) or _too_high(record.version)


def check_topic(record: TopicRecord) -> str:
    """What is wrong with a topic's record."""
    if len(record.topic_id) != limits.ID_SIZE:
        return f"a topic's id has {limits.ID_SIZE} bytes"
    if record.state != TOPIC_STATE_READY:
        return "a topic is exported when it is ready"
    if not 1 <= record.partition_count <= limits.TOPIC_PARTITIONS_MAX:
        return f"a topic has 1 to {limits.TOPIC_PARTITIONS_MAX} partitions"
    if not 1 <= record.replication_factor <= limits.REPLICATION_FACTOR_MAX:
        return f"a topic has 1 to {limits.REPLICATION_FACTOR_MAX} replicas"
    try:
        check_topic_name(record.name)
    except OttlaError as error:
        return error.message
    return _wrong_settings(record.configs, "topics") or _too_high(record.version)


def check_partition(
    record: PartitionRecord, topic: TopicRecord, brokers: Mapping[int, BrokerRecord]
) -> str:
    """What is wrong with a partition's record."""
    if record.partition >= topic.partition_count:
        return f"topic {topic.name!r} has no partition {record.partition}"
    nodes = {replica.node_id for replica in record.replicas}
    if not nodes or len(nodes) < len(record.replicas) or not nodes <= brokers.keys():
        return "a partition's replicas are on brokers that came before, one on each"
    if any(len(each.directory_id) not in {0, limits.ID_SIZE} for each in record.replicas):
        return f"a log directory's id has {limits.ID_SIZE} bytes"
    isr, eligible = list(record.isr), list(record.eligible_leader_replicas)
    counted = [*isr, *eligible]
    known = list(record.last_known_leader_replicas)
    if len(set(counted)) < len(counted) or not {*counted, *known} <= nodes:
        return "who is in sync, eligible or last known has a replica, and is one of the first two"
    if len(set(known)) < len(known):
        return "a last known replica is named once"
    if record.HasField("leader_id") and record.leader_id not in isr:
        return "a leader is in sync"
    if record.leader_epoch > _LEADER_EPOCH_MAX:
        return "its leader epoch is too high to grow on"
    return _too_high(record.partition_epoch)


def _wrong_settings(configs: Mapping[str, str], owner: str | None) -> str:
    size = sum(len(name) + len(value) for name, value in configs.items())
    if size > limits.TOPIC_CONFIGS_BYTES_MAX:
        return f"settings exceed {limits.TOPIC_CONFIGS_BYTES_MAX} characters"
    try:
        if owner == "topics":
            check_topic_configs(configs)
        elif owner is not None:
            check_dynamic_configs(configs, owner=owner)
    except OttlaError as error:
        return error.message
    return ""


def _too_high(number: int) -> str:
    return "an epoch, version or generation of it is too high to grow on" * (number > _EPOCH_MAX)
