"""Batches made of published records.

Owns: the codec (the topic's, or none: the producer sent plain records), and cutting a run of them
where one batch would exceed the topic's limit. Pure, but work of the size of the records:
`is_small` says whether it may be done on the event loop.
"""

from __future__ import annotations

from collections.abc import Sequence

from ottla.api.record.v1 import record_pb2
from ottla.protocol.batch import Batch, encode_batch, read_batch
from ottla.protocol.compression import Codec, codec_named, compress
from ottla.protocol.errors import RecordTooLarge
from ottla.protocol.plain_records import record_inputs
from ottla.protocol.records import encode_records
from ottla_broker.core.log_config import CompressionType, LogConfig

LOOP_RECORDS_MAX = 200
LOOP_COMPRESSED_SIZE_MAX = 16 << 10

Records = Sequence[record_pb2.PlainRecord]


def is_small(records: Records, config: LogConfig) -> bool:
    """Whether building batches of these takes well under a millisecond."""
    if len(records) > LOOP_RECORDS_MAX:
        return False
    if _codec(config) is Codec.NONE:
        return True
    return sum(len(each.value) + len(each.key) for each in records) <= LOOP_COMPRESSED_SIZE_MAX


def build_batches(records: Records, *, config: LogConfig, now_ms: int) -> list[Batch]:
    """The records as batches that the topic takes, in order.

    Args:
        records: at least one; a time of 0 or less becomes `now_ms`.
        config: the topic's settings.
        now_ms: the broker's wall clock.

    Raises:
        RecordTooLarge: one record alone exceeds the topic's `max.message.bytes`.
        InvalidRequest: a record's time can't be stored.
    """
    encoded = encode_records(record_inputs(records, now_ms=now_ms))
    codec = _codec(config)
    frame = encode_batch(
        compress(codec, encoded.payload),
        codec=codec,
        record_count=encoded.record_count,
        last_offset_delta=encoded.last_offset_delta,
        base_timestamp_ms=encoded.base_timestamp_ms,
        max_timestamp_ms=encoded.max_timestamp_ms,
    )
    if len(frame) <= config.max_message_bytes:
        return [read_batch(frame)]
    if len(records) == 1:
        raise RecordTooLarge(
            f"a record of {len(frame)} bytes as stored exceeds "
            f"max.message.bytes={config.max_message_bytes}"
        )
    middle = len(records) // 2
    return [
        *build_batches(records[:middle], config=config, now_ms=now_ms),
        *build_batches(records[middle:], config=config, now_ms=now_ms),
    ]


def _codec(config: LogConfig) -> Codec:
    if config.compression_type is CompressionType.PRODUCER:
        return Codec.NONE
    return codec_named(config.compression_type.value)
