"""Keys of the metadata store: which record lies under which key, and back.

Owns the layout, in which keys sort as people count. A key of a kind that is unknown here was
written by a newer release and is left alone.

    records/cluster            records/broker/0000000001
    records/topic/<id>         records/partition/<id>/00042
    records/config/cluster     records/config/broker/0000000001
    records/controller/0000000001
    records/import             only while there is one
"""

from __future__ import annotations

from typing import Final

from google.protobuf.message import DecodeError

from ottla.protocol.errors import CorruptLog
from ottla.storage.metadata.v1.metadata_record_pb2 import (
    BrokerRecord,
    ClusterRecord,
    ConfigRecord,
    ControllerRecord,
    ImportRecord,
    PartitionRecord,
    TopicRecord,
)

Record = (
    ClusterRecord
    | BrokerRecord
    | TopicRecord
    | PartitionRecord
    | ConfigRecord
    | ControllerRecord
    | ImportRecord
)

RECORDS_PREFIX: Final = b"records/"
CLUSTER_KEY: Final = b"records/cluster"
IMPORT_KEY: Final = b"records/import"
_KINDS: Final[dict[bytes, type[Record]]] = {
    b"cluster": ClusterRecord,
    b"broker": BrokerRecord,
    b"topic": TopicRecord,
    b"partition": PartitionRecord,
    b"config": ConfigRecord,
    b"controller": ControllerRecord,
    b"import": ImportRecord,
}


def key_of(record: Record) -> bytes:
    """Where the record lies."""
    match record:
        case ClusterRecord():
            return CLUSTER_KEY
        case BrokerRecord():
            return broker_key(record.node_id)
        case TopicRecord():
            return topic_key(record.topic_id)
        case PartitionRecord():
            return partition_key(record.topic_id, record.partition)
        case ConfigRecord():
            return config_key(record.node_id if record.HasField("node_id") else None)
        case ControllerRecord():
            return b"records/controller/%010d" % record.node_id
        case ImportRecord():
            return IMPORT_KEY


def broker_key(node_id: int) -> bytes:
    """Where the record of a broker lies."""
    return b"records/broker/%010d" % node_id


def config_key(node_id: int | None) -> bytes:
    """Where the settings of a broker lie, or for None those of the cluster."""
    if node_id is None:
        return b"records/config/cluster"
    return b"records/config/broker/%010d" % node_id


def topic_key(topic_id: bytes) -> bytes:
    """Where the record of a topic lies."""
    return b"records/topic/" + topic_id.hex().encode()


def partition_key(topic_id: bytes, partition: int) -> bytes:
    """Where the record of a partition lies."""
    return b"records/partition/%s/%05d" % (topic_id.hex().encode(), partition)


def parse_record(key: bytes, value: bytes) -> Record | None:
    """The record under a key; None for a kind that this release does not know.

    Raises:
        CorruptLog: the value is no such record, or one that belongs under another key.
    """
    kind = _KINDS.get(key.removeprefix(RECORDS_PREFIX).partition(b"/")[0])
    if kind is None or not key.startswith(RECORDS_PREFIX):
        return None
    try:
        record = kind.FromString(value)
    except DecodeError as error:
        raise CorruptLog(f"the metadata record {key!r} cannot be decoded: {error}") from error
    if key_of(record) != key:
        raise CorruptLog(f"the metadata record {key!r} holds what belongs to {key_of(record)!r}")
    return record
