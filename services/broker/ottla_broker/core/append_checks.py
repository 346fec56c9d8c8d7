"""What a leader demands of a batch before it appends it.

Owns the checks that need no more than the batch's header and bytes; records inside are never
looked at. Size and checksum come first, so that nothing is believed of a batch that is not what
its producer sent.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ottla.protocol.batch import Batch, BatchHeader, check_header, verify_crc
from ottla.protocol.compression import Codec
from ottla.protocol.errors import CorruptBatch, InvalidRequest, RecordTooLarge
from ottla_broker.core.log_config import LogConfig, TimestampType
from ottla_broker.core.sparse_index import POSITION_MAX, RELATIVE_OFFSET_MAX

RECORD_SIZE_MIN: Final = 2
"""Bytes of the shortest record in a payload: its tag and a length of zero."""

COMPRESSED_RECORD_COUNT_MAX: Final = 1_000_000
"""Records that a compressed batch may claim, for nobody here looks how many there are."""


class Acks(IntEnum):
    """What has to have happened before an append is acknowledged; numbers as on the wire."""

    NONE = 1
    LEADER = 2
    ALL = 3


def check_batch(batch: Batch, config: LogConfig, *, now_ms: int) -> None:
    """Returns if a producer's batch may be appended.

    Raises:
        RecordTooLarge: it exceeds `max.message.bytes`.
        CorruptBatch: its checksum fails or its header contradicts itself.
        UnsupportedVersion: its format or codec is not known.
        InvalidRequest: a producer may not send such a batch, or its times are out of bounds.
    """
    if batch.frame_size > config.max_message_bytes:
        raise RecordTooLarge(
            f"batch of {batch.frame_size} bytes exceeds "
            f"max.message.bytes={config.max_message_bytes}"
        )
    verify_crc(batch)
    header = batch.header
    check_header(header)
    if header.last_offset_delta != header.record_count - 1:
        raise CorruptBatch(
            f"batch of {header.record_count} records ends at offset delta "
            f"{header.last_offset_delta}"
        )
    check_record_count(batch)
    if header.is_control or header.is_transactional:
        raise InvalidRequest("control and transactional batches need a transaction")
    if config.message_timestamp_type is TimestampType.CREATE_TIME:
        check_times(header, config, now_ms=now_ms)


def check_record_count(batch: Batch) -> None:
    """Returns if the payload can hold as many records as its header says. Raises CorruptBatch.

    Every count takes as many offsets: one that is made up would use up the log's.
    """
    count = batch.header.record_count
    if batch.header.codec is Codec.NONE:
        count_max = len(batch.payload) // RECORD_SIZE_MIN
    else:
        count_max = COMPRESSED_RECORD_COUNT_MAX
    if count > count_max:
        raise CorruptBatch(
            f"batch of {count} records cannot be: its payload of {len(batch.payload)} bytes "
            f"may hold {count_max}"
        )


def check_extent(*, record_count: int, size: int) -> None:
    """Returns if one segment can hold an append. Raises RecordTooLarge.

    Batches of an append stay together, and an index knows them by their distance from the
    segment's beginning.
    """
    if record_count - 1 > RELATIVE_OFFSET_MAX or size > POSITION_MAX:
        raise RecordTooLarge(
            f"an append of {record_count} records in {size} bytes is more than a segment takes"
        )


def check_times(header: BatchHeader, config: LogConfig, *, now_ms: int) -> None:
    """Returns if the batch's times are near enough to the broker's clock. Raises InvalidRequest.

    One record dated far ahead would otherwise keep its segment from ever expiring.
    """
    earliest_ms = min(header.base_timestamp_ms, header.max_timestamp_ms)
    latest_ms = max(header.base_timestamp_ms, header.max_timestamp_ms)
    if latest_ms - now_ms > config.message_timestamp_after_max_ms:
        raise InvalidRequest(
            f"time {latest_ms} is more than message.timestamp.after.max.ms="
            f"{config.message_timestamp_after_max_ms} after the broker's {now_ms}"
        )
    if now_ms - earliest_ms > config.message_timestamp_before_max_ms:
        raise InvalidRequest(
            f"time {earliest_ms} is more than message.timestamp.before.max.ms="
            f"{config.message_timestamp_before_max_ms} before the broker's {now_ms}"
        )
