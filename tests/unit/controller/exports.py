"""Exports as tests make, cut, alter and read them."""

from __future__ import annotations

from collections.abc import Iterable

from crc32c import crc32c

from ottla.storage.metadata.v1.metadata_record_pb2 import ExportedRecord, ExportEnd
from ottla_controller.core.export import encoded_length, exported_chunks, exported_records
from ottla_controller.core.import_stream import ImportRules, ImportStream

from .cluster_context import ClusterContext

RULES = ImportRules(format_version=1, feature_level=1, cluster_partitions_max=1_000)


def export(cluster: ClusterContext) -> bytes:
    return b"".join(exported_chunks(exported_records(cluster.state)))


def stream(data: bytes, *, rules: ImportRules = RULES, chunk: int = 900_000) -> ImportStream:
    """Everything that an import brings, cut anywhere."""
    found = ImportStream(rules)
    for begin in range(0, len(data), chunk):
        found.feed(data[begin : begin + chunk])
    found.finish()
    return found


def encoded(records: Iterable[ExportedRecord]) -> bytes:
    """An export of these, with an end that fits."""
    pieces = [piece(record) for record in records]
    return sealed(b"".join(pieces), count=len(pieces))


def sealed(data: bytes, *, count: int) -> bytes:
    end = ExportEnd(record_count=count, crc32c=crc32c(data))
    return data + piece(ExportedRecord(end=end))


def unsealed(data: bytes) -> bytes:
    """An export without its end."""
    return b"".join(piece(record) for record in exported(data))


def piece(record: ExportedRecord) -> bytes:
    data = record.SerializeToString(deterministic=True)
    return encoded_length(len(data)) + data


def exported(data: bytes) -> list[ExportedRecord]:
    """The records in an export, without its end."""
    found, position = [], 0
    while position < len(data):
        length, shift = 0, 0
        while True:
            byte = data[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        found.append(ExportedRecord.FromString(data[position : position + length]))
        position += length
    return [record for record in found if not record.HasField("end")]
