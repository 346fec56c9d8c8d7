"""The broker's settings.

Owns what is the broker's alone; what every service has is `ottla_runtime.config`'s. Settings of
topics given here are the broker's static values: a topic's own, the broker's dynamic and the
cluster's win over them.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from ottla.api.cluster.v1.cluster_pb2 import SECURITY_PLAINTEXT, SECURITY_TLS, Endpoint
from ottla_broker.core.log_config import INT64_MAX, LogConfig
from ottla_broker.storage.log_directory import KEPT_MS, RETENTION_INTERVAL_MS
from ottla_runtime.broker_configs import BROKER_CONFIGS
from ottla_runtime.config import ServiceConfig
from ottla_runtime.listeners import parse_host_port, parse_listeners
from ottla_runtime.settings import field_name, setting, setting_name
from ottla_runtime.topic_configs import TOPIC_CONFIGS

CONTROLLER_PORT = 9093
PUBLIC_LISTENER = "public"

_INT32_MAX = 2**31 - 1
_LOG = LogConfig()
_TOPIC_FIELDS = (
    "compression_type",
    "flush_on_ack",
    "index_interval_bytes",
    "max_message_bytes",
    "message_timestamp_after_max_ms",
    "message_timestamp_before_max_ms",
    "message_timestamp_type",
    "retention_bytes",
    "retention_ms",
    "segment_bytes",
    "segment_index_bytes",
    "segment_ms",
)
_CONTROLLER_FIELDS = ("min_insync_replicas", "unclean_leader_election_enable")
"""Settings of topics that the controller goes by, and not the log."""

_dynamic = partial(setting, dynamic=True)


class BrokerConfig(ServiceConfig):
    """Settings of a broker; immutable once loaded."""

    service: ClassVar[str] = "broker"

    port: int = setting(
        9092, ge=0, le=65_535, description="Port the broker listens on; 0 takes any free one."
    )
    data_dir: Path = setting(description="Directory of everything the broker keeps.")
    log_dirs: tuple[Path, ...] = setting(
        (),
        max_length=64,
        description="Directories of partition logs, one a disk; without, logs in the data dir.",
    )
    controller: tuple[str, ...] = setting(
        min_length=1,
        max_length=16,
        description="Controllers as host:port, any one of which is enough to find the others.",
    )
    rack: str = setting(
        "", max_length=249, description="Rack or zone of this broker, for reads from near replicas."
    )
    inter_broker_listener: str = setting(
        "", max_length=63, description="Listener that brokers use; without, the first one."
    )
    log_level: Literal["debug", "info", "warning", "error"] = _dynamic(
        "info", description="Least severe log lines that are written."
    )
    access_log: Literal["all", "failed", "none"] = _dynamic(
        "all", description="Which calls leave their line in the log."
    )
    event_loop_lag_max_ms: int = _dynamic(
        1_000, ge=10, le=60_000, description="Event loop lag from which a warning is logged."
    )
    auto_create_topics_enable: bool = _dynamic(
        False, description="Whether publishing to an unknown topic creates it; reading never does."
    )
    tls_certificate_path: Path | None = setting(
        None, description="PEM file with the certificate chain of listeners with TLS."
    )
    tls_key_path: Path | None = setting(
        None, description="PEM file with the private key of the certificate."
    )
    tls_ca_path: Path | None = setting(
        None, description="PEM file with the authorities that other services' certificates are of."
    )
    log_retention_check_interval_ms: int = setting(
        RETENTION_INTERVAL_MS,
        ge=100,
        le=3_600_000,
        description="How often old segments are looked for, and removed as retention says.",
    )
    unknown_replica_retention_ms: int = setting(
        KEPT_MS,
        ge=-1,
        le=INT64_MAX,
        description="How long files of partitions that the metadata doesn't know are kept; -1: for"
        " ever, as always once metadata was restored from a backup.",
    )
    idle_heartbeat_ms: int = setting(
        15_000,
        ge=100,
        le=15_000,
        description="How often an idle stream sends a sign of life; clients wait for 45 s.",
    )
    worker_threads: int = setting(
        4, ge=1, le=64, description="Threads for work that would hold the event loop up."
    )

    compression_type: Literal["producer", "none", "gzip", "snappy", "lz4", "zstd"] = _dynamic(
        _LOG.compression_type.value, description="Codec that topics store batches in."
    )
    flush_on_ack: bool = _dynamic(
        _LOG.flush_on_ack, description="Whether acks=all means flushed to disk."
    )
    index_interval_bytes: int = _dynamic(
        _LOG.index_interval_bytes,
        ge=0,
        le=_INT32_MAX,
        description="Bytes of a segment between two entries of its indexes.",
    )
    max_message_bytes: int = _dynamic(
        _LOG.max_message_bytes, ge=1024, le=3_670_016, description="Largest batch as stored."
    )
    message_timestamp_after_max_ms: int = _dynamic(
        _LOG.message_timestamp_after_max_ms,
        ge=0,
        le=INT64_MAX,
        description="How far a record's time may lie after the broker's clock.",
    )
    message_timestamp_before_max_ms: int = _dynamic(
        _LOG.message_timestamp_before_max_ms,
        ge=0,
        le=INT64_MAX,
        description="How far a record's time may lie before the broker's clock.",
    )
    message_timestamp_type: Literal["CreateTime", "LogAppendTime"] = _dynamic(
        _LOG.message_timestamp_type.value, description="Whose clock gives records their time."
    )
    retention_bytes: int = _dynamic(
        _LOG.retention_bytes,
        ge=-1,
        le=INT64_MAX,
        description="Size that a partition is trimmed to; -1: no such limit.",
    )
    retention_ms: int = _dynamic(
        _LOG.retention_ms,
        ge=-1,
        le=INT64_MAX,
        description="How long records are kept at least; -1: for ever.",
    )
    segment_bytes: int = _dynamic(
        _LOG.segment_bytes, ge=1024, le=_INT32_MAX, description="Size at which a segment ends."
    )
    segment_index_bytes: int = _dynamic(
        _LOG.segment_index_bytes,
        ge=64,
        le=_INT32_MAX,
        description="Size of an offset index at which its segment ends.",
    )
    segment_ms: int = _dynamic(
        _LOG.segment_ms, ge=1, le=INT64_MAX, description="Age at which a segment ends."
    )
    min_insync_replicas: int | None = _dynamic(
        None,
        ge=1,
        le=32_767,
        description="Fewest in-sync replicas that take acks=all; without, 2 of 3 or more, else 1.",
    )
    unclean_leader_election_enable: bool = _dynamic(
        False, description="Whether a replica that may lack records may lead when no other can."
    )

    @model_validator(mode="after")
    def _check_relations(self) -> Self:
        listeners = {endpoint.listener: endpoint for endpoint in self.listeners()}
        if self.inter_broker_listener and self.inter_broker_listener not in listeners:
            raise ValueError(
                f"inter.broker.listener {self.inter_broker_listener!r} is no listener; "
                f"there are {sorted(listeners)}"
            )
        wants_tls = any(each.security == SECURITY_TLS for each in listeners.values())
        has_tls = self.tls_certificate_path is not None and self.tls_key_path is not None
        if wants_tls and not has_tls:
            raise ValueError("a listener with tls needs tls.certificate.path and tls.key.path")
        self.controllers()
        _check_apart(self.log_dirs)
        return self

    def listeners(self) -> tuple[Endpoint, ...]:
        """What the broker listens on; the first is the one people mean by its port."""
        if self.listener:
            return parse_listeners(self.listener)
        public = Endpoint(
            listener=PUBLIC_LISTENER, host=self.host, port=self.port, security=SECURITY_PLAINTEXT
        )
        return (public,)

    def broker_listener(self) -> str:
        """Name of the listener that brokers use among themselves."""
        return self.inter_broker_listener or self.listeners()[0].listener

    def is_for_services(self, listener: str) -> bool:
        """Whether callers of a listener are services, who may say on whose behalf they call.

        Only where clients have a listener of their own is that sure.
        """
        return len(self.listeners()) > 1 and listener == self.broker_listener()

    def controllers(self) -> tuple[Endpoint, ...]:
        """Where controllers are."""
        addresses = (
            parse_host_port(each, default_port=CONTROLLER_PORT) for each in self.controller
        )
        return tuple(
            Endpoint(listener="controller", host=host, port=port, security=SECURITY_PLAINTEXT)
            for host, port in addresses
        )

    def log_directories(self) -> tuple[Path, ...]:
        """Where logs lie."""
        return self.log_dirs or (self.data_dir / "logs",)

    def dynamic_settings(self) -> dict[str, str]:
        """The static values of the broker's own settings that can be altered while it runs."""
        return {name: _text(getattr(self, field_name(name))) for name in BROKER_CONFIGS}

    def altered_topic_settings(self) -> dict[str, str]:
        """The static values of topics' settings that aren't the defaults, for the controller."""
        given = {setting_name(field): getattr(self, field) for field in _CONTROLLER_FIELDS}
        values = self.topic_settings() | {
            name: _text(value) for name, value in given.items() if value is not None
        }
        return {
            name: value for name, value in values.items() if value != TOPIC_CONFIGS[name].default
        }

    def topic_settings(self) -> dict[str, str]:
        """The static values of the settings of topics' logs, under Kafka's names."""
        return {setting_name(field): _text(getattr(self, field)) for field in _TOPIC_FIELDS}


def _check_apart(paths: tuple[Path, ...]) -> None:
    """Raises ValueError for a directory that is another one, or in it, by its name."""
    seen: list[Path] = []
    for path in (Path(os.path.normpath(each)) for each in paths):
        for other in seen:
            if path == other:
                raise ValueError(f"log.dirs names {path} twice")
            if path in other.parents or other in path.parents:
                raise ValueError(f"log.dirs {path} and {other} lie in one another")
        seen.append(path)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
