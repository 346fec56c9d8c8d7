"""All metadata of a cluster as bytes, to be imported elsewhere.

Owns the form: `ExportedRecord` messages, each with its length before it, the cluster first, what
others name before those that name it. What users don't see (topics on their way in or out) and what
belongs to the processes (controllers, elections) stays. The records are those of one revision: they
are never modified, so holding them is enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ottla.protocol.errors import UnsupportedVersion
from ottla.storage.metadata.v1.metadata_record_pb2 import (
    BrokerRecord,
    ClusterRecord,
    ConfigRecord,
    ControllerRecord,
    ExportedRecord,
    ImportRecord,
    PartitionRecord,
    TopicRecord,
)
from ottla_controller.core import limits
from ottla_controller.core.publication import snapshot
from ottla_controller.core.record_keys import Record
from ottla_controller.core.state import ClusterState


def exported_records(state: ClusterState) -> list[Record]:
    """The records that an export holds, in its order."""
    seen = snapshot(state)
    kinds = (ClusterRecord, BrokerRecord, ConfigRecord, TopicRecord | PartitionRecord)
    return [record for kind in kinds for record in seen if isinstance(record, kind)]


def exported_chunks(records: Iterable[Record]) -> Iterator[bytes]:
    """The bytes of records, whole records at a time."""
    chunk = bytearray()
    for record in records:
        data = _exported(record).SerializeToString(deterministic=True)
        head = encoded_length(len(data))
        if chunk and len(chunk) + len(head) + len(data) > limits.PAGE_BYTES_MAX:
            yield bytes(chunk)
            chunk.clear()
        chunk += head
        chunk += data
    if chunk:
        yield bytes(chunk)


def encoded_length(length: int) -> bytes:
    """A length as it stands before a record: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while length > 0x7F:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded)


def _exported(record: Record) -> ExportedRecord:
    match record:
        case ClusterRecord():
            return ExportedRecord(cluster=record)
        case BrokerRecord():
            return ExportedRecord(broker=record)
        case ConfigRecord():
            return ExportedRecord(config=record)
        case TopicRecord():
            return ExportedRecord(topic=record)
        case PartitionRecord():
            return ExportedRecord(partition=record)
        case ControllerRecord() | ImportRecord():
            raise UnsupportedVersion("what belongs to processes is not exported")
