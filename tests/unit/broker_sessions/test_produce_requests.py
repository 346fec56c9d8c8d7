"""Requests as raw bytes: batches found in place, fields checked, garbage refused."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.api.produce.v1 import produce_pb2
from ottla.api.record.v1 import record_pb2
from ottla.protocol.batch import encode_varint
from ottla.protocol.errors import (
    InvalidRequest,
    OttlaError,
    RecordTooLarge,
    UnsupportedVersion,
)
from ottla.protocol.records import encode_record_batch
from ottla_broker.core.append_checks import Acks
from ottla_broker.core.log_config import CompressionType, LogConfig
from ottla_broker.rpc.produce_batches import ready_batches
from ottla_broker.rpc.produce_requests import (
    BATCHES_SIZE_MAX,
    ProduceMessage,
    check_terms,
    parse_request,
)
from ottla_broker.storage.ports import ThreadOffload

FIELDS = produce_pb2.ProduceRequest(
    correlation_id=2**63, topic="flights", topic_id=b"t" * 16, partition=3, leader_epoch=0,
    acks=produce_pb2.ACKS_LEADER, timeout_ms=9, resume_partition=True,
)  # fmt: skip


def frame(*values: bytes) -> bytes:
    return bytes(encode_record_batch([(None, value, 5, ()) for value in values]))


def single_fields(message: produce_pb2.ProduceRequest) -> list[bytes]:
    names = [descriptor.name for descriptor, _ in message.ListFields()]
    found = []
    for name in names:
        copy = produce_pb2.ProduceRequest()
        copy.CopyFrom(message)
        for other in names:
            if other != name:
                copy.ClearField(other)  # type: ignore[arg-type]  # a name of its own
        found.append(copy.SerializeToString())
    return found


@given(order=st.randoms(use_true_random=False), batch_count=st.integers(0, 3))
def test_a_request_is_understood_whatever_order_its_fields_have(
    order: random.Random, batch_count: int
) -> None:
    frames = [frame(b"v%d" % number) for number in range(batch_count)]
    pieces = [*single_fields(FIELDS), *frames]
    order.shuffle(pieces)
    message = parse_request(memoryview(b"".join(pieces)))
    assert [bytes(each) for each in message.frames] == [each for each in pieces if each in frames]
    assert message.fields == FIELDS
    assert message.batches_size == sum(map(len, frames))
    assert message.size == sum(map(len, pieces))


@given(st.binary(max_size=80))
def test_garbage_is_refused_or_parsed_and_never_anything_else(data: bytes) -> None:
    try:
        message = parse_request(memoryview(data))
    except InvalidRequest:
        return
    assert message.size <= len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a", b"\x0a\x05abc", b"\x0a" + b"\xff" * 11, b"\x10", b"\x1a\x7f", b"\x1a\x02\xff\xfe",
        b"\x09\x00", b"\x0b\x00",
    ],
)  # fmt: skip
def test_cut_and_impossible_fields_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_request(memoryview(data))


@pytest.mark.parametrize("part", [b"\x0a\x00", b"\x10\x00", b"\x98\x06\x00"])
def test_requests_of_very_many_parts_are_refused_before_they_are_taken_apart(part: bytes) -> None:
    assert parse_request(memoryview(part * 1_000)).size == 1_000 * len(part)
    with pytest.raises(InvalidRequest, match="at most 1000 batches and 1000 other fields"):
        parse_request(memoryview(part * 1_001 + b"\xff" * (1 << 20)))


def message_of(*frames: bytes, **fields: object) -> ProduceMessage:
    request = produce_pb2.ProduceRequest(**fields)  # type: ignore[arg-type]  # fields of the message
    views = [memoryview(each) for each in frames]
    return ProduceMessage(views, request, size=sum(map(len, views)))


def test_terms_have_their_defaults() -> None:
    terms = check_terms(message_of(frame(b"v")))
    assert (terms.acks, terms.timeout_ms, terms.leader_epoch) == (Acks.ALL, 30_000, None)
    terms = check_terms(ProduceMessage([memoryview(frame(b"v"))], FIELDS, size=100))
    assert (terms.acks, terms.timeout_ms, terms.leader_epoch) == (Acks.LEADER, 9, 0)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (message_of(), InvalidRequest),
        (message_of(b"\x0a" * (BATCHES_SIZE_MAX + 1)), RecordTooLarge),
        (message_of(b"x", expected_next_offset=0), UnsupportedVersion),
        (message_of(b"x", acks=9), UnsupportedVersion),
        (message_of(b"x", timeout_ms=600_001), InvalidRequest),
    ],
)
def test_terms_that_cannot_be_kept_are_refused(
    message: ProduceMessage, error: type[OttlaError]
) -> None:
    with pytest.raises(error):
        check_terms(message)


def foreign(*values: bytes, **fields: int) -> bytes:
    """A batch as protobuf writes it, without a checksum, in a frame with a long length."""
    records = record_pb2.Records(
        records=[
            record_pb2.Record(offset_delta=delta, value=value) for delta, value in enumerate(values)
        ]
    )
    known = {
        "attributes": 1 << 8, "last_offset_delta": len(values) - 1, "record_count": len(values),
        "base_timestamp_ms": 5, "max_timestamp_ms": 5,
    }  # fmt: skip
    batch = record_pb2.RecordBatch(
        **(known | fields),
        records=records.SerializeToString(),
    ).SerializeToString()
    return b"\x0a" + bytes([len(batch) & 0x7F | 0x80, len(batch) >> 7 | 0x80, 0]) + batch


class Prepared:
    """`ready_batches` with threads of its own."""

    async def __call__(self, *frames: bytes, **config: object) -> list[bytes]:
        offload = ThreadOffload(name="test-batches", threads_max=1)
        try:
            found = await ready_batches(
                [memoryview(each) for each in frames],
                LogConfig(**config),  # type: ignore[arg-type]  # fields of the config
                offload=offload,
                now_ms=10,
            )
        finally:
            offload.close()
        return [bytes(each.frame) for each in found]


ready = Prepared()


async def test_canonical_batches_come_out_untouched() -> None:
    frames = [frame(b"a", b"b"), frame(b"c")]
    assert await ready(*frames) == frames


async def test_what_other_writers_encode_becomes_canonical() -> None:
    assert await ready(frame(b"a"), foreign(b"b", b"c")) == [frame(b"a"), frame(b"b", b"c")]


async def test_batches_are_recompressed_where_the_topic_says_so() -> None:
    zipped = await ready(frame(b"x" * 500), compression_type=CompressionType.ZSTD)
    assert len(zipped[0]) < 200
    assert await ready(*zipped, compression_type=CompressionType.NONE) == [frame(b"x" * 500)]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\x0a\x03abc", "CORRUPT_BATCH"),
        (b"\x0a" + encode_varint(0), "CORRUPT_BATCH"),
        (foreign(b"a", b"b", record_count=3, last_offset_delta=2), "CORRUPT_BATCH"),
        (foreign(b"a", max_timestamp_ms=99), "CORRUPT_BATCH"),
        (foreign(b"a", attributes=1 << 8 | 1 << 4), "INVALID_REQUEST"),
        (foreign(b"a", attributes=2 << 8), "UNSUPPORTED_VERSION"),
        (foreign(b"a", producer_id=4), "UNSUPPORTED_VERSION"),
        (bytes(encode_record_batch([(None, b"v", 5, ())], producer_id=4)), "UNSUPPORTED_VERSION"),
        (frame(b"v" * 900)[:-1] + b"\x00", None),
    ],
)
async def test_batches_no_log_may_hold_are_refused(data: bytes, error: str | None) -> None:
    if error is None:  # the checksum is the partition's to judge, unless it is to be recompressed
        assert await ready(data) == [data]
        error, codec = "CORRUPT_BATCH", CompressionType.LZ4
    else:
        codec = CompressionType.PRODUCER
    with pytest.raises(OttlaError) as caught:
        await ready(data, compression_type=codec)
    assert caught.value.reason == error
