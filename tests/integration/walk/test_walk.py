"""Real data through real services: a controller process, a broker process, stock stubs."""

from __future__ import annotations

from pathlib import Path

import pytest
from integration.broker.requests import (
    failure,
    publish,
)
from integration.walk.processes import ServiceProcess, client_of, running_cluster, values_of

from ottla.api.admin.v1 import admin_pb2
from ottla.protocol.error_details import from_proto

pytestmark = [
    pytest.mark.slow,
    pytest.mark.may_block(reason="the test starts processes and reads what they wrote"),
]

ACKS_LEADER = 2


async def test_both_services_restart_in_good_order_and_keep_everything(tmp_path: Path) -> None:
    async with running_cluster(tmp_path) as cluster:
        async with client_of(cluster.broker) as client:
            await client.create_topic("flights")
            await client.produce.Publish(publish("flights", b"before"), timeout=20)
        assert await cluster.broker.end() == 0
        assert await cluster.controller.end() == 0
        await cluster.controller.start()
        await cluster.start_broker()
        async with client_of(cluster.broker) as client:
            await client.produce.Publish(publish("flights", b"after"), timeout=20)
            assert await values_of(client, "flights") == [b"before", b"after"]


async def test_records_flow_on_while_the_controller_is_killed_and_comes_back(
    tmp_path: Path,
) -> None:
    async with running_cluster(tmp_path) as cluster, client_of(cluster.broker) as client:
        await client.create_topic("steady")
        await client.produce.Publish(publish("steady", b"0"), timeout=20)
        await cluster.controller.kill()
        response = await client.produce.Publish(publish("steady", b"1"), timeout=20)
        assert response.results[0].offset == 1
        assert await values_of(client, "steady") == [b"0", b"1"]
        request = admin_pb2.CreateTopicsRequest(topics=[admin_pb2.NewTopic(name="later")])
        error = await failure(client.admin.CreateTopics(request, timeout=2))
        assert error.reason in {"METADATA_STORE_UNAVAILABLE", "OUTCOME_UNKNOWN"}
        await cluster.controller.start()
        await client.create_topic("later")
        for topic in ("steady", "later"):
            response = await client.produce.Publish(publish(topic, b"2"), timeout=20)
            result = response.results[0]
            while result.HasField("error"):  # the broker may have had to register again
                assert from_proto(result.error).retriable
                response = await client.produce.Publish(publish(topic, b"2"), timeout=20)
                result = response.results[0]
        assert (await values_of(client, "steady"))[:2] == [b"0", b"1"]
        assert (await values_of(client, "later"))[-1:] == [b"2"]


async def test_a_broker_that_cannot_start_says_why_in_one_line(tmp_path: Path) -> None:
    async with running_cluster(tmp_path) as cluster:
        address = f"--controller=127.0.0.1:{cluster.controller.port}"

        async def refused(name: str, data_dir: Path, port: int, *extra: str) -> str:
            broker = ServiceProcess(
                "ottla_broker",
                "--node-id=2",
                f"--data-dir={data_dir}",
                log=tmp_path / f"{name}.log",
            )
            broker.port = port
            assert await broker.refuse(*extra) == 1
            spoken = [line for line in broker.log_text().splitlines() if line[:1] != "{"]
            assert len(spoken) == 1, spoken
            return spoken[0]

        line = await refused("port", tmp_path / "b2", cluster.broker.port, address)
        assert f"127.0.0.1:{cluster.broker.port}" in line
        assert "in use" in line
        assert "in use" in await refused("directory", tmp_path / "broker", 0, address)
        async with client_of(cluster.broker) as client:
            await client.create_topic("still-there")
        await cluster.broker.end()
        other = ServiceProcess(
            "ottla_controller",
            "--node-id=1",
            f"--data-dir={tmp_path / 'other'}",
            log=tmp_path / "other.log",
        )
        await other.start()
        try:
            stranger = ServiceProcess(
                "ottla_broker",
                "--node-id=1",
                f"--data-dir={tmp_path / 'broker'}",
                log=tmp_path / "stranger.log",
            )
            assert await stranger.refuse(f"--controller=127.0.0.1:{other.port}") == 1
            assert "cluster" in stranger.log_text().splitlines()[-1]
        finally:
            await other.kill()
        await cluster.start_broker()
        async with client_of(cluster.broker) as client:
            assert await values_of(client, "still-there") == []
