"""Bad batches sent to a broker's process: each has its reason, and good ones are taken after."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from integration.broker.requests import publish
from integration.walk.processes import Client, Cluster, client_of, running_cluster, values_of

from ottla.api.produce.v1 import produce_pb2
from ottla.api.record.v1 import record_pb2
from ottla.protocol.batch import encode_batch, read_batch
from ottla.protocol.compression import Codec, compress
from ottla.protocol.error_details import from_proto
from ottla.protocol.records import encode_record_batch, encode_records

PRODUCE = "/ottla.api.produce.v1.ProduceService/Produce"
TIME_MS = 1_700_000_000_000


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path) as running:
        yield running


def good(value: bytes = b"good") -> bytes:
    return bytes(encode_record_batch([(None, value, TIME_MS, ())]))


def plain(value: bytes = b"good") -> bytes:
    return bytes(encode_records([(None, value, TIME_MS, ())]).payload)


def batch(payload: bytes, *, codec: Codec = Codec.NONE, count: int = 1, **other: Any) -> bytes:
    """A batch with right checksums, whatever it says."""
    fields: dict[str, Any] = {
        "last_offset_delta": max(count - 1, 0),
        "base_timestamp_ms": TIME_MS,
        "max_timestamp_ms": TIME_MS,
        **other,
    }
    return bytes(encode_batch(payload, codec=codec, record_count=count, **fields))


def packed(codec: Codec, content: bytes, *, count: int = 1) -> bytes:
    return batch(bytes(compress(codec, content)), codec=codec, count=count)


ATTRIBUTES = read_batch(good()).header.attributes


def foreign(**changed: Any) -> bytes:
    """As a stub in another language writes it: no checksum, fields in their order."""
    fields: dict[str, Any] = {
        "attributes": ATTRIBUTES,
        "record_count": 1,
        "base_timestamp_ms": TIME_MS,
        "max_timestamp_ms": TIME_MS,
        "records": plain(),
        **changed,
    }
    return record_pb2.LogSegment(batches=[record_pb2.RecordBatch(**fields)]).SerializeToString()


def flipped(frame: bytes, position: int) -> bytes:
    return frame[:position] + bytes([frame[position] ^ 1]) + frame[position + 1 :]


COMPRESSED = [codec for codec in Codec if codec is not Codec.NONE]
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "wrong checksum": (lambda: flipped(good(), len(good()) - 1), "CORRUPT_BATCH"),
    "empty batch": (lambda: batch(b"", count=0), "CORRUPT_BATCH"),
    "records without end": (lambda: batch(plain(), count=2**31), "CORRUPT_BATCH"),
    "fewer bytes than records": (lambda: batch(b"", count=1), "CORRUPT_BATCH"),
    "offsets past the count": (lambda: batch(plain(), last_offset_delta=7), "CORRUPT_BATCH"),
    "unknown codec": (lambda: foreign(attributes=ATTRIBUTES | 6), "UNSUPPORTED_VERSION"),
    "a control batch": (lambda: batch(plain(), is_control=True), "INVALID_REQUEST"),
    "oversized record": (lambda: good(os.urandom(1 << 20)), "RECORD_TOO_LARGE"),
    "another's empty batch": (lambda: foreign(record_count=0, records=b""), "CORRUPT_BATCH"),
    "another's wrong checksum": (lambda: foreign(crc32c=1), "CORRUPT_BATCH"),
    "another's wrong count": (
        lambda: foreign(record_count=2, last_offset_delta=1),
        "CORRUPT_BATCH",
    ),
} | {
    f"{name}, {codec.name.lower()}": (make, reason)
    for codec in COMPRESSED
    for name, make, reason in (
        ("garbage", lambda codec=codec: batch(b"garbage!", codec=codec), "CORRUPT_BATCH"),
        (
            "cut short",
            lambda codec=codec: batch(bytes(compress(codec, plain()))[:-1], codec=codec),
            "CORRUPT_BATCH",
        ),
        (
            "wrong count",
            lambda codec=codec: packed(codec, plain() * 2, count=3),
            "CORRUPT_BATCH",
        ),
        (
            "two records in one place",
            lambda codec=codec: packed(codec, plain() * 2, count=2),
            "CORRUPT_BATCH",
        ),
        ("bomb", lambda codec=codec: packed(codec, bytes(18 << 20)), "RECORD_TOO_LARGE"),
    )
}  # fmt: skip


class Stream:
    """One Produce stream of frames as the test makes them."""

    def __init__(self, client: Client) -> None:
        self._call: Any = client.channel.stream_stream(
            PRODUCE, response_deserializer=produce_pb2.ProduceResponse.FromString
        )(timeout=60)

    async def outcome(self, frames: bytes, **fields: Any) -> int | str:
        """The offset, or the reason."""
        rest = produce_pb2.ProduceRequest(topic="t", resume_partition=True, **fields)
        await self._call.write(frames + rest.SerializeToString())
        answer = await self._call.read()
        if answer.HasField("error"):
            error = from_proto(answer.error)
            assert error.message
            return error.reason
        return int(answer.base_offset)


async def test_every_bad_batch_has_its_reason_and_the_next_good_one_is_taken(
    cluster: Cluster,
) -> None:
    async with client_of(cluster.broker) as client:
        await client.create_topic("t")
        stream = Stream(client)
        outcomes = {name: await stream.outcome(make()) for name, (make, _) in BAD.items()}
        assert outcomes == {name: reason for name, (_, reason) in BAD.items()}
        assert await stream.outcome(good()) == 0
        assert await stream.outcome(foreign()) == 1
        together = good(b"first") + BAD["wrong checksum"][0]()
        assert await stream.outcome(together) == "CORRUPT_BATCH"  # all of a request, or none
        assert await stream.outcome(packed(Codec.ZSTD, plain(b"packed"))) == 2
        assert await values_of(client, "t") == [b"good", b"good", b"packed"]
    assert "Traceback" not in await asyncio.to_thread(cluster.broker.log_text)


TORN = {
    "cut short": good()[:-3],
    "a length past the end": b"\x0a\xff\xff\xff\x7f" + good()[2:],
    "a length without end": b"\x0a" + b"\xff" * 12,
}


@pytest.mark.parametrize("name", TORN)
async def test_a_request_that_is_torn_ends_its_stream_alone(cluster: Cluster, name: str) -> None:
    async with client_of(cluster.broker) as client:
        await client.create_topic("t")
        call: Any = client.channel.stream_stream(PRODUCE)(timeout=60)
        await call.write(TORN[name])
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert await Stream(client).outcome(good()) == 0
    assert "Traceback" not in await asyncio.to_thread(cluster.broker.log_text)


async def test_bad_publishes_leave_the_broker_as_it_was(cluster: Cluster) -> None:
    async with client_of(cluster.broker) as client:
        await client.create_topic("t")
        large = await client.produce.Publish(publish("t", bytes(1 << 20)), timeout=20)
        assert from_proto(large.results[0].error).reason == "RECORD_TOO_LARGE"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.produce.Publish(publish("t"), timeout=20)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        response = await client.produce.Publish(publish("t", b"fine"), timeout=20)
        assert response.results[0].offset == 0
        assert await values_of(client, "t") == [b"fine"]
