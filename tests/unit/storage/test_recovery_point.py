"""A start after a crash reads and flushes what is behind the recovery point, and no more."""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from pathlib import Path

import pytest

from kit.batches import make_batch
from kit.faulty_filesystem import FaultyFilesystem
from kit.storage import StorageContext, values_of
from ottla_broker.core.append_checks import Acks
from ottla_broker.core.log_config import LogConfig
from ottla_broker.core.log_events import (
    DirectoryFailed,
    IndexRebuilt,
    LogCorrupted,
    LogRecovered,
    TailCut,
)
from ottla_broker.replica.partition import Partition
from ottla_broker.storage import index_log

NOW_MS = 1_700_000_000_000
VALUE_SIZE = 1_000
LOG = f"{0:020d}.log"
INDEX_LOG = f"{0:020d}.indexlog"


class CountsReads(FaultyFilesystem):
    """Counts the bytes that are read of segments."""

    def __init__(self) -> None:
        super().__init__()
        self.read_bytes = 0
        self.synced: Counter[str] = Counter()
        self._paths: dict[int, Path] = {}

    def open(self, path: Path, *, write: bool = False, create: bool = False) -> int:
        fd = super().open(path, write=write, create=create)
        self._paths[fd] = path
        return fd

    def pread(self, fd: int, size: int, position: int) -> bytes:
        data = super().pread(fd, size, position)
        if self._paths[fd].suffix == ".log":
            self.read_bytes += len(data)
        return data

    def datasync(self, fd: int) -> None:
        self.synced[self._paths[fd].name] += 1
        super().datasync(fd)

    def sync_directory(self, path: Path) -> None:
        self.synced[path.name] += 1
        super().sync_directory(path)


@pytest.fixture
def filesystem(context: StorageContext) -> CountsReads:
    context.filesystem = CountsReads()
    return context.filesystem


@pytest.fixture
def _every_flush_leaves_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_log, "PIECE_SIZE_LEAST", 1)
    monkeypatch.setattr(index_log, "PIECE_INTERVAL_MS", 0)


async def fill(partition: Partition, numbers: range) -> None:
    for number in numbers:
        value = (b"%06d" % number).ljust(VALUE_SIZE, b".")
        await partition.append([make_batch(value, time_ms=NOW_MS + number)], acks=Acks.ALL)


async def checkpoint(partition: Partition) -> None:
    await partition._log.surroundings.home.checkpoint()


async def check(partition: Partition, count: int) -> None:
    """Everything is there and is found: by offset from the beginning, the middle, and by time."""
    values = await values_of(partition)
    assert [int(value[:6]) for value in values if value] == list(range(count))
    for number in (0, count // 3, count - 1):
        [first, *_] = await values_of(partition, start=number)
        assert first is not None
        assert int(first[:6]) == number
        found = await partition.offset_for_time(NOW_MS + number)
        assert found is not None
        assert found.offset == number


async def test_flushed_part_of_the_active_segment_is_not_read(
    context: StorageContext, filesystem: CountsReads
) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await fill(partition, range(600))
        await context.clock.advance(5_000)
        await fill(partition, range(600, 601))
        await checkpoint(partition)
        await fill(partition, range(601, 620))
    filesystem.read_bytes = 0
    async with context.opened() as table:
        assert filesystem.read_bytes < 250_000
        partition = await context.leader(table)
        await check(partition, 620)
        await fill(partition, range(620, 640))
        await check(partition, 640)
    assert context.seen(IndexRebuilt) == []
    assert [event.verified_size < 25_000 for event in context.seen(LogRecovered)] == [True]


async def test_index_log_is_written_once_enough_is_new_and_some_time_has_passed(
    context: StorageContext,
) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        path = context.paths[0] / "topic-0" / INDEX_LOG

        async def size() -> int:
            return await asyncio.to_thread(lambda: path.stat().st_size if path.exists() else 0)

        await fill(partition, range(100))
        assert await size() == 0
        await fill(partition, range(100, 200))
        first = await size()
        assert first > 0
        await fill(partition, range(200, 500))
        assert await size() == first
        await context.clock.advance(5_000)
        await fill(partition, range(500, 501))
        second = await size()
        assert second > 2 * first
        await context.clock.advance(5_000)
        await fill(partition, range(501, 502))
        assert await size() == second


@pytest.mark.usefixtures("_every_flush_leaves_a_piece")
@pytest.mark.parametrize("point", [0, 1, 7, 12])
async def test_pieces_behind_the_recovery_point_are_not_believed(
    context: StorageContext, filesystem: CountsReads, point: int
) -> None:
    context.config = LogConfig(index_interval_bytes=100)
    async with context.opened() as table:
        partition = await context.leader(table)
        await fill(partition, range(point))
        await checkpoint(partition)
        await fill(partition, range(point, 12))
        size = partition.size
    filesystem.read_bytes = 0
    async with context.opened() as table:
        # Each payload behind the point is read, and a window of heads for each.
        assert (filesystem.read_bytes > 0) == (point < 12)
        assert sum(e.verified_size for e in context.seen(LogRecovered)) == size * (12 - point) // 12
        partition = await context.leader(table)
        await check(partition, 12)
        await fill(partition, range(12, 20))
        await checkpoint(partition)
    async with context.opened() as table:
        await check(await context.leader(table), 20)


@pytest.mark.usefixtures("_every_flush_leaves_a_piece")
@pytest.mark.parametrize("keep", range(0, 400, 37))
@pytest.mark.parametrize("flip", [False, True])
async def test_damaged_index_log_costs_no_more_than_a_scan(
    context: StorageContext, keep: int, flip: bool
) -> None:
    context.config = LogConfig(index_interval_bytes=100)
    async with context.opened() as table:
        partition = await context.leader(table)
        await fill(partition, range(8))
        await checkpoint(partition)
    path = context.paths[0] / "topic-0" / INDEX_LOG

    def damage() -> None:
        data = bytearray(path.read_bytes())
        assert len(data) > 400
        if flip:
            data[keep] ^= 1
        path.write_bytes(data if flip else data[:keep])

    await asyncio.to_thread(damage)
    for count in (8, 10):
        async with context.opened() as table:
            partition = await context.leader(table)
            await check(partition, count)
            await fill(partition, range(count, count + 2))
            await checkpoint(partition)
    assert context.seen(LogCorrupted) == []
    assert context.seen(TailCut) == []


@pytest.mark.usefixtures("_every_flush_leaves_a_piece")
async def test_clean_stop_leaves_an_index_log_that_knows_all(
    context: StorageContext, filesystem: CountsReads
) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await fill(partition, range(9))
        await table.close(broker_epoch=3)
    filesystem.read_bytes = 0
    async with context.opened() as table:
        assert filesystem.read_bytes == 0
        await check(await context.leader(table), 9)
    assert context.seen(IndexRebuilt) == []


async def test_index_log_that_is_lost_after_a_clean_stop_is_made_up_for(
    context: StorageContext,
) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await fill(partition, range(9))
        await table.close(broker_epoch=3)
    await asyncio.to_thread((context.paths[0] / "topic-0" / INDEX_LOG).unlink)
    async with context.opened() as table:
        await check(await context.leader(table), 9)
    assert [event.cause for event in context.seen(IndexRebuilt)] == ["the index log is missing"]


@pytest.mark.usefixtures("_every_flush_leaves_a_piece")
@pytest.mark.parametrize("size", [0, 1, 500, 5_000, 7_999])
async def test_segment_shorter_than_its_index_log_says_is_corrupt(
    context: StorageContext, size: int
) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await fill(partition, range(8))
        await checkpoint(partition)
    path = context.paths[0] / "topic-0" / LOG
    data = await asyncio.to_thread(path.read_bytes)
    await asyncio.to_thread(path.write_bytes, data[:size])
    async with context.opened() as table:
        assert len(context.seen(LogCorrupted)) == 1
        assert table.partitions()[0].error is not None
    assert await asyncio.to_thread(path.read_bytes) == data[:size]


@pytest.mark.usefixtures("_every_flush_leaves_a_piece")
@pytest.mark.parametrize("shift", [-1, 1, 40])
async def test_wrong_index_log_is_not_held_against_the_segment(
    context: StorageContext, shift: int
) -> None:
    """One with sound checksums that tells of another segment, which no crash can leave."""
    async with context.opened() as table:
        partition = await context.leader(table)
        await fill(partition, range(8))
        await checkpoint(partition)
        log = partition._log
        segment = log.segments.active
        segment.size += shift
        piece = index_log.IndexLog(context.paths[0] / "topic-0" / INDEX_LOG).piece(
            segment.head, segment.load_indexes(), leader_epoch=1, now_ms=0
        )
        segment.size -= shift
        assert piece is not None
        await asyncio.to_thread(piece.write, context.filesystem)
        await fill(partition, range(8, 9))
    async with context.opened() as table:
        partition = await context.leader(table)
        await check(partition, 9)
        await fill(partition, range(9, 11))
        await checkpoint(partition)
    async with context.opened() as table:
        await check(await context.leader(table), 11)
    assert context.seen(TailCut) == []
    assert context.seen(LogCorrupted) == []


@pytest.mark.usefixtures("_every_flush_leaves_a_piece")
async def test_tail_behind_the_index_log_is_cut_and_the_index_goes_on(
    context: StorageContext,
) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await fill(partition, range(5))
        await checkpoint(partition)
        await fill(partition, range(5, 9))
    path = context.paths[0] / "topic-0" / LOG

    def tear() -> None:
        data = path.read_bytes()
        path.write_bytes(data[:-1])

    await asyncio.to_thread(tear)
    for count in (8, 10):
        async with context.opened() as table:
            partition = await context.leader(table)
            await check(partition, count)
            await fill(partition, range(count, count + 2))
            await checkpoint(partition)
    assert [event.log_end for event in context.seen(TailCut)] == [8]


@pytest.mark.usefixtures("_every_flush_leaves_a_piece")
async def test_sealed_segment_has_index_files_instead_of_an_index_log(
    context: StorageContext,
) -> None:
    context.config = LogConfig(segment_bytes=3_000)
    async with context.opened() as table:
        partition = await context.leader(table)
        await fill(partition, range(7))
        names = await asyncio.to_thread(context.files)
        logs = [name for name in names if name.endswith(".log")]
        sealed = [name.replace(".log", ".index") for name in logs[:-1]]
        assert [name for name in names if name.endswith(".index")] == sealed
        assert [name for name in names if name.endswith(".indexlog")] == [
            logs[-1].replace(".log", ".indexlog")
        ]
        await partition._log.trim.truncate(1, below_high_watermark=True)
        names = await asyncio.to_thread(context.files)
        assert [name for name in names if "index" in name] == []


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EMFILE])
async def test_index_log_that_has_no_room_is_written_later(
    context: StorageContext, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    monkeypatch.setattr(index_log, "PIECE_SIZE_LEAST", 1)
    monkeypatch.setattr(index_log, "PIECE_INTERVAL_MS", 0)
    async with context.opened() as table:
        partition = await context.leader(table)
        await fill(partition, range(3))
        path = context.paths[0] / "topic-0" / INDEX_LOG
        before = await asyncio.to_thread(path.read_bytes)
        context.filesystem.errors["open"] = error
        context.filesystem.failing_under = path
        await fill(partition, range(3, 5))
        assert await asyncio.to_thread(path.read_bytes) == before
        context.filesystem.errors.clear()
        await fill(partition, range(5, 6))
        await checkpoint(partition)
        assert len(await asyncio.to_thread(path.read_bytes)) > len(before)
        assert context.seen(DirectoryFailed) == []
    async with context.opened() as table:
        await check(await context.leader(table), 6)


@pytest.mark.usefixtures("_every_flush_leaves_a_piece")
@pytest.mark.parametrize("unflushed", [0.0, 0.3, 0.9, 1.0])
async def test_index_log_that_power_loss_tore_is_told(
    context: StorageContext, unflushed: float
) -> None:
    def torn(durable: bytes, current: bytes) -> bytes:
        kept = len(durable) + int((len(current) - len(durable)) * unflushed)
        return current[: max(kept, len(durable))]

    context.config = LogConfig(segment_bytes=20_000, index_interval_bytes=100)
    async with context.opened() as table:
        partition = await context.leader(table)
        await fill(partition, range(12))
        await checkpoint(partition)
        await fill(partition, range(12, 15))
        after = await context.crashed("after", torn=torn)
    async with after.opened() as table:
        partition = await after.leader(table)
        await check(partition, 15)
        await fill(partition, range(15, 18))
        again = await after.crashed("again", torn=torn)
    async with again.opened() as table:
        await check(await again.leader(table), 18)


async def test_start_flushes_only_logs_with_something_behind_the_recovery_point(
    context: StorageContext, filesystem: CountsReads
) -> None:
    async with context.opened() as table:
        partitions = [await context.leader(table, number) for number in range(6)]
        for partition in partitions[:5]:
            await fill(partition, range(2))
        await checkpoint(partitions[0])
        for partition in partitions[:2]:
            await fill(partition, range(2, 4))
    filesystem.synced.clear()
    async with context.opened() as table:
        assert filesystem.synced[LOG] == 2
        assert [filesystem.synced[f"topic-{number}"] for number in range(6)] == [0] * 6
        for number, count in enumerate([4, 4, 2, 2, 2, 0]):
            assert (await context.leader(table, number)).log_end_offset == count


async def test_name_of_an_empty_segment_is_durable_before_its_first_record_is_acknowledged(
    context: StorageContext, filesystem: CountsReads
) -> None:
    context.config = LogConfig(retention_ms=1_000)
    async with context.opened() as table:
        partition = await context.leader(table)
        await fill(partition, range(3))
        await checkpoint(partition)
        context.clock.tick(10_000)
        await partition._log.trim.apply_retention()
        assert partition.log_start_offset == 3
        await checkpoint(partition)
    filesystem.synced.clear()
    async with context.opened() as table:
        partition = await context.leader(table)
        assert filesystem.synced["topic-0"] == 0
        await fill(partition, range(3, 4))
        assert filesystem.synced["topic-0"] == 1
        await fill(partition, range(4, 5))
        assert filesystem.synced["topic-0"] == 1
        after = await context.crashed("after")
    async with after.opened() as table:
        assert [int(v[:6]) for v in await values_of(await after.leader(table)) if v] == [3, 4]


class TwoAtOnce(FaultyFilesystem):
    """Somebody else removes an index log as soon as it has been seen."""

    def exists(self, path: Path) -> bool:
        is_there = super().exists(path)
        if is_there and path.suffix == ".indexlog":
            path.unlink()
        return is_there


@pytest.mark.usefixtures("_every_flush_leaves_a_piece")
async def test_index_log_removed_from_two_sides_at_once_is_no_failure(
    context: StorageContext,
) -> None:
    context.filesystem = TwoAtOnce()
    context.config = LogConfig(segment_bytes=2_500)
    async with context.opened() as table:
        partition = await context.leader(table)
        await fill(partition, range(9))
        await partition.delete_records(5)
        await partition._log.trim.apply_retention()
        assert partition.log_end_offset == 9
        assert context.seen(DirectoryFailed) == []
