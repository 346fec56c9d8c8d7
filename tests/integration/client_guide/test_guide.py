"""A client written from the client guide alone gets every record in and out, in order.

The guide's client knows generated stubs, the standard library and CRC-32C; the cluster is real.
"""

from __future__ import annotations

import ast
import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from integration.client_guide.guide_batches import (
    GZIP,
    NO_CODEC,
    GuideRecord,
    check_batch,
    encoded_batch,
    in_request,
    murmur2,
    partition_of,
)
from integration.client_guide.guide_calls import (
    TRY_AGAIN,
    Connections,
    failure_of_item,
    info_of,
)
from integration.client_guide.guide_consumer import GuideConsumer, Position
from integration.client_guide.guide_metadata import Metadata
from integration.client_guide.guide_producer import GuideProducer
from integration.walk.processes import Cluster, client_of, running_cluster

import ottla.testing
from ottla.api.error.v1 import error_pb2
from ottla.api.fetch.v1 import fetch_pb2
from ottla.testing import AsyncCluster

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
VECTORS = ROOT / "tests" / "vectors"
NOON_MS = 1_357_041_600_000


@asynccontextmanager
async def following(bootstrap: str) -> AsyncIterator[Metadata]:
    """A client of the guide that follows two topics."""
    async with Connections() as connections, asyncio.TaskGroup() as group:
        metadata = Metadata(bootstrap, connections)
        follower = group.create_task(metadata.follow(["flights", "later"]), name="follow")
        yield metadata
        follower.cancel()


@asynccontextmanager
async def arranged(partition_count: int = 1) -> AsyncIterator[tuple[AsyncCluster, Metadata]]:
    """A cluster with flights, and a client that follows it."""
    async with (
        ottla.testing.cluster(topics={"flights": partition_count}) as cluster,
        following(cluster.bootstrap) as metadata,
    ):
        yield cluster, metadata


@asynccontextmanager
async def processes(folder: Path) -> AsyncIterator[tuple[Cluster, Metadata]]:
    """The same of processes, which a signal ends whatever they are about."""
    async with running_cluster(folder) as cluster:
        async with client_of(cluster.broker) as client:
            await client.create_topic("flights", partition_count=1)
        async with following(f"127.0.0.1:{cluster.broker.port}") as metadata:
            yield cluster, metadata


def single(value: bytes) -> bytes:
    """A batch of one record."""
    return encoded_batch([GuideRecord(None, value, NOON_MS)])


async def read_all(
    metadata: Metadata, counts: Mapping[int, int], **options: Any
) -> tuple[GuideConsumer, dict[int, Position]]:
    """So many records of each partition from offset 0 on."""
    consumer = GuideConsumer(metadata, "flights", **{"credit_size": 1 << 20} | options)
    positions = {partition: Position(partition, count) for partition, count in counts.items()}
    await consumer.read(positions.values())
    return consumer, positions


async def test_records_come_out_as_they_went_in_with_little_credit() -> None:
    records = [
        GuideRecord(b"key-%d" % (n % 7), None if n % 10 == 0 else b"v" * n, NOON_MS - n)
        for n in range(300)
    ]
    by_partition: dict[int, list[GuideRecord]] = {0: [], 1: [], 2: []}
    for record in records:
        by_partition[partition_of(record.key or b"", 3)].append(record)
    batches = {
        partition: [
            encoded_batch(mine[at : at + 5], codec=GZIP if at % 2 else NO_CODEC)
            for at in range(0, len(mine), 5)
        ]
        for partition, mine in by_partition.items()
    }
    async with arranged(partition_count=3) as (_, metadata):
        lanes = await GuideProducer(metadata, "flights").send(batches)
        counts = {partition: len(mine) for partition, mine in by_partition.items()}
        consumer, positions = await read_all(
            metadata, counts, credit_size=2_000, message_size_max=1_024
        )
    for partition, mine in by_partition.items():
        assert lanes[partition].offsets == {n: 5 * n for n in range(len(batches[partition]))}
        expected = [record._replace(offset=n) for n, record in enumerate(mine)]
        assert positions[partition].records == expected
    (credit,) = consumer.credits
    assert 2_000 - credit.message_size_max < credit.held_max < 2_000 + credit.message_size_max
    assert consumer.failures == []


async def test_what_came_behind_a_refused_batch_is_sent_again_in_order() -> None:
    batches = [single(b"%d" % n) for n in range(20)]
    batches[7] = batches[7][:-1] + b"?"  # the checksum no longer holds
    async with arranged() as (_, metadata):
        lanes = await GuideProducer(metadata, "flights").send({0: batches})
        _, positions = await read_all(metadata, {0: 19})
    assert lanes[0].given_up == {7: "CORRUPT_BATCH"}
    assert lanes[0].offsets == {n: n if n < 7 else n - 1 for n in range(20) if n != 7}
    values = [record.value for record in positions[0].records]
    assert values == [b"%d" % n for n in range(20) if n != 7]


async def test_everything_arrives_through_a_broker_killed_half_way(tmp_path: Path) -> None:
    batches = [single(b"%d" % n) for n in range(400)]
    async with processes(tmp_path) as (cluster, metadata):
        producer = GuideProducer(metadata, "flights")
        epoch = (await metadata.topic("flights")).leaders[0].epoch
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(producer.send({0: batches}), name="send")
            reading = group.create_task(read_all(metadata, {0: 400}), name="read")
            await producer.acknowledged(100)
            await cluster.broker.kill()
            await cluster.start_broker()
        offsets = sending.result()[0].offsets
        assert metadata.topics["flights"].leaders[0].epoch > epoch
        consumer, positions = reading.result()
        end = offsets[399] + 1
        positions[0].wanted_count = end
        await consumer.read(positions.values())
    records = positions[0].records
    assert [record.offset for record in records] == list(range(end))
    assert [records[offsets[n]].value for n in range(400)] == [b"%d" % n for n in range(400)]
    firsts = list(dict.fromkeys(record.value for record in records))
    assert firsts == [b"%d" % n for n in range(400)]  # at least once, and never out of order
    assert consumer.failures


async def test_a_broker_that_drains_is_left_and_found_again(tmp_path: Path) -> None:
    async with processes(tmp_path) as (cluster, metadata):
        producer = GuideProducer(metadata, "flights")
        await producer.send({0: [single(b"before")]})
        consumer = GuideConsumer(metadata, "flights", credit_size=1 << 20)
        position = Position(0, wanted_count=2)
        async with asyncio.TaskGroup() as group:
            group.create_task(consumer.read([position]), name="read")
            await consumer.has_read.wait()
            assert await cluster.broker.end() == 0
            await cluster.start_broker()
            await producer.send({0: [single(b"after")]})
    assert [record.value for record in position.records] == [b"before", b"after"]
    assert "DRAINING" in consumer.failures
    assert set(consumer.failures) <= TRY_AGAIN


async def test_an_offset_that_is_not_there_ends_one_subscription_alone() -> None:
    async with arranged(partition_count=2) as (_, metadata):
        batch = single(b"v")
        await GuideProducer(metadata, "flights").send({0: [batch], 1: [batch]})
        consumer = GuideConsumer(metadata, "flights", credit_size=1 << 20)
        positions = [Position(0, 1, next_offset=77), Position(1, 1)]
        await consumer.read(positions)
    assert consumer.failures == ["OFFSET_OUT_OF_RANGE"]
    assert [[record.value for record in each.records] for each in positions] == [[b"v"], [b"v"]]


async def test_a_topic_followed_before_it_is_there_is_heard_of() -> None:
    async with arranged() as (cluster, metadata):
        await metadata.topic("flights")
        assert "later" not in metadata.topics
        created = await cluster.create_topic("later", partition_count=2)
        assert (await metadata.topic("later")).topic_id == created.topic_id
        asked = Metadata(cluster.bootstrap, metadata.connections)
        await asked.look_up("later")
        assert asked.topics == {"later": metadata.topics["later"]}
        assert asked.addresses == metadata.addresses


# Vectors, read by the guide's client


def vectors(file: str, section: str) -> list[dict[str, Any]]:
    return list(json.loads((VECTORS / f"{file}.json").read_text(encoding="utf-8"))[section])


def test_the_clients_batches_are_those_of_the_vectors() -> None:
    frame = in_request(single(b"v"))
    (listed,) = [v for v in vectors("batches", "batches") if v["name"].startswith("one record")]
    made = in_request(encoded_batch([GuideRecord(None, b"v", 1_000)]))
    assert made.hex() == listed["frame_hex"]
    assert len(frame) == len(made)
    for vector in vectors("batches", "batches"):
        if vector["header"]["header_crc32c"]:
            message = fetch_pb2.FetchResponse.FromString(bytes.fromhex(vector["frame_hex"]))
            check_batch(message.batches[0])


def test_the_clients_hashes_and_reasons_are_those_of_the_vectors() -> None:
    for vector in vectors("partitioner", "keys"):
        key = bytes.fromhex(vector["key_hex"])
        assert murmur2(key) == vector["murmur2"]
        assert partition_of(key, 12) == vector["partitions"]["12"]
    for vector in vectors("errors", "statuses"):
        info = info_of(bytes.fromhex(vector["status_hex"]))
        assert (None if info is None else info.reason) == vector["reason"]


def test_the_client_tries_again_where_the_table_of_reasons_says_so() -> None:
    retriable = {each["reason"] for each in vectors("errors", "reasons") if each["retriable"]}
    assert TRY_AGAIN - {"TRANSPORT_FAILED"} < retriable


def test_a_log_that_was_cut_is_read_on_from_where_it_parts() -> None:
    (listed,) = [each for each in vectors("errors", "items") if each["name"] == "the log was cut"]
    error = error_pb2.Error.FromString(bytes.fromhex(listed["error_hex"]))
    position = Position(4, wanted_count=1, next_offset=130, last_epoch=3)
    assert not position.ended(failure_of_item(error))
    assert (position.next_offset, position.last_epoch) == (120, None)
    assert position.start() == fetch_pb2.ReadStart(offset=120)


# The client, and the guide


def test_the_client_knows_nothing_of_ours_but_generated_code() -> None:
    for path in HERE.glob("guide_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [each.name for each in node.names] if isinstance(node, ast.Import) else []
            ours = [str(name) for name in names if str(name).split(".")[0].startswith("ottla")]
            assert all(name.startswith("ottla.api.") for name in ours), (path.name, ours)


def test_code_in_the_guide_is_the_clients() -> None:
    client = "\n".join(path.read_text(encoding="utf-8") for path in HERE.glob("guide_*.py"))
    guide = (ROOT / "docs/protocols/client-guide.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        # Methods that stand without their class are formatted as functions.
        methods = indent(block.replace("\n\n\n", "\n\n"), "    ")
        assert block in client or methods in client, block


pytestmark = pytest.mark.slow
