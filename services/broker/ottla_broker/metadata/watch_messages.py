"""WatchMetadata messages made of pieces that are encoded once and shared by all watchers.

Owns: the wire encoding of a message from encoded fields, and the 1 MiB bound. A piece is one field
of `WatchMetadataResponse` with its tag and length, so that a message is pieces one after another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ottla.api.metadata.v1 import metadata_pb2
from ottla_broker.metadata.client_view import PAGE_SIZE_MAX
from ottla_broker.metadata.views import ClusterVersion

Watch = metadata_pb2.WatchMetadataResponse


def topic_piece(info: metadata_pb2.TopicInfo) -> bytes:
    """The field that brings one topic."""
    return Watch(topics=[info]).SerializeToString()


def broker_piece(info: metadata_pb2.BrokerInfo) -> bytes:
    """The field that brings one broker."""
    return Watch(brokers=[info]).SerializeToString()


def removed_broker_piece(node_id: int) -> bytes:
    """The field that takes one broker away."""
    return Watch(removed_broker_ids=[node_id]).SerializeToString()


def removed_topic_piece(topic_id: bytes) -> bytes:
    """The field that takes one topic away."""
    return Watch(removed_topic_ids=[topic_id]).SerializeToString()


def heartbeat_message(version: ClusterVersion) -> bytes:
    """The message that says that nothing happened."""
    return Watch(version=version.message(), heartbeat=True).SerializeToString()


def _runs(pieces: Iterable[bytes]) -> Iterator[list[bytes]]:
    run: list[bytes] = []
    size = 0
    for piece in pieces:
        if run and size + len(piece) > PAGE_SIZE_MAX - 64:
            yield run
            run, size = [], 0
        run.append(piece)
        size += len(piece)
    yield run


def change_messages(
    pieces: Iterable[bytes], *, before: ClusterVersion, version: ClusterVersion
) -> Iterator[bytes]:
    """Messages that bring a change; only the last of them shows the new version."""
    runs = list(_runs(pieces))
    for run in runs[:-1]:
        yield Watch(version=before.message()).SerializeToString() + b"".join(run)
    yield Watch(version=version.message()).SerializeToString() + b"".join(runs[-1])


def snapshot_messages(pieces: Iterable[bytes], *, version: ClusterVersion) -> Iterator[bytes]:
    """Messages of a snapshot, the first and the last marked."""
    runs = list(_runs(pieces))
    for index, run in enumerate(runs):
        head = Watch(
            version=version.message(),
            snapshot_begin=index == 0,
            snapshot_complete=index == len(runs) - 1,
        )
        yield head.SerializeToString() + b"".join(run)
