"""Logs that are made shorter: at the beginning for good, at the end to agree with a leader."""

from __future__ import annotations

import asyncio

import pytest

from kit.batches import make_batch
from kit.storage import StorageContext, values_of
from ottla.protocol.errors import OffsetOutOfRange
from ottla_broker.core.append_checks import Acks
from ottla_broker.core.log_config import LogConfig
from ottla_broker.core.log_events import SegmentsDeleted
from ottla_broker.replica.partition import Partition

NOW_MS = 1_700_000_000_000
VALUES = [b"%02d" % number * 200 for number in range(20)]


@pytest.fixture(autouse=True)
def _small_segments(context: StorageContext) -> None:
    context.config = LogConfig(segment_bytes=1_024, retention_ms=60_000, index_interval_bytes=200)


async def fill(partition: Partition, *, time_ms: int = NOW_MS) -> None:
    for value in VALUES:
        await partition.append([make_batch(value, time_ms=time_ms)], acks=Acks.ALL)


async def test_old_segments_are_deleted_by_the_clock(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await fill(partition)
        await context.clock.advance(60_000)
        assert partition.log_start_offset == 0
        await partition.append([make_batch(b"new", time_ms=NOW_MS + 60_000)], acks=Acks.ALL)
        await partition._log.flush()
        context.clock.tick(1)
        await partition._log.trim.apply_retention()
        assert partition.log_start_offset == 20
        assert await values_of(partition) == [b"new"]
        names = await asyncio.to_thread(context.files)
        assert [name for name in names if name.endswith(".log")] == ["00000000000000000020.log"]
        assert sum(event.count for event in context.seen(SegmentsDeleted)) == 10
        with pytest.raises(OffsetOutOfRange):
            await partition.read(19, max_bytes=10)


async def test_log_that_is_old_as_a_whole_is_emptied(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await fill(partition)
        await context.clock.advance(59_999)
        context.clock.tick(2)
        await partition._log.trim.apply_retention()
        assert await values_of(partition) == []
        assert partition.earliest_offset() == 20
        result = await partition.append(
            [make_batch(b"new", time_ms=NOW_MS + 60_001)], acks=Acks.ALL
        )
        assert result.base_offset == 20
    async with context.opened() as table:
        partition = await context.leader(table)
        assert partition.earliest_offset() == 20
        assert await values_of(partition) == [b"new"]


async def test_log_is_trimmed_to_its_size(context: StorageContext) -> None:
    context.config = LogConfig(segment_bytes=1_024, retention_bytes=3_000)
    async with context.opened() as table:
        partition = await context.leader(table)
        await fill(partition)
        await partition._log.flush()
        await partition._log.trim.apply_retention()
        assert 3_000 <= partition.size < 3_000 + 1_024
        assert await values_of(partition) == VALUES[partition.earliest_offset() :]


async def test_deleted_records_free_their_segments(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await fill(partition)
        await partition.delete_records(11)
        await partition._log.trim.apply_retention()
        names = await asyncio.to_thread(context.files)
        assert min(name for name in names if name.endswith(".log")) == "00000000000000000010.log"
        assert await values_of(partition) == VALUES[11:]


async def test_slice_of_a_deleted_segment_stays_readable(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await fill(partition)
        part = await partition.read(0, max_bytes=10_000)
        assert part is not None
        before = await partition.load(part)
        await partition.delete_records(20)
        await partition._log.trim.apply_retention()
        assert await partition.load(part) == before
        part.release()
        assert not part.file.is_open


@pytest.mark.parametrize("end", [0, 1, 7, 8, 13, 19, 20])
async def test_truncated_log_ends_there_and_goes_on(context: StorageContext, end: int) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await fill(partition)
        await partition._log.trim.truncate(end, below_high_watermark=True)
        assert (partition.log_end_offset, partition.high_watermark) == (end, end)
        assert await values_of(partition) == VALUES[:end]
        partition.resign()
        await partition.become_leader(7)
        await partition.append([make_batch(b"new")], acks=Acks.ALL)
        assert await values_of(partition) == [*VALUES[:end], b"new"]
        after = await context.crashed("after")
    async with after.opened() as table:
        after.epoch = 7
        assert await values_of(await after.leader(table)) == [*VALUES[:end], b"new"]


async def test_truncation_inside_a_batch_ends_before_it(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a"), make_batch(b"b", b"c", b"d")], acks=Acks.ALL)
        await partition._log.trim.truncate(2, below_high_watermark=True)
        assert await values_of(partition) == [b"a"]


async def test_committed_records_are_not_truncated(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await fill(partition)
        with pytest.raises(AssertionError):
            await partition._log.trim.truncate(5)


async def test_slice_of_a_truncated_end_stays_readable(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await fill(partition)
        part = await partition.read(19, max_bytes=10_000)
        assert part is not None
        before = await partition.load(part)
        await partition._log.trim.truncate(19, below_high_watermark=True)
        partition.resign()
        await partition.become_leader(7)
        await partition.append([make_batch(b"other" * 40)], acks=Acks.ALL)
        assert await partition.load(part) == before
        part.release()


async def test_crash_before_the_cut_keeps_the_longer_log(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await fill(partition)
        log = partition._log
        log.state.truncate(12, below_high_watermark=True)
        await log.surroundings.home.checkpoint()
        after = await context.crashed("after")
    async with after.opened() as table:
        assert await values_of(await after.leader(table)) == VALUES
