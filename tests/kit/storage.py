"""A broker's storage on a test's own files, clock and faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from kit.clock import ManualClock
from kit.entropy import SeededEntropy
from kit.faulty_filesystem import FaultyFilesystem, Torn, only_durable
from ottla.protocol.batch import iter_batches
from ottla.protocol.ids import TopicId
from ottla.protocol.records import read_records
from ottla_broker.core.log_config import LogConfig
from ottla_broker.core.log_events import LogEvent
from ottla_broker.replica.partition import Partition
from ottla_broker.replica.replica_table import ReplicaTable
from ottla_broker.storage.log_directory import DirectorySurroundings, StorageConfig
from ottla_broker.storage.ports import Offload, ThreadOffload

TOPIC_ID = TopicId(bytes(range(16)))
Event = TypeVar("Event", bound=LogEvent)


class StorageContext:
    """Everything a `ReplicaTable` is given, and what came of it.

    `opened` is a table on its files; opened again it is the next start of the same broker.
    """

    def __init__(
        self, root: Path, *, directory_count: int = 1, offload: Offload | None = None
    ) -> None:
        self.root = root
        self.paths = [root / f"logs-{number}" for number in range(directory_count)]
        self.filesystem = FaultyFilesystem()
        self.clock = ManualClock()
        self.config = LogConfig()
        self.events: list[LogEvent] = []
        self.node_id = 1
        self.epoch = 0
        self._offload = offload

    @asynccontextmanager
    async def opened(self, *, run: bool = True) -> AsyncIterator[ReplicaTable]:
        """A table that runs; what is not closed by the test is left as after a crash."""
        own = ThreadOffload(name="test-storage", threads_max=4)
        surroundings = DirectorySurroundings(
            filesystem=self.filesystem,
            clock=self.clock,
            offload=self._offload or own,
            events=self.events.append,
            config=StorageConfig(),
        )
        try:
            table = await ReplicaTable.open(
                self.paths,
                node_id=self.node_id,
                entropy=SeededEntropy(7),
                surroundings=surroundings,
            )
            async with asyncio.TaskGroup() as group:
                if run:
                    group.create_task(table.run(), name="table")
                    await asyncio.sleep(0)
                try:
                    yield table
                finally:
                    table.abandon()
        finally:
            await asyncio.to_thread(own.close, waits=True)

    async def leader(self, table: ReplicaTable, partition: int = 0) -> Partition:
        """The topic's partition, led under a new epoch."""
        found = table.find("topic", partition) or await self.create(table, partition)
        await found.reconfigure(self.config)
        self.epoch += 1
        await found.become_leader(self.epoch)
        return found

    async def create(self, table: ReplicaTable, partition: int = 0) -> Partition:
        """The topic's partition, new."""
        return await table.open_partition(
            TOPIC_ID, "topic", partition, config=self.config, directory_id=None
        )

    async def crashed(self, name: str, *, torn: Torn = only_durable) -> StorageContext:
        """The broker after its machine lost power: its disks hold what was flushed, and `torn`."""
        after = StorageContext(self.root / name, directory_count=len(self.paths))

        def pull_the_plug() -> None:
            after.root.mkdir()
            for path, target in zip(self.paths, after.paths, strict=True):
                self.filesystem.crash(path, target, torn=torn)
                after.filesystem.settle(target)

        await asyncio.to_thread(pull_the_plug)
        after.config, after.epoch = self.config, self.epoch
        return after

    def seen(self, kind: type[Event]) -> list[Event]:
        """The events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def files(self, partition: int = 0) -> list[str]:
        """Names of the partition's files, of whichever directory has it."""
        return sorted(
            file.name for path in self.paths for file in (path / f"topic-{partition}").glob("*")
        )


async def values_of(partition: Partition, *, start: int | None = None) -> list[bytes | None]:
    """The values of all records that can be read, with a check that no offset is missing."""
    offset = partition.earliest_offset() if start is None else start
    values: list[bytes | None] = []
    while (part := await partition.read(offset, max_bytes=1_000)) is not None:
        data = await partition.load(part)
        part.release()
        for batch in iter_batches(data):
            for record in read_records(batch, size_max=1 << 24):
                if record.offset >= offset:
                    assert record.offset == offset
                    values.append(record.value)
                    offset += 1
        assert offset == part.next_offset
    assert offset == partition.latest_offset()
    return values
