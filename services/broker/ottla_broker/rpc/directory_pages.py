"""A broker's log directories, a page at a time, by path and then by replica.

Owns the bounds of a page (replicas and bytes) and its token. Pure: what is in the directories is
described by `replica_table`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from ottla.api.admin.v1 import admin_pb2
from ottla.protocol.error_details import to_proto
from ottla.protocol.errors import FieldError, InvalidRequest
from ottla.protocol.ids import TOPIC_ID_SIZE, TOPIC_NAME_CHARS_MAX
from ottla_broker.replica.replica_table import DirectoryDescription, ReplicaDescription
from ottla_broker.rpc.page_tokens import not_our_token, token_number

PAGE_REPLICAS_MAX: Final = 2_000
PAGE_SIZE_MAX: Final = 1 << 20
TOKEN_CHARS_MAX: Final = 512
_TOKEN_PARTS: Final = 4

Directory = admin_pb2.LogDirectoryDescription


@dataclass(frozen=True, slots=True)
class DirectoryPlace:
    """Where a page begins: the number of a directory by path, and a replica in it."""

    directory: int = 0
    topic: str = ""
    partition: int = 0
    topic_id: bytes = b""
    """Last in the order: topics of one name are told apart while one is being deleted."""

    def token(self) -> str:
        """The place as the page token that is handed back."""
        return f"{self.directory}:{self.partition}:{self.topic_id.hex()}:{self.topic}"

    @classmethod
    def of(cls, token: str) -> Self:
        """The place of a token; the empty one is the first page.

        Raises:
            InvalidRequest: it isn't a token of ours.
        """
        if not token:
            return cls()
        parts = token.split(":", _TOKEN_PARTS - 1)
        if len(token) > TOKEN_CHARS_MAX or len(parts) != _TOKEN_PARTS:
            raise not_our_token()
        directory, partition, hexed, topic = parts
        if len(hexed) > 2 * TOPIC_ID_SIZE or len(topic) > TOPIC_NAME_CHARS_MAX:
            raise not_our_token()
        try:
            topic_id = bytes.fromhex(hexed)
        except ValueError:
            raise not_our_token() from None
        return cls(token_number(directory), topic, token_number(partition), topic_id)


def replicas_limit(page_size: int) -> int:
    """How many replicas a page may have. Raises InvalidRequest."""
    if page_size > PAGE_REPLICAS_MAX:
        raise InvalidRequest(
            f"page_size is {page_size}; at most {PAGE_REPLICAS_MAX} replicas fit on a page",
            field_errors=[FieldError("page_size", f"0 to {PAGE_REPLICAS_MAX}")],
        )
    return page_size or PAGE_REPLICAS_MAX


@dataclass(slots=True)
class PageRoom:
    """What still fits on a page; its first replica always does."""

    replica_count: int
    size: int = PAGE_SIZE_MAX
    is_empty: bool = True

    def take(self, size: int) -> bool:
        """Whether one more replica fits; if so it is counted."""
        if not self.is_empty and (self.replica_count < 1 or self.size < size):
            return False
        self.is_empty = False
        self.replica_count -= 1
        self.size -= size
        return True


def directories_page(
    directories: Sequence[DirectoryDescription], *, node_id: int, page_size: int, token: str
) -> tuple[list[Directory], str]:
    """One page of a broker's directories, and the token of the next; empty on the last.

    Raises:
        InvalidRequest: page size or token are out of bounds.
    """
    room = PageRoom(replicas_limit(page_size))
    place = DirectoryPlace.of(token)
    by_path = sorted(directories, key=lambda each: str(each.path))
    page: list[Directory] = []
    for number, directory in enumerate(by_path):
        if number < place.directory:
            continue
        shown = _head(directory, node_id=node_id)
        if page and room.size < shown.ByteSize():
            return page, DirectoryPlace(number).token()
        room.size -= shown.ByteSize()
        page.append(shown)
        first = place if number == place.directory else DirectoryPlace(number)
        for replica in _replicas_from(directory, first):
            message = _replica(replica, is_online=directory.online)
            if not room.take(message.ByteSize()):
                return page, DirectoryPlace(number, *_order(replica)).token()
            shown.replicas.append(message)
    return page, ""


def _replicas_from(
    directory: DirectoryDescription, first: DirectoryPlace
) -> list[ReplicaDescription]:
    """From a place on, in order; a broker may have tens of thousands, so keys are plain tuples."""
    begin = first.topic, first.partition, first.topic_id
    ordered = sorted(directory.replicas, key=_order)
    return ordered[bisect_left(ordered, begin, key=_order) :]


def _order(replica: ReplicaDescription) -> tuple[str, int, bytes]:
    return replica.topic, replica.partition, replica.topic_id


def _head(directory: DirectoryDescription, *, node_id: int) -> Directory:
    return Directory(
        node_id=node_id,
        path=str(directory.path),
        directory_id=directory.directory_id,
        online=directory.online,
        total_bytes=directory.total_bytes,
        free_bytes=directory.usable_bytes,
        error=None if directory.error is None else to_proto(directory.error),
    )


def _replica(replica: ReplicaDescription, *, is_online: bool) -> admin_pb2.LogDirectoryReplica:
    """A replica; that its directory is offline is said once, of the directory."""
    error = replica.error if is_online else None
    return admin_pb2.LogDirectoryReplica(
        topic=replica.topic,
        topic_id=replica.topic_id,
        partition=replica.partition,
        size_bytes=replica.size,
        log_start_offset=replica.log_start_offset,
        log_end_offset=replica.log_end_offset,
        error=None if error is None else to_proto(error),
    )
