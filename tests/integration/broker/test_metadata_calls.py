"""GetMetadata, WatchMetadata and forwarded admin calls, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from integration.broker.fake_controller import FakeController
from integration.broker.requests import failure, publish
from integration.broker.running_broker import RunningBroker, fake_controller, running_broker

from ottla.api.admin.v1 import admin_pb2
from ottla.api.cluster.v1 import cluster_pb2
from ottla.api.metadata.v1 import metadata_pb2, metadata_pb2_grpc
from ottla.protocol.error_details import from_proto
from ottla.protocol.errors import Draining, InvalidConfig, TopicExists

Get = metadata_pb2.GetMetadataRequest
Watch = metadata_pb2.WatchMetadataRequest


@pytest.fixture
async def controller() -> AsyncIterator[FakeController]:
    async with fake_controller() as running:
        yield running


@pytest.fixture
async def broker(tmp_path: Path, controller: FakeController) -> AsyncIterator[RunningBroker]:
    async with running_broker(tmp_path, controller) as running:
        yield running


def create(*names: str) -> admin_pb2.CreateTopicsRequest:
    topics = [admin_pb2.NewTopic(name=name, partition_count=3) for name in names]
    return admin_pb2.CreateTopicsRequest(topics=topics)


async def test_a_created_topic_is_visible_and_takes_records_at_once(broker: RunningBroker) -> None:
    for number in range(10):
        name = f"topic-{number}"
        answer = await broker.admin.CreateTopics(create(name), timeout=10)
        page = await broker.metadata.GetMetadata(Get(topics=[name]), timeout=10)
        assert [each.leader_id for each in page.topics[0].partitions] == [1, 1, 1]
        assert page.topics[0].topic_id == answer.results[0].topic_id
        response = await broker.produce.Publish(publish(name, b"x"), timeout=10)
        assert not response.results[0].HasField("error")


async def test_a_deleted_topic_is_gone_at_once(broker: RunningBroker) -> None:
    await broker.admin.CreateTopics(create("short-lived"), timeout=10)
    ref = admin_pb2.TopicRef(name="short-lived")
    await broker.admin.DeleteTopics(admin_pb2.DeleteTopicsRequest(topics=[ref]), timeout=10)
    page = await broker.metadata.GetMetadata(Get(topics=["short-lived"]), timeout=10)
    assert from_proto(page.topics[0].error).reason == "UNKNOWN_TOPIC_OR_PARTITION"


async def test_a_missing_topic_is_made_for_a_producer_that_asks_where_the_broker_is_set_so(
    tmp_path: Path, controller: FakeController
) -> None:
    asked = Get(topics=["new"], create_missing_topics=True)
    async with running_broker(tmp_path / "off", controller) as broker:
        page = await broker.metadata.GetMetadata(asked, timeout=10)
        assert from_proto(page.topics[0].error).reason == "UNKNOWN_TOPIC_OR_PARTITION"
        assert controller.topics == {}
    async with running_broker(
        tmp_path / "on", controller, auto_create_topics_enable=True
    ) as broker:
        page = await broker.metadata.GetMetadata(Get(topics=["new"]), timeout=10)
        assert from_proto(page.topics[0].error).reason == "UNKNOWN_TOPIC_OR_PARTITION"
        page = await broker.metadata.GetMetadata(asked, timeout=10)
        assert [each.leader_id for each in page.topics[0].partitions] == [1]
        controller.refused_names = {"bad"}
        page = await broker.metadata.GetMetadata(
            Get(topics=["bad", "other"], create_missing_topics=True), timeout=10
        )
        assert from_proto(page.topics[0].error).reason == "INVALID_TOPIC"
        assert not page.topics[1].HasField("error")


async def test_metadata_says_what_answers_and_where_brokers_are(broker: RunningBroker) -> None:
    page = await broker.metadata.GetMetadata(Get(), timeout=10)
    assert page.cluster_id == "cluster-a"
    assert [(each.node_id, each.endpoint.host, each.endpoint.port) for each in page.brokers] == [
        (1, "127.0.0.1", broker.port)
    ]
    assert page.server_version
    assert list(page.api_features) == ["publish", "produce", "read", "fetch", "list-offsets"]


async def test_metadata_waits_for_the_version_asked_for(broker: RunningBroker) -> None:
    now = (await broker.metadata.GetMetadata(Get(), timeout=10)).version
    later = cluster_pb2.MetadataVersion(generation=now.generation, revision=now.revision + 1)
    waiting = asyncio.gather(broker.metadata.GetMetadata(Get(min_version=later), timeout=10))
    broker.controller.create_topic("awaited")
    (page,) = await waiting
    assert [each.name for each in page.topics] == ["awaited"]


async def test_a_watch_brings_a_snapshot_changes_and_signs_of_life(broker: RunningBroker) -> None:
    await broker.create_topic("known")
    call = broker.metadata.WatchMetadata(Watch(topics=["known"], topic_prefixes=["new."]))
    first = await call.read()
    assert (first.snapshot_begin, first.snapshot_complete) == (True, True)
    while not (await call.read()).heartbeat:
        pass
    topic_id = broker.controller.create_topic("new.one")
    message = await call.read()
    while message.heartbeat:
        message = await call.read()
    assert [(each.name, each.topic_id) for each in message.topics] == [("new.one", topic_id)]
    call.cancel()


async def test_a_watch_ends_with_draining_when_the_broker_stops(
    tmp_path: Path, controller: FakeController
) -> None:
    async with running_broker(tmp_path / "b", controller) as broker:
        call = broker.metadata.WatchMetadata(Watch(topics=["any"]))
        await call.read()
        broker.process.request_drain()
        with pytest.raises(Exception) as raised:
            while True:
                await call.read()
    assert (await failure(_raising(raised.value))).reason == Draining.reason


async def _raising(error: BaseException) -> None:
    raise error


async def test_admin_calls_go_to_the_controller_with_their_errors(broker: RunningBroker) -> None:
    await broker.admin.CreateTopics(create("a"), timeout=10)
    answer = await broker.admin.CreateTopics(create("a", "b"), timeout=10)
    assert [from_proto(each.error).reason for each in answer.results if each.HasField("error")] == [
        TopicExists.reason
    ]
    listing = await broker.admin.ListTopics(admin_pb2.ListTopicsRequest(), timeout=10)
    assert [each.name for each in listing.topics] == ["a", "b"]
    assert set(broker.controller.principals) == {"User:ANONYMOUS"}
    broker.controller.refusal = InvalidConfig("no", metadata={"topic": "c"})
    error = await failure(broker.admin.CreateTopics(create("c"), timeout=10))
    broker.controller.refusal = None
    assert isinstance(error, InvalidConfig)
    assert error.topic == "c"


async def test_a_call_the_controller_does_not_know_says_so(broker: RunningBroker) -> None:
    request = admin_pb2.DescribeClusterRequest()
    error = await failure(broker.admin.DescribeCluster(request, timeout=10))
    assert error.reason in {"UNIMPLEMENTED", "UNSUPPORTED_VERSION", "INTERNAL"}


async def test_without_a_controller_admin_calls_fail_in_time_and_records_flow_on(
    broker: RunningBroker, controller: FakeController
) -> None:
    await broker.create_topic("steady")
    await broker.produce.Publish(publish("steady", b"before"), timeout=10)
    await controller.stop()
    error = await failure(broker.admin.CreateTopics(create("later"), timeout=3))
    assert error.reason in {"METADATA_STORE_UNAVAILABLE", "OUTCOME_UNKNOWN"}
    response = await broker.produce.Publish(publish("steady", b"after"), timeout=10)
    assert [each.offset for each in response.results] == [1]


async def test_clients_are_told_the_endpoints_of_the_listener_they_came_in_on(
    tmp_path: Path, controller: FakeController
) -> None:
    listeners = ("public=127.0.0.1:0", "inside=127.0.0.1:0")
    async with running_broker(
        tmp_path, controller, listener=listeners, inter_broker_listener="inside"
    ) as broker:
        ports = {each.listener: each.port for each in controller.registrations[0].endpoints}
        assert ports["public"] == broker.port
        for name, port in ports.items():
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub: Any = metadata_pb2_grpc.MetadataServiceStub(channel)
                page = await stub.GetMetadata(Get(), timeout=10)
                (endpoint,) = (each.endpoint for each in page.brokers)
                assert (endpoint.listener, endpoint.port) == (name, port)
