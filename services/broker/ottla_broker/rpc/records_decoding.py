"""A slice's batches as responses with plain records, one bounded message a step.

Owns the decoding, where it stands, and what it holds in memory between two steps. Pure, but work
of the size of a message and of a batch's decompression: whoever steps it does so beside the event
loop, and may drop it between two steps, since the cursor says where to go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ottla.api.record.v1 import record_pb2
from ottla.protocol.batch import Batch, iter_batches, verify_crc
from ottla.protocol.batch_header import pack_attributes
from ottla.protocol.compression import Codec, decompress
from ottla.protocol.errors import CorruptBatch, CorruptLog, RecordTooLarge
from ottla.protocol.plain_records import plain_records
from ottla_broker.rpc.read_plan import ReadCursor
from ottla_broker.rpc.read_responses import (
    DECOMPRESSED_SIZE_MAX,
    RESPONSE_SIZE_MAX,
    Positions,
    positions_message,
)

RESPONSE_RECORDS_MAX = 8_192
_RECORD_OVERHEAD = 32


@dataclass(frozen=True, slots=True)
class RecordsMessage:
    """A response with plain records, encoded, and how far it brings the reader."""

    message: bytes
    next_offset: int
    record_count: int
    size: int
    is_last: bool
    """Nothing of the slice is left."""


@dataclass(frozen=True, slots=True)
class _Run:
    records: list[record_pb2.PlainRecord]
    next_offset: int
    size: int
    is_last: bool


@dataclass(slots=True)
class _Bounds:
    """What a decoding is told, and tells, between two steps; bytes."""

    message_size_max: int = RESPONSE_SIZE_MAX
    batch_size: int = 0


class RecordsDecoding:
    """Decodes one slice from the cursor on; stepped by one thread at a time.

    The cursor is only read, and only at the first step; its owner advances it between the steps.
    """

    def __init__(self, data: bytes, cursor: ReadCursor) -> None:
        self._data = data
        self._bounds = _Bounds()
        # Nothing in the generator refers to this object: what is dropped half-way goes at once,
        # not with the next collection of cycles.
        self._runs = _decoded(data, cursor, self._bounds)

    @property
    def held_size(self) -> int:
        """Bytes that it keeps in memory until the next step, as well as can be told."""
        # The records of a batch twice: as decompressed, and as a run of them parsed.
        return len(self._data) + 2 * self._bounds.batch_size

    def step(self, positions: Positions, *, size_max: int) -> RecordsMessage | None:
        """The next response with records of up to `size_max` bytes, or one record; None: no more.

        Raises:
            CorruptLog: a batch isn't what was written.
            RecordTooLarge: a batch decompresses to more than this server takes on.
        """
        self._bounds.message_size_max = min(size_max, RESPONSE_SIZE_MAX)
        run = next(self._runs, None)
        if run is None:
            return None
        message = positions_message(positions, next_offset=run.next_offset)
        message.records.extend(run.records)
        return RecordsMessage(
            message.SerializeToString(), run.next_offset, len(run.records), run.size, run.is_last
        )


def _decoded(data: bytes, cursor: ReadCursor, bounds: _Bounds) -> Iterator[_Run]:
    """Runs of records; those before a batch that can't be decoded come first, and end the slice.

    The reader who comes back for more then meets the error.
    """
    from_offset = next_offset = cursor.next_offset
    run: list[record_pb2.PlainRecord] = []
    size = 0
    left = cursor.records_left
    stop = cursor.stop_offset
    whole = (0, 0, from_offset)
    try:
        for batch in iter_batches(data):
            whole = (len(run), size, next_offset)
            for record in _records(batch, from_offset, bounds):
                if left == 0:
                    break
                if stop is not None and record.offset >= stop:
                    next_offset = stop
                    break
                record_size = _size(record)
                if run and (
                    size + record_size > bounds.message_size_max or len(run) >= RESPONSE_RECORDS_MAX
                ):
                    yield _Run(run, next_offset, size, is_last=False)
                    run, size = [], 0
                    whole = (0, 0, next_offset)
                run.append(record)
                size += record_size
                next_offset = record.offset + 1
                left = None if left is None else left - 1
            else:  # also what compaction took away at the batch's end is behind the reader
                next_offset = batch.header.next_offset
                if stop is not None:
                    next_offset = min(next_offset, max(stop, from_offset))
                continue
            break
    except (CorruptLog, RecordTooLarge):
        count, size, next_offset = whole
        if next_offset == from_offset:
            raise
        del run[count:]
    if run or next_offset > from_offset:
        yield _Run(run, next_offset, size, is_last=True)


def _records(batch: Batch, from_offset: int, bounds: _Bounds) -> Iterator[record_pb2.PlainRecord]:
    header = batch.header
    if header.next_offset <= from_offset:
        return  # sent before: the slice begins with the batch that holds the cursor
    try:
        verify_crc(batch)
        plain = decompress(header.codec, batch.payload, size_max=DECOMPRESSED_SIZE_MAX)
        bounds.batch_size = len(plain)
        uncompressed = pack_attributes(Codec.NONE, is_control=header.is_control)
        opened = replace(
            batch,
            header=replace(header, attributes=uncompressed),
            payload=memoryview(plain),
        )
        yield from plain_records(opened, size_max=DECOMPRESSED_SIZE_MAX, from_offset=from_offset)
    except CorruptBatch as error:
        raise CorruptLog(
            f"the batch at offset {header.base_offset} can't be decoded: {error.message}"
        ) from error
    except RecordTooLarge as error:
        raise RecordTooLarge(
            f"the batch at offset {header.base_offset} decompresses to more than "
            f"{DECOMPRESSED_SIZE_MAX} bytes; read it with READ_FORMAT_BATCHES"
        ) from error


def is_uncompressed(data: bytes) -> bool:
    """Whether a slice's records take no more memory decoded than they show."""
    return all(batch.header.codec is Codec.NONE for batch in iter_batches(data))


def _size(record: record_pb2.PlainRecord) -> int:
    size = _RECORD_OVERHEAD + len(record.key) + len(record.value)
    for header in record.headers:
        size += 3 * len(header.key) + len(header.value) + 8
    return size
