"""Payloads looked into once, before they are appended: can readers read what is in there?

    decompressed within a bound ─► cut into records ─► as many as the header says ─► each parses
                                                                    and has the next offset ◄─┘

Owns these checks. What was decompressed is thrown away: the batch is stored as it came. Blocking
work of the size of the records; `is_checked_at_once` does what is little of it on the event loop.
Protobuf's C code does the looking: Python takes no step for each record. Does not own the checks of
header and checksum (`core.append_checks`).
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from ottla.api.record.v1 import record_pb2
from ottla.protocol.batch import Batch
from ottla.protocol.compression import Codec, decompress
from ottla.protocol.errors import CorruptBatch, RecordTooLarge
from ottla_broker.core.log_config import LogConfig
from ottla_broker.core.recompression import EXPANSION_MAX
from ottla_broker.rpc.read_responses import DECOMPRESSED_SIZE_MAX

LOOP_PAYLOAD_SIZE_MAX: Final = 8 << 10
LOOP_PLAIN_SIZE_MAX: Final = 64 << 10
LOOP_RECORD_COUNT_MAX: Final = 2_000
LOOP_UNCOMPRESSED_SIZE_MAX: Final = 1 << 20

# What is cut in one go: two bytes a record at least, each with sixteen for its place.
CUT_SIZE_MAX: Final = 4 << 20
RUN_RECORD_COUNT: Final = 20_000

_RECORD_TAG: Final = 0x0A
_LENGTH_BITS_MAX: Final = 35
_offset_delta = attrgetter("offset_delta")


def is_compressed(batch: Batch) -> bool:
    """Whether there is something to open."""
    return batch.header.codec is not Codec.NONE


def is_checked_at_once(batch: Batch, config: LogConfig) -> bool:
    """Check a batch that takes less than a millisecond; False, nothing done, for any other.

    Raises:
        CorruptBatch, RecordTooLarge: as `check_payload`.
    """
    if batch.header.record_count > LOOP_RECORD_COUNT_MAX:
        return False
    if not is_compressed(batch):
        if len(batch.payload) > LOOP_UNCOMPRESSED_SIZE_MAX:
            return False
        _check_plain(bytes(batch.payload), batch)
        return True
    if len(batch.payload) > LOOP_PAYLOAD_SIZE_MAX or plain_size_max(config) < LOOP_PLAIN_SIZE_MAX:
        return False
    try:
        plain = decompress(batch.header.codec, batch.payload, size_max=LOOP_PLAIN_SIZE_MAX)
    except RecordTooLarge:
        return False  # for the loop; it may well be right
    _check_plain(bytes(plain), batch)
    return True


def check_payload(batch: Batch, config: LogConfig) -> None:
    """Returns if the payload holds the records that the header says.

    Raises:
        RecordTooLarge: it is more than `plain_size_max` once decompressed.
        CorruptBatch: it does not decompress, or into something else than so many records with
            one offset after the other.
    """
    plain = decompress(batch.header.codec, batch.payload, size_max=plain_size_max(config))
    _check_plain(bytes(plain), batch)


def plain_size_max(config: LogConfig) -> int:
    """Bytes that a payload may decompress to: no bomb, and what readers of records take."""
    return min(config.max_message_bytes * EXPANSION_MAX, DECOMPRESSED_SIZE_MAX)


def _check_plain(plain: bytes, batch: Batch) -> None:
    count = batch.header.record_count
    if len(plain) <= CUT_SIZE_MAX and count <= RUN_RECORD_COUNT:
        found = _cut_count(plain)
        if found == count:
            _parse(plain, last=count)
    else:
        found = _walked_count(plain, count)
    if found != count:
        raise CorruptBatch(f"the batch's payload does not hold the {count} records it says")


def _frames_type() -> Any:
    """`Records` with records that stay bytes: cutting them costs a tenth of parsing them."""
    file = descriptor_pb2.FileDescriptorProto(name="frames.proto", syntax="proto3")
    message = file.message_type.add(name="Frames")
    field = descriptor_pb2.FieldDescriptorProto
    message.field.add(name="records", number=1, type=field.TYPE_BYTES, label=field.LABEL_REPEATED)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("Frames"))


_Frames = _frames_type()


def _cut_count(plain: bytes) -> int:
    """How many records there are. Raises CorruptBatch for anything but records, as encoders write.

    A tag written longer than it need be would pass for one here, and stop readers.
    """
    try:
        frames = _Frames.FromString(plain)
    except DecodeError:
        raise CorruptBatch("the batch's payload cannot be cut into records") from None
    if len(UnknownFieldSet(frames)) or frames.ByteSize() != len(plain):
        raise CorruptBatch("the batch's payload holds something else than records")
    return len(frames.records)


def _walked_count(plain: bytes, count_max: int) -> int:
    """The same record by record and run by run, for payloads whose pieces would take much memory.

    Stops behind `count_max`.
    """
    start = position = count = 0
    try:
        while position < len(plain) and count <= count_max:
            if plain[position] != _RECORD_TAG:
                raise CorruptBatch("the batch's payload holds something else than records")
            size, position = _length(plain, position + 1)
            position += size
            count += 1
            if count % RUN_RECORD_COUNT == 0 and position <= len(plain):
                _parse(plain[start:position], last=count)
                start = position
    except IndexError:
        position = len(plain) + 1
    if position > len(plain):
        raise CorruptBatch("the batch's payload ends inside a record")
    _parse(plain[start:position], last=count)
    return count


def _length(plain: bytes, position: int) -> tuple[int, int]:
    value = plain[position]
    position += 1
    if value < 0x80:
        return value, position
    value &= 0x7F
    for shift in range(7, _LENGTH_BITS_MAX, 7):
        byte = plain[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise CorruptBatch("the batch's payload has a record of impossible size")


def _parse(run: bytes, *, last: int) -> None:
    """Returns if the run's records can be read, the last of them as record `last` of the batch."""
    try:
        records = record_pb2.Records.FromString(run).records
    except DecodeError:
        raise CorruptBatch("the batch's payload has a record that cannot be parsed") from None
    if list(map(_offset_delta, records)) != list(range(last - len(records), last)):
        raise CorruptBatch("the batch's records do not have one offset after the other")
