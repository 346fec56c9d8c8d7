"""A batch's records for applications, decoded a column at a time.

Owns the fast way from a batch to immutable records: protobuf parses the whole payload, then each
field of all records is taken in one go, so that nearly nothing is done in Python for one record.
Payloads too large for that go through `ottla.protocol.records`, a bounded run at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from operator import attrgetter, lt, methodcaller
from typing import Final, Generic, NamedTuple, TypeVar

from google.protobuf.message import DecodeError

from ottla.api.record.v1 import record_pb2
from ottla.client.core.uniform_records import read_uniform
from ottla.protocol.batch import Batch, BatchHeader
from ottla.protocol.compression import decompress
from ottla.protocol.errors import CorruptBatch
from ottla.protocol.records import decode_records

K = TypeVar("K")
V = TypeVar("V")

UNIFORM_COUNT_LEAST: Final = 16
"""With fewer records, looking for a common layout takes longer than parsing them."""
BULK_SIZE_MAX: Final = 4 << 20
"""A payload up to this size is parsed at once."""

_TIME_MAX = 2**63 - 1
_offset_of = attrgetter("offset_delta")
_time_of = attrgetter("timestamp_delta")
_key_of = attrgetter("key")
_value_of = attrgetter("value")
_headers_of = attrgetter("headers")
_has_key = methodcaller("HasField", "key")
_has_value = methodcaller("HasField", "value")

Headers = tuple[tuple[str, bytes | None], ...]


class ConsumerRecord(NamedTuple, Generic[K, V]):
    """One record as an application gets it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: K | None
    value: V | None
    headers: Headers


RawRecord = ConsumerRecord[bytes, bytes]


def decode_batch(
    batch: Batch, topic: str, partition: int, *, from_offset: int, size_max: int
) -> Iterator[list[RawRecord]]:
    """The batch's records from an offset on, a run at a time; control batches have none.

    Raises:
        CorruptBatch: it does not decode, or contradicts its header.
        RecordTooLarge: it decompresses to more than `size_max` bytes.
        UnsupportedVersion: its codec is not known.
    """
    header = batch.header
    if header.is_control:
        return
    payload = decompress(header.codec, batch.payload, size_max=size_max)
    if len(payload) <= BULK_SIZE_MAX:
        records = _bulk(payload, header, topic, partition)
        skipped = from_offset - header.base_offset
        if skipped > 0:
            records = [record for record in records if record.offset >= from_offset]
        if records:
            yield records
        return
    yield from _runs(payload, header, topic, partition, from_offset=from_offset)


def _bulk(
    payload: bytes | memoryview, header: BatchHeader, topic: str, partition: int
) -> list[RawRecord]:
    data = bytes(payload)
    uniform = None
    if header.record_count >= UNIFORM_COUNT_LEAST:
        uniform = read_uniform(data, header.record_count)
    if uniform is not None and header.last_offset_delta >= header.record_count - 1:
        return _rows(
            topic,
            partition,
            _range(header),
            _times(uniform.time_deltas, header),
            uniform.keys,
            uniform.values,
            repeat(()),
        )
    try:
        parsed = record_pb2.Records.FromString(data).records
    except DecodeError:
        raise CorruptBatch("the batch's payload cannot be parsed") from None
    records = list(parsed)
    count = len(records)
    if count != header.record_count:
        raise CorruptBatch(f"the batch has {count} records, its header {header.record_count}")
    time_deltas = [] if header.append_time_ms else list(map(_time_of, records))
    return _rows(
        topic,
        partition,
        _offsets(records, header),
        _times(time_deltas, header),
        _present(list(map(_key_of, records)), records, _has_key),
        _present(list(map(_value_of, records)), records, _has_value),
        _headers(records),
    )


def _rows(topic: str, partition: int, *columns: Iterable[object]) -> list[RawRecord]:
    rows = zip(repeat(topic), repeat(partition), *columns)
    return list(map(tuple.__new__, repeat(ConsumerRecord), rows))


def _range(header: BatchHeader) -> Iterable[int]:
    return range(header.base_offset, header.base_offset + header.record_count)


def _offsets(records: Sequence[record_pb2.Record], header: BatchHeader) -> Iterable[int]:
    base, count = header.base_offset, len(records)
    deltas = list(map(_offset_of, records))
    if deltas != list(range(count)):  # compaction leaves gaps, nothing else does
        is_growing = all(map(lt, deltas, deltas[1:]))
        if not is_growing or deltas[0] < 0 or deltas[-1] > header.last_offset_delta:
            raise CorruptBatch("the batch's offset deltas do not grow, or exceed its header's")
        return [base + delta for delta in deltas]
    return _range(header)


def _times(deltas: list[int], header: BatchHeader) -> Iterable[int]:
    if header.append_time_ms:
        return repeat(header.append_time_ms)
    base = header.base_timestamp_ms
    if not any(deltas):
        return repeat(base)
    if max(deltas) + base > _TIME_MAX or min(deltas) + base < -_TIME_MAX:
        raise CorruptBatch("the batch has a record with a time out of range")
    return [base + delta for delta in deltas]


def _present(
    values: list[bytes],
    records: Sequence[record_pb2.Record],
    has_field: Callable[[record_pb2.Record], object],
) -> Iterable[bytes | None]:
    """The values, None where there is none; only an empty one has to be asked about."""
    if b"" not in values:
        return values
    present = map(has_field, records)
    return [value if is_there else None for value, is_there in zip(values, present, strict=True)]


def _headers(records: Sequence[record_pb2.Record]) -> Iterable[Headers]:
    found = list(map(_headers_of, records))
    if not any(map(len, found)):
        return repeat(())
    return [
        tuple((one.key, one.value if one.HasField("value") else None) for one in headers)
        for headers in found
    ]


def _runs(
    payload: bytes | memoryview,
    header: BatchHeader,
    topic: str,
    partition: int,
    *,
    from_offset: int,
    run_count: int = 1024,
) -> Iterator[list[RawRecord]]:
    run: list[RawRecord] = []
    for offset, timestamp_ms, key, value, headers in decode_records(payload, header):
        if offset < from_offset:
            continue
        run.append(ConsumerRecord(topic, partition, offset, timestamp_ms, key, value, headers))
        if len(run) == run_count:
            yield run
            run = []
    if run:
        yield run
