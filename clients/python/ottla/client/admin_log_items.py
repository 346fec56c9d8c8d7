"""What an admin client gives back about logs and where they lie, and about moved metadata."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ottla.api.admin.v1 import admin_pb2
from ottla.client.admin_items import item_error
from ottla.protocol.errors import OttlaError


@dataclass(frozen=True, slots=True)
class DeletedRecords:
    """What became of one partition."""

    topic: str
    partition: int
    log_start_offset: int
    """The first offset it holds now."""
    error: OttlaError | None


@dataclass(frozen=True, slots=True)
class LogDirectoryReplica:
    """A replica in a log directory."""

    topic: str
    topic_id: bytes
    partition: int
    size_bytes: int
    log_start_offset: int
    log_end_offset: int
    error: OttlaError | None
    """Why it can't be used although its directory is online."""


@dataclass(slots=True)
class LogDirectoryDescription:
    """A log directory of a broker; of a broker that doesn't answer, its `error` alone."""

    node_id: int
    path: str
    directory_id: bytes
    is_online: bool
    total_bytes: int
    free_bytes: int
    error: OttlaError | None
    """Why it is offline, or why nothing is known of the broker's directories."""
    replicas: list[LogDirectoryReplica] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        """Bytes of all replicas in it."""
        return sum(each.size_bytes for each in self.replicas)


@dataclass(frozen=True, slots=True)
class ImportedMetadata:
    """What an import brought."""

    record_count: int


def directories_together(
    items: Iterable[admin_pb2.LogDirectoryDescription],
) -> list[LogDirectoryDescription]:
    """Directories of all pages, each once with all its replicas, in their order."""
    found: dict[tuple[int, str], LogDirectoryDescription] = {}
    for item in items:
        known = found.setdefault((item.node_id, item.path), _directory(item))
        known.replicas += map(_replica, item.replicas)
    return list(found.values())


def _directory(item: admin_pb2.LogDirectoryDescription) -> LogDirectoryDescription:
    return LogDirectoryDescription(
        node_id=item.node_id,
        path=item.path,
        directory_id=item.directory_id,
        is_online=item.online,
        total_bytes=item.total_bytes,
        free_bytes=item.free_bytes,
        error=item_error(item),
    )


def _replica(item: admin_pb2.LogDirectoryReplica) -> LogDirectoryReplica:
    return LogDirectoryReplica(
        topic=item.topic,
        topic_id=item.topic_id,
        partition=item.partition,
        size_bytes=item.size_bytes,
        log_start_offset=item.log_start_offset,
        log_end_offset=item.log_end_offset,
        error=item_error(item),
    )
