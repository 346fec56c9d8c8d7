"""A broker with several disks, one of which comes back empty."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from integration.broker.fake_controller import FakeController
from integration.broker.requests import collected, failure, publish, read, records_of
from integration.broker.running_broker import broker_config, fake_controller, running_broker

from ottla.protocol.error_details import from_proto
from ottla_broker import app
from ottla_broker.storage.ports import ThreadOffload
from ottla_runtime.clock import SystemClock
from ottla_runtime.entropy import SystemEntropy


@pytest.fixture
async def controller() -> AsyncIterator[FakeController]:
    async with fake_controller() as running:
        yield running


async def test_a_disk_that_came_back_empty_never_leads(
    tmp_path: Path, controller: FakeController
) -> None:
    disks = (tmp_path / "disk-a", tmp_path / "disk-b")
    async with running_broker(tmp_path / "data", controller, log_dirs=disks) as broker:
        await broker.create_topic("spread", partition_count=2)
        for number in range(2):
            await broker.produce.Publish(publish("spread", b"kept", partition=number), timeout=10)
        by_directory = {each.directory_id: each.partition for each in controller.assigned}
        lost_id = broker_directories(controller)[1]
        lost = by_directory[lost_id]
    await asyncio.to_thread(shutil.rmtree, disks[1])
    async with running_broker(tmp_path / "data", controller, log_dirs=disks) as broker:
        response = await broker.produce.Publish(publish("spread", b"x", partition=lost), timeout=10)
        assert from_proto(response.results[0].error).retriable
        error = await failure(
            collected(broker.fetch.Read(read("spread", partition=lost), timeout=10))
        )
        assert error.reason in {"LEADER_NOT_AVAILABLE", "STORAGE_OFFLINE"}
        messages = await collected(
            broker.fetch.Read(read("spread", partition=1 - lost), timeout=10)
        )
        assert [each.value for each in records_of(messages)] == [b"kept"]


def broker_directories(controller: FakeController) -> list[bytes]:
    """Directories of the last registration, in the order of the broker's disks."""
    return list(controller.registrations[-1].directory_ids)


async def test_as_many_records_as_a_request_may_have(
    tmp_path: Path, controller: FakeController
) -> None:
    async with running_broker(tmp_path, controller) as broker:
        await broker.create_topic("many", partition_count=3)
        request = publish("many", *[b""] * 30_000)
        response = await broker.produce.Publish(request, timeout=30)
        assert [each.offset for each in response.results] == list(range(30_000))
        partition = response.results[0].partition
        call = broker.fetch.Read(read("many", partition=partition), timeout=30)
        messages = await collected(call)
        assert len(records_of(messages)) == 30_000
        assert max(message.ByteSize() for message in messages) <= 1 << 20


async def test_nothing_is_removed_before_the_metadata_says_what_a_topic_keeps(
    tmp_path: Path, controller: FakeController
) -> None:
    async with running_broker(tmp_path, controller) as broker:
        await broker.create_topic("kept")
        await broker.produce.Publish(publish("kept", b"old"), timeout=10)
    config = broker_config(tmp_path, controller, retention_ms=1, retention_bytes=0)
    offload = ThreadOffload(name="test", threads_max=1)
    replicas = await app._open_replicas(
        config, clock=SystemClock(), entropy=SystemEntropy(), offload=offload
    )
    (replica,) = replicas.partitions()
    assert (replica.config.retention_ms, replica.config.retention_bytes) == (-1, -1)
    replicas.abandon()
    await asyncio.to_thread(offload.close, waits=True)
