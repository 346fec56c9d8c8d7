"""SIGKILL of the broker during `send_many` at full rate: nothing acknowledged is lost or repeated.

A short form runs always; OTTLA_CRASH_SECONDS makes it longer, a kill in each life of a producer.
"""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from integration.walk.processes import Cluster, client_of, running_cluster

from ottla.client.consumer import Consumer
from ottla.client.deliveries import Deliveries
from ottla.client.producer import Producer

SECONDS = float(os.environ.get("OTTLA_CRASH_SECONDS", "5"))
KILL_AFTER_SECONDS = (0.3, 1.5)
GO_ON_RECORDS = 20_000
PARTITIONS = 4
CHUNK = 2_000
PADDING = random.Random(3).randbytes(1_000)
SLACK_SECONDS = 120

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(SECONDS * 4 + SLACK_SECONDS),
    pytest.mark.may_block(reason="the test starts processes and reads what they wrote"),
]

Place = tuple[int, int]
"""Partition and offset."""


def value_of(number: int) -> bytes:
    return b"%010d" % number + PADDING[: number * 7_919 % 600]


@dataclass
class Sent:
    """Records by number, and where each was acknowledged to be."""

    deliveries: list[Deliveries] = field(default_factory=list)
    count: int = 0

    async def send(self, producer: Producer[bytes, bytes], topic: str) -> None:
        values = [value_of(number) for number in range(self.count, self.count + CHUNK)]
        self.deliveries.append(await producer.send_many(topic, values))
        self.count += CHUNK

    async def places(self) -> list[Place]:
        """By number; raises if any record was given up."""
        receipts = [receipt for each in self.deliveries for receipt in await each]
        return [(receipt.partition, receipt.offset or 0) for receipt in receipts]


async def sent_through_a_kill(cluster: Cluster, topic: str, *, seed: random.Random) -> list[Place]:
    """Send at full rate while the broker is killed and started again."""
    sent, is_back = Sent(), asyncio.Event()
    async with Producer(f"127.0.0.1:{cluster.broker.port}") as producer:
        await sent.send(producer, topic)

        async def send_on() -> None:
            while not is_back.is_set():
                await sent.send(producer, topic)

        async with asyncio.TaskGroup() as group:
            group.create_task(send_on(), name="sender")
            await asyncio.sleep(seed.uniform(*KILL_AFTER_SECONDS))
            count_before = sent.count
            await cluster.broker.kill()
            await cluster.start_broker()
            is_back.set()
        for _ in range(GO_ON_RECORDS // CHUNK):
            await sent.send(producer, topic)
        assert sent.count >= count_before + GO_ON_RECORDS
        return await sent.places()


async def stored_places(cluster: Cluster, topic: str) -> dict[int, list[Place]]:
    """Every copy of every record by its number; each is as it was sent."""
    found: dict[int, list[Place]] = {}
    bootstrap = f"127.0.0.1:{cluster.broker.port}"
    async with Consumer(bootstrap, auto_offset_reset="earliest") as consumer:
        await consumer.assign([topic])
        ends = await consumer.end_offsets([(topic, each) for each in range(PARTITIONS)])
        left = {place.partition: end for place, end in ends.items() if end}
        while left:
            for record in await consumer.next_batch():
                value = record.value or b""
                number = int(value[:10])
                assert value == value_of(number)
                found.setdefault(number, []).append((record.partition, record.offset))
                if record.offset + 1 == left.get(record.partition):
                    del left[record.partition]
    return found


def check(acknowledged: list[Place], stored: dict[int, list[Place]]) -> None:
    assert len(set(acknowledged)) == len(acknowledged), "a place was given to two records"
    assert sorted(stored) == list(range(len(acknowledged)))
    lost = [number for number, place in enumerate(acknowledged) if place not in stored[number]]
    assert lost == []
    # A record is sent again only while nobody has acknowledged it: that copy is its last.
    again = [number for number, place in enumerate(acknowledged) if place != stored[number][-1]]
    assert again == []
    for partition in range(PARTITIONS):
        offsets = [offset for where, offset in acknowledged if where == partition]
        assert offsets == sorted(offsets)


async def test_a_killed_broker_loses_nothing_acknowledged_and_repeats_only_the_rest(
    tmp_path: Path,
) -> None:
    seed = random.Random(int(os.environ.get("OTTLA_CRASH_SEED", "7")))
    loop = asyncio.get_running_loop()
    async with running_cluster(tmp_path) as cluster:
        began, life = loop.time(), 0
        while loop.time() - began < SECONDS:
            topic = f"crash-{life}"
            async with client_of(cluster.broker) as client:
                await client.create_topic(topic, partition_count=PARTITIONS)
            acknowledged = await sent_through_a_kill(cluster, topic, seed=seed)
            check(acknowledged, await stored_places(cluster, topic))
            async with client_of(cluster.broker) as client:
                await client.delete_topic(topic)
            life += 1
        assert life >= 1
