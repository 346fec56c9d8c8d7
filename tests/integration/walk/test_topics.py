"""Topics from creation to deletion through a real controller and broker, with stock stubs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from integration.broker.requests import BATCHES, failure, publish
from integration.walk.processes import Client, client_of, values_of

import ottla.testing
from ottla.api.admin.v1 import admin_pb2
from ottla.api.fetch.v1 import fetch_pb2
from ottla.api.metadata.v1 import metadata_pb2
from ottla.testing import AsyncCluster


@asynccontextmanager
async def cluster_and_client() -> AsyncIterator[tuple[AsyncCluster, Client]]:
    """The services in this process, and stubs of the broker."""
    async with (
        ottla.testing.cluster() as cluster,
        client_of(cluster.broker) as client,
    ):
        yield cluster, client


async def test_a_topic_is_created_written_read_described_and_deleted() -> None:
    async with cluster_and_client() as (cluster, client):
        created = await client.create_topic("flights", partition_count=3)
        assert (created.partition_count, created.replication_factor) == (3, 1)
        response = await client.produce.Publish(
            publish("flights", b"one", b"two", partition=2), timeout=20
        )
        assert [(each.partition, each.offset) for each in response.results] == [(2, 0), (2, 1)]
        assert response.topic_id == created.topic_id
        for read_format in (fetch_pb2.READ_FORMAT_RECORDS, BATCHES):
            found = await values_of(client, "flights", partition=2, format=read_format)
            assert found == [b"one", b"two"]
        query = fetch_pb2.OffsetQuery(
            topic="flights", partition=2, position=fetch_pb2.OFFSET_POSITION_LATEST
        )
        offsets = await client.fetch.ListOffsets(
            fetch_pb2.ListOffsetsRequest(queries=[query]), timeout=20
        )
        assert [each.offset for each in offsets.results] == [2]
        ref = admin_pb2.TopicRef(name="flights")
        described = await client.admin.DescribeTopics(
            admin_pb2.DescribeTopicsRequest(topics=[ref]), timeout=20
        )
        assert [each.leader for each in described.topics[0].partitions] == [1, 1, 1]
        whole = await client.admin.DescribeCluster(admin_pb2.DescribeClusterRequest(), timeout=20)
        assert [(each.node_id, each.state) for each in whole.brokers] == [
            (1, admin_pb2.BROKER_STATE_ACTIVE)
        ]
        assert whole.brokers[0].endpoints[0].port == cluster.broker.port
        await client.delete_topic("flights")
        error = await failure(client.produce.Publish(publish("flights", b"x"), timeout=20))
        assert error.reason == "UNKNOWN_TOPIC_OR_PARTITION"


async def test_a_topic_deleted_and_created_again_shares_nothing() -> None:
    async with cluster_and_client() as (_, client):
        ids = set()
        for number in range(3):
            ids.add((await client.create_topic("again")).topic_id)
            value = b"life %d" % number
            response = await client.produce.Publish(publish("again", value), timeout=20)
            assert response.results[0].offset == 0
            assert await values_of(client, "again") == [value]
            await client.delete_topic("again")
        assert len(ids) == 3


async def test_clients_hear_of_new_topics_by_push() -> None:
    async with cluster_and_client() as (_, client):
        request = metadata_pb2.WatchMetadataRequest(topic_prefixes=["team."])
        call = client.metadata.WatchMetadata(request)
        first = await call.read()
        assert (first.snapshot_begin, len(first.topics)) == (True, 0)
        await client.create_topic("team.orders", partition_count=2)
        seen: dict[int, int] = {}
        while len(seen) < 2:
            for topic in (await call.read()).topics:
                seen |= {each.partition: each.leader_id for each in topic.partitions}
        assert seen == {0: 1, 1: 1}
        call.cancel()
