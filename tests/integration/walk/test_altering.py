"""What operators alter in a cluster that runs: settings, partitions, and the store it lives in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from integration.broker.requests import failure, publish
from integration.walk.processes import (
    Client,
    Cluster,
    ServiceProcess,
    client_of,
    running_cluster,
    values_of,
)

from ottla.api.admin.v1 import admin_pb2
from ottla.api.error.v1.error_pb2 import ErrorReason
from ottla.api.metadata.v1 import metadata_pb2

CLUSTER = admin_pb2.ConfigResource(kind=admin_pb2.CONFIG_RESOURCE_KIND_CLUSTER)
BROKER = admin_pb2.ConfigResource(kind=admin_pb2.CONFIG_RESOURCE_KIND_BROKER, name="1")
FLIGHTS = admin_pb2.ConfigResource(kind=admin_pb2.CONFIG_RESOURCE_KIND_TOPIC, name="flights")


async def set_config(
    client: Client, resource: admin_pb2.ConfigResource, name: str, value: str
) -> None:
    """Sets one setting; it holds on this broker when the call returns."""
    alteration = admin_pb2.ConfigAlteration(
        name=name, operation=admin_pb2.CONFIG_OPERATION_SET, value=value
    )
    item = admin_pb2.ConfigAlterations(resource=resource, alterations=[alteration])
    answer = await client.admin.AlterConfigs(
        admin_pb2.AlterConfigsRequest(resources=[item]), timeout=20
    )
    assert not answer.results[0].HasField("error"), answer.results[0].error


async def sources(
    client: Client, resource: admin_pb2.ConfigResource, name: str
) -> list[tuple[int, str]]:
    """Where a setting's value comes from, the strongest first."""
    answer = await client.admin.DescribeConfigs(
        admin_pb2.DescribeConfigsRequest(resources=[resource], names=[name]), timeout=20
    )
    (entry,) = answer.results[0].entries
    return [(entry.source, entry.value), *((each.source, each.value) for each in entry.synonyms)]


async def fits(client: Client, topic: str, value: bytes) -> bool:
    """Whether a record is taken, and not too large."""
    answer = await client.produce.Publish(publish(topic, value), timeout=20)
    (result,) = answer.results
    if result.HasField("error"):
        assert result.error.reason == ErrorReason.ERROR_REASON_RECORD_TOO_LARGE
    return not result.HasField("error")


async def is_unknown(client: Client, topic: str) -> bool:
    """Whether publishing fails for want of a topic."""
    error = await failure(client.produce.Publish(publish(topic, b"x"), timeout=20))
    return error.reason == "UNKNOWN_TOPIC_OR_PARTITION"


async def calls_logged(cluster: Cluster) -> int:
    text = await asyncio.to_thread(cluster.broker.log_text)
    return text.count("MetadataService/GetMetadata")


async def test_settings_of_a_broker_hold_without_a_restart(tmp_path: Path) -> None:
    async with running_cluster(tmp_path) as cluster, client_of(cluster.broker) as client:
        assert await is_unknown(client, "new")
        await set_config(client, CLUSTER, "auto.create.topics.enable", "true")
        await client.produce.Publish(publish("new", b"one"), timeout=20)
        await set_config(client, BROKER, "auto.create.topics.enable", "false")
        assert await is_unknown(client, "newer")

        anything = metadata_pb2.GetMetadataRequest()
        await client.metadata.GetMetadata(anything, timeout=20)
        assert await calls_logged(cluster) == 0, "the broker was started with access.log=failed"
        await set_config(client, CLUSTER, "access.log", "all")
        await client.metadata.GetMetadata(anything, timeout=20)
        assert await calls_logged(cluster) == 1
        await set_config(client, BROKER, "log.level", "error")
        await client.metadata.GetMetadata(anything, timeout=20)
        assert await calls_logged(cluster) == 1
        assert (await sources(client, BROKER, "access.log"))[:2] == [
            (admin_pb2.CONFIG_SOURCE_CLUSTER, "all"),
            (admin_pb2.CONFIG_SOURCE_STATIC, "failed"),
        ]


async def test_settings_of_topics_hold_on_the_broker_that_leads_them(tmp_path: Path) -> None:
    large = b"x" * 5_000
    async with running_cluster(tmp_path) as cluster, client_of(cluster.broker) as client:
        await client.create_topic("flights")
        assert await fits(client, "flights", large)
        for resource, value, large_fits in (
            (CLUSTER, "2048", False), (BROKER, "9000", True), (FLIGHTS, "1024", False),
        ):  # fmt: skip
            await set_config(client, resource, "max.message.bytes", value)
            assert await fits(client, "flights", large) is large_fits
        assert [value for _, value in await sources(client, FLIGHTS, "max.message.bytes")] == [
            "1024", "9000", "2048", "1048576",
        ]  # fmt: skip
        await cluster.broker.kill()
        await cluster.start_broker("--flush-on-ack=false")
        async with client_of(cluster.broker) as again:
            assert not await fits(again, "flights", large)
            answer = await again.admin.DescribeTopics(admin_pb2.DescribeTopicsRequest(), timeout=20)
            assert answer.topics[0].durability == admin_pb2.DURABILITY_REPLICATED, (
                "the controller knows what the broker was started with"
            )


async def grow(client: Client, name: str, count: int) -> None:
    item = admin_pb2.NewPartitions(topic=admin_pb2.TopicRef(name=name), partition_count=count)
    answer = await client.admin.CreatePartitions(
        admin_pb2.CreatePartitionsRequest(topics=[item]), timeout=20
    )
    assert not answer.results[0].HasField("error"), answer.results[0].error


async def test_partitions_that_are_added_take_records_at_once_and_outlive_a_crash(
    tmp_path: Path,
) -> None:
    async with running_cluster(tmp_path) as cluster, client_of(cluster.broker) as client:
        await client.create_topic("flights")
        await client.produce.Publish(publish("flights", b"one", partition=0), timeout=20)
        await grow(client, "flights", 200)
        await client.produce.Publish(publish("flights", b"two", partition=199), timeout=20)
        shown = await client.metadata.GetMetadata(metadata_pb2.GetMetadataRequest(), timeout=20)
        (topic,) = shown.topics
        assert topic.partition_count == len(topic.partitions) == 200
        for service in (cluster.broker, cluster.controller):
            await service.kill()
        await cluster.controller.start()
        await cluster.start_broker()
        async with client_of(cluster.broker) as again:
            assert await values_of(again, "flights", partition=0) == [b"one"]
            assert await values_of(again, "flights", partition=199) == [b"two"]


async def test_a_cluster_moves_to_a_controller_with_a_store_of_its_own(tmp_path: Path) -> None:
    async with running_cluster(tmp_path) as cluster, client_of(cluster.broker) as client:
        created = await client.create_topic("flights", partition_count=3)
        await client.produce.Publish(publish("flights", b"one", partition=1), timeout=20)
        await set_config(client, FLIGHTS, "retention.ms", "-1")
        exported = client.admin.ExportMetadata(admin_pb2.ExportMetadataRequest(), timeout=20)
        chunks = [message.chunk async for message in exported]
        assert await cluster.broker.end() == 0
        await cluster.controller.end()

        cluster.controller = ServiceProcess(
            "ottla_controller",
            "--node-id=2",
            f"--data-dir={tmp_path / 'moved'}",
            log=tmp_path / "moved.log",
        )
        await cluster.controller.start()
        async with client_of(cluster.controller) as controller:
            imported = await controller.admin.ImportMetadata(_sent(chunks), timeout=20)
            assert imported.record_count == 1 + 1 + 1 + 3
        await cluster.start_broker()
        async with client_of(cluster.broker) as moved:
            assert await values_of(moved, "flights", partition=1) == [b"one"]
            await moved.produce.Publish(publish("flights", b"two", partition=1), timeout=20)
            assert await values_of(moved, "flights", partition=1) == [b"one", b"two"]
            shown = await moved.metadata.GetMetadata(metadata_pb2.GetMetadataRequest(), timeout=20)
            assert shown.topics[0].topic_id == created.topic_id
            assert shown.version.generation == 2
            again = await failure(moved.admin.ImportMetadata(_sent(chunks), timeout=20))
            assert again.reason == "INVALID_REQUEST"
            assert "an import before this one has succeeded" in again.message


async def _sent(chunks: list[bytes]) -> AsyncIterator[Any]:
    for chunk in chunks:
        yield admin_pb2.ImportMetadataRequest(chunk=chunk)
