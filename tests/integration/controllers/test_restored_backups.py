"""A cluster whose metadata is put back to an earlier day: its logs know more than it does.

What was acknowledged is on the logs and is read again; what comes after is accepted; versions that
anybody has seen only grow.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from integration.broker.requests import publish
from integration.walk.processes import Client, Cluster, running_cluster, values_of

from kit.etcd import EtcdCluster
from ottla.api.admin.v1 import admin_pb2
from ottla.api.metadata.v1 import metadata_pb2

from .platform import Platform, client_of, eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.may_block(reason="the test starts processes and copies files"),
]


async def append(client: Client, topic: str, *values: bytes) -> None:
    """Publishes to partition 0, until the broker leads it."""

    async def done() -> object:
        answer = await client.produce.Publish(publish(topic, *values, partition=0), timeout=20)
        return None if answer.results[0].HasField("error") else answer

    await eventually(done, what=f"leader of {topic}")


async def version_of(client: Client) -> tuple[int, int]:
    """The version of metadata that the broker shows."""
    answer = await client.metadata.GetMetadata(metadata_pb2.GetMetadataRequest(), timeout=10)
    return answer.version.generation, answer.version.revision


async def described(client: Client) -> admin_pb2.DescribeClusterResponse:
    answer: admin_pb2.DescribeClusterResponse = await client.admin.DescribeCluster(
        admin_pb2.DescribeClusterRequest(), timeout=10
    )
    return answer


async def shows(client: Client, generation: int) -> tuple[int, int]:
    """The version that the broker shows, once it is of a generation."""

    async def look() -> tuple[int, int] | None:
        version = await version_of(client)
        return version if version[0] >= generation else None

    version = await eventually(look, what=f"generation {generation}")
    assert version[0] == generation
    return version


def kept_files(folder: Path, topic: str) -> list[str]:
    """Directories of a topic's replicas, under whichever name."""
    return sorted(path.name for path in (folder / "broker").rglob(f"{topic}-*") if path.is_dir())


async def grow_after_backup(client: Client) -> None:
    """What the backup does not know: records, leader epochs, a topic, and a day's other changes."""
    await append(client, "flights", b"after")
    await client.create_topic("later")
    await append(client, "later", b"kept")
    for number in range(20):
        await client.create_topic(f"other-{number}")


async def check_after_restore(client: Client, folder: Path, before: Sequence[int]) -> None:
    """Old records, new records, the topic that the backup does not know, and versions."""
    version = await shows(client, 2)
    assert version > tuple(before)
    await append(client, "flights", b"new")
    assert await values_of(client, "flights") == [b"before", b"after", b"new"]
    assert kept_files(folder, "later") == ["later-0"], "nobody deleted it"
    await client.create_topic("later")
    await append(client, "later", b"another")
    assert await values_of(client, "later") == [b"another"]
    assert len(list((folder / "broker").rglob("~kept-*"))) == 1


@pytest.mark.parametrize(
    ("token", "restarts"),
    [("another-token", True), ("another-token", False), (None, False)],
    ids=["all-restarted", "brokers-ran-on", "brokers-ran-on-and-the-token-is-the-same"],
)
async def test_a_snapshot_of_etcd_put_back_costs_no_record(
    platform: Platform, lone: EtcdCluster, token: str | None, *, restarts: bool
) -> None:
    folder = platform.folder
    async with client_of(platform) as client:
        await client.create_topic("flights")
        await append(client, "flights", b"before")
        await asyncio.to_thread(lone.snapshot, folder / "backup")
        if restarts:  # leader epochs rise beyond those of the backup
            await platform.broker.kill()
            await platform.start_broker()
    async with client_of(platform) as client:
        await grow_after_backup(client)
        before = await version_of(client)
    for controller in platform.controllers.values():
        await controller.kill()
    if restarts:
        await platform.broker.kill()
    await asyncio.to_thread(lone.stop)
    await asyncio.to_thread(lambda: lone.restore(folder / "backup", token=token))
    await asyncio.to_thread(lone.start)
    await platform.start_controllers()
    if restarts:
        await platform.start_broker()
    async with client_of(platform) as client:
        await check_after_restore(client, folder, before)


async def test_etcd_put_back_under_running_controllers_is_noticed(
    platform: Platform, lone: EtcdCluster
) -> None:
    async with client_of(platform) as client:
        await client.create_topic("flights")
        await append(client, "flights", b"before")
        await asyncio.to_thread(lone.snapshot, platform.folder / "backup")
        await grow_after_backup(client)
        before = await version_of(client)
        await asyncio.to_thread(lone.stop)
        await asyncio.to_thread(lone.restore, platform.folder / "backup")
        await asyncio.to_thread(lone.start)
        await check_after_restore(client, platform.folder, before)


def copy_metadata(source: Path, target: Path) -> None:
    """As an operator would, with sqlite's own backup."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


@pytest.mark.parametrize("restarts", [True, False], ids=["all-restarted", "broker-ran-on"])
async def test_an_older_file_of_the_embedded_store_costs_no_record(
    tmp_path: Path, *, restarts: bool
) -> None:
    async with running_cluster(tmp_path) as cluster:
        database = tmp_path / "controller" / "metadata.sqlite"
        client = Client(cluster.broker.port)
        await client.create_topic("flights")
        await append(client, "flights", b"before")
        copy_metadata(database, tmp_path / "backup")
        await client.channel.close()
        client = await _restarted(cluster) if restarts else Client(cluster.broker.port)
        await grow_after_backup(client)
        before = await version_of(client)
        await cluster.controller.kill()
        if restarts:
            await cluster.broker.kill()
        for path in database.parent.glob("metadata.sqlite*"):
            path.unlink()
        shutil.copy(tmp_path / "backup", database)
        await cluster.controller.start()
        if restarts:
            await cluster.start_broker()
        await client.channel.close()
        client = Client(cluster.broker.port)
        await check_after_restore(client, tmp_path, before)
        await client.channel.close()


async def _restarted(cluster: Cluster) -> Client:
    await cluster.broker.kill()
    await cluster.start_broker()
    return Client(cluster.broker.port)
