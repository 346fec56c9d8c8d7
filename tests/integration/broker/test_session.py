"""The broker's life with its controller: lost, found again, restarted, refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from integration.broker.fake_controller import FakeController
from integration.broker.requests import collected, publish, read, records_of
from integration.broker.running_broker import (
    RecordedProcess,
    RunningBroker,
    broker_config,
    fake_controller,
    running_broker,
)

from ottla.api.metadata.v1 import metadata_pb2
from ottla.api.produce.v1 import produce_pb2
from ottla.protocol.error_details import from_proto
from ottla.protocol.errors import MetadataStoreUnavailable
from ottla_broker.app import run_broker
from ottla_broker.listener_servers import ListenerServers
from ottla_runtime.clock import SystemClock
from ottla_runtime.entropy import SystemEntropy
from ottla_runtime.failures import StartError
from ottla_runtime.rpc_errors import error_of
from ottla_runtime.supervision import Supervisor


@pytest.fixture
async def controller() -> AsyncIterator[FakeController]:
    async with fake_controller() as running:
        yield running


async def reason_of(broker: RunningBroker, *, acks: int) -> str:
    response = await broker.produce.Publish(publish("flights", b"x", acks=acks), timeout=10)
    result = response.results[0]
    return from_proto(result.error).reason if result.HasField("error") else ""


async def start_error(data_dir: Path, controller: FakeController, **settings: object) -> str:
    """Why a broker doesn't start."""
    config = broker_config(data_dir, controller, **settings)
    with pytest.raises(StartError) as raised:
        async with Supervisor() as supervisor:
            process = RecordedProcess(config, supervisor=supervisor)
            supervisor.start("broker", run_broker(process, config))
    return str(raised.value)


async def test_a_registration_says_who_and_where_the_broker_is(
    tmp_path: Path, controller: FakeController
) -> None:
    async with running_broker(tmp_path, controller, rack="r1") as broker:
        (first,) = controller.registrations
        assert (first.node_id, first.rack, first.cluster_id) == (1, "r1", "")
        assert [(each.listener, each.port) for each in first.endpoints] == [("public", broker.port)]
        assert [len(each) for each in first.directory_ids] == [16]
        assert len(first.incarnation_id) == 16
        assert not first.HasField("clean_shutdown_epoch")
        assert controller.heartbeats[-1].applied_version.revision > 0


async def test_a_clean_restart_is_told_apart_and_keeps_every_record(
    tmp_path: Path, controller: FakeController
) -> None:
    controller.create_topic("flights")
    async with running_broker(tmp_path, controller) as broker:
        await broker.produce.Publish(publish("flights", b"kept"), timeout=10)
    async with running_broker(tmp_path, controller) as broker:
        first, second = controller.registrations
        assert second.clean_shutdown_epoch == 101
        assert second.cluster_id == "cluster-a"
        assert second.directory_ids == first.directory_ids
        assert second.incarnation_id != first.incarnation_id
        assert (first.broker_epoch_seen, first.HasField("applied_version")) == (0, False)
        assert second.broker_epoch_seen == 101
        assert second.applied_version.generation == 1
        assert second.applied_version.revision > 0
        messages = await collected(broker.fetch.Read(read("flights"), timeout=10))
        assert [each.value for each in records_of(messages)] == [b"kept"]
        assert messages[-1].leader_epoch == 3  # each registration began an epoch
    assert controller.heartbeats[-1].wants_shutdown


async def test_where_a_replica_is_gets_stored_before_it_leads(
    tmp_path: Path, controller: FakeController
) -> None:
    async with running_broker(tmp_path, controller) as broker:
        topic_id = await broker.create_topic("flights")
        assert await reason_of(broker, acks=produce_pb2.ACKS_ALL) == ""
        (assigned,) = controller.assigned
        assert (assigned.topic_id, assigned.partition) == (topic_id, 0)
        assert list(controller.registrations[0].directory_ids) == [assigned.directory_id]


async def test_a_broker_the_controller_forgot_registers_again_and_leads_anew(
    tmp_path: Path, controller: FakeController
) -> None:
    async with running_broker(tmp_path, controller) as broker:
        await broker.create_topic("flights")
        assert await reason_of(broker, acks=produce_pb2.ACKS_ALL) == ""
        controller.forget_broker(1)
        await controller.registered_again.wait()
        assert controller.registrations[1].clean_shutdown_epoch == 101
        async with asyncio.timeout(20):
            while await leader_epoch_read(broker) != 2:  # it leads as it did, or not yet again
                reason = await reason_of(broker, acks=produce_pb2.ACKS_ALL)
                assert reason in {"", "LEADER_NOT_AVAILABLE", "NOT_LEADER", "OUTCOME_UNKNOWN"}
        assert await reason_of(broker, acks=produce_pb2.ACKS_ALL) == ""
        messages = await collected(broker.fetch.Read(read("flights"), timeout=10))
        assert len(records_of(messages)) >= 2


async def leader_epoch_read(broker: RunningBroker) -> int | None:
    """That of the leader who answers a Read; None while none is ready."""
    try:
        messages = await collected(broker.fetch.Read(read("flights"), timeout=10))
    except grpc.RpcError as failed:
        if error_of(failed).reason != "LEADER_NOT_AVAILABLE":
            raise
        return None
    return messages[-1].leader_epoch


async def test_a_leader_without_its_controller_takes_only_what_nobody_else_could_have(
    tmp_path: Path, controller: FakeController
) -> None:
    controller.session_timeout_ms = 300
    async with running_broker(tmp_path, controller) as broker:
        await broker.create_topic("flights")
        assert await reason_of(broker, acks=produce_pb2.ACKS_LEADER) == ""
        controller.refusal = MetadataStoreUnavailable("gone")
        reason = ""
        while not reason:
            reason = await reason_of(broker, acks=produce_pb2.ACKS_LEADER)
        assert reason == "LEADER_NOT_AVAILABLE"
        assert await reason_of(broker, acks=produce_pb2.ACKS_NONE) == "LEADER_NOT_AVAILABLE"
        assert await reason_of(broker, acks=produce_pb2.ACKS_ALL) == ""
        controller.refusal = None
        while reason:
            reason = await reason_of(broker, acks=produce_pb2.ACKS_LEADER)


async def test_a_broken_watch_is_taken_up_again(tmp_path: Path, controller: FakeController) -> None:
    async with running_broker(tmp_path, controller) as broker:
        controller.end_watches()
        controller.create_topic("flights")
        version = controller.version
        request = metadata_pb2.GetMetadataRequest(min_version=version, topics=["flights"])
        page = await broker.metadata.GetMetadata(request, timeout=10)
        assert [each.leader_id for each in page.topics[0].partitions] == [1]
        assert await reason_of(broker, acks=produce_pb2.ACKS_ALL) == ""


async def test_the_data_directory_of_another_cluster_is_refused_and_left_as_it_is(
    tmp_path: Path, controller: FakeController
) -> None:
    controller.create_topic("flights")
    async with running_broker(tmp_path, controller) as broker:
        await broker.produce.Publish(publish("flights", b"kept"), timeout=10)
    async with fake_controller(cluster_id="cluster-b") as stranger:
        message = await start_error(tmp_path, stranger)
        assert "cluster-a" in message
        assert "cluster-b" in message
    async with running_broker(tmp_path, controller) as broker:
        messages = await collected(broker.fetch.Read(read("flights"), timeout=10))
        assert [each.value for each in records_of(messages)] == [b"kept"]


async def test_a_restored_store_that_forgot_a_topic_costs_no_record(
    tmp_path: Path, controller: FakeController
) -> None:
    topic_id = controller.create_topic("flights")
    async with running_broker(tmp_path, controller) as broker:
        await broker.produce.Publish(publish("flights", b"kept"), timeout=10)
    async with fake_controller() as restored:
        restored.generation = 2
        async with running_broker(tmp_path, restored):
            pass
    async with running_broker(tmp_path, controller) as broker:
        messages = await collected(
            broker.fetch.Read(read("flights", topic_id=topic_id), timeout=10)
        )
        assert [each.value for each in records_of(messages)] == [b"kept"]


async def test_a_directory_in_use_and_a_port_in_use_are_clear_errors(
    tmp_path: Path, controller: FakeController
) -> None:
    async with running_broker(tmp_path, controller) as broker:
        message = await start_error(tmp_path / "other", controller, port=broker.port)
        assert f"127.0.0.1:{broker.port}" in message
        assert "in use" in message
        message = await start_error(tmp_path, controller)
        assert "another process" in message or "in use" in message


async def test_servers_that_cannot_have_their_second_port_let_go_of_their_first(
    tmp_path: Path, controller: FakeController
) -> None:
    listeners = ("first=127.0.0.1:0", f"second=127.0.0.1:{controller.port}")
    config = broker_config(tmp_path, controller, listener=listeners)
    servers = ListenerServers(config, clock=SystemClock(), entropy=SystemEntropy())
    with pytest.raises(StartError, match="in use"):
        servers.bind()
    first_port = servers.port
    await servers.stop(0.0)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", first_port)
