"""What a directory says of its logs outlives damage: marks, heads of indexes, what is cut."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from kit.batches import make_batch
from kit.faulty_filesystem import FaultyFilesystem
from kit.storage import StorageContext, values_of
from ottla.protocol.errors import StorageFull, StorageOffline
from ottla.protocol.ids import DirectoryId
from ottla_broker.core.append_checks import Acks
from ottla_broker.core.log_config import LogConfig
from ottla_broker.core.log_events import DirectoryFailed, IndexRebuilt, LogCorrupted, TailCut

NOW_MS = 1_700_000_000_000
MAX_TIME_AT = 40
"""Where the head of an index file has the largest time of its segment."""


async def test_marks_of_a_replica_that_cannot_be_told_are_carried_on(
    context: StorageContext,
) -> None:
    async with context.opened() as table:
        for number in range(2):
            partition = await context.leader(table, number)
            await partition.append([make_batch(b"a", b"b", b"c")], acks=Acks.ALL)
            await partition.delete_records(2)
    name = context.paths[0] / "topic-0" / "partition.meta"
    sound = await asyncio.to_thread(name.read_bytes)
    await asyncio.to_thread(name.write_bytes, b"{")
    for _ in range(2):
        async with context.opened() as table:
            assert table.find("topic", 0) is None
            other = await context.leader(table, 1)
            await other.append([make_batch(b"d")], acks=Acks.ALL)
            await other.delete_records(other.log_start_offset + 1)
    await asyncio.to_thread(name.write_bytes, sound)
    async with context.opened() as table:
        partition = await context.leader(table, 0)
        assert partition.log_start_offset == 2
        assert await values_of(partition) == [b"c"]


async def test_records_lost_below_carried_marks_are_missed(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a")], acks=Acks.ALL)
        await partition._log.surroundings.home.checkpoint()
    directory = context.paths[0] / "topic-0"
    sound = await asyncio.to_thread((directory / "partition.meta").read_bytes)
    await asyncio.to_thread((directory / "partition.meta").write_bytes, b"")
    async with context.opened() as table:
        await (await context.leader(table, 7)).append([make_batch(b"x")], acks=Acks.ALL)
        await context.clock.advance(5_000)
        await table.partitions()[0]._log.surroundings.home.checkpoint()
    await asyncio.to_thread((directory / "partition.meta").write_bytes, sound)
    await asyncio.to_thread((directory / f"{0:020d}.log").write_bytes, b"")
    async with context.opened() as table:
        assert len(context.seen(LogCorrupted)) == 1


async def test_nothing_is_carried_on_where_all_replicas_can_be_told(
    context: StorageContext,
) -> None:
    async with context.opened() as table:
        for number in range(2):
            partition = await context.leader(table, number)
            await partition.append([make_batch(b"a")], acks=Acks.ALL)
        await table.delete_partition(partition.topic_id, 1)
        await partition._log.surroundings.home.checkpoint()
    text = await asyncio.to_thread((context.paths[0] / "checkpoint").read_text)
    assert f"{partition.topic_id.hex()}-0" in text
    assert f"{partition.topic_id.hex()}-1" not in text


async def test_flipped_heads_of_both_index_files_are_not_believed(
    context: StorageContext,
) -> None:
    context.config = LogConfig(segment_bytes=1_024)
    async with context.opened() as table:
        partition = await context.leader(table)
        for number in range(4):
            batch = make_batch(b"%d" % number * 800, time_ms=NOW_MS + number)
            await partition.append([batch], acks=Acks.ALL)
        await table.close(broker_epoch=1)

    def flip() -> None:
        for suffix in (".index", ".timeindex"):
            path = context.paths[0] / "topic-0" / f"{1:020d}{suffix}"
            data = bytearray(path.read_bytes())
            data[MAX_TIME_AT + 5] ^= 1
            path.write_bytes(data)

    await asyncio.to_thread(flip)
    async with context.opened() as table:
        log = (await context.leader(table))._log
        times = [segment.max_timestamp_ms for segment in log.segments]
        assert times == [NOW_MS + number for number in range(4)]
    assert [event.base_offset for event in context.seen(IndexRebuilt)] == [1]


class WatchesReads(FaultyFilesystem):
    """Remembers how much was read at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.largest_read = 0

    def pread(self, fd: int, size: int, position: int) -> bytes:
        self.largest_read = max(self.largest_read, size)
        return super().pread(fd, size, position)


async def test_tail_is_kept_aside_without_being_read_as_a_whole(context: StorageContext) -> None:
    filesystem = context.filesystem = WatchesReads()
    async with context.opened() as table:
        partition = await context.leader(table)
        for number in range(6):
            batch = make_batch(b"%d" % number * 900_000)
            await partition.append([batch], acks=Acks.ALL)
    path = context.paths[0] / "topic-0" / f"{0:020d}.log"
    data = bytearray(await asyncio.to_thread(path.read_bytes))
    data[1_000_000] ^= 1
    await asyncio.to_thread(path.write_bytes, data)
    await asyncio.to_thread((context.paths[0] / "checkpoint").write_bytes, b"")
    filesystem.largest_read = 0
    async with context.opened() as table:
        assert (await context.leader(table)).log_end_offset == 1
    [cut] = context.seen(TailCut)
    assert cut.lost_size > 4_000_000
    assert await asyncio.to_thread((path.parent / cut.kept_in).read_bytes) == data[-cut.lost_size :]
    assert filesystem.largest_read <= 1 << 20


async def test_segments_behind_a_tail_without_marks_are_kept_aside_too(
    context: StorageContext,
) -> None:
    context.config = LogConfig(segment_bytes=1_024)
    async with context.opened() as table:
        partition = await context.leader(table)
        for number in range(2):
            await partition.append([make_batch(b"%d" % number * 800)], acks=Acks.ALL)
    directory = context.paths[0] / "topic-0"
    first, last = directory / f"{0:020d}.log", directory / f"{1:020d}.log"
    lost = await asyncio.to_thread(last.read_bytes)

    def damage() -> None:
        first.write_bytes(first.read_bytes() + b"garbage")
        (context.paths[0] / "checkpoint").write_bytes(b"")

    await asyncio.to_thread(damage)
    async with context.opened() as table:
        assert (await context.leader(table)).log_end_offset == 1
    [kept] = await asyncio.to_thread(lambda: list(directory.glob(f"{1:020d}.cut-0-*")))
    assert await asyncio.to_thread(kept.read_bytes) == lost


async def test_full_disk_while_a_tail_is_kept_aside_leaves_nothing_behind(
    context: StorageContext,
) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a" * 5_000)], acks=Acks.ALL)
    path = context.paths[0] / "topic-0" / f"{0:020d}.log"
    data = await asyncio.to_thread(path.read_bytes)
    await asyncio.to_thread(path.write_bytes, data[:-1])
    await asyncio.to_thread((context.paths[0] / "checkpoint").write_bytes, b"")
    context.filesystem.room = 1_000
    async with context.opened() as table:
        assert await asyncio.to_thread(path.read_bytes) == data[:-1]
        assert [name for name in await asyncio.to_thread(context.files) if "cut" in name] == []
        assert context.seen(DirectoryFailed) == []


async def test_truncation_refused_by_a_full_disk_changes_nothing_and_is_tried_again(
    context: StorageContext,
) -> None:
    values = [b"%d" % number * 100 for number in range(6)]
    async with context.opened() as table:
        partition = await context.leader(table)
        for value in values:
            await partition.append([make_batch(value)], acks=Acks.ALL)
        context.filesystem.room = 150
        for _ in range(2):
            with pytest.raises(StorageFull):
                await partition._log.trim.truncate(3, below_high_watermark=True)
            assert await values_of(partition) == values
        names = await asyncio.to_thread(context.files)
        assert [name for name in names if name.endswith(".tmp")] == []
        context.filesystem.room = None
        await partition._log.trim.truncate(3, below_high_watermark=True)
        partition.resign()
        await partition.become_leader(9)
        await partition.append([make_batch(b"new")], acks=Acks.ALL)
        after = await context.crashed("after")
    async with after.opened() as table:
        after.epoch = 9
        assert await values_of(await after.leader(table)) == [*values[:3], b"new"]


@pytest.mark.parametrize("operation", ["rename", "unlink", "sync_directory"])
async def test_log_whose_truncation_fails_at_the_end_takes_no_appends(
    context: StorageContext, operation: str
) -> None:
    context.config = LogConfig(segment_bytes=1_024)
    values = [b"%d" % number * 400 for number in range(6)]
    async with context.opened() as table:
        partition = await context.leader(table)
        for value in values:
            await partition.append([make_batch(value)], acks=Acks.ALL)
        log = partition._log
        await log.surroundings.home.checkpoint()
        context.filesystem.failing_under = context.paths[0] / "topic-0"
        context.filesystem.errors[operation] = errno.ENOSPC
        with pytest.raises(StorageFull):
            await log.trim.truncate(1, below_high_watermark=True)
        context.filesystem.errors.clear()
        with pytest.raises(StorageOffline):
            await partition.append([make_batch(b"new")], acks=Acks.LEADER)
        assert table.partitions()[0].error is not None
        assert table.describe()[0].online
    async with context.opened() as table:
        left = await values_of(await context.leader(table))
        assert left == values[: len(left)]
        assert len(left) >= 1


async def test_lost_replica_is_not_replaced_by_its_carried_marks(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a")], acks=Acks.ALL)
        directory_id, topic_id = partition.directory_id, partition.topic_id
    await asyncio.to_thread(_lose_name, context.paths[0] / "topic-0")
    async with context.opened() as table:
        with pytest.raises(StorageOffline, match="should be in log directory"):
            await table.open_partition(
                topic_id, "topic", 0, config=context.config, directory_id=DirectoryId(directory_id)
            )


def _lose_name(directory: Path) -> None:
    (directory / "partition.meta").unlink()


class NoRoomForIndexes(FaultyFilesystem):
    """Makes no index files."""

    def open(self, path: Path, *, write: bool = False, create: bool = False) -> int:
        if create and "index" in path.name:
            raise OSError(errno.ENOSPC, "no inode is left")
        return super().open(path, write=write, create=create)


async def test_segments_cut_off_while_their_indexes_have_no_room_are_not_flushed_again(
    context: StorageContext,
) -> None:
    context.filesystem = NoRoomForIndexes()
    context.config = LogConfig(segment_bytes=1_024)
    async with context.opened() as table:
        partition = await context.leader(table)
        for number in range(4):
            await partition.append([make_batch(b"%d" % number * 800)], acks=Acks.ALL)
        await partition._log.trim.truncate(1, below_high_watermark=True)
        partition.resign()
        await partition.become_leader(9)
        await partition.append([make_batch(b"new")], acks=Acks.ALL)
        assert await values_of(partition) == [b"0" * 800, b"new"]


async def test_carried_marks_give_way_to_a_replica_that_is_made_anew(
    context: StorageContext,
) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a", b"b")], acks=Acks.ALL)
        await partition._log.surroundings.home.checkpoint()
    directory = context.paths[0] / "topic-0"
    await asyncio.to_thread(_lose_name, directory)
    async with context.opened() as table:
        await asyncio.to_thread(directory.rename, context.root / "elsewhere")
        partition = await context.leader(table)
        await partition.append([make_batch(b"c")], acks=Acks.ALL)
        await partition._log.surroundings.home.checkpoint()
    async with context.opened() as table:
        assert await values_of(await context.leader(table)) == [b"c"]
        assert context.seen(LogCorrupted) == []
