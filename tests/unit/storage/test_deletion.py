"""A replica goes, and nothing of it reaches the next of its name; half a step is gone on with."""

from __future__ import annotations

import asyncio
import errno
import threading
from pathlib import Path

import pytest

from kit.batches import make_batch
from kit.faulty_filesystem import FaultyFilesystem
from kit.offloads import HeldOffload
from kit.storage import TOPIC_ID, StorageContext, values_of
from ottla.protocol.errors import OttlaError, StorageFull, StorageOffline
from ottla.protocol.ids import TopicId
from ottla_broker.core.append_checks import Acks
from ottla_broker.core.log_config import LogConfig
from ottla_broker.core.log_events import DirectoryFailed, LogCorrupted
from ottla_broker.replica.partition import Partition
from ottla_broker.replica.replica_table import ReplicaTable

OTHER_ID = TopicId(b"n" * 16)


class StopsAtUnlink(FaultyFilesystem):
    """Its first unlink of a segment waits to be let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.is_armed = False
        self.reached, self.go_on = threading.Event(), threading.Event()

    def unlink(self, path: Path) -> None:
        if self.is_armed and path.name == f"{0:020d}.log":
            self.is_armed = False
            self.reached.set()
            assert self.go_on.wait(10)
        super().unlink(path)


async def replaced(table: ReplicaTable, context: StorageContext) -> Partition:
    """The topic deleted and created again."""
    await table.delete_partition(TOPIC_ID, 0)
    new = await table.open_partition(OTHER_ID, "topic", 0, config=context.config, directory_id=None)
    await new.become_leader(1)
    return new


async def test_work_on_a_deleted_log_has_ended_before_its_name_is_free(
    context: StorageContext,
) -> None:
    filesystem = context.filesystem = StopsAtUnlink()
    context.config = LogConfig(segment_bytes=1_024)
    async with context.opened() as table, asyncio.TaskGroup() as group:
        old = await context.leader(table)
        for number in range(4):
            await old.append([make_batch(b"%d" % number * 800)], acks=Acks.ALL)
        await old.delete_records(4)
        filesystem.is_armed = True
        retention = group.create_task(_outcome(old), name="retention")
        await asyncio.to_thread(filesystem.reached.wait, 10)
        swap = group.create_task(replaced(table, context), name="swap")
        for _ in range(10):
            await asyncio.sleep(0)
        assert f"{0:020d}.log" in await asyncio.to_thread(context.files)
        filesystem.go_on.set()
        await retention
        new = await swap
        await new.append([make_batch(b"new")], acks=Acks.ALL)
    async with context.opened() as table:
        again = table.get(OTHER_ID, 0)
        await again.become_leader(9)
        assert await values_of(again) == [b"new"]
        assert context.seen(LogCorrupted) == []


async def _outcome(partition: Partition) -> OttlaError | None:
    try:
        await partition._log.trim.apply_retention()
    except OttlaError as error:
        return error
    return None


async def test_deletion_refused_half_way_is_gone_on_with(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"x")], acks=Acks.ALL)
        context.filesystem.errors["sync_directory"] = errno.ENOSPC
        with pytest.raises(StorageFull):
            await table.delete_partition(TOPIC_ID, 0)
        context.filesystem.errors.clear()
        await table.delete_partition(TOPIC_ID, 0)
        assert (table.partitions(), context.seen(DirectoryFailed)) == ([], [])


async def test_deletion_cancelled_half_way_is_gone_on_with(tmp_path: Path) -> None:
    offload = HeldOffload()
    context = StorageContext(tmp_path, offload=offload)
    async with context.opened() as table, asyncio.TaskGroup() as group:
        await context.leader(table)
        offload.holds = True
        first = group.create_task(table.delete_partition(TOPIC_ID, 0), name="first")
        await offload.held(1)
        first.cancel()
        await asyncio.wait([first])
        second = group.create_task(table.delete_partition(TOPIC_ID, 0), name="second")
        await asyncio.sleep(0)
        offload.holds = False
        await offload.release()
        await second
        assert (table.partitions(), context.seen(DirectoryFailed)) == ([], [])


class NoInodesLeft(FaultyFilesystem):
    """No new segment can be made while it `is_full`."""

    is_full = False

    def open(self, path: Path, *, write: bool = False, create: bool = False) -> int:
        if create and self.is_full and path.suffix == ".log":
            raise OSError(errno.ENOSPC, "no inode is left")
        return super().open(path, write=write, create=create)


async def test_creation_refused_half_way_is_gone_on_with(context: StorageContext) -> None:
    filesystem = context.filesystem = NoInodesLeft()
    async with context.opened() as table:
        filesystem.is_full = True
        with pytest.raises(StorageFull):
            await context.create(table)
        filesystem.is_full = False
        partition = await context.leader(table)
        await partition.append([make_batch(b"a")], acks=Acks.ALL)
    async with context.opened() as table:
        assert await values_of(await context.leader(table)) == [b"a"]


async def test_what_half_a_creation_left_is_not_in_another_topics_way(
    context: StorageContext,
) -> None:
    filesystem = context.filesystem = NoInodesLeft()
    async with context.opened() as table:
        filesystem.is_full = True
        with pytest.raises(StorageFull):
            await context.create(table)
        filesystem.is_full = False
        new = await table.open_partition(
            OTHER_ID, "topic", 0, config=context.config, directory_id=None
        )
        await new.become_leader(1)
        await new.append([make_batch(b"a")], acks=Acks.ALL)
    async with context.opened() as table:
        assert [found.topic_id for found in table.partitions()] == [OTHER_ID]


async def test_nobody_waits_for_a_directory_that_has_ended(tmp_path: Path) -> None:
    offload = HeldOffload()
    context = StorageContext(tmp_path, offload=offload)
    async with context.opened() as table, asyncio.TaskGroup() as group:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a", b"b")], acks=Acks.ALL)
        offload.holds = True
        append = group.create_task(_refusal(partition.append([make_batch()], acks=Acks.ALL)))
        start = group.create_task(_refusal(partition.delete_records(1)))
        await offload.held(2)
        table.abandon()
        assert "OUTCOME_UNKNOWN" in await append
        assert "STORAGE_OFFLINE" in await start
        offload.holds = False
        await offload.release()
        with pytest.raises(StorageOffline):
            await table.delete_partition(TOPIC_ID, 0)


async def _refusal(work: object) -> str:
    try:
        await work  # type: ignore[misc]  # any awaitable
    except OttlaError as error:
        return error.reason
    return ""
