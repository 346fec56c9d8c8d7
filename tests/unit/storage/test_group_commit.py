"""Nothing is acknowledged before its flush has ended, and one flush serves many."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from kit.batches import make_batch
from kit.offloads import HeldOffload
from kit.storage import StorageContext, values_of
from ottla.protocol.errors import OutcomeUnknown, StorageOffline
from ottla_broker.core.append_checks import Acks
from ottla_broker.core.log_config import LogConfig
from ottla_broker.core.log_events import DirectoryFailed
from ottla_broker.replica.partition import AppendResult, Partition


@pytest.fixture
def offload() -> HeldOffload:
    return HeldOffload()


@pytest.fixture
def context(tmp_path: Path, offload: HeldOffload) -> StorageContext:
    return StorageContext(tmp_path, offload=offload)


def appending(
    group: asyncio.TaskGroup, partition: Partition, value: bytes, acks: Acks = Acks.ALL
) -> asyncio.Task[AppendResult]:
    return group.create_task(partition.append([make_batch(value)], acks=acks), name="append")


async def test_append_is_acknowledged_and_visible_only_after_its_flush(
    context: StorageContext, offload: HeldOffload
) -> None:
    async with context.opened() as table, asyncio.TaskGroup() as group:
        partition = await context.leader(table)
        offload.holds = True
        append = appending(group, partition, b"a")
        await offload.held(1)
        assert not append.done()
        assert (partition.log_end_offset, partition.high_watermark) == (1, 0)
        assert await partition.read(0, max_bytes=100) is None
        await offload.release(1)
        assert (await append).base_offset == 0
        assert partition.high_watermark == 1
        offload.holds = False


async def test_written_is_enough_for_acks_leader_but_not_to_be_read(
    context: StorageContext, offload: HeldOffload
) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        offload.holds = True
        result = await partition.append([make_batch(b"a")], acks=Acks.LEADER)
        assert result.next_offset == 1
        assert partition.high_watermark == 0
        await offload.held(1)
        await offload.release()
        await partition.wait_for(0)
        assert partition.high_watermark == 1
        offload.holds = False


async def test_appends_that_come_during_a_flush_share_the_next_one(
    context: StorageContext, offload: HeldOffload
) -> None:
    async with context.opened() as table, asyncio.TaskGroup() as group:
        partition = await context.leader(table)
        offload.holds = True
        first = appending(group, partition, b"0")
        await offload.held(1)
        context.filesystem.calls.clear()
        later = [appending(group, partition, b"%d" % number) for number in range(1, 50)]
        await asyncio.sleep(0)
        await offload.release(1)
        await first
        assert partition.high_watermark == 1
        assert not any(append.done() for append in later)
        await offload.held(1)
        await offload.release(1)
        assert [(await append).base_offset for append in later] == list(range(1, 50))
        assert context.filesystem.calls.count("datasync") == 2
        offload.holds = False


async def test_one_round_flushes_all_dirty_logs_in_parallel_shares(
    context: StorageContext, offload: HeldOffload
) -> None:
    async with context.opened() as table, asyncio.TaskGroup() as group:
        partitions = [await context.leader(table, number) for number in range(20)]
        offload.holds = True
        appends = [appending(group, partition, b"a") for partition in partitions]
        await offload.held(7)
        assert offload.held_count == 7  # 20 logs in shares of 3
        await offload.release(1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [partition.high_watermark for partition in partitions] == [1] * 3 + [0] * 17
        await offload.release()
        for append in appends:
            assert (await append).next_offset == 1
        offload.holds = False


async def test_order_of_acknowledgements_is_the_order_of_appends(
    context: StorageContext, offload: HeldOffload
) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        acknowledged: list[int] = []

        async def append(number: int) -> None:
            result = await partition.append([make_batch(b"%d" % number)], acks=Acks.ALL)
            acknowledged.append(result.base_offset)

        async with asyncio.TaskGroup() as group:
            for number in range(200):
                group.create_task(append(number), name=f"append-{number}")
        assert acknowledged == list(range(200))
        assert await values_of(partition) == [b"%d" % number for number in range(200)]


async def test_cancelled_append_stays_appended_and_harms_nobody(
    context: StorageContext, offload: HeldOffload
) -> None:
    async with context.opened() as table, asyncio.TaskGroup() as group:
        partition = await context.leader(table)
        offload.holds = True
        given_up = appending(group, partition, b"a")
        patient = appending(group, partition, b"b")
        await offload.held(1)
        given_up.cancel()
        await asyncio.sleep(0)
        await offload.release()
        await offload.held(0)
        offload.holds = False
        assert (await patient).base_offset == 1
        assert await values_of(partition) == [b"a", b"b"]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
async def test_failed_flush_takes_the_directory_offline_and_is_not_tried_again(
    context: StorageContext, offload: HeldOffload, number: int
) -> None:
    async with context.opened() as table:
        first, second = await context.leader(table, 0), await context.leader(table, 1)
        await second.append([make_batch(b"kept")], acks=Acks.ALL)
        context.filesystem.errors["datasync"] = number
        context.filesystem.calls.clear()
        with pytest.raises(OutcomeUnknown):
            await first.append([make_batch(b"a")], acks=Acks.ALL)
        context.filesystem.errors.clear()
        for partition in (first, second):
            with pytest.raises(StorageOffline):
                await partition.append([make_batch(b"b")], acks=Acks.LEADER)
            with pytest.raises(StorageOffline):
                await partition.read(0, max_bytes=100)
            assert isinstance(partition.error, StorageOffline)
        assert context.filesystem.calls.count("datasync") == 1
        assert len(context.seen(DirectoryFailed)) == 1
        assert table.directory_ids == []
        assert len(table.offline_directory_ids) == 1


async def test_new_segments_name_is_durable_before_its_records_are_acknowledged(
    context: StorageContext, offload: HeldOffload
) -> None:
    context.config = LogConfig(segment_bytes=1_024)
    async with context.opened() as table:
        partition = await context.leader(table)
        values = [b"%04d" % number * 60 for number in range(30)]
        for value in values:
            await partition.append([make_batch(value)], acks=Acks.ALL)
        assert len([name for name in await asyncio.to_thread(context.files) if ".log" in name]) > 5
        after = await context.crashed("after")
    async with after.opened() as table:
        assert await values_of(await after.leader(table)) == values


async def test_unflushed_topic_is_flushed_by_the_clock(
    context: StorageContext, offload: HeldOffload
) -> None:
    context.config = LogConfig(flush_on_ack=False)
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a")], acks=Acks.ALL)
        before = await context.crashed("before")
        await context.clock.advance(5_000)
        await partition._log.flush()
        after = await context.crashed("after")
    async with before.opened() as table:
        assert await values_of(await before.leader(table)) == []
    async with after.opened() as table:
        assert await values_of(await after.leader(table)) == [b"a"]
