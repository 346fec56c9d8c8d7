"""Records as thin clients see them: nothing relative, nothing compressed.

Owns: the way from `PlainRecord` to the input of the record encoder (`Publish`), and from a batch
to `PlainRecord`s (`Read` with format RECORDS). Does not own requests, responses or their limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ottla.api.record.v1 import record_pb2
from ottla.protocol.batch import Batch
from ottla.protocol.records import RecordInput, read_records


def record_inputs(
    records: Iterable[record_pb2.PlainRecord], *, now_ms: int
) -> Iterator[RecordInput]:
    """What `encode_records` takes; a time of 0 or less becomes `now_ms`, offsets are ignored."""
    for record in records:
        yield (
            record.key if record.HasField("key") else None,
            record.value if record.HasField("value") else None,
            record.timestamp_ms if record.timestamp_ms > 0 else now_ms,
            [
                (header.key, header.value if header.HasField("value") else None)
                for header in record.headers
            ],
        )


def plain_records(
    batch: Batch, *, size_max: int, from_offset: int = 0
) -> Iterator[record_pb2.PlainRecord]:
    """The batch's records from an offset on; a control batch has none for applications.

    Raises:
        RecordTooLarge: the batch decompresses to more than `size_max` bytes.
        CorruptBatch: it does not decompress or decode.
        UnsupportedVersion: its codec is not known.
    """
    if batch.header.is_control:
        return
    for record in read_records(batch, size_max=size_max):
        if record.offset < from_offset:
            continue
        yield record_pb2.PlainRecord(
            offset=record.offset,
            timestamp_ms=record.timestamp_ms,
            key=record.key,
            value=record.value,
            headers=[record_pb2.Header(key=name, value=value) for name, value in record.headers],
        )
