"""Requests that cannot be parsed, or hold too much: one answer everywhere, and a quiet log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from integration.broker.bad_requests import (
    BROKER_SERVICES,
    CONTROLLER_SERVICES,
    answer_to,
    answers_to,
)
from integration.broker.requests import failure, publish
from integration.broker.running_broker import RunningBroker, fake_controller, running_broker
from integration.walk.processes import Cluster, running_cluster

from ottla.api.admin.v1 import admin_pb2, admin_pb2_grpc
from ottla.api.produce.v1 import produce_pb2
from ottla.api.record.v1 import record_pb2

GARBAGE = b"\xff\xff\xff\xff"
REFUSED = ("INVALID_ARGUMENT", "INVALID_REQUEST")
PUBLISH = "/ottla.api.produce.v1.ProduceService/Publish"
PRODUCE = "/ottla.api.produce.v1.ProduceService/Produce"
FETCH = "/ottla.api.fetch.v1.FetchService/Fetch"
IMPORT = "/ottla.api.admin.v1.AdminService/ImportMetadata"
CREATE_TOPICS = "/ottla.api.admin.v1.AdminService/CreateTopics"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path) as running:
        yield running


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[RunningBroker]:
    async with fake_controller() as controller, running_broker(tmp_path, controller) as running:
        await running.create_topic("flights")
        yield running


def troubles(log_text: str) -> list[str]:
    """Lines of a service's log that say that somebody must look, and whatever is no line."""
    return [line for line in log_text.splitlines() if not _is_quiet(line)]


def _is_quiet(line: str) -> bool:
    try:
        said = json.loads(line)
    except ValueError:
        return False
    # That the controller was late is the machine's doing, whatever was asked of it.
    return said["level"] in {"debug", "info"} or said["event"] == "sessions.extended"


def wrong(answers: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Answers that are not as they should be; what isn't served yet may say so unread."""
    found = {method: answer for method, answer in answers.items() if answer != REFUSED}
    if found.get(IMPORT) == ("UNIMPLEMENTED", "UNSUPPORTED_VERSION"):
        del found[IMPORT]
    return found


async def test_every_method_answers_garbage_alike_and_without_noise(cluster: Cluster) -> None:
    for service, names in (
        (cluster.broker, BROKER_SERVICES),
        (cluster.controller, CONTROLLER_SERVICES),
    ):
        async with grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel:
            assert wrong(await answers_to(channel, GARBAGE, names)) == {}
        assert troubles(await asyncio.to_thread(service.log_text)) == []


@pytest.mark.parametrize("method", [PUBLISH, PRODUCE, FETCH])
async def test_a_message_larger_than_any_may_be_leaves_no_trace(
    cluster: Cluster, method: str
) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{cluster.broker.port}") as channel:
        error = await answer_to(channel, method, bytes(5_000_000))
    assert error.status.name == "RESOURCE_EXHAUSTED"
    assert troubles(await asyncio.to_thread(cluster.broker.log_text)) == []


async def test_requests_of_very_many_tiny_messages_are_refused_unparsed(
    cluster: Cluster,
) -> None:
    empty = [record_pb2.PlainRecord()] * 1_000_000
    headers = record_pb2.PlainRecord(headers=[record_pb2.Header()] * 1_000_000)
    topics = [admin_pb2.NewTopic()] * 1_000_000
    many: list[tuple[str, Any]] = [
        (PUBLISH, produce_pb2.PublishRequest(topic="t", records=empty)),
        (PUBLISH, produce_pb2.PublishRequest(topic="t", records=[headers])),
        (CREATE_TOPICS, admin_pb2.CreateTopicsRequest(topics=topics)),
    ]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{cluster.broker.port}") as channel:
        for method, request in many:
            error = await answer_to(channel, method, request.SerializeToString())
            assert (error.status.name, error.reason) == REFUSED
            assert "elements" in error.message
    async with grpc.aio.insecure_channel(f"127.0.0.1:{cluster.controller.port}") as channel:
        stub: Any = admin_pb2_grpc.AdminServiceStub(channel)
        error = await failure(stub.CreateTopics(many[2][1], timeout=20))
        assert error.reason == "INVALID_REQUEST"
        assert "elements" in error.message


async def test_a_request_on_a_stream_is_bounded_too(broker: RunningBroker) -> None:
    error = await answer_to(broker.channel, FETCH, bytes(2 << 20))
    assert (error.status.name, error.reason) == REFUSED


async def test_as_many_records_as_a_request_may_have_are_taken(broker: RunningBroker) -> None:
    records = [record_pb2.PlainRecord(value=b"z" * 20) for _ in range(30_000)]
    request = produce_pb2.PublishRequest(topic="flights", records=records)
    response = await broker.produce.Publish(request, timeout=20)
    assert [result.offset for result in response.results] == list(range(30_000))
    assert (await broker.produce.Publish(publish("flights", b"v"))).results[0].offset == 30_000
