"""Admin calls that brokers answer among themselves: two brokers on real sockets and disks."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from integration.broker.fake_controller import FakeController
from integration.broker.requests import collected, failure, from_offset, publish, read, records_of
from integration.broker.running_broker import RunningBroker, fake_controller, running_broker

from kit.faulty_filesystem import FaultyFilesystem
from ottla.api.admin.v1 import admin_pb2
from ottla.internal.broker.v1 import broker_pb2, broker_pb2_grpc
from ottla.protocol.error_details import from_proto
from ottla.protocol.errors import NotAuthorized, OffsetOutOfRange
from ottla_broker import app

BROKER = admin_pb2.CONFIG_RESOURCE_KIND_BROKER
BY_A_BROKER = (("ottla-forwarded-by", "9"),)


class Brokers(NamedTuple):
    """Topic `split`: partition 0 at the first, 1 at the second, ten records each."""

    controller: FakeController
    first: RunningBroker
    second: RunningBroker


@pytest.fixture
async def brokers(tmp_path: Path) -> AsyncIterator[Brokers]:
    async with (
        fake_controller() as controller,
        running_broker(tmp_path / "1", controller) as first,
        running_broker(tmp_path / "2", controller, node_id=2) as second,
    ):
        controller.create_topic("split")
        topic_id = controller.create_topic("far", leader_id=2)
        assert topic_id
        await first.caught_up()
        await second.caught_up()
        for name in ("split", "far"):
            await first.produce.Publish(publish(name, *[b"v"] * 10), timeout=10)
        yield Brokers(controller, first, second)


def item(topic: str, before: int, *, partition: int = 0, topic_id: bytes = b"") -> Any:
    ref = admin_pb2.TopicRef(name=topic, topic_id=topic_id)
    return admin_pb2.RecordsToDelete(topic=ref, partition=partition, before_offset=before)


async def deleted(broker: RunningBroker, *items: Any) -> list[Any]:
    request = admin_pb2.DeleteRecordsRequest(partitions=items)
    response = await broker.admin.DeleteRecords(request, timeout=20)
    return list(response.results)


async def test_records_are_deleted_at_whichever_broker_leads(brokers: Brokers) -> None:
    results = await deleted(brokers.first, item("split", 4), item("far", 6), item("none", 1))
    assert [each.log_start_offset for each in results[:2]] == [4, 6]
    assert from_proto(results[2].error).reason == "UNKNOWN_TOPIC_OR_PARTITION"
    for broker, name, start in [(brokers.first, "split", 4), (brokers.second, "far", 6)]:
        messages = await collected(broker.fetch.Read(read(name), timeout=10))
        assert [each.offset for each in records_of(messages)] == [*range(start, 10)]
        error = await failure(
            collected(broker.fetch.Read(read(name, start=from_offset(0)), timeout=10))
        )
        assert isinstance(error, OffsetOutOfRange)
    topic_id = brokers.controller.topics["far"].topic_id
    (again,) = await deleted(brokers.first, item("", 2, topic_id=topic_id))
    assert (again.topic, again.log_start_offset, again.HasField("error")) == ("far", 6, False)


async def test_deleting_to_the_high_watermark_leaves_nothing_and_goes_no_further(
    brokers: Brokers,
) -> None:
    (result,) = await deleted(brokers.second, item("split", -1))
    assert result.log_start_offset == 10
    assert await collected(brokers.first.fetch.Read(read("split"), timeout=10))
    (beyond,) = await deleted(brokers.second, item("split", 11))
    error = from_proto(beyond.error)
    assert error.reason == "OFFSET_OUT_OF_RANGE"
    assert (error.topic, error.partition) == ("split", 0)
    assert (error.metadata["earliest_offset"], error.metadata["latest_offset"]) == ("10", "10")
    response = await brokers.first.produce.Publish(publish("split", b"next"), timeout=10)
    assert response.results[0].offset == 10


async def test_a_deleted_beginning_stays_deleted_when_the_broker_restarts(tmp_path: Path) -> None:
    async with fake_controller() as controller:
        async with running_broker(tmp_path, controller) as broker:
            await broker.create_topic("kept")
            await broker.produce.Publish(publish("kept", *[b"v"] * 5), timeout=10)
            (result,) = await deleted(broker, item("kept", 3))
            assert result.log_start_offset == 3
        async with running_broker(tmp_path, controller) as broker:
            messages = await collected(broker.fetch.Read(read("kept"), timeout=10))
            assert [each.offset for each in records_of(messages)] == [3, 4]


async def test_a_leader_that_is_elected_meanwhile_is_waited_for(brokers: Brokers) -> None:
    brokers.controller.move_leader("far", 0, leader_id=None)
    await brokers.first.caught_up()
    async with asyncio.TaskGroup() as group:
        deleting = group.create_task(deleted(brokers.first, item("far", 3)))
        await brokers.first.caught_up()  # an answer that came after the call was made
        brokers.controller.move_leader("far", 0, leader_id=2)
    (result,) = deleting.result()
    assert (result.log_start_offset, result.HasField("error")) == (3, False)


async def directories(broker: RunningBroker, **fields: Any) -> list[Any]:
    request = admin_pb2.DescribeLogDirectoriesRequest(**fields)
    found = []
    while True:
        page = await broker.admin.DescribeLogDirectories(request, timeout=20)
        found += page.directories
        request.page_token = page.next_page_token
        if not request.page_token:
            return found


def segments_size(directory: Path) -> int:
    """Bytes of the segments in the only log of a directory."""
    (log,) = (each for each in directory.iterdir() if each.is_dir())
    return sum(file.stat().st_size for file in log.iterdir() if file.suffix == ".log")


async def test_any_broker_describes_the_directories_of_all(
    brokers: Brokers, tmp_path: Path
) -> None:
    found = await directories(brokers.first)
    assert [(each.node_id, each.path) for each in found] == [
        (1, str(tmp_path / "1" / "logs")),
        (2, str(tmp_path / "2" / "logs")),
    ]
    usage = await asyncio.to_thread(os.statvfs, tmp_path)
    for each in found:
        assert each.online
        assert len(each.directory_id) == 16
        assert each.total_bytes == usage.f_frsize * usage.f_blocks
        assert 0 < each.free_bytes <= each.total_bytes
    (held,) = found[1].replicas
    assert (held.topic, held.partition) == ("far", 0)
    assert held.topic_id == brokers.controller.topics["far"].topic_id
    assert (held.log_start_offset, held.log_end_offset) == (0, 10)
    assert held.size_bytes == await asyncio.to_thread(segments_size, tmp_path / "2" / "logs")


async def test_only_the_brokers_asked_for_are_described_page_by_page(brokers: Brokers) -> None:
    for number in range(5):
        brokers.controller.create_topic(f"more-{number}", leader_id=2)
    await brokers.second.caught_up()
    found = await directories(brokers.first, node_ids=[2], page_size=2)
    assert {each.node_id for each in found} == {2}
    names = [replica.topic for each in found for replica in each.replicas]
    assert names == ["far", *(f"more-{number}" for number in range(5))]
    assert max(len(each.replicas) for each in found) == 2


async def test_a_broker_that_does_not_answer_is_a_row_with_its_error(
    brokers: Brokers, unused_tcp_port: int
) -> None:
    brokers.controller.add_broker(3, host="127.0.0.1", port=unused_tcp_port)
    await brokers.first.caught_up()
    found = await directories(brokers.first)
    assert [each.node_id for each in found] == [1, 2, 3]
    assert from_proto(found[2].error).reason == "LEADER_NOT_AVAILABLE"


async def test_an_offline_directory_is_described_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filesystem = FaultyFilesystem()
    monkeypatch.setattr(app, "OsFilesystem", lambda: filesystem)
    disks = (tmp_path / "a", tmp_path / "b")
    async with (
        fake_controller() as controller,
        running_broker(tmp_path / "data", controller, log_dirs=disks) as broker,
    ):
        await broker.create_topic("spread", partition_count=2)
        filesystem.failing_under = disks[1]
        filesystem.errors["datasync"] = errno.EIO
        for partition in (0, 1):
            await broker.produce.Publish(publish("spread", b"v", partition=partition), timeout=10)
        good, bad = await directories(broker)
        assert (good.online, bad.online) == (True, False)
        error = from_proto(bad.error)
        assert error.reason == "STORAGE_OFFLINE"
        assert str(disks[1]) in error.message
        assert [len(each.replicas) for each in (good, bad)] == [1, 1]


async def described(broker: RunningBroker, node_id: int, *names: str) -> Any:
    resource = admin_pb2.ConfigResource(kind=BROKER, name=str(node_id))
    request = admin_pb2.DescribeConfigsRequest(resources=[resource], names=names)
    response = await broker.admin.DescribeConfigs(request, timeout=20)
    (result,) = response.results
    return result


async def test_any_broker_tells_what_another_was_started_with(
    brokers: Brokers, tmp_path: Path
) -> None:
    brokers.controller.config_entries = [
        admin_pb2.ConfigEntry(
            name="retention.ms", value="77", source=admin_pb2.CONFIG_SOURCE_CLUSTER, dynamic=True
        )
    ]
    for node_id in (1, 2):
        result = await described(brokers.first, node_id, "data.dir", "retention.ms", "rack")
        values = {each.name: (each.value, each.source) for each in result.entries}
        assert values == {
            "data.dir": (str(tmp_path / str(node_id)), admin_pb2.CONFIG_SOURCE_STATIC),
            "rack": ("", admin_pb2.CONFIG_SOURCE_DEFAULT),
            "retention.ms": ("77", admin_pb2.CONFIG_SOURCE_CLUSTER),
        }
        week = 7 * 86_400_000
        synonyms = {each.name: [*each.synonyms] for each in result.entries}
        (default,) = synonyms["retention.ms"]
        assert (default.value, default.source) == (str(week), admin_pb2.CONFIG_SOURCE_DEFAULT)


async def test_a_caller_that_is_no_broker_is_sent_to_admin_service(brokers: Brokers) -> None:
    stub: Any = broker_pb2_grpc.BrokerServiceStub(brokers.first.channel)
    for call, request in [
        (stub.DeleteReplicaRecords, broker_pb2.DeleteReplicaRecordsRequest()),
        (stub.DescribeReplicaDirectories, broker_pb2.DescribeReplicaDirectoriesRequest()),
        (stub.DescribeStaticConfigs, broker_pb2.DescribeStaticConfigsRequest()),
    ]:
        error = await failure(call(request, timeout=10))
        assert isinstance(error, NotAuthorized)
        assert "AdminService" in error.message


async def test_clients_with_a_listener_of_their_own_find_no_broker_service(tmp_path: Path) -> None:
    listeners = ("public=127.0.0.1:0", "inside=127.0.0.1:0")
    async with (
        fake_controller() as controller,
        running_broker(
            tmp_path, controller, listener=listeners, inter_broker_listener="inside"
        ) as broker,
    ):
        (registered,) = controller.registrations
        inside = next(each.port for each in registered.endpoints if each.listener == "inside")
        request = broker_pb2.DescribeStaticConfigsRequest()
        outside: Any = broker_pb2_grpc.BrokerServiceStub(broker.channel)
        error = await failure(
            outside.DescribeStaticConfigs(request, metadata=BY_A_BROKER, timeout=10)
        )
        assert error.status.name == "UNIMPLEMENTED"
        async with grpc.aio.insecure_channel(f"127.0.0.1:{inside}") as channel:
            stub: Any = broker_pb2_grpc.BrokerServiceStub(channel)
            answer = await stub.DescribeStaticConfigs(request, metadata=BY_A_BROKER, timeout=10)
            assert "data.dir" in [each.name for each in answer.entries]
