"""Bad input over real sockets: a clear error with its reason, and the broker goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from integration.broker.requests import collected, failure, from_offset, publish, read, records_of
from integration.broker.running_broker import RunningBroker, fake_controller, running_broker

from ottla.api.error.v1 import error_pb2
from ottla.api.fetch.v1 import fetch_pb2
from ottla.api.metadata.v1 import metadata_pb2
from ottla.api.produce.v1 import produce_pb2
from ottla.api.record.v1 import record_pb2
from ottla.protocol.error_details import from_proto

Record = record_pb2.PlainRecord
Publish = produce_pb2.PublishRequest
Read = fetch_pb2.ReadRequest
NO_VERSION = (("ottla-min-version", "x"),)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[RunningBroker]:
    async with fake_controller() as controller, running_broker(tmp_path, controller) as running:
        await running.create_topic("flights", partition_count=2)
        await running.create_topic("small", configs={"max.message.bytes": "1024"})
        yield running


def position_of(number: Any) -> fetch_pb2.ReadStart:
    return fetch_pb2.ReadStart(position=number)


async def check_going_on(broker: RunningBroker) -> None:
    """Records still go in and come out."""
    response = await broker.produce.Publish(publish("flights", b"fine", partition=0), timeout=10)
    assert not response.results[0].HasField("error")
    messages = await collected(broker.fetch.Read(read("flights"), timeout=10))
    assert records_of(messages)[-1].value == b"fine"


def raw(*values: bytes) -> Publish:
    return Publish(topic="flights", records=[Record(value=value) for value in values])


BAD_PUBLISHES: dict[str, tuple[Publish, str]] = {
    "no records": (Publish(topic="flights"), "INVALID_REQUEST"),
    "too many records": (raw(*[b""] * 30_001), "INVALID_REQUEST"),
    "too many bytes": (raw(b"x" * (1 << 19), b"y" * (1 << 19), b"z"), "RECORD_TOO_LARGE"),
    "no topic": (publish("", b"x"), "INVALID_TOPIC"),
    "topic .": (publish(".", b"x"), "INVALID_TOPIC"),
    "topic ..": (publish("..", b"x"), "INVALID_TOPIC"),
    "topic with a slash": (publish("../etc/passwd", b"x"), "INVALID_TOPIC"),
    "topic with a null": (publish("a\0b", b"x"), "INVALID_TOPIC"),
    "topic of 250 letters": (publish("t" * 250, b"x"), "INVALID_TOPIC"),
    "topic of a megabyte": (publish("t" * (1 << 20), b"x"), "INVALID_TOPIC"),
    "topic in Cyrillic": (publish("рейсы", b"x"), "INVALID_TOPIC"),
    "the cluster's own topic": (publish("__consumer_offsets", b"x"), "INVALID_TOPIC"),
    "unknown topic": (publish("nowhere", b"x"), "UNKNOWN_TOPIC_OR_PARTITION"),
    "short topic id": (publish("flights", b"x", topic_id=b"abc"), "INVALID_REQUEST"),
    "another topic id": (
        publish("flights", b"x", topic_id=b"z" * 16),
        "UNKNOWN_TOPIC_OR_PARTITION",
    ),
    "timeout out of bounds": (publish("flights", b"x", timeout_ms=600_001), "INVALID_REQUEST"),
    "unknown acks": (publish("flights", b"x", acks=17), "UNSUPPORTED_VERSION"),
    "an identity": (
        publish("flights", b"x", identity=produce_pb2.ProducerIdentity(producer_id=1)),
        "UNSUPPORTED_VERSION",
    ),
}


@pytest.mark.parametrize("name", BAD_PUBLISHES)
async def test_a_bad_publish_fails_with_its_reason(broker: RunningBroker, name: str) -> None:
    request, reason = BAD_PUBLISHES[name]
    error = await failure(broker.produce.Publish(request, timeout=10))
    assert error.reason == reason
    assert error.message
    await check_going_on(broker)


async def test_bad_records_fail_their_partition_alone(broker: RunningBroker) -> None:
    response = await broker.produce.Publish(publish("flights", b"x", partition=7), timeout=10)
    assert from_proto(response.results[0].error).reason == "UNKNOWN_TOPIC_OR_PARTITION"
    response = await broker.produce.Publish(publish("small", b"x" * 2_000, b"y"), timeout=10)
    errors = [from_proto(each.error) for each in response.results]
    assert [each.reason for each in errors] == ["RECORD_TOO_LARGE", "RECORD_TOO_LARGE"]
    # The partition's first record tells the whole error, the others its reason.
    assert [(each.topic, each.partition) for each in errors] == [("small", 0), (None, None)]
    future = [Record(value=b"x", timestamp_ms=9_999_999_999_999)]
    response = await broker.produce.Publish(Publish(topic="small", records=future), timeout=10)
    assert from_proto(response.results[0].error).reason == "INVALID_REQUEST"
    messages = await collected(broker.fetch.Read(read("small"), timeout=10))
    assert records_of(messages) == []
    await check_going_on(broker)


BAD_READS: dict[str, tuple[Read, str]] = {
    "negative offset": (read("flights", start=from_offset(-1)), "INVALID_REQUEST"),
    "offset behind the end": (read("flights", start=from_offset(99)), "OFFSET_OUT_OF_RANGE"),
    "largest offset": (read("flights", start=from_offset(2**63 - 1)), "OFFSET_OUT_OF_RANGE"),
    "negative end": (read("flights", until=fetch_pb2.ReadUntil(offset=-5)), "INVALID_REQUEST"),
    "no position": (read("flights", start=position_of(0)), "INVALID_REQUEST"),
    "unknown position": (
        read("flights", start=position_of(9)),
        "UNSUPPORTED_VERSION",
    ),
    "unknown format": (read("flights", format=9), "UNSUPPORTED_VERSION"),
    "unknown isolation": (read("flights", isolation=9), "UNSUPPORTED_VERSION"),
    "unknown partition": (read("flights", partition=2), "UNKNOWN_TOPIC_OR_PARTITION"),
    "largest partition": (read("flights", partition=2**32 - 1), "UNKNOWN_TOPIC_OR_PARTITION"),
    "unknown topic": (read("nowhere"), "UNKNOWN_TOPIC_OR_PARTITION"),
    "bad topic": (read("a b"), "INVALID_TOPIC"),
}


@pytest.mark.parametrize("name", BAD_READS)
async def test_a_bad_read_fails_with_its_reason(broker: RunningBroker, name: str) -> None:
    request, reason = BAD_READS[name]
    error = await failure(collected(broker.fetch.Read(request, timeout=10)))
    assert error.reason == reason
    await check_going_on(broker)


async def test_other_bad_requests_fail_with_their_reason(broker: RunningBroker) -> None:
    queries = [fetch_pb2.OffsetQuery(topic="flights")] * 1_001
    too_many = fetch_pb2.ListOffsetsRequest(queries=queries)
    names = [str(number) for number in range(1_001)]
    calls: dict[str, tuple[Any, str]] = {
        "queries": (broker.fetch.ListOffsets(too_many), "INVALID_REQUEST"),
        "page token": (
            broker.metadata.GetMetadata(metadata_pb2.GetMetadataRequest(page_token="?")),
            "INVALID_REQUEST",
        ),
        "page size": (
            broker.metadata.GetMetadata(metadata_pb2.GetMetadataRequest(page_size=10_001)),
            "INVALID_REQUEST",
        ),
        "names": (
            broker.metadata.GetMetadata(metadata_pb2.GetMetadataRequest(topics=names)),
            "INVALID_REQUEST",
        ),
        "watched names": (
            broker.metadata.WatchMetadata(metadata_pb2.WatchMetadataRequest(topics=names)).read(),
            "INVALID_REQUEST",
        ),
        "forwarding": (
            broker.produce.Publish(publish("flights", b"x"), metadata=NO_VERSION),
            "INVALID_REQUEST",
        ),
    }  # fmt: skip
    for name, (call, reason) in calls.items():
        assert (await failure(call)).reason == reason, name
    await check_going_on(broker)


async def test_errors_carry_what_a_client_needs_beside_the_reason(broker: RunningBroker) -> None:
    error = await failure(broker.produce.Publish(Publish(topic="flights"), timeout=10))
    assert [each.field for each in error.field_errors] == ["records"]
    error = await failure(broker.produce.Publish(publish("nowhere", b"x"), timeout=10))
    assert (error.topic, error.retriable, error.refresh_metadata) == ("nowhere", True, True)


async def test_a_message_that_is_no_protobuf_ends_its_call_alone(broker: RunningBroker) -> None:
    garbage = b"\xff" * 100
    for method in (
        "ottla.api.produce.v1.ProduceService/Publish",
        "ottla.api.fetch.v1.FetchService/ListOffsets",
        "ottla.api.metadata.v1.MetadataService/GetMetadata",
        "ottla.api.admin.v1.AdminService/CreateTopics",
    ):
        call: Any = broker.channel.unary_unary(f"/{method}")
        with pytest.raises(grpc.RpcError):
            await call(garbage, timeout=10)
    await check_going_on(broker)


async def test_a_request_larger_than_any_may_be_is_refused(broker: RunningBroker) -> None:
    huge = publish("flights", b"x" * (5 << 20))
    call = broker.produce.Publish(huge, timeout=10)
    with pytest.raises(grpc.RpcError):
        await call
    assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await check_going_on(broker)


async def test_unknown_fields_are_left_alone(broker: RunningBroker) -> None:
    wire = publish("flights", b"x", partition=1).SerializeToString() + b"\xa2\x06\x03new"
    call: Any = broker.channel.unary_unary("/ottla.api.produce.v1.ProduceService/Publish")
    response = produce_pb2.PublishResponse.FromString(await call(wire, timeout=10))
    assert [each.error.reason for each in response.results] == [error_pb2.ERROR_REASON_UNSPECIFIED]
