"""The settings a topic can have: names, types, defaults, bounds and a sentence about each.

Owns the one table that the controller checks new settings against and that brokers, who act on
them, share. The names are Kafka's where Kafka has the setting. Pure. Does not own where a value
comes from: a topic's own, a broker's, the cluster's or the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ottla_runtime.config_definition import (
    INT64_MAX,
    ConfigDefinition,
    ConfigKind,
    boolean_config,
    check_configs,
    choice_config,
    integer_config,
    list_config,
)

_INT32_MAX: Final = 2**31 - 1
_DAY_MS: Final = 86_400_000
_KIB: Final = 1 << 10
_MIB: Final = 1 << 20

FLUSH_ON_ACK: Final = "flush.on.ack"
MAX_MESSAGE_BYTES: Final = "max.message.bytes"
MIN_INSYNC_REPLICAS: Final = "min.insync.replicas"
UNCLEAN_LEADER_ELECTION: Final = "unclean.leader.election.enable"

_CONFIGS: Final = (
    list_config(
        "cleanup.policy",
        ("delete",),
        "What happens to old records: delete removes whole segments past the retention bounds.",
    ),
    choice_config(
        "compression.type",
        ("producer", "none", "gzip", "snappy", "lz4", "zstd"),
        "How batches are stored; producer keeps what the producer chose.",
    ),
    boolean_config(
        FLUSH_ON_ACK,
        True,
        "Whether acks=all promises that records are flushed to disk. If not, they are in memory.",
    ),
    integer_config(
        "index.interval.bytes",
        4 * _KIB,
        (0, _INT32_MAX),
        "Bytes of log between two entries of the offset index.",
    ),
    integer_config(
        MAX_MESSAGE_BYTES,
        _MIB,
        (_KIB, 3_670_016),
        "Largest batch in bytes; at most 3.5 MiB, because stock stubs refuse more than 4 MiB.",
    ),
    choice_config(
        "message.timestamp.type",
        ("CreateTime", "LogAppendTime"),
        "Whether a record keeps the producer's time or gets the time of its append.",
    ),
    integer_config(
        "message.timestamp.before.max.ms",
        INT64_MAX,
        (0, INT64_MAX),
        "How far a producer's time may lie in the past.",
    ),
    integer_config(
        "message.timestamp.after.max.ms",
        3_600_000,
        (0, INT64_MAX),
        "How far a producer's time may lie in the future.",
    ),
    ConfigDefinition(
        name=MIN_INSYNC_REPLICAS,
        kind=ConfigKind.INTEGER,
        default="",
        minimum=1,
        maximum=32_767,
        doc="Fewest in-sync replicas that take a write with acks=all; never more than the topic"
        " has replicas. Not set: 2 for topics of 3 or more replicas, else 1.",
    ),
    integer_config(
        "retention.bytes",
        -1,
        (-1, INT64_MAX),
        "Bytes of a partition from which the oldest segments go; -1: no bound.",
    ),
    integer_config(
        "retention.ms",
        7 * _DAY_MS,
        (-1, INT64_MAX),
        "Age from which segments go; -1: no bound.",
    ),
    integer_config(
        "segment.bytes",
        1 << 30,
        (_KIB, _INT32_MAX),
        "Bytes of a segment from which the next one begins.",
    ),
    integer_config(
        "segment.index.bytes",
        10 * _MIB,
        (64, _INT32_MAX),
        "Bytes of a segment's index from which the next segment begins.",
    ),
    integer_config(
        "segment.ms",
        7 * _DAY_MS,
        (1, INT64_MAX),
        "Age of a segment from which the next one begins, so that retention finds whole ones.",
    ),
    boolean_config(
        UNCLEAN_LEADER_ELECTION,
        False,
        "Whether a replica that may lack acknowledged records may lead when no other can.",
    ),
)

TOPIC_CONFIGS: Final[Mapping[str, ConfigDefinition]] = MappingProxyType(
    {config.name: config for config in _CONFIGS}
)
"""Every setting by its name."""


def check_topic_configs(configs: Mapping[str, str]) -> None:
    """Holds settings of a topic to the table.

    Raises:
        InvalidConfig: one is unknown (the message names the nearest) or its value does not fit.
    """
    check_configs(TOPIC_CONFIGS, configs, owner="topics")


def default_of(name: str, *, replication_factor: int) -> str:
    """What a setting is for a topic when nobody sets it."""
    if name == MIN_INSYNC_REPLICAS:
        return "2" if replication_factor >= 3 else "1"
    return TOPIC_CONFIGS[name].default
