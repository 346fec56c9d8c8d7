"""Batches in the codec a topic asks for, where that is not the one they came in.

The exception to the rule that a broker stores what was sent: only a topic whose
`compression.type` names a codec pays for it, and the checksum is then the broker's. Blocking work
of the size of the batch; callers run it beside the event loop.
"""

from __future__ import annotations

from typing import Final

from ottla.protocol.batch import Batch, encode_batch, read_batch
from ottla.protocol.compression import codec_named, compress, decompress
from ottla.protocol.errors import RecordTooLarge
from ottla_broker.core.log_config import CompressionType, LogConfig

EXPANSION_MAX: Final = 64
"""A payload may grow to so many times `max.message.bytes`; beyond that it is taken for a bomb."""


def needs_recompression(batch: Batch, config: LogConfig) -> bool:
    """Whether the topic stores another codec than the batch's."""
    wanted = config.compression_type
    return (
        wanted is not CompressionType.PRODUCER and codec_named(wanted.value) != batch.header.codec
    )


def recompress(batch: Batch, config: LogConfig) -> Batch:
    """The batch in the topic's codec; the same batch if it is in it already.

    Raises:
        CorruptBatch: its payload does not decompress.
        RecordTooLarge: decompressed beyond bounds, or above `max.message.bytes` in the new codec.
    """
    if not needs_recompression(batch, config):
        return batch
    header = batch.header
    codec = codec_named(config.compression_type.value)
    plain = decompress(
        header.codec, batch.payload, size_max=config.max_message_bytes * EXPANSION_MAX
    )
    frame = encode_batch(
        compress(codec, plain),
        codec=codec,
        record_count=header.record_count,
        last_offset_delta=header.last_offset_delta,
        base_timestamp_ms=header.base_timestamp_ms,
        max_timestamp_ms=header.max_timestamp_ms,
        producer_id=header.producer_id,
        producer_epoch=header.producer_epoch,
        base_sequence=header.base_sequence,
    )
    if len(frame) > config.max_message_bytes:
        raise RecordTooLarge(
            f"batch of {len(frame)} bytes in {config.compression_type.value} exceeds "
            f"max.message.bytes={config.max_message_bytes}"
        )
    return read_batch(memoryview(frame))
