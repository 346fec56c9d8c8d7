"""SIGKILL during a publish at full rate: no acknowledged record lost, no torn one served.

A short form runs always; OTTLA_CRASH_SECONDS makes it longer, a kill every few seconds.
"""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from integration.broker.requests import BATCHES, collected, read, records_of
from integration.walk.processes import Client, Cluster, client_of, running_cluster

from ottla.api.produce.v1 import produce_pb2
from ottla.api.record.v1 import record_pb2

SECONDS = float(os.environ.get("OTTLA_CRASH_SECONDS", "5"))
KILL_AFTER_SECONDS = (0.5, 2.5)
PARTITIONS = 4
PUBLISHERS = 8
SLACK_SECONDS = 120

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(SECONDS * 3 + SLACK_SECONDS),
    pytest.mark.may_block(reason="the test starts processes and reads what they wrote"),
]


@dataclass
class Ledger:
    """What was sent, and where the broker said it is."""

    sent: set[bytes] = field(default_factory=set)
    acknowledged: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def take(self, value: bytes, result: produce_pb2.PublishResult) -> None:
        if result.HasField("error"):
            return
        place = (result.partition, result.offset)
        assert place not in self.acknowledged, f"{place} was given to two records"
        self.acknowledged[place] = value


async def publish_until_killed(
    client: Client, ledger: Ledger, *, name: str, seed: random.Random
) -> None:
    """Publish batches of odd sizes one after the other until the broker is gone."""
    for number in range(1_000_000_000):
        count = seed.randint(1, 200)
        values = [
            b"%s-%d-%d-" % (name.encode(), number, each) + seed.randbytes(seed.randint(0, 300))
            for each in range(count)
        ]
        ledger.sent.update(values)
        records = [record_pb2.PlainRecord(value=value) for value in values]
        request = produce_pb2.PublishRequest(topic="crash", records=records)
        try:
            response = await client.produce.Publish(request, timeout=20)
        except grpc.RpcError:
            return
        for value, result in zip(values, response.results, strict=True):
            ledger.take(value, result)


async def one_life(cluster: Cluster, ledger: Ledger, *, life: int, seed: random.Random) -> None:
    """Publish at full rate from several connections, then kill the broker in the middle."""
    clients = [Client(cluster.broker.port) for _ in range(PUBLISHERS)]
    try:
        async with asyncio.TaskGroup() as group:
            for number, client in enumerate(clients):
                work = publish_until_killed(
                    client, ledger, name=f"{life}-{number}", seed=random.Random(seed.random())
                )
                group.create_task(work, name=f"publisher-{number}")
            await asyncio.sleep(seed.uniform(*KILL_AFTER_SECONDS))
            await cluster.broker.kill()
    finally:
        for client in clients:
            await client.channel.close()


async def check(cluster: Cluster, ledger: Ledger) -> None:
    """Every acknowledged record is where it was said to be; nothing served was never sent."""
    async with client_of(cluster.broker) as client:
        for partition in range(PARTITIONS):
            request = read("crash", partition=partition, format=BATCHES)
            records = records_of(await collected(client.fetch.Read(request, timeout=60)))
            assert [each.offset for each in records] == list(range(len(records)))
            served = {each.offset: each.value for each in records}
            assert ledger.sent.issuperset(served.values())
            for (where, offset), value in ledger.acknowledged.items():
                if where == partition:
                    assert served.get(offset) == value, f"{where}:{offset} is lost"


async def test_no_acknowledged_record_is_lost_and_no_torn_one_served(tmp_path: Path) -> None:
    seed = random.Random(int(os.environ.get("OTTLA_CRASH_SEED", "7")))
    loop = asyncio.get_running_loop()
    async with running_cluster(tmp_path) as cluster:
        async with client_of(cluster.broker) as client:
            await client.create_topic("crash", partition_count=PARTITIONS)
        ledger = Ledger()
        began, life = loop.time(), 0
        while loop.time() - began < SECONDS:
            await one_life(cluster, ledger, life=life, seed=seed)
            await cluster.start_broker()
            await check(cluster, ledger)
            life += 1
        assert life >= 1
        assert len(ledger.acknowledged) > 100 * life
