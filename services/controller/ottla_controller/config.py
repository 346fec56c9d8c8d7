"""The controller's settings.

Owns names, defaults and bounds. What they mean is explained where they are used; settings of topics
are in `ottla_runtime.topic_configs`.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import model_validator

from ottla_controller.core.limits import REPLICAS_SERVED_MAX
from ottla_runtime.config import ServiceConfig
from ottla_runtime.settings import setting, setting_name

ETCD_LEASE_TTL_MIN_MS = 2_000
_MINUTE_MS = 60_000


class ControllerConfig(ServiceConfig):
    """Settings of one controller."""

    service: ClassVar[str] = "controller"

    port: int = setting(
        9093, ge=0, le=65_535, description="Port the service listens on; 0 takes any free one."
    )
    metadata_store: str = setting(
        "",
        max_length=8_192,
        description="Where etcd is, as host:2379,host:2379/prefix; without, the embedded store.",
    )
    metadata_store_username: str = setting(
        "", max_length=256, description="User that logs in to etcd; without, nobody does."
    )
    metadata_store_password: str = setting(
        "", max_length=4_096, secret=True, description="Password of that user."
    )
    metadata_store_tls_ca_path: Path | None = setting(
        None, description="PEM file with the authorities that etcd's certificate is of."
    )
    metadata_store_tls_certificate_path: Path | None = setting(
        None, description="PEM file with the certificate shown to an etcd that asks for one."
    )
    metadata_store_tls_key_path: Path | None = setting(
        None, description="PEM file with the private key of that certificate."
    )
    data_dir: Path | None = setting(
        None,
        description="Directory of the embedded metadata store (not with metadata.store); one "
        "controller uses it at a time.",
    )
    cluster_id: str = setting(
        "",
        max_length=64,
        pattern=r"[A-Za-z0-9_-]*",
        description="Cluster this controller is for; without one a new cluster draws its own.",
    )
    session_timeout_ms: int = setting(
        2_000, ge=500, le=_MINUTE_MS, description="Silence after which a broker is fenced."
    )
    heartbeat_interval_ms: int = setting(
        500, ge=50, le=_MINUTE_MS, description="How often brokers shall send heartbeats."
    )
    lease_ttl_ms: int = setting(
        2_000,
        ge=1_000,
        le=_MINUTE_MS,
        description="Silence after which another controller leads; etcd takes 2 s at the least.",
    )
    metadata_history_ms: int = setting(
        10 * _MINUTE_MS,
        ge=1_000,
        le=24 * 60 * _MINUTE_MS,
        description="How long overwritten metadata is kept for those who follow it.",
    )
    metadata_coalesce_ms: int = setting(
        20, ge=0, le=1_000, description="How long changes are gathered before they are pushed."
    )
    metadata_watchers_max: int = setting(
        1_000, ge=1, le=100_000, description="Services that may follow the metadata at a time."
    )
    num_partitions: int = setting(
        1, ge=1, le=10_000, description="Partitions of a topic that is created without a number."
    )
    default_replication_factor: int = setting(
        0,
        ge=0,
        le=REPLICAS_SERVED_MAX,
        description="Replicas of a topic created without a number; 0: as many as this version has.",
    )
    cluster_partitions_max: int = setting(
        100_000, ge=1, le=10_000_000, description="Partitions that the cluster may have in all."
    )

    @model_validator(mode="after")
    def _store_is_said(self) -> Self:
        if not self.metadata_store and self.data_dir is None:
            raise ValueError(
                "nobody says where the metadata is; give data.dir for the embedded store, or "
                "metadata.store for etcd"
            )
        if self.metadata_store and self.data_dir is not None:
            raise ValueError(
                "the metadata can't be in the embedded store and in etcd; unset one of data.dir "
                "and metadata.store"
            )
        about_etcd = [
            setting_name(name)
            for name in type(self).model_fields
            if name.startswith("metadata_store_") and getattr(self, name)
        ]
        if about_etcd and not self.metadata_store:
            raise ValueError(f"{about_etcd[0]} is about etcd, but metadata.store is not set")
        if self.metadata_store and self.lease_ttl_ms < ETCD_LEASE_TTL_MIN_MS:
            raise ValueError(
                f"lease.ttl.ms is at least {ETCD_LEASE_TTL_MIN_MS} with etcd, which would make it "
                "as much without saying so"
            )
        return self

    @model_validator(mode="after")
    def _sessions_outlast_heartbeats(self) -> Self:
        if self.heartbeat_interval_ms * 2 > self.session_timeout_ms:
            raise ValueError(
                "session.timeout.ms must be at least twice heartbeat.interval.ms, or one late "
                "heartbeat fences a broker"
            )
        return self
