"""What a leader refuses before it appends."""

from __future__ import annotations

import struct

import pytest
from crc32c import crc32c

from kit.batches import make_batch
from ottla.protocol.batch import Batch, encode_batch, read_batch
from ottla.protocol.compression import Codec, decompress
from ottla.protocol.errors import (
    CorruptBatch,
    InvalidRequest,
    OttlaError,
    RecordTooLarge,
    UnsupportedVersion,
)
from ottla_broker.core.append_checks import check_batch, check_extent
from ottla_broker.core.log_config import CompressionType, LogConfig, TimestampType
from ottla_broker.core.recompression import needs_recompression, recompress

NOW_MS = 1_700_000_000_000
_CRC_AT, _ATTRIBUTES_AT, _DELTA_AT, _COUNT_AT, _PRODUCER_AT = 29, 34, 39, 44, 67


def changed(batch: Batch, position: int, value: bytes, *, checked: bool = True) -> Batch:
    """The batch with bytes of its fields replaced, its checksum made to fit unless told not to."""
    frame = bytearray(batch.frame)
    fields = frame.index(0x09)
    frame[fields + position : fields + position + len(value)] = value
    if checked:
        crc = crc32c(bytes(frame[fields + 33 :]))
        frame[fields + _CRC_AT : fields + _CRC_AT + 4] = struct.pack("<I", crc)
    return read_batch(memoryview(bytes(frame)))


def refusal(batch: Batch, config: LogConfig | None = None) -> type[OttlaError] | None:
    try:
        check_batch(batch, config or LogConfig(), now_ms=NOW_MS)
    except OttlaError as error:
        return type(error)
    return None


def test_sound_batch_is_taken() -> None:
    assert refusal(make_batch(b"a", b"b", time_ms=NOW_MS)) is None


def test_wrong_checksum_is_refused() -> None:
    batch = changed(make_batch(b"a"), 90, b"X", checked=False)
    assert refusal(batch) is CorruptBatch


def test_batch_above_the_limit_is_refused() -> None:
    batch = make_batch(b"v" * 5_000)
    assert refusal(batch, LogConfig(max_message_bytes=batch.frame_size)) is None
    config = LogConfig(max_message_bytes=batch.frame_size - 1)
    assert refusal(batch, config) is RecordTooLarge


@pytest.mark.parametrize(
    ("position", "value", "error"),
    [
        (_COUNT_AT, struct.pack("<I", 0), CorruptBatch),
        (_DELTA_AT, struct.pack("<I", 7), CorruptBatch),
        (_DELTA_AT, struct.pack("<I", 0), CorruptBatch),
        (_ATTRIBUTES_AT, struct.pack("<I", 0x0105), UnsupportedVersion),
        (_ATTRIBUTES_AT, struct.pack("<I", 0x0200), UnsupportedVersion),
        (_ATTRIBUTES_AT, struct.pack("<I", 0x0120), InvalidRequest),
        (_ATTRIBUTES_AT, struct.pack("<I", 0x0110), InvalidRequest),
        (_PRODUCER_AT, struct.pack("<q", -4), CorruptBatch),
    ],
    ids=["no records", "delta too large", "delta too small", "unknown codec", "unknown format",
         "control", "transactional", "negative producer"],
)  # fmt: skip
def test_header_that_no_producer_may_send_is_refused(
    position: int, value: bytes, error: type[OttlaError]
) -> None:
    assert refusal(changed(make_batch(b"a", b"b", time_ms=NOW_MS), position, value)) is error


def test_count_that_the_payload_cannot_hold_is_refused() -> None:
    def claiming(count: int, codec: Codec = Codec.NONE, payload: bytes = b"\x0a\x00" * 5) -> Batch:
        frame = encode_batch(
            payload,
            codec=codec,
            record_count=count,
            last_offset_delta=count - 1,
            base_timestamp_ms=NOW_MS,
            max_timestamp_ms=NOW_MS,
        )
        return read_batch(memoryview(bytes(frame)))

    assert refusal(claiming(5)) is None
    assert refusal(claiming(6)) is CorruptBatch
    assert refusal(claiming(2**31)) is CorruptBatch
    assert refusal(claiming(1_000_000, Codec.ZSTD)) is None
    assert refusal(claiming(1_000_001, Codec.ZSTD)) is CorruptBatch


def test_append_that_no_segment_can_hold_is_refused() -> None:
    check_extent(record_count=2**31, size=2**31 - 1)
    with pytest.raises(RecordTooLarge):
        check_extent(record_count=2**31 + 1, size=1)
    with pytest.raises(RecordTooLarge):
        check_extent(record_count=1, size=2**31)


def test_times_far_from_the_clock_are_refused() -> None:
    config = LogConfig(message_timestamp_before_max_ms=500, message_timestamp_after_max_ms=300)
    assert refusal(make_batch(b"a", time_ms=NOW_MS + 300), config) is None
    assert refusal(make_batch(b"a", time_ms=NOW_MS + 301), config) is InvalidRequest
    assert refusal(make_batch(b"a", time_ms=NOW_MS - 500), config) is None
    assert refusal(make_batch(b"a", time_ms=NOW_MS - 501), config) is InvalidRequest


def test_times_do_not_matter_where_the_leader_sets_them() -> None:
    config = LogConfig(
        message_timestamp_after_max_ms=0, message_timestamp_type=TimestampType.LOG_APPEND_TIME
    )
    assert refusal(make_batch(b"a", time_ms=NOW_MS + 10**9), config) is None


@pytest.mark.parametrize("wanted", [one for one in CompressionType if one.value != "producer"])
@pytest.mark.parametrize("sent", list(Codec))
def test_batch_is_stored_in_the_codec_the_topic_asks_for(
    wanted: CompressionType, sent: Codec
) -> None:
    batch = make_batch(b"payload" * 50, b"more", codec=sent)
    config = LogConfig(compression_type=wanted)
    stored = recompress(batch, config)
    assert stored.header.codec.name.lower() == wanted.value
    assert not needs_recompression(stored, config)
    check_batch(stored, config, now_ms=NOW_MS)
    plain = decompress(stored.header.codec, stored.payload, size_max=10_000)
    assert bytes(plain) == bytes(decompress(sent, batch.payload, size_max=10_000))


def test_producers_codec_is_kept_by_default() -> None:
    batch = make_batch(b"a", codec=Codec.ZSTD)
    assert not needs_recompression(batch, LogConfig())
    assert recompress(batch, LogConfig()) is batch


def test_decompression_bomb_is_refused() -> None:
    bomb = make_batch(b"\0" * 2_000_000, codec=Codec.ZSTD)
    config = LogConfig(compression_type=CompressionType.LZ4, max_message_bytes=1_024)
    with pytest.raises(RecordTooLarge):
        recompress(bomb, config)


def test_batch_that_grows_above_the_limit_is_refused() -> None:
    batch = make_batch(b"\0" * 20_000, codec=Codec.ZSTD)
    config = LogConfig(compression_type=CompressionType.NONE, max_message_bytes=2_048)
    with pytest.raises(RecordTooLarge):
        recompress(batch, config)
