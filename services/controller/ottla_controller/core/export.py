"""All metadata of a cluster as bytes, to be imported elsewhere.

Owns the form: `ExportedRecord` messages, each with its length before it, the cluster first, what
others name before those that name it, and an end with their number and checksum, because a file
that was cut off between two records would else be a smaller cluster. What users don't see (topics
on their way in or out) and what belongs to the processes (controllers, elections) stays. The
records are those of one revision: they are never modified, so holding them is enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from crc32c import crc32c

from ottla.protocol.errors import UnsupportedVersion
from ottla.storage.metadata.v1.metadata_record_pb2 import (
    BrokerRecord,
    ClusterRecord,
    ConfigRecord,
    ControllerRecord,
    ExportedRecord,
    ExportEnd,
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
    """The bytes of records and of their end, whole records at a time."""
    chunk = bytearray()
    for piece in _pieces(records):
        if chunk and len(chunk) + len(piece) > limits.PAGE_BYTES_MAX:
            yield bytes(chunk)
            chunk.clear()
        chunk += piece
    yield bytes(chunk)


def _pieces(records: Iterable[Record]) -> Iterator[bytes]:
    count = checksum = 0
    for record in records:
        piece = _piece(_exported(record))
        checksum = crc32c(piece, checksum)
        count += 1
        yield piece
    yield _piece(ExportedRecord(end=ExportEnd(record_count=count, crc32c=checksum)))


def _piece(exported: ExportedRecord) -> bytes:
    data = exported.SerializeToString(deterministic=True)
    return encoded_length(len(data)) + data


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
