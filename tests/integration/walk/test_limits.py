"""A disk that fills up, and a log far larger than what reading it may cost."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest
from integration.broker.requests import BATCHES, collected, publish, read, records_of
from integration.walk.processes import Client, Cluster, client_of, running_cluster

from ottla.api.fetch.v1 import fetch_pb2
from ottla.protocol.error_details import from_proto

MIB = 1 << 20
LARGE_LOG_SIZE = int(os.environ.get("OTTLA_LARGE_LOG_MIB", "192")) * MIB
GROWTH_MAX = 64 * MIB
SMALL_DISK_SIZE = 24 * MIB

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.may_block(reason="the test starts processes and reads what they wrote"),
]


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[], None] | None]:
    """A file system that holds little at `folder`, or, where that is not allowed, small files.

    Yields what to do in the broker's process before it starts.
    """
    folder.mkdir()
    if not _mounted(folder):
        limits = (SMALL_DISK_SIZE, SMALL_DISK_SIZE)
        yield partial(resource.setrlimit, resource.RLIMIT_FSIZE, limits)
        return
    try:
        yield None
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _mounted(folder: Path) -> bool:
    mount = shutil.which("mount")
    if mount is None:
        return False
    command = [mount, "-t", "tmpfs", "-o", f"size={SMALL_DISK_SIZE}", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


async def fill(client: Client, topic: str) -> tuple[int, str]:
    """Publish until it is refused; returns how many were acknowledged, and the reason."""
    count = 0
    while True:
        value = b"%08d" % count + os.urandom(400_000)
        response = await client.produce.Publish(publish(topic, value), timeout=20)
        result = response.results[0]
        if result.HasField("error"):
            return count, from_proto(result.error).reason
        assert result.offset == count
        count += 1


async def test_a_full_disk_refuses_records_and_reads_go_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as before:
        cluster = Cluster(tmp_path)
        try:
            await cluster.controller.start()
            await cluster.start_broker(f"--log-dirs={tmp_path / 'disk' / 'log'}", before=before)
            async with client_of(cluster.broker) as client:
                await client.create_topic("full")
                count, reason = await fill(client, "full")
                assert reason == "STORAGE_FULL"
                assert count * 400_000 > SMALL_DISK_SIZE // 2
                messages = await collected(client.fetch.Read(read("full"), timeout=20))
                numbers = [int(each.value[:8]) for each in records_of(messages)]
                assert numbers == list(range(count))
                response = await client.produce.Publish(publish("full", b"x" * 400_000), timeout=20)
                assert from_proto(response.results[0].error).reason == "STORAGE_FULL"
                await client.delete_topic("full")
                await client.create_topic("after")
                response = await client.produce.Publish(publish("after", b"room"), timeout=20)
                assert not response.results[0].HasField("error")
        finally:
            await cluster.stop()


async def watched_growth(pid: int, reading: AsyncIterator[object]) -> tuple[int, int]:
    """How far the process grew while `reading` went on, and how many messages came."""
    process = psutil.Process(pid)
    before = process.memory_info().rss
    most, count = before, 0
    async for _ in reading:
        count += 1
        if count % 16 == 0:
            most = max(most, process.memory_info().rss)
    return max(most, process.memory_info().rss) - before, count


async def test_reading_a_large_log_in_both_formats_hardly_grows_the_broker(tmp_path: Path) -> None:
    async with running_cluster(tmp_path) as cluster, client_of(cluster.broker) as client:
        await client.create_topic("large", configs={"segment.bytes": str(64 * MIB)})
        chunk = os.urandom(1_000_000)
        size = 0
        while size < LARGE_LOG_SIZE:
            requests = [
                client.produce.Publish(publish("large", chunk), timeout=60) for _ in range(8)
            ]
            for response in await asyncio.gather(*requests):
                assert not response.results[0].HasField("error"), response.results[0].error
                size += len(chunk)
        for read_format in (BATCHES, fetch_pb2.READ_FORMAT_RECORDS):
            call = client.fetch.Read(read("large", format=read_format), timeout=120)
            grown, count = await watched_growth(cluster.broker.pid, call)
            assert count >= LARGE_LOG_SIZE // MIB
            assert grown < GROWTH_MAX, f"{grown >> 20} MiB in format {read_format}"
