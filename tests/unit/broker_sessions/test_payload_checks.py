"""Compressed batches are opened once, as they are produced: none that readers couldn't read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest

from ottla.api.record.v1 import record_pb2
from ottla.protocol.batch import encode_batch, read_batch
from ottla.protocol.compression import Codec, compress
from ottla.protocol.error_details import from_proto
from ottla.protocol.errors import CorruptBatch, RecordTooLarge
from ottla.protocol.records import encode_records, read_records
from ottla_broker.core.log_config import CompressionType, LogConfig
from ottla_broker.rpc.payload_checks import (
    CUT_SIZE_MAX,
    LOOP_RECORD_COUNT_MAX,
    RUN_RECORD_COUNT,
    check_payload,
    is_checked_at_once,
)
from unit.broker_sessions.producing import Producing, request

CODECS = [codec for codec in Codec if codec is not Codec.NONE]
TIME_MS = 1_700_000_000_000


def frame(plain: bytes, *, codec: Codec, count: int, payload: bytes | None = None) -> bytes:
    """A batch with right checksums, whatever its payload is."""
    return bytes(
        encode_batch(
            compress(codec, plain) if payload is None else payload,
            codec=codec,
            record_count=count,
            last_offset_delta=count - 1,
            base_timestamp_ms=TIME_MS,
            max_timestamp_ms=TIME_MS,
        )
    )


def records(*values: bytes) -> bytes:
    if not values:
        return b""
    return bytes(encode_records((None, value, TIME_MS, ()) for value in values).payload)


def check(plain: bytes, *, codec: Codec = Codec.ZSTD, count: int = 1, **parts: Any) -> None:
    check_payload(read_batch(frame(plain, codec=codec, count=count, **parts)), LogConfig())


LARGE = [os.urandom(1_000) * 5 for _ in range(1_000)]
MANY = [b"%d" % number for number in range(3 * RUN_RECORD_COUNT)]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("values", [[b"v"], LARGE, MANY], ids=["one", "large", "many"])
def test_what_producers_compress_is_taken(codec: Codec, values: Sequence[bytes]) -> None:
    plain = records(*values)
    check(plain, codec=codec, count=len(values))
    batch = read_batch(frame(plain, codec=codec, count=len(values)))
    assert sum(1 for _ in read_records(batch, size_max=1 << 24)) == len(values)


@pytest.mark.parametrize("codec", CODECS)
def test_what_does_not_decompress_is_corrupt(codec: Codec) -> None:
    whole = bytes(compress(codec, records(b"value" * 100)))
    for payload in (b"garbage!", b"", whole[:-1], whole + b"x"):
        with pytest.raises(CorruptBatch):
            check(b"", codec=codec, payload=payload)


@pytest.mark.parametrize("codec", CODECS)
def test_a_decompression_bomb_is_too_large(codec: Codec) -> None:
    with pytest.raises(RecordTooLarge):
        check(bytes(20 << 20), codec=codec)


def test_small_topics_have_small_bounds() -> None:
    batch = read_batch(frame(records(bytes(70_000)), codec=Codec.ZSTD, count=1))
    with pytest.raises(RecordTooLarge):
        check_payload(batch, LogConfig(max_message_bytes=1_024))
    check_payload(batch, LogConfig(max_message_bytes=2_048))


@pytest.mark.parametrize("values", [[b"v"] * 3, LARGE, MANY], ids=["few", "large", "many"])
def test_a_count_that_is_not_the_headers_is_corrupt(values: Sequence[bytes]) -> None:
    plain = records(*values)
    for count in (len(values) - 1, len(values) + 1):
        with pytest.raises(CorruptBatch, match=f"the {count} records"):
            check(plain, count=count)


BROKEN = {
    "another field": b"\x12\x01x",
    "a number": b"\x08\x01",
    "a tag longer than it need be": b"\x8a\x00\x00",
    "a size without end": b"\x0a" + b"\xff" * 12,
    "a record cut short": b"\x0a\x05ab",
    "a tag alone": b"\x0a",
    "a record that is no protobuf": b"\x0a\x02\xff\xff",
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("before", [0, RUN_RECORD_COUNT + 5], ids=["few", "many"])
def test_anything_but_records_is_corrupt(name: str, before: int) -> None:
    plain = records(*[b"v"] * before) + BROKEN[name]
    with pytest.raises(CorruptBatch):
        check(plain, count=before + 1)
    with pytest.raises(CorruptBatch):
        check(plain, count=before or 2)


def placed(*deltas: int) -> bytes:
    """Records at these places of their batch, whatever it says."""
    return record_pb2.Records(
        records=[record_pb2.Record(offset_delta=delta, value=b"v") for delta in deltas]
    ).SerializeToString()


@pytest.mark.parametrize("deltas", [[1], [-1], [1_000_000], [0, 0], [1, 0], [0, 2]], ids=str)
def test_records_that_are_not_where_their_batch_has_them_are_corrupt(deltas: list[int]) -> None:
    with pytest.raises(CorruptBatch, match="one offset after the other"):
        check(placed(*deltas), count=len(deltas))


def test_places_are_checked_from_run_to_run() -> None:
    count = RUN_RECORD_COUNT + 2
    check(placed(*range(count)), count=count)
    with pytest.raises(CorruptBatch, match="one offset after the other"):
        check(placed(*range(RUN_RECORD_COUNT), 0, 1), count=count)


def test_payloads_too_large_to_cut_are_checked_as_well() -> None:
    plain = records(*[bytes(1 << 20)] * 5)
    assert len(plain) > CUT_SIZE_MAX
    check(plain, count=5)
    with pytest.raises(CorruptBatch):
        check(plain + b"\x12\x00", count=5)


def test_what_is_not_compressed_waits_for_no_thread_unless_it_is_very_large() -> None:
    usual = read_batch(frame(records(*[bytes(1_000)] * 500), codec=Codec.NONE, count=500))
    assert is_checked_at_once(usual, LogConfig())
    large = read_batch(frame(records(*[bytes(1_000)] * 1_100), codec=Codec.NONE, count=1_100))
    assert not is_checked_at_once(large, LogConfig())
    count = LOOP_RECORD_COUNT_MAX + 1
    many = read_batch(frame(records(*[b"v"] * count), codec=Codec.NONE, count=count))
    assert not is_checked_at_once(many, LogConfig())
    check_payload(many, LogConfig())


async def test_an_uncompressed_batch_damaged_on_its_way_is_told_of_its_crc() -> None:
    test = Producing()
    damaged = bytearray(frame(records(b"v" * 100), codec=Codec.NONE, count=1))
    damaged[-101] ^= 1
    test.client.open.set()
    await test.serve([request(frame=bytes(damaged), correlation_id=1)])
    (answer,) = test.client.answers
    assert "crc32c" in answer.error.message


def test_only_small_batches_are_opened_on_the_loop() -> None:
    small = read_batch(frame(records(b"v" * 1_000), codec=Codec.ZSTD, count=1))
    assert is_checked_at_once(small, LogConfig())
    grown = read_batch(frame(records(bytes(1 << 20)), codec=Codec.ZSTD, count=1))
    assert len(grown.frame) < 1_000
    assert not is_checked_at_once(grown, LogConfig())
    large = read_batch(frame(records(os.urandom(20_000)), codec=Codec.LZ4, count=1))
    assert not is_checked_at_once(large, LogConfig())
    count = LOOP_RECORD_COUNT_MAX + 1
    many = read_batch(frame(records(*[b"v"] * count), codec=Codec.ZSTD, count=count))
    assert not is_checked_at_once(many, LogConfig())


async def produced(test: Producing, *frames: bytes) -> list[int | str]:
    """The offset or the reason of each, in the order of the requests."""
    test.client.open.set()
    await test.serve(
        [request(frame=each, correlation_id=number) for number, each in enumerate(frames)]
    )
    answers = sorted(test.client.answers, key=lambda answer: answer.correlation_id)
    return [
        from_proto(each.error).reason if each.HasField("error") else each.base_offset
        for each in answers
    ]


async def test_a_batch_that_cannot_be_opened_is_refused_before_it_is_appended() -> None:
    test = Producing()
    good = frame(records(b"v"), codec=Codec.LZ4, count=1)
    bad = frame(b"", codec=Codec.LZ4, count=1, payload=b"garbage!")
    # What comes behind a gap must not get in front of it: the lane goes on refusing.
    assert await produced(test, good, bad, good) == [0, "CORRUPT_BATCH", "CORRUPT_BATCH"]
    assert len(test.replica.placed) == 1


async def test_a_bomb_is_refused_before_it_is_appended() -> None:
    test = Producing()
    bomb = frame(records(bytes(20 << 20)), codec=Codec.ZSTD, count=1)
    assert await produced(test, bomb) == ["RECORD_TOO_LARGE"]
    assert test.replica.placed == []


async def test_batches_are_stored_as_they_came() -> None:
    test = Producing()
    large = records(*[os.urandom(10_000)] * 10)
    frames = [frame(large, codec=codec, count=10) for codec in Codec]
    assert await produced(test, *frames) == [0, 1, 2, 3, 4]
    assert [bytes(batch.frame) for batch in test.replica.placed] == frames
    assert test.offload.run_count == len(CODECS)


async def test_a_checksum_that_fails_is_found_before_anything_is_opened() -> None:
    test = Producing()
    damaged = bytearray(frame(records(*[os.urandom(10_000)] * 10), codec=Codec.ZSTD, count=10))
    damaged[-1] ^= 1
    assert await produced(test, bytes(damaged)) == ["CORRUPT_BATCH"]
    assert test.offload.run_count == 0


async def test_batches_that_are_recompressed_are_opened_too() -> None:
    test = Producing(compression_type=CompressionType.ZSTD)
    wrong = frame(records(b"v") * 2, codec=Codec.GZIP, count=1)
    right = frame(records(b"v"), codec=Codec.GZIP, count=1)
    assert await produced(test, right, wrong) == [0, "CORRUPT_BATCH"]
    assert test.replica.placed[0].header.codec is Codec.ZSTD


@pytest.mark.parametrize("compression_type", [CompressionType.PRODUCER, CompressionType.ZSTD])
async def test_what_is_not_compressed_is_looked_into_as_well(
    compression_type: CompressionType,
) -> None:
    test = Producing(compression_type=compression_type)
    garbage = frame(b"garbage!", codec=Codec.NONE, count=1)
    assert await produced(test, garbage) == ["CORRUPT_BATCH"]
    assert test.replica.placed == []
