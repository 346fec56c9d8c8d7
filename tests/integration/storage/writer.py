"""A process that appends until it is killed, and says what was acknowledged.

python writer.py DIRECTORY SEED      prints "offset number" once a batch is flushed
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from kit.batches import make_batch
from ottla.protocol.ids import TopicId
from ottla_broker.core.append_checks import Acks
from ottla_broker.core.log_config import LogConfig
from ottla_broker.replica.partition import Partition
from ottla_broker.replica.replica_table import ReplicaTable
from ottla_broker.storage.filesystem import OsFilesystem
from ottla_broker.storage.log_directory import DirectorySurroundings, StorageConfig
from ottla_broker.storage.ports import ThreadOffload
from ottla_runtime.clock import SystemClock
from ottla_runtime.entropy import SystemEntropy

TOPIC_ID = TopicId(bytes(range(16)))
CONFIG = LogConfig(segment_bytes=64 * 1024)
WRITERS = 8


@asynccontextmanager
async def opened(root: Path) -> AsyncIterator[ReplicaTable]:
    """The table of a directory, running: real files, real time, real threads."""
    offload = ThreadOffload(name="storage", threads_max=8)
    surroundings = DirectorySurroundings(
        filesystem=OsFilesystem(),
        clock=SystemClock(),
        offload=offload,
        events=lambda event: None,
        config=StorageConfig(checkpoint_interval_ms=20),
    )
    try:
        table = await ReplicaTable.open(
            [root], node_id=1, entropy=SystemEntropy(), surroundings=surroundings
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(table.run(), name="table")
            await asyncio.sleep(0)
            yield table
            table.abandon()
    finally:
        await asyncio.to_thread(offload.close, waits=True)


async def lead(table: ReplicaTable) -> Partition:
    """The writer's partition, under the next epoch."""
    partition = table.find("topic", 0) or await table.open_partition(
        TOPIC_ID, "topic", 0, config=CONFIG, directory_id=None
    )
    await partition.reconfigure(CONFIG)
    latest = partition._log.epochs.latest
    await partition.become_leader(0 if latest is None else latest + 1)
    return partition


async def write(partition: Partition, seed: int) -> None:
    """Append for ever, each batch a value that names itself."""
    chance = random.Random(seed)
    number = 0
    while True:
        number += 1
        value = b"%d-%d-" % (seed, number) + b"x" * chance.randrange(4_000)
        result = await partition.append([make_batch(value)], acks=Acks.ALL)
        os.write(1, b"%d %d-%d\n" % (result.base_offset, seed, number))


async def main(root: Path, seed: int) -> None:
    async with opened(root) as table, asyncio.TaskGroup() as group:
        partition = await lead(table)
        for number in range(WRITERS):
            group.create_task(write(partition, seed * 100 + number), name=f"writer-{number}")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
